//! The OpenAPI document of the routes that ezyVet calls, generated from their handlers, and the explorer that shows it.

use crate::auth::http as auth;
use crate::catalog::http as catalog;
use crate::config::ServerSettings;
use crate::orders::{document as orders, http as order_routes};
use actix_web::http::header;
use actix_web::{HttpResponse, web};
use utoipa::openapi::security::{ClientCredentials, Flow, HttpAuthScheme, HttpBuilder, OAuth2, Scopes, SecurityScheme};
use utoipa::openapi::{OpenApi as Document, Server};
use utoipa::{Modify, OpenApi};
use utoipa_swagger_ui::{Config, SwaggerUi};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "spsi-partner",
        description = "The supplier's side of ezyVet's Standard Product Supplier Integration: the routes that ezyVet calls.\n\n\
                       To try a route, press Authorize. Enter the client id and secret of a clinic under `client`, and Swagger UI requests \
                       a token. Or paste a token under `token`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(auth::access_token, catalog::categories, catalog::products, order_routes::purchase_order),
    components(schemas(catalog::Barcode, orders::PurchaseOrder, orders::PurchaseOrderItem, super::problem::Envelope)),
    modifiers(&Security),
    tags(
        (name = "token", description = "Access tokens"),
        (name = "catalogue", description = "The products that the clinic can order, at its own prices"),
        (name = "orders", description = "Purchase orders of the clinic"),
    )
)]
struct Partner;

struct Security;

impl Modify for Security {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_default();
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("JWT")
            .description(Some("The `access_token` of `POST /accesstoken`"));
        components.add_security_scheme("token", SecurityScheme::Http(bearer.build()));
        components.add_security_scheme("client", client_credentials("/accesstoken".to_owned()));
    }
}

fn client_credentials(token_url: String) -> SecurityScheme {
    let flow = Flow::ClientCredentials(ClientCredentials::new(token_url, Scopes::new()));
    SecurityScheme::OAuth2(OAuth2::with_description([flow], "The clinic's client id and secret"))
}

/// Returns the document as committed in `openapi/`. Its server is `/`, which is right at any address.
pub fn partner() -> Document {
    let mut document = Partner::openapi();
    document.servers = Some(vec![Server::new("/")]);
    document
}

/// Returns the text of the document as committed in `openapi/`.
pub fn partner_text() -> Result<String, serde_json::Error> {
    Ok(partner().to_pretty_json()? + "\n")
}

/// `GET /openapi.json`: the document with the public address of this server.
pub async fn document(settings: web::Data<ServerSettings>) -> HttpResponse {
    let mut document = partner();
    let base = settings.base_path.trim_matches('/');
    let root = match (&settings.public_url, base) {
        (Some(url), _) => url.trim_end_matches('/').to_owned(),
        (None, "") => "/".to_owned(),
        (None, base) => format!("/{base}"),
    };
    if let Some(components) = document.components.as_mut() {
        let token_url = format!("{}/accesstoken", root.trim_end_matches('/'));
        components.add_security_scheme("client", client_credentials(token_url));
    }
    document.servers = Some(vec![Server::new(root)]);
    HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-cache")).json(document)
}

/// `GET /docs/`: Swagger UI. Its files are part of the program, so that the explorer works without internet access.
pub fn explorer() -> SwaggerUi {
    let config = Config::from("../openapi.json")
        .try_it_out_enabled(true)
        .persist_authorization(false)
        .display_request_duration(true);
    SwaggerUi::new("/docs/{_:.*}").config(config)
}

/// `GET /docs`: redirects to `/docs/`.
pub async fn to_explorer() -> HttpResponse {
    HttpResponse::PermanentRedirect().insert_header((header::LOCATION, "docs/")).finish()
}

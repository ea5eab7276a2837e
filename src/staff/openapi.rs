//! The OpenAPI document of the staff API, generated from the table of operations and the handlers, and its explorer.

use super::operations::{OPERATIONS, Paths};
use super::problem::{FieldError, Kind, ProblemDocument};
use super::shipments::ShipmentState;
use super::{ROOT, Staff};
use crate::clinics::ClinicState;
use crate::clinics::sites::SiteState;
use crate::orders::OrderState;
use actix_web::http::header;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpResponse, guard};
use std::collections::BTreeMap;
use utoipa::OpenApi;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ArrayItems, Schema};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    Content, InfoBuilder, ObjectBuilder, OpenApi as Document, Ref, RefOr, Required, ResponseBuilder, Server, Type,
};
use utoipa_swagger_ui::{Config, SwaggerUi};

const DESCRIPTION: &str = "\
The API for the supplier's own systems: ERP, warehouse, accounts. Every operation needs an API key \
(`spsi key add --role admin --name erp`); the description of an operation names the role.

Lists are pages, newest first unless the operation says otherwise. Pass `next_cursor` as `cursor` to get the rows that \
follow. Money and quantities are strings of exact decimals, times are RFC 3339 in UTC. `{id}` takes the id or the number that people use, such as `SO-3334A`.

Send an `Idempotency-Key` with every write. If the answer is lost, send the same request again: the work is done once, and \
the answer is the first one. Errors are `application/problem+json` and change nothing.";

/// The name of a list in the document is this prefix and the name of its rows.
const LIST_PREFIX: &str = "List_";

/// Schemas that only errors and parameters refer to, which utoipa does not find.
#[derive(OpenApi)]
#[openapi(components(schemas(ProblemDocument<'_>, FieldError, ClinicState, OrderState, ShipmentState, SiteState)))]
struct Common;

/// Returns the document as committed in `openapi/`. Its server is `/`, which is right at any address.
pub fn staff() -> Document {
    let mut document = Document::default().nest(ROOT, Paths::openapi());
    document.merge(Common::openapi());
    super::events::document(&mut document);
    document.info = InfoBuilder::new()
        .title("spsi-partner: staff API")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(DESCRIPTION))
        .build();
    document.servers = Some(vec![Server::new("/")]);
    let components = document.components.get_or_insert_default();
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("spsi_<role>_<id>_<secret>")
        .description(Some("An API key"));
    components.add_security_scheme("key", SecurityScheme::Http(bearer.build()));
    name_rows_of_lists(&mut components.schemas);
    document.security = Some(vec![SecurityRequirement::new("key", [] as [&str; 0])]);
    for operation in OPERATIONS {
        let path = document.paths.paths.get_mut(&format!("{ROOT}{}", operation.path));
        let found = path.and_then(|item| match operation.method {
            "GET" => item.get.as_mut(),
            "POST" => item.post.as_mut(),
            "PUT" => item.put.as_mut(),
            "PATCH" => item.patch.as_mut(),
            "DELETE" => item.delete.as_mut(),
            _ => None,
        });
        if let Some(found) = found {
            complete(found, operation);
        }
    }
    document
}

/// Makes each list refer to the schema of its rows. utoipa repeats it inside of the list, so that a generated client would
/// have two classes for one thing.
fn name_rows_of_lists(schemas: &mut BTreeMap<String, RefOr<Schema>>) {
    let lists: Vec<String> = schemas.keys().filter(|name| name.starts_with(LIST_PREFIX)).cloned().collect();
    for list in lists {
        let row_name = &list[LIST_PREFIX.len()..];
        let Some(RefOr::T(Schema::Object(object))) = schemas.get_mut(&list) else { continue };
        let Some(RefOr::T(Schema::Array(rows))) = object.properties.get_mut("data") else { continue };
        let reference = RefOr::Ref(Ref::from_schema_name(row_name));
        if let ArrayItems::RefOrSchema(items) =
            std::mem::replace(&mut rows.items, ArrayItems::RefOrSchema(Box::new(reference)))
        {
            schemas.entry(row_name.to_owned()).or_insert(*items);
        }
    }
}

/// Adds what every operation has: the role, the errors and, for writes, the `Idempotency-Key`.
fn complete(documented: &mut Operation, operation: &super::Operation) {
    let role = format!("Needs the role `{}`.", operation.role);
    let description = documented.description.take().unwrap_or_default();
    documented.description = Some(format!("{description}\n\n{role}").trim().to_owned());
    let is_write = operation.method != "GET";
    let compares_versions = documented.parameters.iter().flatten().any(is_if_match);
    let mut kinds = vec![
        Kind::BadRequest,
        Kind::Unauthorised,
        Kind::Forbidden,
        Kind::TooManyRequests,
        Kind::Internal,
        Kind::Unavailable,
    ];
    if operation.path.contains('{') {
        kinds.push(Kind::NotFound);
    }
    if compares_versions {
        kinds.push(Kind::PreconditionFailed);
    }
    if is_write {
        kinds.extend([Kind::Timeout, Kind::Conflict, Kind::TooLarge, Kind::UnsupportedMediaType, Kind::Invalid]);
        documented.parameters.get_or_insert_default().push(header_parameter(
            "Idempotency-Key",
            "Names this request, for instance a UUID. The same request sent again under the same key gets the first answer.",
        ));
    }
    for kind in kinds {
        let status = kind.status().as_u16().to_string();
        documented.responses.responses.entry(status).or_insert_with(|| {
            let content = Content::new(Some(Ref::from_schema_name("Problem")));
            ResponseBuilder::new()
                .description(kind.meaning())
                .content("application/problem+json", content)
                .build()
                .into()
        });
    }
}

fn is_if_match(parameter: &RefOr<Parameter>) -> bool {
    matches!(parameter, RefOr::T(parameter) if parameter.name == "If-Match")
}

fn header_parameter(name: &str, description: &str) -> RefOr<Parameter> {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
        .build()
        .into()
}

/// Returns the text of the document as committed in `openapi/`.
pub fn staff_text() -> Result<String, serde_json::Error> {
    Ok(staff().to_pretty_json()? + "\n")
}

/// Adds `/staff/openapi.json` and the explorer `/staff/docs/`.
pub(super) fn configure(config: &mut ServiceConfig, staff: &Staff) {
    let public_url = staff.settings.server.public_url.clone();
    let document = web::resource("/staff/openapi.json").route(
        web::route().guard(guard::Any(guard::Get()).or(guard::Head())).to(move || {
            let root = public_url.as_deref().map_or("/", |url| url.trim_end_matches('/')).to_owned();
            async move {
                let mut document = self::staff();
                document.servers = Some(vec![Server::new(root)]);
                HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-cache")).json(document)
            }
        }),
    );
    let explorer = Config::from("../openapi.json")
        .try_it_out_enabled(true)
        .persist_authorization(false)
        .display_request_duration(true);
    config
        .service(document)
        .service(
            web::resource("/staff/docs").route(web::get().to(|| async {
                HttpResponse::PermanentRedirect().insert_header((header::LOCATION, "docs/")).finish()
            })),
        )
        .service(SwaggerUi::new("/staff/docs/{_:.*}").config(explorer));
}

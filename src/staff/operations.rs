//! The table of operations: method, path below `/staff/v1`, the role that a key needs, the handler. Routes, authorisation
//! and the OpenAPI document derive from it.

use super::problem::{Kind, Problem};
use super::{events, imports, keys, price_lists, products, webhooks};
use crate::auth::api_keys::Role;
use actix_web::guard;
use actix_web::http::Method;
use actix_web::web;
use actix_web::{HttpRequest, Resource, ResponseError, Route};
use std::collections::BTreeMap;
use utoipa::OpenApi;

/// One operation of the API.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    pub method: &'static str,
    pub path: &'static str,
    /// The role that a key needs. `admin` may do everything.
    pub role: Role,
}

macro_rules! operations {
    ($($method:ident $path:literal $role:ident $($handler:ident)::+;)+) => {
        /// Every operation, in the order of the table.
        pub const OPERATIONS: &[Operation] =
            &[$(Operation { method: stringify!($method), path: $path, role: Role::$role },)+];

        /// The documentation of the handlers.
        #[derive(OpenApi)]
        #[openapi(paths($($($handler)::+,)+))]
        pub(super) struct Paths;

        /// Returns the resources with their routes.
        pub(super) fn resources() -> Vec<Resource> {
            let mut resources: BTreeMap<&str, (Resource, Vec<&str>)> = BTreeMap::new();
            $(
                let (resource, mut methods) =
                    resources.remove($path).unwrap_or_else(|| (web::resource($path), Vec::new()));
                methods.push(stringify!($method));
                let route = route_of(stringify!($method)).to($($handler)::+);
                resources.insert($path, (resource.route(route), methods));
            )+
            resources.into_values().map(|(resource, methods)| refuse_other_methods(resource, &methods)).collect()
        }
    };
}

#[rustfmt::skip]
operations! {
    GET  "/products"                    Viewer      products::list_products;
    POST "/products/bulk"               Catalogue   products::upsert_products;
    POST "/products/stock"              Catalogue   products::change_stock;
    GET  "/products/{code}"             Viewer      products::show_product;
    PUT  "/products/{code}"             Catalogue   products::put_product;
    POST "/products/{code}/withdraw"    Catalogue   products::withdraw_product;
    POST "/products/{code}/relist"      Catalogue   products::relist_product;
    GET  "/price-lists"                 Viewer      price_lists::list_price_lists;
    GET  "/price-lists/{name}"          Viewer      price_lists::show_price_list;
    DELETE "/price-lists/{name}"        Catalogue   price_lists::delete_price_list;
    GET  "/price-lists/{name}/prices"   Viewer      price_lists::list_list_prices;
    PUT  "/price-lists/{name}/prices"   Catalogue   price_lists::set_list_prices;
    DELETE "/price-lists/{name}/prices/{code}" Catalogue price_lists::delete_list_prices;
    GET  "/clinics/{id}/prices"         Viewer      price_lists::list_clinic_prices;
    PUT  "/clinics/{id}/prices"         Catalogue   price_lists::set_clinic_prices;
    DELETE "/clinics/{id}/prices/{code}" Catalogue  price_lists::delete_clinic_prices;
    GET  "/imports"                     Viewer      imports::list_imports;
    POST "/imports"                     Catalogue   imports::upload_import;
    GET  "/imports/{id}"                Viewer      imports::show_import;
    GET  "/imports/{id}/changes"        Viewer      imports::list_changes;
    POST "/imports/{id}/check"          Catalogue   imports::check_import;
    POST "/imports/{id}/apply"          Catalogue   imports::apply_import;
    POST "/imports/{id}/roll-back"      Catalogue   imports::roll_back_import;
    GET  "/events"                      Viewer      events::list_events;
    GET  "/events/{id}"                 Viewer      events::show_event;
    GET  "/webhooks"                    Admin       webhooks::list_webhooks;
    POST "/webhooks"                    Admin       webhooks::add_webhook;
    GET  "/webhooks/{id}"               Admin       webhooks::show_webhook;
    PATCH "/webhooks/{id}"              Admin       webhooks::change_webhook;
    DELETE "/webhooks/{id}"             Admin       webhooks::remove_webhook;
    POST "/webhooks/{id}/rotate-secret" Admin       webhooks::rotate_webhook_secret;
    POST "/webhooks/{id}/test"          Admin       webhooks::test_webhook;
    POST "/webhooks/{id}/replay"        Admin       webhooks::replay_webhook;
    GET  "/webhooks/{id}/attempts"      Admin       webhooks::list_webhook_attempts;
    GET  "/keys"                        Admin       keys::list_keys;
    POST "/keys"                        Admin       keys::add_key;
    POST "/keys/{id}/revoke"            Admin       keys::revoke_key;
}

/// Returns the operation of a method and the pattern of a path.
pub(super) fn find(method: &str, path: &str) -> Option<&'static Operation> {
    OPERATIONS.iter().find(|operation| operation.method == method && operation.path == path)
}

/// A GET route answers HEAD, too.
fn route_of(method: &str) -> Route {
    match method {
        "GET" => web::route().guard(guard::Any(guard::Get()).or(guard::Head())),
        other => web::method(Method::from_bytes(other.as_bytes()).unwrap_or_default()),
    }
}

fn refuse_other_methods(resource: Resource, methods: &[&str]) -> Resource {
    let mut allow = methods.join(", ");
    if methods.contains(&"GET") {
        allow.push_str(", HEAD");
    }
    resource.default_service(web::to(move |request: HttpRequest| {
        let text = format!("{} does not support {}. Supported: {allow}.", request.path(), request.method());
        let problem = Problem { allow: Some(allow.clone()), ..Problem::new(Kind::MethodNotAllowed, text) };
        async move { problem.error_response() }
    }))
}

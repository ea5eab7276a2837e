//! The table of operations: method, path below `/staff/v1`, the role that a key needs, the handler. Routes, authorisation
//! and the OpenAPI document derive from it.

use super::problem::{Kind, Problem};
use super::write::in_transaction;
use super::{
    audit, clinics, deliveries, events, exports, imports, invoices, keys, mappings, orders, price_lists, products,
    shipment_files, shipments, sites, webhooks,
};
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

/// A write runs in a transaction. One that is marked `begins_later` begins it itself, after work that must not hold one.
macro_rules! handler {
    (GET, $handler:path) => {
        $handler
    };
    ($method:ident begins_later, $handler:path) => {
        $handler
    };
    ($method:ident, $handler:path) => {
        in_transaction($handler)
    };
}

macro_rules! operations {
    ($($method:ident $path:literal $role:ident $($handler:ident)::+ $(($mode:ident))?;)+) => {
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
                let route = route_of(stringify!($method)).to(handler!($method $($mode)?, $($handler)::+));
                resources.insert($path, (resource.route(route), methods));
            )+
            resources.into_values().map(|(resource, methods)| refuse_other_methods(resource, &methods)).collect()
        }
    };
}

#[rustfmt::skip]
operations! {
    GET    "/audit"                                       Admin     audit::list_audit;
    GET    "/clinics"                                     Viewer    clinics::list_clinics;
    POST   "/clinics"                                     Admin     clinics::add_clinic;
    GET    "/clinics/{id}"                                Viewer    clinics::show_clinic;
    PATCH  "/clinics/{id}"                                Admin     clinics::change_clinic;
    GET    "/clinics/{id}/mappings"                       Viewer    mappings::list_clinic_mappings;
    PUT    "/clinics/{id}/mappings"                       Admin     mappings::map_clinic;
    DELETE "/clinics/{id}/mappings/{kind}/{ezyvet_id}"    Admin     mappings::unmap_clinic;
    GET    "/clinics/{id}/prices"                         Viewer    price_lists::list_clinic_prices;
    PUT    "/clinics/{id}/prices"                         Catalogue price_lists::set_clinic_prices;
    DELETE "/clinics/{id}/prices/{code}"                  Catalogue price_lists::delete_clinic_prices;
    POST   "/clinics/{id}/resume"                         Admin     clinics::resume_clinic;
    POST   "/clinics/{id}/rotate-secret"                  Admin     clinics::rotate_clinic_secret;
    POST   "/clinics/{id}/suspend"                        Admin     clinics::suspend_clinic;
    GET    "/deliveries"                                  Viewer    deliveries::list_deliveries;
    GET    "/deliveries/counts"                           Viewer    deliveries::count_deliveries;
    POST   "/deliveries/retry"                            Billing   deliveries::retry_deliveries;
    GET    "/deliveries/{id}"                             Viewer    deliveries::show_delivery;
    POST   "/deliveries/{id}/cancel"                      Billing   deliveries::cancel_delivery;
    POST   "/deliveries/{id}/retry"                       Billing   deliveries::retry_delivery;
    GET    "/events"                                      Viewer    events::list_events;
    GET    "/events/{id}"                                 Viewer    events::show_event;
    GET    "/exports/invoices"                            Viewer    exports::export_invoices;
    GET    "/exports/orders"                              Viewer    exports::export_orders;
    GET    "/exports/shipments"                           Viewer    exports::export_shipments;
    GET    "/imports"                                     Viewer    imports::list_imports;
    POST   "/imports"                                     Catalogue imports::upload_import;
    GET    "/imports/{id}"                                Viewer    imports::show_import;
    POST   "/imports/{id}/apply"                          Catalogue imports::apply_import;
    GET    "/imports/{id}/changes"                        Viewer    imports::list_changes;
    POST   "/imports/{id}/check"                          Catalogue imports::check_import;
    POST   "/imports/{id}/roll-back"                      Catalogue imports::roll_back_import;
    GET    "/invoices"                                    Viewer    invoices::list_invoices;
    GET    "/invoices/{number}"                           Viewer    invoices::show_invoice;
    POST   "/invoices/{number}/reissue"                   Billing   invoices::reissue_invoice;
    GET    "/keys"                                        Admin     keys::list_keys;
    POST   "/keys"                                        Admin     keys::add_key;
    POST   "/keys/{id}/revoke"                            Admin     keys::revoke_key;
    GET    "/orders"                                      Viewer    orders::list_orders;
    GET    "/orders/back-orders"                          Viewer    orders::list_back_orders;
    GET    "/orders/rules"                                Viewer    orders::list_rules;
    GET    "/orders/{id}"                                 Viewer    orders::show_order;
    POST   "/orders/{id}/accept"                          Orders    orders::accept_order;
    POST   "/orders/{id}/cancel"                          Orders    orders::cancel_order;
    POST   "/orders/{id}/decline"                         Orders    orders::decline_order;
    POST   "/orders/{id}/hold"                            Orders    orders::hold_order;
    GET    "/price-lists"                                 Viewer    price_lists::list_price_lists;
    GET    "/price-lists/{name}"                          Viewer    price_lists::show_price_list;
    DELETE "/price-lists/{name}"                          Catalogue price_lists::delete_price_list;
    GET    "/price-lists/{name}/prices"                   Viewer    price_lists::list_list_prices;
    PUT    "/price-lists/{name}/prices"                   Catalogue price_lists::set_list_prices;
    DELETE "/price-lists/{name}/prices/{code}"            Catalogue price_lists::delete_list_prices;
    GET    "/products"                                    Viewer    products::list_products;
    POST   "/products/bulk"                               Catalogue products::upsert_products;
    POST   "/products/stock"                              Catalogue products::change_stock;
    GET    "/products/{code}"                             Viewer    products::show_product;
    PUT    "/products/{code}"                             Catalogue products::put_product;
    POST   "/products/{code}/relist"                      Catalogue products::relist_product;
    POST   "/products/{code}/withdraw"                    Catalogue products::withdraw_product;
    GET    "/shipments"                                   Viewer    shipments::list_shipments;
    POST   "/shipments"                                   Warehouse shipments::create_shipment;
    POST   "/shipments/import"                            Warehouse shipment_files::import_shipments;
    POST   "/shipments/preview"                           Warehouse shipments::preview_shipment;
    GET    "/shipments/{id}"                              Viewer    shipments::show_shipment;
    GET    "/sites"                                       Viewer    sites::list_sites;
    POST   "/sites"                                       Admin     sites::add_site;
    GET    "/sites/{id}"                                  Viewer    sites::show_site;
    PATCH  "/sites/{id}"                                  Admin     sites::change_site;
    GET    "/sites/{id}/mappings"                         Viewer    mappings::list_site_mappings;
    PUT    "/sites/{id}/mappings"                         Admin     mappings::map_site;
    DELETE "/sites/{id}/mappings/{kind}/{ezyvet_id}"      Admin     mappings::unmap_site;
    POST   "/sites/{id}/pause"                            Admin     sites::pause_site;
    PUT    "/sites/{id}/products/{product_id}"            Warehouse sites::pin_product;
    POST   "/sites/{id}/resume"                           Admin     sites::resume_site;
    GET    "/sites/{id}/separations"                      Viewer    sites::list_separations;
    POST   "/sites/{id}/separations"                      Admin     sites::read_separations (begins_later);
    POST   "/sites/{id}/test"                             Admin     sites::test_site (begins_later);
    GET    "/sites/{id}/unmapped"                         Viewer    sites::list_unmapped;
    GET    "/webhooks"                                    Admin     webhooks::list_webhooks;
    POST   "/webhooks"                                    Admin     webhooks::add_webhook;
    GET    "/webhooks/{id}"                               Admin     webhooks::show_webhook;
    PATCH  "/webhooks/{id}"                               Admin     webhooks::change_webhook;
    DELETE "/webhooks/{id}"                               Admin     webhooks::remove_webhook;
    GET    "/webhooks/{id}/attempts"                      Admin     webhooks::list_webhook_attempts;
    POST   "/webhooks/{id}/replay"                        Admin     webhooks::replay_webhook (begins_later);
    POST   "/webhooks/{id}/rotate-secret"                 Admin     webhooks::rotate_webhook_secret;
    POST   "/webhooks/{id}/test"                          Admin     webhooks::test_webhook (begins_later);
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

//! Health checks, metrics and the front page, for operators.

use crate::auth::Auth;
use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::config::ServerSettings;
use crate::db::Pool;
use actix_web::http::header;
use actix_web::{HttpResponse, web};
use serde_json::json;
use std::time::Duration;

/// The database counts as unreachable if it does not respond within this time.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// `GET /healthz`: 200 while the process serves requests. Restart the process if this fails.
pub async fn alive() -> HttpResponse {
    HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(json!({"status": "alive"}))
}

/// `GET /readyz`: 200 while the clinics and the catalogue are in memory and the database responds, else 503 with the reason.
///
/// `checked_seconds_ago` is the greatest possible age of the catalogue. While the catalogue cannot be read from the
/// database, the last one in memory is served.
pub async fn ready(
    pool: web::Data<Pool>,
    catalog: web::Data<Catalog>,
    auth: web::Data<Auth>,
    clock: web::Data<Clock>,
) -> HttpResponse {
    let database_responds =
        tokio::time::timeout(PING_TIMEOUT, crate::db::ping(&pool)).await.is_ok_and(|answer| answer.is_ok());
    let version = catalog.version();
    let is_ready = database_responds && auth.is_ready() && version.is_some();
    let report = json!({
        "status": if is_ready { "ready" } else { "not ready" },
        "database": if database_responds { "answers" } else { "does not answer" },
        "clinics": if auth.is_ready() { "loaded" } else { "not loaded" },
        "catalogue": match version {
            None => json!("not loaded"),
            Some((0, _)) => json!("nothing imported yet: /products answers 503 until `spsi catalog import`"),
            Some((version, products)) => json!({
                "version": version,
                "products": products,
                "checked_seconds_ago": (clock.now().unix_timestamp() - catalog.checked_at()).max(0),
            }),
        },
    });
    let mut builder = if is_ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    if !is_ready {
        builder.insert_header((header::RETRY_AFTER, 1));
    }
    builder.insert_header((header::CACHE_CONTROL, "no-store")).json(report)
}

/// `GET /metrics`: metrics in the text format of Prometheus.
pub async fn metrics() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/plain; version=0.0.4; charset=utf-8")
        .body(crate::telemetry::metrics().render())
}

/// `GET /`: a page with links, for a person with a browser.
pub async fn front_page(settings: web::Data<ServerSettings>) -> HttpResponse {
    let metrics = if settings.metrics_bind.0.is_none() { "<li><a href=\"metrics\">metrics</a></li>" } else { "" };
    let page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>spsi-partner</title>\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <style>body{{font:16px/1.5 system-ui,sans-serif;max-width:40rem;margin:3rem auto;padding:0 1rem;color:#222}}</style>\
         <h1>spsi-partner</h1><p>The supplier's side of ezyVet's Standard Product Supplier Integration.</p>\
         <ul><li><a href=\"docs/\">API explorer</a></li><li><a href=\"openapi.json\">OpenAPI document</a></li>\
         <li><a href=\"staff/docs/\">Staff API explorer</a></li>\
         <li><a href=\"readyz\">readiness</a></li>{metrics}</ul></html>"
    );
    HttpResponse::Ok().content_type("text/html; charset=utf-8").body(page)
}

//! The HTTP server: the route table, and a request id, a log line and metrics for each request. Errors are in [`problem`].

pub mod address;
pub mod body;
pub mod fair_body;
mod health;
pub mod openapi;
pub mod problem;
mod request_line;
mod span;

use crate::auth::Auth;
use crate::auth::http::access_token;
use crate::catalog::Catalog;
use crate::catalog::http::{categories, products};
use crate::clock::Clock;
use crate::config::ServerSettings;
use crate::db::Pool;
use crate::orders::http::purchase_order;
use crate::orders::intake::Intake;
use crate::shutdown::Shutdown;
use crate::staff::{self, Staff};
use actix_http::error::DispatchError;
use actix_http::{HttpService, Protocol};
use actix_service::{IntoServiceFactory, ServiceFactoryExt, fn_service, map_config};
use actix_web::dev::{AppConfig, Server};
use actix_web::http::header;
use actix_web::middleware::{Compress, from_fn};
use actix_web::rt::net::TcpStream;
use actix_web::web::{self, ServiceConfig};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, Resource, ResponseError, Route, guard};
use nix::sys::socket::Backlog;
use problem::{Kind, Problem};
use request_line::EscapingStream;
use std::io;
use std::net::TcpListener;
use std::time::Duration;

/// Everything that the handlers share.
#[derive(Clone)]
pub struct Services {
    /// True to serve the routes that ezyVet calls; false to serve only the routes for operators.
    pub serves_partner: bool,
    pub settings: ServerSettings,
    pub pool: Pool,
    pub clock: Clock,
    pub auth: Auth,
    pub catalog: Catalog,
    pub intake: Intake,
    pub staff: Staff,
}

/// The routes that ezyVet calls (SPSI.md 1).
fn partner(config: &mut ServiceConfig) {
    config
        .service(resource("/accesstoken", "POST").route(web::post().to(access_token)))
        .service(resource("/categories", "GET, HEAD").route(get_or_head().to(categories)))
        .service(resource("/products", "GET, HEAD").route(get_or_head().to(products)))
        .service(resource("/purchaseorder", "POST").route(web::post().to(purchase_order)));
}

/// The routes for operators and integrators.
fn operations(config: &mut ServiceConfig) {
    config
        .service(resource("/", "GET, HEAD").route(get_or_head().to(health::front_page)))
        .service(resource("/healthz", "GET, HEAD").route(get_or_head().to(health::alive)))
        .service(resource("/readyz", "GET, HEAD").route(get_or_head().to(health::ready)))
        .service(resource("/openapi.json", "GET, HEAD").route(get_or_head().to(openapi::document)))
        .service(resource("/docs", "GET, HEAD").route(get_or_head().to(openapi::to_explorer)))
        .service(openapi::explorer());
}

/// Serves until the shutdown begins, then finishes the requests in flight within `SPSI_SHUTDOWN_TIMEOUT`.
pub async fn serve(services: Services, listener: TcpListener, mut shutdown: Shutdown) -> io::Result<()> {
    let settings = services.settings.clone();
    let serves_partner = services.serves_partner;
    let has_metrics_server = settings.metrics_bind.0.is_some();
    let threads = match settings.http_threads {
        0 => std::thread::available_parallelism().map_or(2, usize::from),
        threads => threads,
    };
    let base_path = base_path(&settings.base_path)?;
    let together = settings.max_orders_per_batch;
    let connections = services.pool.max_connections().div_ceil(u32::try_from(threads).unwrap_or(1));
    let app = move || {
        let services = services.clone();
        let base_path = base_path.clone();
        let staff = services.staff;
        App::new()
            .app_data(web::Data::new(services.settings))
            .app_data(web::Data::new(services.pool))
            .app_data(web::Data::new(services.clock))
            .app_data(web::Data::new(services.auth))
            .app_data(web::Data::new(services.catalog))
            .app_data(web::Data::new(services.intake.with_batch_writer(connections, together)))
            .wrap(Compress::default())
            .wrap(from_fn(span::observe))
            .configure(operations)
            .configure(|config| {
                if serves_partner {
                    partner(config);
                    staff::configure(config, &staff);
                }
                if let Some(path) = base_path.as_ref().filter(|_| serves_partner) {
                    config.service(web::scope(path).configure(partner));
                }
                if !has_metrics_server {
                    config.service(metrics());
                }
            })
            .default_service(web::to(not_found))
            .into_factory()
            .map_err(|error: actix_web::Error| error.error_response())
    };
    // The standard library listens for 128 waiting connections, fewer than a burst of clinics opens; the system drops the rest.
    nix::sys::socket::listen(&listener, Backlog::MAXCONN)?;
    let signal = shutdown.clone();
    // Built from the parts of actix-web's HttpServer, which has no hook to wrap the stream in an EscapingStream.
    let server = Server::build()
        .workers(threads)
        .shutdown_timeout(settings.shutdown_timeout.0.as_secs())
        .disable_signals()
        .listen("partner", listener, move || {
            let signal = signal.clone();
            let service = HttpService::build()
                .client_request_timeout(settings.read_timeout.0)
                .client_disconnect_timeout(Duration::from_secs(1))
                .graceful_shutdown_signal(move || {
                    let signal = signal.clone();
                    async move { signal.begun().await }
                })
                .finish(map_config(app(), |()| AppConfig::default()));
            fn_service(|stream: TcpStream| async move {
                let peer = stream.peer_addr().ok();
                Ok::<_, DispatchError>((accept(stream), Protocol::Http1, peer))
            })
            .and_then(service)
        })?
        .run();
    until_shutdown(server, &mut shutdown).await
}

/// Sets TCP_NODELAY: otherwise a body that leaves in several writes waits up to 40 ms for the client's delayed ACK.
fn accept(stream: TcpStream) -> EscapingStream<TcpStream> {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
    EscapingStream::new(stream)
}

/// Serves only `/metrics`, at an address of its own (`SPSI_METRICS_BIND`).
pub async fn serve_metrics(listener: TcpListener, mut shutdown: Shutdown) -> io::Result<()> {
    let app = || App::new().service(metrics()).default_service(web::to(not_found));
    let server = HttpServer::new(app).tcp_nodelay(true).workers(1).disable_signals().listen(listener)?.run();
    until_shutdown(server, &mut shutdown).await
}

async fn until_shutdown(server: Server, shutdown: &mut Shutdown) -> io::Result<()> {
    let handle = server.handle();
    let mut server = std::pin::pin!(server);
    tokio::select! {
        ended = &mut server => return ended,
        () = shutdown.begun() => {}
    }
    let (ended, ()) = tokio::join!(server, handle.stop(true));
    ended
}

/// Normalises SPSI_BASE_PATH: `spsi`, `/spsi` and `/spsi/` become `/spsi`; an empty path becomes `None`.
fn base_path(text: &str) -> io::Result<Option<String>> {
    let path = text.trim_matches('/');
    if path.chars().any(|c| !(c.is_ascii_alphanumeric() || "-._~/".contains(c))) {
        let text = format!("SPSI_BASE_PATH: `{text}` is not a path; write it like `/spsi`");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    Ok((!path.is_empty()).then(|| format!("/{path}")))
}

/// Creates a resource that answers 405 with `Allow` to methods without a route. `allow` lists the methods with one.
fn resource(path: &str, allow: &'static str) -> Resource {
    let refuse = move |request: HttpRequest| async move {
        let text = format!("{} does not support {}. Supported: {allow}.", request.path(), request.method());
        Problem { allow: Some(allow), ..Problem::new(Kind::MethodNotAllowed, text) }.error_response()
    };
    web::resource(path.to_owned()).default_service(web::to(refuse))
}

fn get_or_head() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

fn metrics() -> Resource {
    resource("/metrics", "GET").route(web::get().to(health::metrics))
}

async fn not_found(request: HttpRequest) -> HttpResponse {
    let path: String = request.path().chars().take(200).collect();
    let mut response =
        Problem::new(Kind::NotFound, format!("No such route: {path}. See /docs for the available routes."))
            .error_response();
    response.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn accepted_sockets_send_small_writes_without_delay() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        assert!(!stream.nodelay().unwrap(), "this machine sets TCP_NODELAY by itself");
        assert!(accept(stream).stream.nodelay().unwrap());
    }
}

//! The HTTP server: passes requests to the world and sends its answers. The only file of the sandbox that uses actix-web.

use std::{
    any::Any,
    io,
    net::{Shutdown, TcpListener, TcpStream},
    os::fd::AsFd,
    sync::atomic::Ordering,
    time::Duration,
};

use actix_web::{
    App, HttpRequest, HttpResponse, HttpResponseBuilder, HttpServer,
    dev::Extensions,
    http::StatusCode,
    web::{self, Bytes, Data},
};

pub(super) use actix_web::dev::ServerHandle;

use super::{
    Shared, control, lock, page,
    routes::{self, Transfer},
    wire::{Answer, Request},
};

/// The largest request body, in bytes.
const MAX_BODY: usize = 64 << 20;
/// Longer than any caller waits.
const HANG: Duration = Duration::from_secs(24 * 3600);
/// Allows the page its own style and forms, and nothing else.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'self'";

/// Starts serving a listening socket.
pub(super) fn start(listener: TcpListener, shared: Shared) -> io::Result<ServerHandle> {
    let server = HttpServer::new(move || {
        App::new()
            .app_data(Data::new(shared.clone()))
            .app_data(web::PayloadConfig::new(MAX_BODY))
            .default_service(web::to(handle))
    })
    .on_connect(attach_connection)
    .tcp_nodelay(true)
    .workers(2)
    .shutdown_timeout(1)
    .disable_signals()
    .listen(listener)?
    .run();
    let handle = server.handle();
    tokio::spawn(server);
    Ok(handle)
}

/// A second handle of the connection, to cut it before the first byte of an answer.
struct Connection(TcpStream);

fn attach_connection(connection: &dyn Any, data: &mut Extensions) {
    let stream = connection.downcast_ref::<tokio::net::TcpStream>();
    if let Some(Ok(handle)) = stream.map(|stream| stream.as_fd().try_clone_to_owned()) {
        data.insert(Connection(handle.into()));
    }
}

async fn handle(http: HttpRequest, body: Bytes, shared: Data<Shared>) -> HttpResponse {
    if shared.stopped.load(Ordering::SeqCst) {
        return cut(&http);
    }
    let header =
        |name: &str| http.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let authorization = header("authorization");
    let scheme = authorization.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let request = Request {
        method: http.method().to_string(),
        path: http.path().to_owned(),
        query: http.query_string().to_owned(),
        bearer: scheme.map(|(_, token)| token.trim().to_owned()),
        content_type: header("content-type").to_ascii_lowercase(),
        body: body.to_vec(),
    };
    let now = shared.clock.now();
    match request.path.as_str() {
        "/" => return page(&shared),
        "/favicon.ico" => return HttpResponse::NoContent().finish(),
        path if path.starts_with("/_sandbox/") && is_cross_origin(&header("origin"), &header("host")) => {
            let text = "Only the sandbox's own page may control it from a browser";
            return whole(&Answer::error(403, "Forbidden", text));
        }
        _ => {}
    }
    if let Some(answer) = control::answer(&shared, now, &request).await {
        // A button on the page sends a form and expects the page again.
        let is_from_page = request.method == "POST" && header("accept").contains("text/html") && answer.status < 300;
        let see_page = || HttpResponse::SeeOther().insert_header(("location", "/")).finish();
        return if is_from_page { see_page() } else { whole(&answer) };
    }
    let served = routes::serve(&mut lock(&shared.world), now, &request);
    tokio::time::sleep(served.delay).await;
    match served.transfer {
        Transfer::Whole => whole(&served.answer),
        Transfer::Hang => {
            tokio::time::sleep(HANG).await;
            cut(&http)
        }
        Transfer::Cut => cut(&http),
        Transfer::Garbled => head(&served.answer).body("{\"items\": [{\"jobqueue\": {\"id\": <!-- not JSON"),
        Transfer::Huge(megabytes) => {
            let mut answer = served.answer;
            answer.body["padding"] = "x".repeat((megabytes as usize) << 20).into();
            whole(&answer)
        }
    }
}

fn page(shared: &Shared) -> HttpResponse {
    let (world, now) = (&mut lock(&shared.world), shared.clock.now());
    world.tick(now);
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header(("content-security-policy", PAGE_POLICY))
        .body(page::render(world, now))
}

/// Returns whether a browser sends the request for a page of another origin.
fn is_cross_origin(origin: &str, host: &str) -> bool {
    !origin.is_empty() && origin.split_once("://").is_none_or(|(_, origin)| origin != host)
}

fn head(answer: &Answer) -> HttpResponseBuilder {
    let mut head =
        HttpResponse::build(StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
    head.content_type("application/json");
    for (name, value) in &answer.headers {
        head.insert_header((*name, value.as_str()));
    }
    head
}

fn whole(answer: &Answer) -> HttpResponse {
    head(answer).body(answer.body.to_string())
}

fn cut(http: &HttpRequest) -> HttpResponse {
    if let Some(connection) = http.conn_data::<Connection>() {
        // This fails only if the connection has ended already.
        let _ = connection.0.shutdown(Shutdown::Both);
    }
    HttpResponse::InternalServerError().force_close().finish()
}

//! The HTTP server: passes requests to the world and sends its answers. The only file of the sandbox that uses actix-web.

use std::{
    any::Any,
    io,
    net::{Shutdown, TcpListener, TcpStream},
    sync::atomic::Ordering,
    time::Duration,
};

use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer,
    dev::{Extensions, Server, ServerHandle},
    http::StatusCode,
    web::{self, Bytes, Data},
};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{
    ClinicError, OrderReply, Reply, Shared, control, lock,
    order::OrderLine,
    routes::{self, Transfer},
    wire::{Answer, Body, Request, decimal_of, whole_of},
};

/// The largest request body, in bytes.
const MAX_BODY: usize = 64 << 20;
/// Longer than any caller waits.
const HANG: Duration = Duration::from_secs(24 * 3600);

/// A running server.
pub(super) struct Running {
    handle: ServerHandle,
    task: JoinHandle<io::Result<()>>,
}

impl Running {
    /// Starts serving a listening socket.
    pub(super) fn start(listener: TcpListener, shared: Shared) -> io::Result<Self> {
        let server = server(listener, shared)?;
        Ok(Self { handle: server.handle(), task: tokio::spawn(server) })
    }

    /// Stops the server, including hanging calls.
    pub(super) async fn stop(self) {
        self.handle.stop(false).await;
        if let Ok(Err(error)) = self.task.await {
            tracing::error!("the sandbox server failed: {error}");
        }
    }
}

fn server(listener: TcpListener, shared: Shared) -> io::Result<Server> {
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
    Ok(server)
}

/// A second handle of the connection, to cut it before the first byte of an answer.
struct Connection(TcpStream);

fn attach_connection(connection: &dyn Any, data: &mut Extensions) {
    #[cfg(unix)]
    if let Some(stream) = connection.downcast_ref::<tokio::net::TcpStream>() {
        use std::os::fd::AsFd;
        if let Ok(handle) = stream.as_fd().try_clone_to_owned() {
            data.insert(Connection(handle.into()));
        }
    }
    #[cfg(not(unix))]
    let _ = (connection, data);
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
        accept: header("accept"),
        body: body.to_vec(),
    };
    if request.path.starts_with("/_sandbox/") && is_cross_origin(&header("origin"), &header("host")) {
        return whole(Answer::error(403, "Forbidden", "Only the sandbox's own page may control it from a browser"));
    }
    match (request.method.as_str(), request.path.as_str()) {
        ("POST", "/_sandbox/order") => return whole(order(&shared, &request.body).await),
        ("POST", "/_sandbox/pull") => return whole(pull(&shared, &request.body).await),
        ("POST", path) => {
            let id = path.strip_prefix("/_sandbox/orders/").and_then(|rest| rest.strip_suffix("/resend"));
            if let Some(id) = id {
                return whole(resend(&shared, id).await);
            }
        }
        _ => {}
    }
    let now = shared.clock.now();
    if let Some(answer) = control::answer(&mut lock(&shared.world), now, &request) {
        return whole(answer);
    }
    let served = routes::serve(&mut lock(&shared.world), now, &request);
    if let Some(delay) = served.delay {
        tokio::time::sleep(delay).await;
    }
    match served.transfer {
        Transfer::Whole => whole(served.answer),
        Transfer::Hang => {
            tokio::time::sleep(HANG).await;
            cut(&http)
        }
        Transfer::Cut => cut(&http),
        Transfer::Garbled => head(&served.answer)
            .content_type("application/json")
            .body("{\"items\": [{\"jobqueue\": {\"id\": <!-- not JSON"),
        Transfer::Huge(megabytes) => huge(&served.answer, megabytes),
    }
}

/// Returns whether a browser sends the request for a page of another origin.
fn is_cross_origin(origin: &str, host: &str) -> bool {
    !origin.is_empty() && origin.split_once("://").is_none_or(|(_, origin)| origin != host)
}

fn head(answer: &Answer) -> actix_web::HttpResponseBuilder {
    let mut head =
        HttpResponse::build(StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
    for (name, value) in &answer.headers {
        head.insert_header((*name, value.as_str()));
    }
    head
}

fn whole(answer: Answer) -> HttpResponse {
    let mut head = head(&answer);
    match answer.body {
        Body::Json(value) => head.content_type("application/json").body(value.to_string()),
        Body::Html(page) => head
            .content_type("text/html; charset=utf-8")
            .insert_header((
                "content-security-policy",
                "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'self'",
            ))
            .body(page),
        Body::Empty => head.finish(),
    }
}

fn cut(http: &HttpRequest) -> HttpResponse {
    if let Some(connection) = http.conn_data::<Connection>() {
        // This fails only if the connection has ended already.
        let _ = connection.0.shutdown(Shutdown::Both);
    }
    HttpResponse::InternalServerError().force_close().finish()
}

/// Sends the answer with megabytes of padding in an extra field.
fn huge(answer: &Answer, megabytes: u32) -> HttpResponse {
    let padding = Bytes::from(vec![b'x'; 1 << 20]);
    let text = match answer.value() {
        Value::Object(map) => Value::Object(map).to_string(),
        other => json!({"data": other}).to_string(),
    };
    let (open, rest) = text.split_at(1);
    let rest = if rest == "}" { "}".to_owned() } else { format!(",{rest}") };
    let start = stream::iter([Ok::<_, io::Error>(Bytes::from(format!("{open}\"padding\":\"")))]);
    let middle = stream::iter((0..megabytes).map(move |_| Ok(padding.clone())));
    let end = stream::iter([Ok(Bytes::from(format!("\"{rest}")))]);
    let body = futures_util::StreamExt::chain(futures_util::StreamExt::chain(start, middle), end);
    head(answer).content_type("application/json").streaming(body)
}

/// Serves `POST /_sandbox/order`: `{"lines": [{"code": "A", "outers": 2, "location": 3}], "comments": "..."}`.
async fn order(shared: &Shared, body: &[u8]) -> Answer {
    let Some(clinic) = shared.clinic() else { return no_partner() };
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let lines = body["lines"].as_array().into_iter().flatten().map(|line| {
        let location = whole_of(&line["location"]).and_then(|location| location.try_into().ok()).unwrap_or(3);
        Some(OrderLine { code: line["code"].as_str()?.to_owned(), outers: decimal_of(&line["outers"])?, location })
    });
    let Some(lines) = lines.collect::<Option<Vec<_>>>().filter(|lines| !lines.is_empty()) else {
        return Answer::error(
            400,
            "BadRequest",
            "send at least one line: {\"lines\": [{\"code\": \"A\", \"outers\": 2, \"location\": 3}]}",
        );
    };
    let comments = body["comments"].as_str().unwrap_or_default();
    order_answer(clinic.send_order(&lines, comments).await)
}

/// Serves `POST /_sandbox/orders/{id}/resend`: sends the same body again, as ezyVet may do after a timeout.
async fn resend(shared: &Shared, id: &str) -> Answer {
    let Some(clinic) = shared.clinic() else { return no_partner() };
    let order = lock(&shared.world).orders.iter().find(|order| order.id.to_string() == id).cloned();
    match order {
        Some(order) => order_answer(clinic.resend(&order).await),
        None => Answer::error(404, "NotFound", format!("there is no order {id}; GET /_sandbox/orders lists them")),
    }
}

fn order_answer(reply: Result<Reply<OrderReply>, ClinicError>) -> Answer {
    match reply {
        Ok(reply) => Answer::json(
            200,
            json!({"order": reply.value.order, "supplier_order_number": reply.value.supplier_order_number, "reasons": reply.value.reasons, "exchange": reply.exchange}),
        ),
        Err(error) => Answer::json(502, json!({"messages": [error.reason], "exchange": error.exchange})),
    }
}

/// Serves `POST /_sandbox/pull`: `{"page_size": 200}`; without a page size, the whole catalogue in one answer.
async fn pull(shared: &Shared, body: &[u8]) -> Answer {
    let Some(clinic) = shared.clinic() else { return no_partner() };
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let page_size = whole_of(&body["page_size"]).and_then(|size| usize::try_from(size).ok()).filter(|size| *size > 0);
    match clinic.pull_catalogue(page_size).await {
        Ok(pull) => Answer::json(200, json!({"summary": pull.summary, "pages": pull.exchanges.len()})),
        Err(error) => Answer::json(502, json!({"messages": [error.reason], "exchange": error.exchange})),
    }
}

fn no_partner() -> Answer {
    Answer::error(
        409,
        "Conflict",
        "this sandbox has no partner to call; restart it with --partner URL --partner-client-id ID --partner-client-secret SECRET",
    )
}

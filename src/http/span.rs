//! Wraps every request: request id, log line, metrics.

use crate::secret::random_text;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use std::borrow::Cow;
use std::cell::Cell;
use std::time::Instant;
use tracing::Instrument;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The most frequent routes. Their pattern is their path, and a comparison is faster than asking the router.
const FREQUENT_ROUTES: [&str; 4] = ["/products", "/purchaseorder", "/accesstoken", "/categories"];

/// Takes the `X-Request-Id` of the request or creates one, logs under this id, and returns it in the response.
pub async fn observe(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let began = Instant::now();
    let id = request.headers().get(&REQUEST_ID).filter(|id| is_loggable(id)).cloned().unwrap_or_else(create_id);
    let method = request.method().clone();
    // The metric's label is the pattern. Paths come from callers, and each would create a metric.
    let route = match FREQUENT_ROUTES.into_iter().find(|route| *route == request.path()) {
        Some(route) => Cow::Borrowed(route),
        None => request.match_pattern().map_or(Cow::Borrowed("unknown"), Cow::Owned),
    };
    let span = tracing::info_span!("request", id = id.to_str().unwrap_or_default(), %method, %route);
    let mut response = next.call(request).instrument(span.clone()).await?;
    response.headers_mut().insert(REQUEST_ID, id);
    let status = response.status().as_u16();
    let seconds = began.elapsed().as_secs_f64();
    metrics::counter!("spsi_http_requests_total", "route" => route.clone(), "status" => status.to_string())
        .increment(1);
    metrics::histogram!("spsi_http_request_duration_seconds", "route" => route).record(seconds);
    span.in_scope(|| {
        if status >= 500 {
            tracing::warn!(status, seconds, "answered")
        } else {
            tracing::debug!(status, seconds, "answered")
        }
    });
    Ok(response)
}

/// Creates a unique id: a random prefix of the thread, then a counter.
fn create_id() -> HeaderValue {
    thread_local! {
        static PREFIX: String = random_text::<14>().unwrap_or_else(|_| "unknown".into());
        static COUNTER: Cell<u64> = const { Cell::new(0) };
    }
    let number = COUNTER.replace(COUNTER.get() + 1);
    let id = PREFIX.with(|prefix| HeaderValue::try_from(format!("{prefix}{number:06x}")));
    id.unwrap_or(HeaderValue::from_static("unknown"))
}

/// Returns true for visible ASCII of up to 128 characters, which is safe to log.
fn is_loggable(id: &HeaderValue) -> bool {
    (1..=128).contains(&id.len()) && id.as_bytes().iter().all(|byte| byte.is_ascii_graphic())
}

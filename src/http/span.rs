//! Around every request: an id, a line in the log, a count and a time.

use crate::secret::random_text;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use std::time::Instant;
use tracing::Instrument;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Takes the caller's `X-Request-Id`, or makes one, logs under it and sends it back.
pub async fn observe(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let began = Instant::now();
    let id = request.headers().get(&REQUEST_ID).filter(|id| is_harmless(id)).cloned();
    let id = id
        .or_else(|| HeaderValue::from_str(&random_text::<20>().ok()?).ok())
        .unwrap_or(HeaderValue::from_static("unknown"));
    let method = request.method().clone();
    // The pattern and not the path: a path is the caller's own text, and would make a metric of each.
    let route = request.match_pattern().unwrap_or_else(|| "unknown".into());
    let span = tracing::info_span!("request", id = id.to_str().unwrap_or_default(), %method, route);
    let mut response = next.call(request).instrument(span.clone()).await?;
    response.headers_mut().insert(REQUEST_ID, id);
    let status = response.status().as_u16();
    let seconds = began.elapsed().as_secs_f64();
    metrics::counter!("spsi_http_requests_total", "route" => route.clone(), "status" => status.to_string())
        .increment(1);
    metrics::histogram!("spsi_http_request_seconds", "route" => route).record(seconds);
    span.in_scope(|| {
        if status >= 500 {
            tracing::warn!(status, seconds, "answered")
        } else {
            tracing::debug!(status, seconds, "answered")
        }
    });
    Ok(response)
}

/// Visible ASCII of a sensible length: it goes into our log.
fn is_harmless(id: &HeaderValue) -> bool {
    (1..=128).contains(&id.len()) && id.as_bytes().iter().all(|byte| byte.is_ascii_graphic())
}

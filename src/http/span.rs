//! Around every request: an id, a line in the log, a count and a time.

use crate::secret::random_text;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use metrics::{Counter, Histogram};
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::time::Instant;
use tracing::Instrument;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Routes whose pattern is their path: most requests are for these, and the router takes longer to tell.
const PLAIN_ROUTES: [&str; 4] = ["/products", "/purchaseorder", "/accesstoken", "/categories"];

/// Takes the caller's `X-Request-Id`, or makes one, logs under it and sends it back.
pub async fn observe(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let began = Instant::now();
    let id = request.headers().get(&REQUEST_ID).filter(|id| is_harmless(id)).cloned().unwrap_or_else(fresh_id);
    let method = request.method().clone();
    // The pattern and not the path: a path is the caller's own text, and would make a metric of each.
    let route = match PLAIN_ROUTES.into_iter().find(|route| *route == request.path()) {
        Some(route) => Cow::Borrowed(route),
        None => request.match_pattern().map_or(Cow::Borrowed("unknown"), Cow::Owned),
    };
    let span = tracing::info_span!("request", id = id.to_str().unwrap_or_default(), %method, %route);
    let mut response = next.call(request).instrument(span.clone()).await?;
    response.headers_mut().insert(REQUEST_ID, id);
    let status = response.status().as_u16();
    let seconds = began.elapsed().as_secs_f64();
    count(&route, status, seconds);
    span.in_scope(|| {
        if status >= 500 {
            tracing::warn!(status, seconds, "answered")
        } else {
            tracing::debug!(status, seconds, "answered")
        }
    });
    Ok(response)
}

/// Unlike any other id of any process: a random beginning for each thread, then a number.
fn fresh_id() -> HeaderValue {
    thread_local! {
        static BEGINNING: String = random_text::<14>().unwrap_or_else(|_| "unknown".into());
        static NUMBER: Cell<u64> = const { Cell::new(0) };
    }
    let number = NUMBER.replace(NUMBER.get() + 1);
    let id = BEGINNING.with(|beginning| HeaderValue::try_from(format!("{beginning}{number:06x}")));
    id.unwrap_or(HeaderValue::from_static("unknown"))
}

/// A pair of metrics that was looked up.
struct Known {
    route: String,
    status: u16,
    requests: Counter,
    times: Histogram,
}

/// Metrics are looked up by their labels once per thread, route and status.
fn count(route: &str, status: u16, seconds: f64) {
    thread_local! {
        static KNOWN: RefCell<Vec<Known>> = const { RefCell::new(Vec::new()) };
    }
    KNOWN.with_borrow_mut(|all| {
        let known = match all.iter().position(|known| known.status == status && known.route == route) {
            Some(known) => &all[known],
            None => {
                let (labels, route) = ([("route", route.to_owned()), ("status", status.to_string())], route.to_owned());
                let requests = metrics::counter!("spsi_http_requests_total", &labels);
                let times = metrics::histogram!("spsi_http_request_duration_seconds", "route" => route.clone());
                all.push(Known { route, status, requests, times });
                &all[all.len() - 1]
            }
        };
        known.requests.increment(1);
        known.times.record(seconds);
    });
}

/// Visible ASCII of a sensible length: it goes into our log.
fn is_harmless(id: &HeaderValue) -> bool {
    (1..=128).contains(&id.len()) && id.as_bytes().iter().all(|byte| byte.is_ascii_graphic())
}

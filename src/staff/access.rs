//! What every request to the staff API passes: API key, rate limit, role. The role that an operation needs stands in
//! [`OPERATIONS`](super::OPERATIONS).

use super::limit::Quota;
use super::operations::find;
use super::problem::{Kind, Problem, Result};
use super::{ROOT, Staff};
use crate::auth::api_keys::authenticate;
use crate::http::address::client_address;
use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, header};
use actix_web::middleware::Next;
use actix_web::{HttpMessage, ResponseError, web};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Authenticates and authorises a request, then passes it on. Adds the `RateLimit` headers to the response.
pub async fn check<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, actix_web::Error> {
    let mut quota = None;
    let mut response = match admit(&request, &mut quota).await {
        Ok(()) => next.call(request).await?.map_into_left_body(),
        Err(problem) => request.into_response(problem.error_response()).map_into_right_body(),
    };
    if let Some(quota) = quota {
        insert(response.headers_mut(), RATE_LIMIT, quota.header());
        insert(response.headers_mut(), RATE_LIMIT_POLICY, quota.policy());
    }
    Ok(response)
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: String) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(name, value);
    }
}

async fn admit(request: &ServiceRequest, quota: &mut Option<Quota>) -> Result<()> {
    let staff = request.app_data::<web::Data<Staff>>().ok_or_else(Problem::internal)?;
    let now = staff.clock.now();
    let address = client_address(request.request(), &staff.settings.server.trusted_proxies);
    let caller = match bearer(request.headers()) {
        Some(key) => authenticate(&staff.pool, now, key).await?,
        None => None,
    };
    let Some(caller) = caller else {
        // Limits only requests without a valid key: systems behind one address, or one proxy, must not block each other.
        if let Some(seconds) = staff.throttle.wait("", address, now) {
            let text = "Too many requests of this address had no valid API key.";
            return Err(Problem { retry_after: Some(seconds), ..Problem::new(Kind::TooManyRequests, text) });
        }
        staff.throttle.failed("", address, now);
        let text = "The request has no valid API key. Send `Authorization: Bearer spsi_...`; the key may be expired or revoked.";
        return Err(Problem::new(Kind::Unauthorised, text));
    };
    let taken = staff.limiter.take(caller.key_id, now);
    *quota = Some(taken);
    if !taken.is_allowed {
        let text = format!("This key may make {} requests a minute.", taken.limit);
        return Err(Problem { retry_after: Some(taken.reset_seconds), ..Problem::new(Kind::TooManyRequests, text) });
    }
    if request.uri().path().contains("%00") {
        return Err(Problem::new(Kind::BadRequest, "The path contains a NUL character (%00)."));
    }
    // An unknown path or method is answered by the router.
    let method = if request.method() == Method::HEAD { &Method::GET } else { request.method() };
    let pattern = request.match_pattern();
    let path = pattern.as_deref().and_then(|pattern| pattern.strip_prefix(ROOT));
    if let Some(operation) = path.and_then(|path| find(method.as_str(), path))
        && !caller.role.may(operation.role)
    {
        let text = format!("This needs a key with the role `{}`; the key has `{}`.", operation.role, caller.role);
        return Err(Problem::new(Kind::Forbidden, text));
    }
    request.extensions_mut().insert(caller);
    Ok(())
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, key) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

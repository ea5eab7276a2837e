//! `POST /accesstoken`, and the proof that a request comes from a clinic: [`Caller`].

use super::{Auth, AuthError, TokenRequestError, request};
use crate::clinics::cache::CachedClinic;
use crate::config::ServerSettings;
use crate::http::address::client_address;
use crate::http::body;
use crate::http::problem::{Kind, Problem};
use actix_web::http::header;
use actix_web::{FromRequest, HttpRequest, HttpResponse, dev, web};
use serde::{Deserialize, Serialize};
use std::future::{Ready, ready};
use std::sync::Arc;

/// Maximum size of a token request's body in bytes; a larger one is answered with 413. A real request has a few hundred.
const MAX_TOKEN_BODY_BYTES: usize = 64 * 1024;

/// The clinic that a request comes from. A handler that takes it is reached only with a good token; what it does with
/// the database, it does with this clinic's id.
pub struct Caller(pub Arc<CachedClinic>);

impl FromRequest for Caller {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut dev::Payload) -> Self::Future {
        ready(caller(request))
    }
}

fn caller(request: &HttpRequest) -> Result<Caller, Problem> {
    let refused = |text: String| Problem::new(Kind::Unauthorised, text);
    let auth = request
        .app_data::<web::Data<Auth>>()
        .ok_or_else(|| Problem::new(Kind::Internal, "no token check is set up"))?;
    if !auth.is_ready() {
        return Err(Problem::unavailable("the clinics have not been read yet; try again"));
    }
    let header = request.headers().get(header::AUTHORIZATION).ok_or_else(|| {
        refused(
            "there is no token: ask POST /accesstoken for one and send it as `Authorization: Bearer <token>`".into(),
        )
    })?;
    let token = header.to_str().ok().and_then(|header| request::strip_scheme(header, "bearer"));
    let token = token.ok_or_else(|| refused("the Authorization header is not `Bearer <token>`".into()))?;
    auth.check(token).map(Caller).map_err(|error| match error {
        AuthError::InvalidClient => refused("the token's clinic is unknown or suspended".into()),
        other => refused(format!("{other}; ask POST /accesstoken for a new one")),
    })
}

/// What a client sends for a token.
#[derive(Deserialize, utoipa::ToSchema)]
#[expect(dead_code, reason = "describes the request in the OpenAPI document; request.rs reads it in all its spellings")]
pub struct AccessTokenRequest {
    /// The client id that the supplier gave to the clinic
    #[schema(example = "clinic-q7m4k9")]
    client_id: String,
    /// The client secret that the supplier gave to the clinic
    #[schema(example = "kd93mf8s7qj2w5h4", format = Password)]
    client_secret: String,
    #[schema(example = "client_credentials", pattern = "^client_credentials$")]
    grant_type: String,
}

/// A token.
#[derive(Serialize, utoipa::ToSchema)]
pub struct AccessToken {
    /// To be sent as `Authorization: Bearer <access_token>`
    #[schema(example = "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiIsImtpZCI6Im4zdyJ9...")]
    access_token: String,
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// Life in seconds
    #[schema(example = 28800)]
    expires_in: u64,
}

/// Why there is no token (RFC 6749 5.2).
#[derive(Serialize, utoipa::ToSchema)]
pub struct AccessTokenError {
    /// invalid_request, invalid_client, unsupported_grant_type; temporarily_unavailable and slow_down are ours
    #[schema(example = "invalid_client")]
    error: &'static str,
    #[schema(example = "the client id or the client secret is wrong, or the clinic is suspended")]
    error_description: String,
}

/// Ask for a token
///
/// As JSON, as a form, as multipart, or with the client's id and secret in HTTP Basic; the body decides, whatever its
/// media type says. Several tokens of one clinic may live at a time.
#[utoipa::path(
    post,
    path = "/accesstoken",
    tag = "token",
    operation_id = "accesstoken",
    request_body(
        content(
            (AccessTokenRequest = "application/json"),
            (AccessTokenRequest = "application/x-www-form-urlencoded"),
        ),
    ),
    responses(
        (status = 200, description = "A token", body = AccessToken),
        (status = 400, description = "The request cannot be read (invalid_request), or asks for another grant (unsupported_grant_type)", body = AccessTokenError),
        (status = 401, description = "Wrong client id or secret, or a suspended clinic (invalid_client)", body = AccessTokenError,
            headers(("WWW-Authenticate" = String, description = "Basic"))),
        (status = 408, description = "The body did not arrive in time", body = crate::http::problem::Envelope),
        (status = 413, description = "The body is too large", body = crate::http::problem::Envelope),
        (status = 429, description = "Too many failed tries of this client or address (slow_down)", body = AccessTokenError,
            headers(("Retry-After" = u64, description = "Seconds"))),
        (status = 503, description = "The clinics cannot be read (temporarily_unavailable)", body = AccessTokenError,
            headers(("Retry-After" = u64, description = "Seconds"))),
    ),
    security(())
)]
pub async fn access_token(
    request: HttpRequest,
    payload: web::Payload,
    auth: web::Data<Auth>,
    settings: web::Data<ServerSettings>,
) -> Result<HttpResponse, Problem> {
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let authorization = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let body = body::read(payload, MAX_TOKEN_BODY_BYTES, settings.read_timeout.0).await?;
    let asked = match request::read(body, content_type, authorization).await {
        Ok(asked) => asked,
        Err(error) => {
            let code = match error {
                TokenRequestError::InvalidRequest(_) => "invalid_request",
                TokenRequestError::UnsupportedGrantType => "unsupported_grant_type",
            };
            return Ok(refusal(HttpResponse::BadRequest(), code, error.to_string()));
        }
    };
    let address = client_address(&request, &settings.trusted_proxies);
    let answer = match auth.issue(&asked.client_id, &asked.client_secret, address).await {
        Ok(issued) => HttpResponse::Ok()
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .insert_header((header::PRAGMA, "no-cache"))
            .json(AccessToken { access_token: issued.token, token_type: "Bearer", expires_in: issued.expires_in }),
        Err(error @ AuthError::InvalidClient) => {
            let mut builder = HttpResponse::Unauthorized();
            builder.insert_header((header::WWW_AUTHENTICATE, "Basic realm=\"spsi\", charset=\"UTF-8\""));
            refusal(builder, "invalid_client", error.to_string())
        }
        Err(error @ AuthError::TooManyTries(seconds)) => {
            let mut builder = HttpResponse::TooManyRequests();
            builder.insert_header((header::RETRY_AFTER, seconds));
            refusal(builder, "slow_down", error.to_string())
        }
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "no token could be issued");
            let mut builder = HttpResponse::ServiceUnavailable();
            builder.insert_header((header::RETRY_AFTER, 5));
            refusal(
                builder,
                "temporarily_unavailable",
                "the service cannot issue tokens at the moment; try again".into(),
            )
        }
    };
    Ok(answer)
}

fn refusal(
    mut builder: actix_web::HttpResponseBuilder,
    error: &'static str,
    error_description: String,
) -> HttpResponse {
    builder.insert_header((header::CACHE_CONTROL, "no-store")).json(AccessTokenError { error, error_description })
}

//! `POST /accesstoken`, and [`Caller`], the extractor that authenticates a request.

use super::request::{self, TokenRequestError};
use super::{Auth, AuthError};
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

/// The authenticated clinic of a request. A handler with this argument runs only with a valid token, and passes the id of
/// this clinic to every query.
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
        .ok_or_else(|| Problem::new(Kind::Internal, "the server has no token check"))?;
    if !auth.is_ready() {
        return Err(Problem::unavailable("The server is starting and has not loaded the clinics yet. Try again."));
    }
    let header = request.headers().get(header::AUTHORIZATION).ok_or_else(|| {
        refused(
            "The Authorization header is missing. Request a token with `POST /accesstoken` and send it as `Authorization: Bearer <token>`."
                .into(),
        )
    })?;
    let token = header.to_str().ok().and_then(|header| request::strip_scheme(header, "bearer"));
    let token =
        token.ok_or_else(|| refused("The Authorization header does not have the form `Bearer <token>`.".into()))?;
    auth.check(token).map(Caller).map_err(|error| match error {
        AuthError::InvalidClient => refused("The clinic of this token is unknown or suspended.".into()),
        other => refused(format!("{other}; request a new token with `POST /accesstoken`")),
    })
}

/// A token request.
#[derive(Deserialize, utoipa::ToSchema)]
#[expect(dead_code, reason = "describes the request in the OpenAPI document; request.rs reads it in all its spellings")]
pub struct AccessTokenRequest {
    /// The client id that the supplier issued to the clinic
    #[schema(example = "clinic-q7m4k9")]
    client_id: String,
    /// The client secret that the supplier issued to the clinic
    #[schema(example = "kd93mf8s7qj2w5h4", format = Password)]
    client_secret: String,
    #[schema(example = "client_credentials", pattern = "^client_credentials$")]
    grant_type: String,
}

/// An access token.
#[derive(Serialize, utoipa::ToSchema)]
pub struct AccessToken {
    /// Send it as `Authorization: Bearer <access_token>`
    #[schema(example = "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiIsImtpZCI6Im4zdyJ9...")]
    access_token: String,
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// Lifetime in seconds
    #[schema(example = 28800)]
    expires_in: u64,
}

/// A refused token request (RFC 6749 5.2).
#[derive(Serialize, utoipa::ToSchema)]
pub struct AccessTokenError {
    /// `invalid_request`, `invalid_client` or `unsupported_grant_type` (RFC 6749 5.2); `temporarily_unavailable` or `slow_down` (additions of this server)
    #[schema(example = "invalid_client")]
    error: &'static str,
    #[schema(example = "the client id or the client secret is wrong, or the clinic is suspended")]
    error_description: String,
}

/// Request an access token
///
/// Send the fields as JSON, as a form or as multipart, or send client id and secret in HTTP Basic. The server recognises
/// the format by the body, not by its media type. A clinic may hold several valid tokens.
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
        (status = 200, description = "An access token", body = AccessToken),
        (status = 400, description = "The request cannot be read (`invalid_request`), or its grant type is not supported (`unsupported_grant_type`)", body = AccessTokenError),
        (status = 401, description = "The client id or the secret is wrong, or the clinic is suspended (`invalid_client`)", body = AccessTokenError,
            headers(("WWW-Authenticate" = String, description = "Basic"))),
        (status = 408, description = "The body did not arrive in time", body = crate::http::problem::Envelope),
        (status = 413, description = "The body is too large", body = crate::http::problem::Envelope),
        (status = 429, description = "Too many failed requests of this client id or address (`slow_down`)", body = AccessTokenError,
            headers(("Retry-After" = u64, description = "Seconds"))),
        (status = 503, description = "The server cannot read the clinics (`temporarily_unavailable`)", body = AccessTokenError,
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
    let credentials = match request::read(body, content_type, authorization).await {
        Ok(credentials) => credentials,
        Err(error) => {
            let code = match error {
                TokenRequestError::InvalidRequest(_) => "invalid_request",
                TokenRequestError::UnsupportedGrantType => "unsupported_grant_type",
            };
            return Ok(refusal(HttpResponse::BadRequest(), code, error.to_string()));
        }
    };
    let address = client_address(&request, &settings.trusted_proxies);
    let answer = match auth.issue(&credentials.client_id, &credentials.client_secret, address).await {
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
            tracing::error!(error = &error as &dyn std::error::Error, "cannot issue a token");
            let mut builder = HttpResponse::ServiceUnavailable();
            builder.insert_header((header::RETRY_AFTER, 5));
            refusal(
                builder,
                "temporarily_unavailable",
                "the server cannot issue tokens at the moment; try again".into(),
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

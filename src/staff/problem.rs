//! The error table of `/staff/v1`: meaning, status and code of every problem (RFC 9457, `application/problem+json`).

use crate::db;
use crate::http::problem::{Kind as PartnerKind, Problem as PartnerProblem, problem_kinds};
use crate::secret::SecretError;
use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use std::fmt;
use utoipa::ToSchema;

problem_kinds! {
    /// A problem that an operation of the staff API responds with. The code is the end of `type`.
    pub enum Kind;

    /// The query, a header, or the JSON text cannot be read. `errors` names the parameter or header.
    BadRequest = 400, "bad_request";
    /// The request has no API key, or the key is unknown, expired or revoked. Send `Authorization: Bearer spsi_...`.
    Unauthorised = 401, "unauthorised";
    /// The role of the key does not permit the operation. `detail` names the role that does.
    Forbidden = 403, "forbidden";
    /// The path is unknown, or nothing has this id. `detail` names what was not found.
    NotFound = 404, "not_found";
    /// The route exists, but not for this HTTP method. The `Allow` header lists the methods.
    MethodNotAllowed = 405, "method_not_allowed";
    /// The request body did not arrive in time. Send the request again.
    Timeout = 408, "request_timeout";
    /// The present state does not allow the operation. `detail` names the state.
    Conflict = 409, "conflict";
    /// The cursor points to events that are no longer kept. Start again without a cursor.
    CursorExpired = 410, "cursor_expired";
    /// The resource has changed since the version that `If-Match` names. Read it again, then repeat the change.
    PreconditionFailed = 412, "precondition_failed";
    /// The request body has too many bytes. `detail` names the limit.
    TooLarge = 413, "too_large";
    /// The media type of the request body is not supported. `detail` names the supported ones.
    UnsupportedMediaType = 415, "unsupported_media_type";
    /// Fields of the body are missing or invalid. `errors` names every one; nothing was changed.
    Invalid = 422, "invalid";
    /// The `Idempotency-Key` was used before with another request. Use a new key for a new request.
    IdempotencyKeyReused = 422, "idempotency_key_reused";
    /// The key made more requests than its limit. Wait for the seconds in `Retry-After`.
    TooManyRequests = 429, "too_many_requests";
    /// The server failed because of a fault of its own, which is in its log. Report the `X-Request-Id` of the response.
    Internal = 500, "internal_error";
    /// ezyVet or another remote server failed or refused the call. `detail` has its own words.
    BadGateway = 502, "remote_failed";
    /// The database does not respond, or a needed setting is missing. Wait for the seconds in `Retry-After`.
    Unavailable = 503, "unavailable";
}

/// An invalid field or parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// The path of the field.
    #[schema(example = "lines[0].quantity")]
    pub field: String,
    #[schema(example = "must be a string")]
    pub message: String,
}

impl FieldError {
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

/// The result of an operation.
pub type Result<T, E = Problem> = std::result::Result<T, E>;

/// The body of an error: RFC 9457.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemDocument<'a> {
    /// The stable code of the problem, for programs.
    #[serde(rename = "type")]
    #[schema(example = "urn:spsi:problem:not_found")]
    pub kind: String,
    /// The code in words.
    #[schema(example = "Not found")]
    pub title: String,
    pub status: u16,
    /// What happened, for people.
    pub detail: &'a str,
    /// The fields or parameters with the problem.
    pub errors: &'a [FieldError],
}

/// An error response.
#[derive(Debug)]
pub struct Problem {
    pub kind: Kind,
    pub detail: String,
    pub errors: Vec<FieldError>,
    /// `Retry-After`, in seconds.
    pub retry_after: Option<u64>,
    /// `Allow`: the methods of the route.
    pub allow: Option<String>,
}

impl Problem {
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), errors: Vec::new(), retry_after: None, allow: None }
    }

    /// Creates a problem of one field or parameter.
    pub fn field(kind: Kind, field: impl Into<String>, message: impl Into<String>) -> Self {
        let error = FieldError::new(field, message);
        Self { errors: vec![error.clone()], ..Self::new(kind, format!("{}: {}", error.field, error.message)) }
    }

    /// Creates a 422 that names every invalid field.
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let texts: Vec<_> = errors.iter().map(|error| format!("{}: {}", error.field, error.message)).collect();
        Self { errors, ..Self::new(Kind::Invalid, texts.join("; ")) }
    }

    /// Creates a 404 for a resource that people name `which`.
    pub fn not_found(noun: &str, which: impl fmt::Display) -> Self {
        Self::new(Kind::NotFound, format!("There is no {noun} `{which}`."))
    }

    /// Creates a 412.
    pub fn stale() -> Self {
        let text = "The resource has changed since the version in If-Match. Read it again, then repeat the change.";
        Self::new(Kind::PreconditionFailed, text)
    }

    /// Creates a 503 with `Retry-After`.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self { retry_after: Some(5), ..Self::new(Kind::Unavailable, detail) }
    }

    /// Creates a 500. The caller logs the cause.
    pub fn internal() -> Self {
        Self::new(Kind::Internal, "Internal error. Report the X-Request-Id of this response.")
    }

    /// Creates a 500, and logs its cause.
    pub fn fault(error: impl fmt::Display, what: &str) -> Self {
        tracing::error!(%error, "{what}");
        Self::internal()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.code(), self.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.kind.status()
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        response.insert_header((header::CACHE_CONTROL, "no-store"));
        if self.kind == Kind::Unauthorised {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer realm=\"spsi staff\""));
        }
        if let Some(seconds) = self.retry_after {
            response.insert_header((header::RETRY_AFTER, seconds));
        }
        if let Some(methods) = &self.allow {
            response.insert_header((header::ALLOW, methods.as_str()));
        }
        let document = ProblemDocument {
            kind: format!("urn:spsi:problem:{}", self.kind.code()),
            title: title(self.kind.code()),
            status: self.status_code().as_u16(),
            detail: &self.detail,
            errors: &self.errors,
        };
        response.insert_header((header::CONTENT_TYPE, "application/problem+json")).json(document)
    }
}

/// Returns a code as words: `not_found` as `Not found`.
fn title(code: &str) -> String {
    let (first, rest) = code.split_at(code.len().min(1));
    format!("{}{}", first.to_uppercase(), rest.replace('_', " "))
}

/// An unreachable database becomes a 503 that clients retry. Every other database error is a fault of this program: 500.
impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        tracing::error!(error = &error as &dyn std::error::Error, "a database error failed a request");
        if db::is_outage(&error) {
            Self::unavailable("The server cannot reach its database. Try again.")
        } else {
            Self::internal()
        }
    }
}

impl From<SecretError> for Problem {
    fn from(error: SecretError) -> Self {
        Self::fault(error, "a secret cannot be issued, sealed or opened")
    }
}

/// The errors of reading a body are the same for all routes.
impl From<PartnerProblem> for Problem {
    fn from(problem: PartnerProblem) -> Self {
        let kind = match problem.kind {
            PartnerKind::TooLarge => Kind::TooLarge,
            PartnerKind::Timeout => Kind::Timeout,
            PartnerKind::Unavailable => Kind::Unavailable,
            PartnerKind::Internal => Kind::Internal,
            _ => Kind::BadRequest,
        };
        let detail = problem.messages.into_iter().next().map(|message| message.text).unwrap_or_default();
        Self { retry_after: problem.retry_after, ..Self::new(kind, detail) }
    }
}

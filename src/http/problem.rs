//! The one error table of the partner half. A line per problem: code, status, title; body, status and OpenAPI derive from it.
//!
//! Bodies are ezyVet's own envelope, `{"messages": [{"level", "type", "text", "fields"}]}` (DESIGN.md 3).

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use std::fmt;

macro_rules! problems {
    ($(#[doc = $meaning:literal] $kind:ident = $status:literal, $code:literal;)+) => {
        /// Every problem that the partner half answers with, outside /accesstoken.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind {
            $(#[doc = $meaning] $kind,)+
        }

        impl Kind {
            /// Every problem, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$kind,)+];

            /// The HTTP status.
            pub fn status(self) -> StatusCode {
                let status: u16 = match self { $(Self::$kind => $status,)+ };
                StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            }

            /// The stable code: `messages[].type`.
            pub fn code(self) -> &'static str {
                match self { $(Self::$kind => $code,)+ }
            }

            /// What happened and what the caller can do, in one or two sentences for integrators.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$kind => $meaning.trim_ascii(),)+ }
            }
        }
    };
}

problems! {
    /// A parameter or a field has a value that cannot be read. `fields` names the parameter or field.
    BadRequest = 400, "bad_request";
    /// The request has no access token, or the token is malformed, expired or revoked. Request a new token with `POST /accesstoken`.
    Unauthorised = 401, "unauthorised";
    /// The path is unknown. `/docs` lists the available routes.
    NotFound = 404, "not_found";
    /// The route exists, but not for this HTTP method. The `Allow` header lists the methods.
    MethodNotAllowed = 405, "method_not_allowed";
    /// The request body did not arrive in time. Send the request again.
    Timeout = 408, "request_timeout";
    /// An order with this id was accepted before with other content, and that order can no longer be changed. Send the changes as a new order.
    OrderChanged = 409, "order_changed";
    /// The request body has too many bytes, or the order has too many lines. `text` names the limit.
    TooLarge = 413, "too_large";
    /// The request body is neither JSON nor a form.
    UnsupportedBody = 415, "unsupported_media_type";
    /// The order is readable, but lacks a required field or contradicts itself. `fields` names the fields.
    BadOrder = 422, "bad_order";
    /// Too many requests arrived. Wait for the seconds in `Retry-After`, then send the request again.
    TooManyRequests = 429, "too_many_requests";
    /// The server failed because of a fault of its own, which is in its log. Report the `X-Request-Id` of the response to the supplier.
    Internal = 500, "internal_error";
    /// The catalogue is not loaded, or the database does not respond. Wait for the seconds in `Retry-After`, then send the request again.
    Unavailable = 503, "unavailable";
}

/// One entry of ezyVet's envelope.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Message {
    /// `error`, or `warning`.
    #[schema(example = "error")]
    pub level: &'static str,
    /// A stable code, for programs.
    #[serde(rename = "type")]
    #[schema(example = "bad_request")]
    pub kind: String,
    /// For people.
    #[schema(example = "`limit` takes one whole number, such as `limit=[3]`")]
    pub text: String,
    /// Paths of the fields or parameters that are meant.
    #[schema(example = json!(["limit"]))]
    pub fields: Vec<String>,
}

/// ezyVet's envelope for errors.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Envelope {
    /// The first message again, where readers look for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    pub messages: Vec<Message>,
}

/// A problem with its words.
#[derive(Debug)]
pub struct Problem {
    pub kind: Kind,
    pub messages: Vec<Message>,
    /// Seconds after which to try again.
    pub retry_after: Option<u64>,
    /// Methods that the resource knows.
    pub allow: Option<&'static str>,
}

impl Problem {
    pub fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self::with_fields(kind, text, Vec::new())
    }

    /// A problem with one field or parameter.
    pub fn field(kind: Kind, field: impl Into<String>, text: impl Into<String>) -> Self {
        Self::with_fields(kind, text, vec![field.into()])
    }

    fn with_fields(kind: Kind, text: impl Into<String>, fields: Vec<String>) -> Self {
        let message = Message { level: "error", kind: kind.code().to_owned(), text: text.into(), fields };
        Self { kind, messages: vec![message], retry_after: None, allow: None }
    }

    /// The database or the catalogue is away: try again soon.
    pub fn unavailable(text: impl Into<String>) -> Self {
        Self { retry_after: Some(5), ..Self::new(Kind::Unavailable, text) }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<_> = self.messages.iter().map(|message| message.text.as_str()).collect();
        write!(f, "{}: {}", self.kind.code(), texts.join("; "))
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
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer realm=\"spsi\""));
        }
        if let Some(seconds) = self.retry_after {
            response.insert_header((header::RETRY_AFTER, seconds));
        }
        if let Some(methods) = self.allow {
            response.insert_header((header::ALLOW, methods));
        }
        response.json(Envelope { message: None, messages: self.messages.clone() })
    }
}

/// A database that does not answer is a 503 to be tried again; anything else that it says is our mistake.
impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        tracing::error!(error = &error as &dyn std::error::Error, "the database failed a request");
        if crate::db::is_outage(&error) {
            Self::unavailable("the service cannot reach its database; try again")
        } else {
            Self::new(Kind::Internal, "the service made a mistake, which has been logged")
        }
    }
}

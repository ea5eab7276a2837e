//! The error table of the routes that ezyVet calls: meaning, status and code of every problem.
//!
//! Bodies are ezyVet's own envelope, `{"messages": [{"level", "type", "text", "fields"}]}` (DESIGN.md 3).

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use std::fmt;

/// Declares the enum `Kind` from a table of problems. Each row is `/// meaning`, `Name = status, "code";`.
macro_rules! problem_kinds {
    ($(#[doc = $about:literal])+ pub enum Kind; $(#[doc = $meaning:literal] $kind:ident = $status:literal, $code:literal;)+) => {
        $(#[doc = $about])+
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

            /// The stable code, for programs.
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
pub(crate) use problem_kinds;

problem_kinds! {
    /// A problem that any route but /accesstoken responds with. The code is `messages[].type`.
    pub enum Kind;

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
    /// The server failed because of a fault of its own, which is in its log. Report the `X-Request-Id` of the response to the supplier.
    Internal = 500, "internal_error";
    /// The catalogue is not loaded, or the database does not respond. Wait for the seconds in `Retry-After`, then send the request again.
    Unavailable = 503, "unavailable";
}

/// One entry of ezyVet's envelope.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Message {
    /// `error` or `warning`.
    #[schema(example = "error")]
    pub level: &'static str,
    /// The stable code of the problem, for programs.
    #[serde(rename = "type")]
    #[schema(example = "bad_request")]
    pub kind: String,
    /// A description, for people.
    #[schema(example = "`limit` takes one whole number, such as `limit=[3]`")]
    pub text: String,
    /// The paths of the fields or parameters with the problem.
    #[schema(example = json!(["limit"]))]
    pub fields: Vec<String>,
}

/// ezyVet's envelope for errors.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Envelope {
    /// The text of the first message, for clients that read only this field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    pub messages: Vec<Message>,
}

/// An error response.
#[derive(Debug)]
pub struct Problem {
    pub kind: Kind,
    pub messages: Vec<Message>,
    /// `Retry-After`, in seconds.
    pub retry_after: Option<u64>,
    /// `Allow`: the methods of the route.
    pub allow: Option<&'static str>,
}

impl Problem {
    pub fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self::with_fields(kind, text, Vec::new())
    }

    /// Creates a problem of one field or parameter.
    pub fn field(kind: Kind, field: impl Into<String>, text: impl Into<String>) -> Self {
        Self::with_fields(kind, text, vec![field.into()])
    }

    fn with_fields(kind: Kind, text: impl Into<String>, fields: Vec<String>) -> Self {
        let message = Message { level: "error", kind: kind.code().to_owned(), text: text.into(), fields };
        Self { kind, messages: vec![message], retry_after: None, allow: None }
    }

    /// Creates a 503 with `Retry-After`.
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

/// An unreachable database becomes a 503 that clients retry. Every other database error is a fault of this program: 500.
impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        tracing::error!(error = &error as &dyn std::error::Error, "a database error failed a request");
        if crate::db::is_outage(&error) {
            Self::unavailable("The server cannot reach its database. Try again.")
        } else {
            Self::new(Kind::Internal, "Internal error. Report the X-Request-Id of this response to the supplier.")
        }
    }
}

//! What the sandbox records about a partner's calls: the call log, and every call that a correct partner would not make.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{clock::Millis, wire::Answer};

/// The kinds of unexpected events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A call without a token, with one that was never issued, or with an old one although a newer one was issued.
    BadToken,
    /// Wrong credentials or scopes in a token request.
    BadCredentials,
    /// A call beyond the rate limit, or before the reset after an injected 429.
    RateLimitProvoked,
    /// An invoice number that another waiting or approved job already carries.
    DoubledInvoice,
    /// A path that ezyVet does not have.
    UnknownRoute,
    /// A method that the path does not have.
    WrongMethod,
    /// A body or query that cannot be read.
    MalformedBody,
    /// More form fields than a PHP reader keeps.
    FieldsDropped,
    /// A job that failed when staff approved it.
    JobFailed,
    /// A readable body with invalid values; the answer was 422.
    Refused,
    /// A look-up of a record that does not exist.
    UnknownRecord,
    /// A redirect that the partner followed.
    RedirectFollowed,
}

/// A call that a correct partner would not have made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Event {
    /// Time of the call.
    pub at: Millis,
    /// The kind of mistake.
    pub kind: EventKind,
    /// Description for people.
    pub text: String,
}

impl std::fmt::Display for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", json!(self.kind).as_str().unwrap_or_default(), self.text)
    }
}

/// A call in the log, with secrets masked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Call {
    /// Time of the call.
    pub at: Millis,
    /// Name of the endpoint.
    pub endpoint: String,
    /// HTTP method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Request body, masked and shortened.
    pub body: String,
    /// HTTP status; 0 if no answer was sent.
    pub status: u16,
    /// Answer body, masked and shortened.
    pub answer: String,
    /// The faults that were injected.
    pub fault: Option<String>,
}

/// A refused call: the answer, and the event to record if the partner made a mistake.
#[derive(Debug)]
pub(super) struct Refusal {
    /// The answer that the partner gets.
    pub answer: Box<Answer>,
    /// The mistake.
    pub event: Option<(EventKind, String)>,
}

impl Refusal {
    /// A refusal that also records a mistake of the partner's.
    pub fn mistake(kind: EventKind, text: impl Into<String>, answer: Answer) -> Self {
        Self { answer: Box::new(answer), event: Some((kind, text.into())) }
    }
}

/// A refusal that records nothing: a correct partner may meet it too.
impl From<Answer> for Refusal {
    fn from(answer: Answer) -> Self {
        Self { answer: Box::new(answer), event: None }
    }
}

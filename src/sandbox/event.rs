//! What a partner should never have made happen.

use serde::{Deserialize, Serialize};

use super::clock::Millis;

/// The kind of something unexpected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// No token, an invented one, or an old one although a newer was issued.
    BadToken,
    /// Wrong credentials or scopes at the token endpoint.
    BadCredentials,
    /// A 429 that no fault injected, or a call before the reset of one.
    RateLimitProvoked,
    /// An invoice number that a live job or invoice has already.
    DoubledInvoice,
    /// A path that ezyVet does not have.
    UnknownRoute,
    /// A method that the path does not have.
    WrongMethod,
    /// A body or query that cannot be read.
    MalformedBody,
    /// More form fields than a PHP reader keeps.
    FieldsDropped,
    /// A job that failed when it was approved.
    JobFailed,
    /// A body that was read and refused with 422.
    Refused,
    /// A look-up of something that does not exist.
    UnknownRecord,
    /// A redirect that was followed.
    RedirectFollowed,
}

/// Something unexpected.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: Millis,
    /// What kind.
    pub kind: EventKind,
    /// In words.
    pub text: String,
}

impl std::fmt::Display for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind =
            serde_json::to_value(self.kind).ok().and_then(|kind| kind.as_str().map(str::to_owned)).unwrap_or_default();
        write!(f, "{kind}: {}", self.text)
    }
}

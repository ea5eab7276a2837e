//! A request of the clinic and its answer, recorded for people; secrets are masked.

use serde::Serialize;
use serde_json::Value;

/// One request and its answer.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Exchange {
    /// HTTP method.
    pub method: String,
    /// Full URL with the query as sent.
    pub url: String,
    /// Request body, with secrets masked; empty if none was sent.
    pub request_body: String,
    /// HTTP status; `None` if no answer came.
    pub status: Option<u16>,
    /// Answer headers.
    pub answer_headers: Vec<(String, String)>,
    /// The first [`MAX_RECORDED_BODY`] bytes of the answer body, with secrets masked.
    pub answer_body: String,
    /// Length of the whole answer body in bytes.
    pub answer_length: usize,
    /// Time from the first byte sent to the last byte received.
    pub duration_ms: u128,
}

/// Bytes of an answer body that are recorded.
pub const MAX_RECORDED_BODY: usize = 16 * 1024;

/// Returns a copy with `***` in place of secrets.
pub fn masked(value: &Value) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| {
                let is_secret = matches!(key.as_str(), "client_secret" | "access_token");
                (key.clone(), if is_secret { Value::from("***") } else { masked(value) })
            })
            .collect(),
        Value::Array(list) => list.iter().map(masked).collect(),
        other => other.clone(),
    }
}

/// The parsed value of an answer, and the exchange that brought it.
#[derive(Clone, Debug)]
pub struct Reply<T> {
    /// The parsed value.
    pub value: T,
    /// The exchange; the last one if several were needed.
    pub exchange: Exchange,
}

/// A call that failed, or whose answer is not as documented.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct ClinicError {
    /// What went wrong, with the field if one is wrong.
    pub reason: String,
    /// The exchange; `None` if no request was sent.
    pub exchange: Option<Box<Exchange>>,
}

impl Exchange {
    pub(super) fn into_error(self, reason: impl Into<String>) -> ClinicError {
        ClinicError { reason: reason.into(), exchange: Some(Box::new(self)) }
    }
}

//! A real request with its answer, for telling what happened; secrets are masked when it is written down.

use std::{fmt, time::Duration};

use serde::Serialize;
use serde_json::Value;

/// One request and its answer.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Exchange {
    /// `GET`, `POST`.
    pub method: String,
    /// Full address with the query as it was sent.
    pub url: String,
    /// Request headers, masked.
    pub request_headers: Vec<(String, String)>,
    /// Request body, masked; empty if none.
    pub request_body: String,
    /// Status; none where no answer came.
    pub status: Option<u16>,
    /// Answer headers.
    pub answer_headers: Vec<(String, String)>,
    /// Answer body, masked; the first [`BODY_KEPT`] bytes.
    pub answer_body: String,
    /// Length of the whole answer body in bytes.
    pub answer_length: usize,
    /// From the first byte out to the last byte in; as milliseconds in JSON.
    #[serde(rename = "duration_ms", serialize_with = "as_milliseconds")]
    pub duration: Duration,
    /// Why no answer came.
    pub failure: Option<String>,
}

fn as_milliseconds<S: serde::Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u128(span.as_millis())
}

/// How much of an answer a transcript keeps.
pub const BODY_KEPT: usize = 16 * 1024;

impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "> {} {}", self.method, self.url)?;
        self.request_headers.iter().try_for_each(|(name, value)| writeln!(f, "> {name}: {value}"))?;
        if !self.request_body.is_empty() {
            writeln!(f, "> {}", self.request_body)?;
        }
        match (self.status, &self.failure) {
            (Some(status), _) => {
                writeln!(f, "< {status} ({} bytes, {} ms)", self.answer_length, self.duration.as_millis())?
            }
            (None, failure) => writeln!(f, "< no answer: {}", failure.as_deref().unwrap_or("unknown"))?,
        }
        let shown: String = self.answer_body.chars().take(400).collect();
        let more = if shown.len() < self.answer_length { " ..." } else { "" };
        write!(f, "< {shown}{more}")
    }
}

/// A copy with the values of secret fields replaced.
pub fn masked(value: &Value) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| {
                let secret = matches!(key.as_str(), "client_secret" | "access_token");
                (key.clone(), if secret { Value::from("***") } else { masked(value) })
            })
            .collect(),
        Value::Array(list) => list.iter().map(masked).collect(),
        other => other.clone(),
    }
}

/// What was parsed out of an answer, with the exchange that it came from.
#[derive(Clone, Debug)]
pub struct Reply<T> {
    /// What was parsed.
    pub value: T,
    /// How it went over the wire; the last one where several were needed.
    pub exchange: Exchange,
}

/// A call that did not go as documented.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct ClinicError {
    /// What went wrong, naming the field where there is one.
    pub what: String,
    /// The exchange, if one took place.
    pub exchange: Option<Box<Exchange>>,
}

impl ClinicError {
    pub(super) fn new(what: impl Into<String>, exchange: Option<&Exchange>) -> Self {
        Self { what: what.into(), exchange: exchange.cloned().map(Box::new) }
    }
}

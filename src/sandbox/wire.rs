//! Requests and answers independent of any HTTP library, ezyVet's error shape, and readers for its loosely typed scalars.

use rust_decimal::Decimal;
use serde_json::{Value, json};
use url::form_urlencoded;

/// A request as it arrived.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// `GET`, `POST`...
    pub method: String,
    /// Path without the query.
    pub path: String,
    /// Raw query without the `?`.
    pub query: String,
    /// The bearer token, if one was sent.
    pub bearer: Option<String>,
    /// `content-type` in lower case; empty if absent.
    pub content_type: String,
    /// The raw body.
    pub body: Vec<u8>,
}

impl Request {
    /// Returns the decoded query pairs in order.
    pub fn parameters(&self) -> impl Iterator<Item = (String, String)> {
        form_urlencoded::parse(self.query.as_bytes()).into_owned()
    }

    /// Returns a query parameter; an empty one counts as absent.
    pub fn parameter(&self, name: &str) -> Option<String> {
        self.parameters().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value)
    }
}

/// An answer before it is sent.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Headers other than the content type.
    pub headers: Vec<(&'static str, String)>,
    /// The JSON body.
    pub body: Value,
}

impl Answer {
    /// Creates an answer without extra headers.
    pub fn json(status: u16, body: Value) -> Self {
        Self { status, headers: Vec::new(), body }
    }

    /// Creates an error with one message in ezyVet's shape.
    pub fn error(status: u16, kind: &str, text: impl Into<String>) -> Self {
        Self::json(status, json!({"messages": [{"level": "error", "type": kind, "text": text.into(), "fields": []}]}))
    }

    /// Creates a 422 whose message names the invalid field, such as `data.method`.
    pub fn invalid(field: &str, text: &str) -> Self {
        let mut answer = Self::error(422, "ValidationException", text);
        answer.body["messages"][0]["fields"] = json!([field]);
        answer
    }

    /// Adds a header.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// How numbers are written in answers: ezyVet documents "numbers or strings".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Scalars {
    /// `12`
    #[default]
    Numbers,
    /// `"12"`
    Strings,
}

impl Scalars {
    /// Writes the numbers in an answer.
    pub fn write(self, value: Value) -> Value {
        match value {
            Value::Number(number) if self == Self::Strings => number.to_string().into(),
            Value::Array(list) => list.into_iter().map(|inner| self.write(inner)).collect(),
            Value::Object(map) => map.into_iter().map(|(key, inner)| (key, self.write(inner))).collect(),
            other => other,
        }
    }
}

/// Writes a decimal as a JSON number without trailing zeros.
pub fn number(decimal: Decimal) -> Value {
    let text = decimal.normalize().to_string();
    serde_json::from_str(&text).unwrap_or(Value::String(text))
}

/// Returns a scalar as text; `None` for null, lists and objects.
pub fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(u8::from(*flag).to_string()),
        _ => None,
    }
}

/// Reads a decimal from a number or a string.
pub fn decimal_of(value: &Value) -> Option<Decimal> {
    let text = text_of(value).filter(|_| !value.is_boolean())?;
    text.parse().or_else(|_| Decimal::from_scientific(&text)).ok()
}

/// Reads a whole number from a number or a string.
pub fn whole_of(value: &Value) -> Option<i64> {
    text_of(value).filter(|_| !value.is_boolean())?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_numbers_or_as_strings() {
        let value = json!({"price": number(Decimal::new(150, 2)), "list": [12, "a"]});
        assert_eq!(Scalars::Numbers.write(value.clone()), json!({"price": 1.5, "list": [12, "a"]}));
        assert_eq!(Scalars::Strings.write(value), json!({"price": "1.5", "list": ["12", "a"]}));
    }
}

//! Requests and answers independent of any HTTP library, ezyVet's error shape, and readers for its loosely typed scalars.

use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::form;

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
    /// `accept`; empty if absent.
    pub accept: String,
    /// The raw body.
    pub body: Vec<u8>,
}

impl Request {
    /// Returns the decoded query pairs in order.
    pub fn parameters(&self) -> Vec<(String, String)> {
        let pairs = self.query.split('&').filter(|pair| !pair.is_empty());
        let split = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        split.map(|(key, value)| (form::decode(key.as_bytes()), form::decode(value.as_bytes()))).collect()
    }

    /// Returns a query parameter; an empty one counts as absent.
    pub fn parameter(&self, name: &str) -> Option<String> {
        self.parameters().into_iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value)
    }
}

/// The body of an answer.
#[derive(Clone, Debug)]
pub enum Body {
    /// JSON.
    Json(Value),
    /// A web page.
    Html(String),
    /// No body.
    Empty,
}

/// An answer before it is sent.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Headers other than the content type.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Body,
}

impl Answer {
    /// Creates a JSON answer.
    pub fn json(status: u16, body: Value) -> Self {
        Self { status, headers: Vec::new(), body: Body::Json(body) }
    }

    /// Creates an error with one message in ezyVet's shape.
    pub fn error(status: u16, kind: &str, text: impl Into<String>) -> Self {
        Self::json(status, json!({"messages": [message(kind, &text.into(), &[])]}))
    }

    /// Creates an error with one message per problem in ezyVet's shape; each message names its field.
    pub fn problems(status: u16, problems: &[Problem]) -> Self {
        let messages: Vec<_> =
            problems.iter().map(|problem| message("ValidationException", &problem.text, &[&problem.field])).collect();
        Self::json(status, json!({"messages": messages}))
    }

    /// Adds a header.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Returns the JSON body, or null for any other body.
    pub fn value(&self) -> Value {
        if let Body::Json(value) = &self.body { value.clone() } else { Value::Null }
    }
}

fn message(kind: &str, text: &str, fields: &[&str]) -> Value {
    json!({"level": "error", "type": kind, "text": text, "fields": fields})
}

/// One invalid field of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Path of the field, such as `line_item[0].quantity`.
    pub field: String,
    /// What is wrong with the field.
    pub text: String,
}

impl Problem {
    /// Creates a problem.
    pub fn new(field: impl Into<String>, text: impl Into<String>) -> Self {
        Self { field: field.into(), text: text.into() }
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
    /// Writes a whole number.
    pub fn whole(self, number: impl TryInto<i64>) -> Value {
        let number = number.try_into().unwrap_or(i64::MAX);
        if self == Self::Strings { json!(number.to_string()) } else { json!(number) }
    }

    /// Writes a decimal without trailing zeros.
    pub fn decimal(self, number: Decimal) -> Value {
        let text = number.normalize().to_string();
        if self == Self::Strings {
            return Value::String(text);
        }
        serde_json::from_str(&text).unwrap_or(Value::String(text))
    }
}

/// Returns a scalar as text; `None` for null, lists and objects.
pub fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(if *flag { "1" } else { "0" }.to_owned()),
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

/// Reads a list, also one that PHP wrote as an object because an index was missing (`{"0": ..., "2": ...}`).
pub fn list_of(value: &Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(list) => Some(list.clone()),
        Value::Object(map) if !map.is_empty() => {
            let mut indexed =
                map.iter().map(|(key, value)| Some((key.parse::<u64>().ok()?, value))).collect::<Option<Vec<_>>>()?;
            indexed.sort_by_key(|(index, _)| *index);
            Some(indexed.into_iter().map(|(_, value)| value.clone()).collect())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_numbers_or_as_strings() {
        let number: Decimal = "1.50".parse().unwrap_or_default();
        assert_eq!((Scalars::Numbers.decimal(number), Scalars::Strings.decimal(number)), (json!(1.5), json!("1.5")));
        assert_eq!((Scalars::Numbers.whole(12), Scalars::Strings.whole(12)), (json!(12), json!("12")));
    }

    #[test]
    fn a_list_written_as_an_object_keeps_the_order_of_its_indices() {
        assert_eq!(list_of(&json!({"10": "c", "2": "b", "0": "a"})), Some(vec![json!("a"), json!("b"), json!("c")]));
        assert_eq!(list_of(&json!({"a": 1})), None);
    }
}

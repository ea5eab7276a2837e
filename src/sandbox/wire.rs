//! Requests and answers apart from any HTTP library, and the shapes that all of ezyVet's answers share.

use rust_decimal::Decimal;
use serde_json::{Map, Value, json};

use super::form;

/// A request as it arrived.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// `GET`, `POST`...
    pub method: String,
    /// Path without the query.
    pub path: String,
    /// Raw query without `?`.
    pub query: String,
    /// The bearer token, if one was sent.
    pub bearer: Option<String>,
    /// `content-type`, empty if none.
    pub content_type: String,
    /// `accept`, empty if none.
    pub accept: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// The query as decoded pairs, in order.
    pub fn parameters(&self) -> Vec<(String, String)> {
        let pairs = self.query.split('&').filter(|pair| !pair.is_empty());
        let split = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        split.map(|(key, value)| (form::decode(key.as_bytes()), form::decode(value.as_bytes()))).collect()
    }

    /// One query parameter; empty counts as absent.
    pub fn parameter(&self, name: &str) -> Option<String> {
        self.parameters().into_iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value)
    }
}

/// What an answer carries.
#[derive(Clone, Debug)]
pub enum Body {
    /// JSON.
    Json(Value),
    /// A web page.
    Html(String),
    /// Nothing.
    Empty,
}

/// An answer before it is sent.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Headers beside the content type.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Body,
}

impl Answer {
    /// JSON with a status.
    pub fn json(status: u16, body: Value) -> Self {
        Self { status, headers: Vec::new(), body: Body::Json(body) }
    }

    /// ezyVet's error shape with one message.
    pub fn error(status: u16, kind: &str, text: impl Into<String>) -> Self {
        Self::json(status, json!({"messages": [message(kind, &text.into(), &[])]}))
    }

    /// ezyVet's error shape with a message for each problem, each naming its field.
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

    /// The JSON body, null if it has none.
    pub fn value(&self) -> Value {
        if let Body::Json(value) = &self.body { value.clone() } else { Value::Null }
    }
}

fn message(kind: &str, text: &str, fields: &[&str]) -> Value {
    json!({"level": "error", "type": kind, "text": text, "fields": fields})
}

/// One thing wrong with a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Path of the field, such as `line_item[0].quantity`.
    pub field: String,
    /// What is wrong, in words.
    pub text: String,
}

impl Problem {
    /// A problem with a field.
    pub fn new(field: impl Into<String>, text: impl Into<String>) -> Self {
        Self { field: field.into(), text: text.into() }
    }
}

/// How numbers are written in answers; ezyVet does both ("numbers or strings").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Scalars {
    /// `12`.
    #[default]
    Numbers,
    /// `"12"`.
    Strings,
}

impl Scalars {
    /// A whole number in this spelling.
    pub fn whole(self, number: impl TryInto<i64>) -> Value {
        let number = number.try_into().unwrap_or(i64::MAX);
        if self == Self::Strings { json!(number.to_string()) } else { json!(number) }
    }

    /// A decimal in this spelling, without trailing zeros.
    pub fn decimal(self, number: Decimal) -> Value {
        let text = number.normalize().to_string();
        if self == Self::Strings {
            return Value::String(text);
        }
        serde_json::from_str(&text).unwrap_or(Value::String(text))
    }
}

/// One page of a list with its `meta` (SPSI.md 2, paging): one-based, 10 by default, 200 at most.
///
/// # Errors
/// 400 for a page or limit that is not a positive whole number.
pub fn paged(request: &Request, scalars: Scalars, all: &[Value]) -> Result<(Vec<Value>, Value), Answer> {
    let number = |name: &str, default: usize| match request.parameter(name) {
        None => Ok(default),
        Some(text) => text
            .parse()
            .ok()
            .filter(|number| *number > 0)
            .ok_or_else(|| Answer::error(400, "BadRequest", format!("{name} must be a positive whole number"))),
    };
    let (page, limit) = (number("page", 1)?, number("limit", 10)?.min(MOST_PER_PAGE));
    let items: Vec<_> = all.iter().skip((page - 1).saturating_mul(limit)).take(limit).cloned().collect();
    let total = all.len();
    let meta = json!({
        "timestamp": null,
        "items_page": scalars.whole(page),
        "items_page_total": scalars.whole(total.div_ceil(limit).max(1)),
        "items_page_size": scalars.whole(limit),
        "items_total": scalars.whole(total),
    });
    Ok((items, meta))
}

/// The largest page; also sent as `x-item-limit-per-page`.
pub const MOST_PER_PAGE: usize = 200;

/// Text of a scalar, however it is spelt; none for null, lists, objects.
pub fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(if *flag { "1" } else { "0" }.to_owned()),
        _ => None,
    }
}

/// A decimal, however it is spelt; none for what is not a number.
pub fn decimal_of(value: &Value) -> Option<Decimal> {
    let text = text_of(value).filter(|_| !value.is_boolean())?;
    text.parse().or_else(|_| Decimal::from_scientific(&text)).ok()
}

/// A whole number, however it is spelt.
pub fn whole_of(value: &Value) -> Option<i64> {
    text_of(value).filter(|_| !value.is_boolean())?.parse().ok()
}

/// A list, also one that became an object because it lost an index.
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

/// `{"items": [{name: item}], "meta": ..., "messages": []}`.
pub fn items_answer(request: &Request, scalars: Scalars, name: &str, all: Vec<Value>) -> Answer {
    let wrapped: Vec<_> =
        all.into_iter().map(|item| Value::Object(Map::from_iter([(name.to_owned(), item)]))).collect();
    match paged(request, scalars, &wrapped) {
        Ok((items, meta)) => Answer::json(200, json!({"meta": meta, "items": items, "messages": []}))
            .with("x-item-limit-per-page", MOST_PER_PAGE.to_string()),
        Err(refused) => refused,
    }
}

/// `{"data": [...], "meta": ...}`, as the inventory API answers.
pub fn data_answer(request: &Request, scalars: Scalars, all: &[Value]) -> Answer {
    match paged(request, scalars, all) {
        Ok((items, meta)) => Answer::json(200, json!({"data": items, "meta": meta}))
            .with("x-item-limit-per-page", MOST_PER_PAGE.to_string()),
        Err(refused) => refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(query: &str, count: usize) -> Answer {
        let all = (0..count).map(|number| json!({"id": number})).collect();
        items_answer(&Request { query: query.into(), ..Request::default() }, Scalars::Numbers, "separation", all)
    }

    #[test]
    fn pages_are_one_based_and_ten_long_by_default() {
        let body = page("", 23).value();
        assert_eq!(body["items"].as_array().map(Vec::len), Some(10));
        assert_eq!(body["items"][0]["separation"]["id"], 0);
        assert_eq!((&body["meta"]["items_page"], &body["meta"]["items_page_total"]), (&json!(1), &json!(3)));
        assert_eq!((&body["meta"]["items_page_size"], &body["meta"]["items_total"]), (&json!(10), &json!(23)));
        assert_eq!(page("page=3", 23).value()["items"].as_array().map(Vec::len), Some(3));
        assert_eq!(page("page=4", 23).value()["items"].as_array().map(Vec::len), Some(0));
    }

    #[test]
    fn a_page_holds_200_at_most_and_nonsense_is_refused() {
        let answer = page("limit=500&page=2", 230);
        assert_eq!(answer.value()["items"].as_array().map(Vec::len), Some(30));
        assert_eq!(answer.value()["meta"]["items_page_size"], 200);
        assert_eq!((page("page=0", 3).status, page("limit=ten", 3).status), (400, 400));
    }

    #[test]
    fn scalars_are_written_in_either_spelling() {
        let number: Decimal = "1.50".parse().unwrap_or_default();
        assert_eq!((Scalars::Numbers.decimal(number), Scalars::Strings.decimal(number)), (json!(1.5), json!("1.5")));
        assert_eq!((Scalars::Numbers.whole(12), Scalars::Strings.whole(12)), (json!(12), json!("12")));
    }

    #[test]
    fn a_list_that_became_an_object_keeps_its_order() {
        assert_eq!(list_of(&json!({"10": "c", "2": "b", "0": "a"})), Some(vec![json!("a"), json!("b"), json!("c")]));
        assert_eq!(list_of(&json!({"a": 1})), None);
    }
}

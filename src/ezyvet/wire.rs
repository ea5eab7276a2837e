//! The format of ezyVet's answers. Private to the client, and tolerant: ids and counts are numbers or strings, items are
//! bare or wrapped in their name, messages are objects or strings (SPSI.md 2).

use serde_json::Value;

/// The messages of an answer.
#[derive(Debug, Default)]
pub(super) struct Messages {
    /// The body is JSON.
    pub is_readable: bool,
    /// The body has ezyVet's envelope: a `messages` field that is not empty.
    pub has_envelope: bool,
    pub all: Vec<String>,
    /// Messages of level error. Plain strings have no level and count as information.
    pub errors: Vec<String>,
}

/// Reads the `messages` of a body.
pub(super) fn messages(body: &str) -> Messages {
    let Ok(value @ (Value::Object(_) | Value::Array(_))) = serde_json::from_str::<Value>(body) else {
        return Messages::default();
    };
    let mut messages = Messages { is_readable: true, ..Messages::default() };
    let list = match value.get("messages") {
        Some(one @ Value::String(_)) => vec![one],
        list => list.and_then(entries).unwrap_or_default(),
    };
    for message in list {
        let Some(text) = message_text(message) else { continue };
        let level = message.get("level").and_then(Value::as_str).unwrap_or_default();
        if ["error", "critical", "fatal"].iter().any(|bad| level.eq_ignore_ascii_case(bad)) {
            messages.errors.push(text.clone());
        }
        messages.all.push(text);
    }
    messages.has_envelope = !messages.all.is_empty();
    // OAuth errors have their own shape (RFC 6749 5.2).
    if messages.all.is_empty() {
        let texts = ["error", "error_description", "message"].iter().filter_map(|key| value.get(key)?.as_str());
        messages.all = texts.map(str::to_owned).collect();
    }
    messages
}

fn message_text(message: &Value) -> Option<String> {
    if let Some(text) = message.as_str() {
        return Some(text.to_owned()).filter(|text| !text.is_empty());
    }
    let field = |key: &str| message.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let text = field("text").or_else(|| field("message")).or_else(|| field("type"))?;
    let fields = message.get("fields").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let fields: Vec<_> = fields.iter().filter_map(Value::as_str).collect();
    Some(if fields.is_empty() { text.to_owned() } else { format!("{text} ({})", fields.join(", ")) })
}

/// A page of a list.
#[derive(Debug, Default, PartialEq)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// The number of pages, if ezyVet gave it.
    pub pages: Option<u64>,
    /// How many items ezyVet sent, including those that could not be read.
    pub size: usize,
}

/// Reads the items under `items` or `data`, each bare or wrapped in `name`. Returns `None` if the body is not a list.
pub(super) fn page<T>(body: &str, name: &str, read: impl Fn(&Value) -> Option<T>) -> Option<Page<T>> {
    let value: Value = serde_json::from_str(body).ok()?;
    let list = match value.get("items").or_else(|| value.get("data")) {
        Some(list) => entries(list)?,
        None if value.is_array() => entries(&value)?,
        None => vec![value.get(name)?],
    };
    let items = list.iter().filter_map(|item| read(item.get(name).filter(|v| v.is_object()).unwrap_or(item))).collect();
    let meta = value.get("meta");
    let pages = meta.and_then(|meta| text(meta, "items_page_total")).and_then(|pages| pages.parse().ok());
    Some(Page { items, pages, size: list.len() })
}

/// Returns the entries of a list. A PHP list that lost an index arrives as an object.
pub fn entries(list: &Value) -> Option<Vec<&Value>> {
    match list {
        Value::Array(list) => Some(list.iter().collect()),
        Value::Object(map) => Some(map.values().collect()),
        _ => None,
    }
}

/// Returns a string, number or boolean field as text. Returns `None` for null and for an absent field.
pub fn text(value: &Value, key: &str) -> Option<String> {
    match value.get(key)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(u8::from(*flag).to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_read_wrapped_or_bare_and_ids_as_text() {
        let read = |item: &Value| text(item, "id");
        for body in [
            r#"{"items":[{"separation":{"id":3}},{"separation":{"id":"4"}}],"meta":{"items_page_total":"2"}}"#,
            r#"{"data":[{"id":"3"},{"id":4}],"meta":{"items_page_total":2}}"#,
        ] {
            let page = page(body, "separation", read).unwrap();
            assert_eq!(page, Page { items: vec!["3".into(), "4".into()], pages: Some(2), size: 2 });
        }
        assert_eq!(page(r#"{"items":[]}"#, "x", read).unwrap().size, 0);
        assert!(page("<html>", "x", read).is_none());
        assert!(page("{}", "x", read).is_none());
    }
}

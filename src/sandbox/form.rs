//! Reads a form as PHP reads it: `data[body][line_item][0][quantity]=2` becomes nested values.
//!
//! Follows PHP's rules, because ezyVet's server is PHP: every value is text, `a[]` appends, the last value of a name wins,
//! fields beyond `max_input_vars` are dropped silently, and an invalid escape stays as it is written.

use std::iter;

use serde_json::{Map, Value};
use url::form_urlencoded;

use super::wire::Request;

/// PHP's default `max_input_vars`.
pub const MAX_INPUT_VARS: usize = 1000;
/// PHP's default `max_input_nesting_level`; deeper fields are dropped.
const MAX_NESTING: usize = 64;

/// A parsed form.
#[derive(Debug, Default)]
pub struct Form {
    /// Nested objects and lists with text leaves.
    pub value: Value,
    /// Number of fields sent.
    pub fields: usize,
    /// Number of fields that PHP drops.
    pub dropped: usize,
}

/// Reads a JSON body or a form, by its content type; any other body, and invalid JSON, is null.
pub fn read_body(request: &Request, max_input_vars: usize) -> Form {
    if request.content_type.contains("json") {
        Form { value: serde_json::from_slice(&request.body).unwrap_or_default(), ..Form::default() }
    } else if request.content_type.starts_with("application/x-www-form-urlencoded") {
        read(&request.body, max_input_vars)
    } else {
        Form::default()
    }
}

/// Parses `application/x-www-form-urlencoded` text and keeps at most `max_input_vars` fields.
fn read(body: &[u8], max_input_vars: usize) -> Form {
    let mut root = Value::Null;
    let (mut fields, mut dropped) = (0, 0);
    for (key, text) in form_urlencoded::parse(body) {
        fields += 1;
        let path = parse_path(&key);
        if fields > max_input_vars || path.len() > MAX_NESTING || path[0].is_empty() {
            dropped += 1;
        } else {
            insert(&mut root, &path, text.into_owned());
        }
    }
    Form { value: with_lists(root), fields, dropped }
}

/// Splits `a[b][0]` into its segments; an empty segment means "append".
fn parse_path(key: &str) -> Vec<String> {
    let (base, brackets) = key.split_once('[').unwrap_or((key, ""));
    let segments = brackets.split('[').filter_map(|segment| segment.split_once(']'));
    iter::once(base.replace(['.', ' '], "_")).chain(segments.map(|(segment, _)| segment.to_owned())).collect()
}

/// Sets the text at the end of the path; a branch replaces an earlier text, and a text an earlier branch.
fn insert(node: &mut Value, path: &[String], text: String) {
    let Some((first, rest)) = path.split_first() else {
        *node = Value::String(text);
        return;
    };
    let mut branch = if let Value::Object(branch) = node.take() { branch } else { Map::new() };
    let key = if first.is_empty() { next_index(&branch) } else { first.clone() };
    insert(branch.entry(key).or_insert(Value::Null), rest, text);
    *node = Value::Object(branch);
}

fn next_index(branch: &Map<String, Value>) -> String {
    let highest = branch.keys().filter_map(|key| key.parse::<u64>().ok()).max();
    highest.map_or(0, |highest| highest + 1).to_string()
}

/// Turns objects whose keys are all indices into lists in order of arrival, as PHP loops over them. Indices may be missing.
fn with_lists(value: Value) -> Value {
    match value {
        Value::Object(map) if map.keys().all(|key| key.parse::<u64>().is_ok()) => {
            map.into_iter().map(|(_, inner)| with_lists(inner)).collect()
        }
        Value::Object(map) => map.into_iter().map(|(key, inner)| (key, with_lists(inner))).collect(),
        text => text,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;
    use crate::sandbox::wire::text_of;

    /// Writes nested values with explicit indices; null and empty lists are left out.
    pub(in crate::sandbox) fn write(value: &Value) -> String {
        let mut form = form_urlencoded::Serializer::new(String::new());
        flatten("", value, &mut form);
        form.finish()
    }

    fn flatten(name: &str, value: &Value, form: &mut form_urlencoded::Serializer<'_, String>) {
        let nested = |key: &str| if name.is_empty() { key.to_owned() } else { format!("{name}[{key}]") };
        match value {
            Value::Object(map) => map.iter().for_each(|(key, inner)| flatten(&nested(key), inner, form)),
            Value::Array(list) => {
                list.iter().enumerate().for_each(|(index, inner)| flatten(&nested(&index.to_string()), inner, form));
            }
            leaf => drop(text_of(leaf).map(|text| form.append_pair(name, &text))),
        }
    }

    #[test]
    fn a_written_form_reads_back_as_text() {
        let body = json!({"data": {"body": {"comments": "For PO 1502 & \"more\" +10%", "freight": 4.5, "nothing": null, "none": [],
            "line_item": [{"quantity": 2, "batch": [{"name": "A[1]", "expiry": 1}]}, {"quantity": -1}]}}});
        let read = read(write(&body).as_bytes(), MAX_INPUT_VARS);
        let expected = json!({"data": {"body": {"comments": "For PO 1502 & \"more\" +10%", "freight": "4.5",
            "line_item": [{"quantity": "2", "batch": [{"name": "A[1]", "expiry": "1"}]}, {"quantity": "-1"}]}}});
        assert_eq!(read.value, expected);
    }

    #[test]
    fn fields_beyond_the_limit_are_dropped_silently() {
        let body = (0..1203).map(|index| format!("a[{index}]=x")).collect::<Vec<_>>().join("&");
        let form = read(body.as_bytes(), MAX_INPUT_VARS);
        assert_eq!((form.fields, form.dropped), (1203, 203));
        assert_eq!(form.value["a"].as_array().map(Vec::len), Some(1000));
    }

    #[test]
    fn forms_are_read_as_php_reads_them() {
        for (form, expected) in [
            (
                "line[][quantity]=2&line[][price]=4&x[]=a",
                json!({"line": [{"quantity": "2"}, {"price": "4"}], "x": ["a"]}),
            ),
            ("a[0]=x&a[2]=y", json!({"a": ["x", "y"]})),
            ("a%5Bb%5d=1%202+3&c=100%&d=%zz&a.b=x", json!({"a": {"b": "1 2 3"}, "c": "100%", "d": "%zz", "a_b": "x"})),
            ("a=1&a=2&b=1&b[c]=2", json!({"a": "2", "b": {"c": "2"}})),
        ] {
            assert_eq!(read(form.as_bytes(), MAX_INPUT_VARS).value, expected);
        }
    }
}

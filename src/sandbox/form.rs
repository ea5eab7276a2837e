//! Reads a form as PHP reads it: `data[body][line_item][0][quantity]=2` becomes nested values.
//!
//! Follows PHP's rules, because ezyVet's server is PHP: every value is text, `a[]` appends, the last value of a name wins,
//! fields beyond `max_input_vars` are dropped silently, and an invalid escape stays as it is written.

use serde_json::{Map, Value};

/// PHP's default `max_input_vars`.
pub const MAX_INPUT_VARS: usize = 1000;
/// PHP's default `max_input_nesting_level`; deeper fields are dropped.
const MAX_NESTING: usize = 64;

/// A parsed form.
#[derive(Debug)]
pub struct Form {
    /// Nested objects and lists with text leaves.
    pub value: Value,
    /// Number of fields sent.
    pub fields: usize,
    /// Number of fields that PHP drops.
    pub dropped: usize,
}

enum Node {
    Text(String),
    Branch(Vec<(String, Node)>),
}

/// Parses `application/x-www-form-urlencoded` text and keeps at most `max_input_vars` fields.
pub fn read(body: &[u8], max_input_vars: usize) -> Form {
    let mut root = Vec::new();
    let (mut fields, mut dropped) = (0, 0);
    for pair in body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
        fields += 1;
        if fields > max_input_vars {
            dropped += 1;
            continue;
        }
        let key_end = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        let value = pair.get(key_end + 1..).unwrap_or_default();
        let path = parse_path(&decode(&pair[..key_end]));
        if path.len() > MAX_NESTING || path.first().is_none_or(String::is_empty) {
            dropped += 1;
            continue;
        }
        insert(&mut root, &path, decode(value));
    }
    Form { value: into_object(root), fields, dropped }
}

/// Splits `a[b][0]` into its segments; an empty segment means "append".
fn parse_path(key: &str) -> Vec<String> {
    let key = key.trim_start_matches(' ');
    let (base, mut rest) = match key.find('[') {
        Some(bracket) if bracket > 0 => key.split_at(bracket),
        _ => (key, ""),
    };
    let mut segments = vec![base.replace(['.', ' '], "_")];
    while let Some(inner) = rest.strip_prefix('[') {
        let Some((segment, after)) = inner.split_once(']') else {
            // PHP turns the first unclosed bracket into an underscore when nothing was nested before it.
            if segments.len() == 1 {
                segments[0] = format!("{}_{}", segments[0], inner);
            }
            break;
        };
        segments.push(segment.to_owned());
        rest = after;
    }
    segments
}

fn insert(branch: &mut Vec<(String, Node)>, path: &[String], value: String) {
    let Some((first, rest)) = path.split_first() else { return };
    let key = if first.is_empty() { next_index(branch) } else { first.clone() };
    let index = branch.iter().position(|(name, _)| *name == key).unwrap_or_else(|| {
        branch.push((key, Node::Text(String::new())));
        branch.len() - 1
    });
    let node = &mut branch[index].1;
    if rest.is_empty() {
        *node = Node::Text(value);
        return;
    }
    if let Node::Text(_) = node {
        *node = Node::Branch(Vec::new());
    }
    if let Node::Branch(inner) = node {
        insert(inner, rest, value);
    }
}

fn next_index(branch: &[(String, Node)]) -> String {
    let highest = branch.iter().filter_map(|(key, _)| key.parse::<u64>().ok()).max();
    highest.map_or(0, |highest| highest + 1).to_string()
}

fn into_value(node: Node) -> Value {
    let entries = match node {
        Node::Text(text) => return Value::String(text),
        Node::Branch(entries) => entries,
    };
    let is_list = entries.iter().enumerate().all(|(index, (key, _))| *key == index.to_string());
    if is_list {
        Value::Array(entries.into_iter().map(|(_, node)| into_value(node)).collect())
    } else {
        into_object(entries)
    }
}

fn into_object(entries: Vec<(String, Node)>) -> Value {
    Value::Object(entries.into_iter().map(|(key, node)| (key, into_value(node))).collect::<Map<_, _>>())
}

/// Decodes `+` and `%XX`; an invalid escape stays as it is.
pub fn decode(bytes: &[u8]) -> String {
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while index < bytes.len() {
        let escape = bytes.get(index + 1..index + 3).filter(|pair| pair.iter().all(u8::is_ascii_hexdigit));
        match (bytes[index], escape.and_then(|pair| std::str::from_utf8(pair).ok())) {
            (b'%', Some(pair)) => {
                decoded.push(u8::from_str_radix(pair, 16).unwrap_or(b'%'));
                index += 2;
            }
            (b'+', _) => decoded.push(b' '),
            (byte, _) => decoded.push(byte),
        }
        index += 1;
    }
    String::from_utf8(decoded).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Percent-encodes text for a query or a form.
pub fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    /// Writes nested values with explicit indices; null and empty lists are left out.
    pub(in crate::sandbox) fn write(value: &Value) -> String {
        let mut pairs = Vec::new();
        if let Value::Object(map) = value {
            map.iter().for_each(|(key, value)| flatten(key, value, &mut pairs));
        }
        pairs.iter().map(|(key, value)| format!("{}={}", encode(key), encode(value))).collect::<Vec<_>>().join("&")
    }

    fn flatten(prefix: &str, value: &Value, pairs: &mut Vec<(String, String)>) {
        match value {
            Value::Null => {}
            Value::Object(map) => {
                map.iter().for_each(|(key, value)| flatten(&format!("{prefix}[{key}]"), value, pairs))
            }
            Value::Array(list) => {
                list.iter().enumerate().for_each(|(index, value)| flatten(&format!("{prefix}[{index}]"), value, pairs));
            }
            Value::String(text) => pairs.push((prefix.to_owned(), text.clone())),
            Value::Bool(flag) => pairs.push((prefix.to_owned(), if *flag { "1" } else { "0" }.to_owned())),
            Value::Number(number) => pairs.push((prefix.to_owned(), number.to_string())),
        }
    }

    #[test]
    fn the_documented_job_is_read_as_nested_values() {
        let form = read(
            b"data[method]=POST&data[endpoint]=v2/receiveinvoice&data[body][invoice_number]=INV_001&data[body][line_item][0][quantity]=2",
            MAX_INPUT_VARS,
        );
        let expected = json!({"data": {"method": "POST", "endpoint": "v2/receiveinvoice",
            "body": {"invoice_number": "INV_001", "line_item": [{"quantity": "2"}]}}});
        assert_eq!(form.value, expected);
        assert_eq!((form.fields, form.dropped), (4, 0));
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
    fn empty_brackets_append_one_element_per_field() {
        let form = read(b"line[][quantity]=2&line[][price]=4&x[]=a&x[]=b", MAX_INPUT_VARS);
        assert_eq!(form.value, json!({"line": [{"quantity": "2"}, {"price": "4"}], "x": ["a", "b"]}));
    }

    #[test]
    fn a_list_that_lost_an_index_becomes_an_object() {
        assert_eq!(read(b"a[0]=x&a[2]=y", MAX_INPUT_VARS).value, json!({"a": {"0": "x", "2": "y"}}));
    }

    #[test]
    fn escapes_are_decoded_and_invalid_ones_kept() {
        let form = read(b"a%5Bb%5d=1%202+3&c=100%&d=%zz&a.b=x", MAX_INPUT_VARS);
        assert_eq!(form.value, json!({"a": {"b": "1 2 3"}, "c": "100%", "d": "%zz", "a_b": "x"}));
    }

    #[test]
    fn the_last_value_of_a_name_wins() {
        assert_eq!(read(b"a=1&a=2&b=1&b[c]=2", MAX_INPUT_VARS).value, json!({"a": "2", "b": {"c": "2"}}));
    }
}

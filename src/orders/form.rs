//! Parses PHP's nested form fields: `purchaseorder[purchase_order_item_list][0][supplier_code]=TP1` (SPSI.md 4).

use serde_json::{Map, Value};

/// Deeper nesting than any order has.
const MAX_DEPTH: usize = 8;

/// Parses a form as PHP does: brackets nest, `[]` appends, the last of duplicate keys wins, every leaf is a string. Returns
/// `None` if a key is nested too deep or the bytes are not UTF-8.
pub fn parse(body: &[u8]) -> Option<Map<String, Value>> {
    str::from_utf8(body).ok()?;
    let mut root = Map::new();
    for (key, value) in url::form_urlencoded::parse(body) {
        // A replacement character that the sender did not write stands for an escape that is not UTF-8.
        if (key.contains('\u{fffd}') || value.contains('\u{fffd}'))
            && !String::from_utf8_lossy(body).contains("%EF%BF%BD")
        {
            return None;
        }
        let segments = segments(&key);
        if segments.len() > MAX_DEPTH {
            return None;
        }
        insert(&mut root, &segments, value.into_owned());
    }
    Some(root)
}

/// Splits `a[b][0]` into `a`, `b`, `0`. A bracket without its partner is part of the name.
fn segments(key: &str) -> Vec<&str> {
    let Some(open) = key.find('[').filter(|open| *open > 0) else { return vec![key] };
    let mut segments = vec![&key[..open]];
    let mut rest = &key[open..];
    while let Some(inner) = rest.strip_prefix('[') {
        let Some(close) = inner.find(']') else { break };
        segments.push(&inner[..close]);
        rest = &inner[close + 1..];
    }
    if segments.len() == 1 { vec![key] } else { segments }
}

fn insert(map: &mut Map<String, Value>, segments: &[&str], value: String) {
    let Some((first, rest)) = segments.split_first() else { return };
    let key = if first.is_empty() { next_index(map) } else { (*first).to_owned() };
    if rest.is_empty() {
        map.insert(key, Value::String(value));
        return;
    }
    let slot = map.entry(key).or_insert_with(|| Value::Object(Map::new()));
    if !slot.is_object() {
        *slot = Value::Object(Map::new());
    }
    if let Value::Object(inner) = slot {
        insert(inner, rest, value);
    }
}

fn next_index(map: &Map<String, Value>) -> String {
    let highest = map.keys().filter_map(|key| key.parse::<u64>().ok()).max();
    highest.map_or(0, |index| index.saturating_add(1)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parsed(body: &[u8]) -> Option<Value> {
        parse(body).map(Value::Object)
    }

    #[test]
    fn brackets_nest() {
        let body = b"purchaseorder[id]=12&purchaseorder%5Blist%5D%5B0%5D%5Bcode%5D=TP+1&purchaseorder[list][2][code]=caf%C3%A9&x=1";
        let expected =
            json!({"purchaseorder": {"id": "12", "list": {"0": {"code": "TP 1"}, "2": {"code": "café"}}}, "x": "1"});
        assert_eq!(parsed(body), Some(expected));
    }

    #[test]
    fn empty_brackets_append_and_unpaired_brackets_are_names() {
        assert_eq!(parsed(b"a[]=1&a[]=2"), Some(json!({"a": {"0": "1", "1": "2"}})));
        assert_eq!(parsed(b"a[b=1&[c]=2"), Some(json!({"a[b": "1", "[c]": "2"})));
        assert_eq!(parsed(b"a=1&a[b]=2"), Some(json!({"a": {"b": "2"}})));
    }

    #[test]
    fn invalid_utf8_and_deep_nesting_are_refused() {
        assert_eq!(parsed(b"a=%FF"), None);
        assert_eq!(parsed(b"a=\xff"), None);
        assert_eq!(parsed(b"a[b][c][d][e][f][g][h][i]=1"), None);
    }
}

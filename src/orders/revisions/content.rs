//! Compares two submissions of an order by content, ignoring formatting.

use crate::orders::json::{Node, Object};
use crate::values::{parse_decimal, plain};

/// Fields that describe the submission rather than the goods, and may differ between two submissions of the same content.
pub(super) const NOT_CONTENT: [&str; 5] = ["active", "created_at", "modified_at", "status", "supplier_order_number"];

/// Whether two orders in JSON have the same content. Ignores how a value is written (`4`, `4.0`, `"4"`), the order of keys,
/// empty fields and [`NOT_CONTENT`].
pub(in crate::orders) fn is_same(one: &str, other: &str) -> bool {
    let content = |body| serde_json::from_str(body).ok().and_then(|node| content(&node));
    content(one).is_some_and(|content_of_one| Some(content_of_one) == content(other))
}

/// Returns a canonical form: equal for equal content only. `None` unless the value is an object.
fn content(order: &Node<'_>) -> Option<String> {
    let Node::Object(order) = order else { return None };
    let mut text = String::new();
    fields(order, |key| !NOT_CONTENT.contains(&key), &mut text);
    Some(text)
}

fn fields(object: &Object<'_>, counts: impl Fn(&str) -> bool, out: &mut String) {
    let mut fields: Vec<_> = object.iter().filter(|(key, _)| counts(key)).collect();
    fields.sort_unstable_by_key(|(key, _)| *key);
    fields.into_iter().for_each(|(key, value)| field(key, value, out));
}

fn field(key: &str, value: &Node<'_>, out: &mut String) {
    match value {
        Node::Object(object) => {
            *out += &format!("{key:?}{{");
            fields(object, |_| true, out);
            out.push('}');
        }
        Node::List(items) => {
            *out += &format!("{key:?}[");
            items.iter().for_each(|value| field("", value, out));
            out.push(']');
        }
        scalar => {
            let text = scalar.scalar().unwrap_or_default();
            let text = parse_decimal(&text).map_or(text, |value| plain(value).into());
            if !text.is_empty() {
                *out += &format!("{key:?}={text:?};");
            }
        }
    }
}

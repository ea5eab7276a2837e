//! Compares two submissions of an order by content: changed header fields, and lines added, removed or changed. Ignores how
//! a value is written (`4`, `"4.0"`), the order of keys and lines, empty fields, and fields that describe the submission only.

use crate::orders::document::LINES;
use crate::orders::echo::scalar;
use crate::values::{parse_decimal, plain};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::HashMap;

/// Fields that describe the submission rather than the goods, and may differ between two submissions of the same content.
const NOT_CONTENT: [&str; 5] = ["active", "created_at", "modified_at", "status", "supplier_order_number"];

/// One difference between two submissions of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = OrderChange)]
pub struct Change {
    /// `changed`, `added` or `removed`.
    pub change: &'static str,
    /// ezyVet's id of the line; `None` for the header.
    pub item: Option<String>,
    pub supplier_code: Option<String>,
    /// `None` if the whole line was added or removed.
    pub field: Option<String>,
    pub before: Option<String>,
    pub after: Option<String>,
}

/// Returns the differences: the header's first, then by line in the order of the later body, then removed lines.
pub(in crate::orders) fn difference(before: &Map<String, Value>, after: &Map<String, Value>) -> Vec<Change> {
    let mut changes = Vec::new();
    fields(before, after, None, &mut changes);
    let (old, new) = (lines(before), lines(after));
    let mut left: HashMap<_, _> = old.iter().map(|(id, line)| (id, *line)).collect();
    for (id, line) in &new {
        match left.remove(id) {
            Some(known) => fields(known, line, Some(id), &mut changes),
            None => changes.push(whole("added", id, line)),
        }
    }
    let removed = old.iter().filter(|(id, _)| left.contains_key(id));
    changes.extend(removed.map(|(id, line)| whole("removed", id, line)));
    changes
}

/// Returns the lines with their ids, which are unique in an order.
fn lines(order: &Map<String, Value>) -> Vec<(String, &Map<String, Value>)> {
    let lines = order.get(LINES).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object);
    lines.map(|line| (line.get("id").and_then(scalar).unwrap_or_default().trim().to_owned(), line)).collect()
}

/// Describes an added or removed line by its quantity.
fn whole(change: &'static str, id: &str, line: &Map<String, Value>) -> Change {
    let quantity = shown(line.get("quantity"));
    let (before, after) = if change == "added" { (None, quantity) } else { (quantity, None) };
    let supplier_code = shown(line.get("supplier_code"));
    Change { change, item: Some(id.to_owned()), supplier_code, field: None, before, after }
}

fn fields(before: &Map<String, Value>, after: &Map<String, Value>, item: Option<&str>, changes: &mut Vec<Change>) {
    let gone = before.keys().filter(|key| !after.contains_key(*key));
    let content = after
        .keys()
        .chain(gone)
        .filter(|key| *key != LINES && (item.is_some() || !NOT_CONTENT.contains(&key.as_str())));
    for key in content {
        let (old, new) = (canonical(before.get(key)), canonical(after.get(key)));
        if old != new {
            let supplier_code = item.and_then(|_| shown(after.get("supplier_code")));
            let (item, field, before, after) = (item.map(str::to_owned), Some(key.clone()), text(old), text(new));
            changes.push(Change { change: "changed", item, supplier_code, field, before, after });
        }
    }
}

/// Returns a form that is equal for equal content. Absent values are empty texts.
fn canonical(value: Option<&Value>) -> Value {
    match value {
        Some(Value::Object(fields)) => {
            fields.iter().map(|(key, value)| (key.clone(), canonical(Some(value)))).collect()
        }
        Some(Value::Array(items)) => items.iter().map(|item| canonical(Some(item))).collect(),
        other => {
            let text = other.and_then(scalar).unwrap_or_default();
            parse_decimal(&text).map_or_else(|_| text.into_owned(), plain).into()
        }
    }
}

/// Returns a canonical value for people; `None` if it is empty.
fn text(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text).filter(|text| !text.is_empty()),
        nested => Some(nested.to_string()),
    }
}

fn shown(value: Option<&Value>) -> Option<String> {
    text(canonical(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_revision_tells_what_it_changed_and_nothing_else() {
        let order = |value: Value| value.as_object().unwrap().clone();
        let before = order(json!({"comments": "a", "total": "44.0", "modified_at": "1", "freight": "0", LINES: [
            {"id": "9", "supplier_code": "TP1", "quantity": "10"}, {"id": "10", "supplier_code": "BND", "quantity": 1}]}));
        let after = order(json!({"comments": "b", "total": 44, "modified_at": "2", "freight": "0.0", LINES: [
            {"id": 9, "supplier_code": "TP1", "quantity": 12}, {"id": "11", "supplier_code": "NEW", "quantity": 3}]}));
        let text = |change: Change| {
            let texts = [change.item, change.supplier_code, change.field, change.before, change.after];
            format!("{} {}", change.change, texts.map(|text| text.unwrap_or("-".into())).join(" "))
        };
        let changes: Vec<_> = difference(&before, &after).into_iter().map(text).collect();
        assert_eq!(
            changes,
            ["changed - - comments a b", "changed 9 TP1 quantity 10 12", "added 11 NEW - - 3", "removed 10 BND - 1 -"]
        );
        let respelt = order(json!({"modified_at": "3", "freight": "0.00", "x": "", "total": "44", LINES: [
            {"quantity": 1.0, "id": 10, "supplier_code": "BND"}, {"id": "9", "supplier_code": "TP1", "quantity": 10}],
            "comments": "a"}));
        assert_eq!(difference(&before, &respelt), []);
    }
}

//! The changes that a revision made, for staff: changed header fields, and lines added, removed or changed. Ignores how a
//! value is written (`4`, `"4.0"`) and fields that describe the submission only.

use super::content::NOT_CONTENT;
use crate::orders::document::LINES;
use crate::orders::json::Node;
use crate::values::{parse_decimal, plain};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::HashMap;

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
    let (known, kept) = (by_id(&old), by_id(&new));
    for (id, line) in &new {
        match known.get(id.as_str()) {
            Some(known) => fields(known, line, Some(id), &mut changes),
            None => changes.push(whole("added", id, line)),
        }
    }
    let gone = old.iter().filter(|(id, _)| !kept.contains_key(id.as_str()));
    changes.extend(gone.map(|(id, line)| whole("removed", id, line)));
    changes
}

fn lines(order: &Map<String, Value>) -> Vec<(String, &Map<String, Value>)> {
    let lines = order.get(LINES).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    lines.iter().filter_map(Value::as_object).map(|line| (shown(line.get("id")).unwrap_or_default(), line)).collect()
}

/// Indexes lines by id. Of duplicate ids, the first line counts.
fn by_id<'a>(lines: &'a [(String, &'a Map<String, Value>)]) -> HashMap<&'a str, &'a Map<String, Value>> {
    lines.iter().rev().map(|(id, line)| (id.as_str(), *line)).collect()
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
        let (old, new) = (shown(before.get(key)), shown(after.get(key)));
        if old != new {
            let supplier_code = item.and_then(|_| shown(after.get("supplier_code")));
            let (item, field) = (item.map(str::to_owned), Some(key.clone()));
            changes.push(Change { change: "changed", item, supplier_code, field, before: old, after: new });
        }
    }
}

/// Returns a value in canonical form; `None` if it is empty or absent.
fn shown(value: Option<&Value>) -> Option<String> {
    let value = value?;
    let text = match Node::from(value.clone()).scalar() {
        Some(text) => parse_decimal(&text).map_or_else(|_| text.into_owned(), plain),
        None => value.to_string(),
    };
    Some(text).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    /// The reference: compares every line with every line.
    fn naive_difference(before: &Map<String, Value>, after: &Map<String, Value>) -> Vec<Change> {
        let mut changes = Vec::new();
        fields(before, after, None, &mut changes);
        let (old, new) = (lines(before), lines(after));
        for (id, line) in &new {
            match old.iter().find(|(known, _)| known == id) {
                Some((_, known)) => fields(known, line, Some(id), &mut changes),
                None => changes.push(whole("added", id, line)),
            }
        }
        for (id, line) in &old {
            if !new.iter().any(|(known, _)| known == id) {
                changes.push(whole("removed", id, line));
            }
        }
        changes
    }

    /// Few ids, written in several ways, so that ids match, repeat or are missing.
    fn an_order() -> impl Strategy<Value = Map<String, Value>> {
        let id = prop_oneof![
            (0..6).prop_map(|id| json!(id)),
            (0..6).prop_map(|id| json!(format!("{id}.0"))),
            Just(json!(null))
        ];
        let line = (id, 0..3, 0..3).prop_map(
            |(id, quantity, code)| json!({"id": id, "quantity": quantity, "supplier_code": format!("C{code}")}),
        );
        (0..2, proptest::collection::vec(prop_oneof![9 => line, 1 => Just(json!("no line"))], 0..8))
            .prop_map(|(total, lines)| json!({"total": total, LINES: lines}).as_object().cloned().unwrap_or_default())
    }

    proptest! {
        #[test]
        fn every_line_is_compared_with_its_namesake(before in an_order(), after in an_order()) {
            prop_assert_eq!(difference(&before, &after), naive_difference(&before, &after));
        }
    }

    #[test]
    fn a_revision_tells_what_it_changed_and_nothing_else() {
        let order = |value: Value| value.as_object().unwrap().clone();
        let before = order(json!({"comments": "a", "total": "44.0", "modified_at": "1", "freight": "0", LINES: [
            {"id": "9", "supplier_code": "TP1", "quantity": "10"}, {"id": "10", "supplier_code": "BND", "quantity": 1}]}));
        let after = order(json!({"comments": "b", "total": 44, "modified_at": "2", "freight": "0.0", LINES: [
            {"id": 9, "supplier_code": "TP1", "quantity": 12}, {"id": "11", "supplier_code": "NEW", "quantity": 3}]}));
        let text = |change: &Change| {
            let part = |text: &Option<String>| text.clone().unwrap_or("-".into());
            [
                part(&change.item),
                part(&change.supplier_code),
                part(&change.field),
                part(&change.before),
                part(&change.after),
            ]
            .join(" ")
        };
        let changes: Vec<_> = difference(&before, &after).iter().map(|c| format!("{} {}", c.change, text(c))).collect();
        assert_eq!(
            changes,
            ["changed - - comments a b", "changed 9 TP1 quantity 10 12", "added 11 NEW - - 3", "removed 10 BND - 1 -"]
        );
        assert_eq!(difference(&before, &before), []);
    }
}

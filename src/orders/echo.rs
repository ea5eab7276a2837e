//! The order as ezyVet gets it back (SPSI.md 1): documented scalars as strings, unknown fields as received, and the
//! supplier's order number.

use super::document::{LINES, ROOT};
use super::json::{Node, Object};
use serde::ser::{Serialize, Serializer};
use std::cell::Cell;

const NUMBER: &str = "supplier_order_number";
const HEADER: [&str; 17] = [
    "id",
    "active",
    "created_at",
    "modified_at",
    "date",
    "shipping_address_id",
    "comments",
    "freight",
    "freight_tax",
    "tax",
    "total",
    "client_id",
    "supplier_id",
    "status",
    "supplier_account_number",
    "purchase_order_number",
    "ownership_id",
];
const LINE: [&str; 11] = [
    "id",
    "product_id",
    "supplier_code",
    "outers",
    "units_per_outer",
    "price_per_unit",
    "tax_per_unit",
    "quantity",
    "total",
    "total_tax",
    "ownership_id",
];

/// The answer to an accepted order without the supplier's number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Echo {
    text: String,
    /// Byte offset of the number in `text`.
    number_offset: usize,
}

impl Echo {
    /// Echoes the order. Documented scalars become strings (SPSI.md 1), unknown fields stay as received. `replaced` fields
    /// take the place of the order's own, or follow at the end.
    pub(super) fn new(order: &Object<'_>, replaced: &[(&str, &str)]) -> Self {
        Self::with_body(order, replaced).0
    }

    /// Returns the echo and the order as received, as JSON. Both are nearly always the same text, which is written once.
    pub(super) fn with_body(order: &Object<'_>, replaced: &[(&str, &str)]) -> (Self, String) {
        let is_as_received = Cell::new(true);
        let replaced = [(NUMBER, "")].iter().chain(replaced).map(|(key, text)| (*key, Node::Text((*text).into())));
        let replaced: Vec<_> = replaced.collect();
        let find = |key: &str| replaced.iter().find(|(name, _)| *name == key).map(|(_, text)| text);
        let fields = order.iter().map(|(key, value)| (key, find(key).unwrap_or(value)));
        let added = replaced.iter().filter(|(key, _)| !order.contains(key)).map(|(key, text)| (*key, text));
        let before = format!("{{\"{ROOT}\":");
        let mut text = Vec::with_capacity(4_096);
        text.extend_from_slice(before.as_bytes());
        text.push(b'{');
        let mut number_offset = 0;
        for (index, (key, value)) in fields.chain(added).enumerate() {
            if index > 0 {
                text.push(b',');
            }
            write(&mut text, key);
            text.push(b':');
            match value {
                Node::List(lines) if key == LINES => {
                    let line = |line| Line { line, is_as_received: &is_as_received };
                    write(&mut text, &lines.iter().map(line).collect::<Vec<_>>());
                }
                value => write(&mut text, &Field { key, value, documented: &HEADER, is_as_received: &is_as_received }),
            }
            if key == NUMBER {
                number_offset = text.len() - 1;
            }
        }
        text.extend_from_slice(b"}}");
        // serde_json writes UTF-8 only.
        let text = String::from_utf8(text).unwrap_or_default();
        let is_unchanged = |(key, text): &(&str, Node<'_>)| order.get(key) == Some(text);
        let body = if is_as_received.get() && replaced.iter().all(is_unchanged) {
            text[before.len()..text.len() - 1].to_owned()
        } else {
            serde_json::to_string(order).unwrap_or_default()
        };
        (Self { text, number_offset }, body)
    }

    /// Returns the answer with the supplier's number, which needs no escaping.
    pub fn with_number(&self, number: &str) -> String {
        let (before, after) = self.text.split_at(self.number_offset);
        [before, number, after].concat()
    }
}

fn write(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    // Cannot fail: writing to memory does not, and all keys are strings.
    let _ = serde_json::to_writer(out, value);
}

/// Serializes a line, its documented scalars as strings.
struct Line<'a> {
    line: &'a Node<'a>,
    is_as_received: &'a Cell<bool>,
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.line {
            Node::Object(fields) => {
                let is_as_received = self.is_as_received;
                let field = |(key, value)| (key, Field { key, value, documented: &LINE, is_as_received });
                serializer.collect_map(fields.iter().map(field))
            }
            other => other.serialize(serializer),
        }
    }
}

struct Field<'a> {
    key: &'a str,
    value: &'a Node<'a>,
    documented: &'a [&'a str],
    /// Set to false if the field is written in another form than received.
    is_as_received: &'a Cell<bool>,
}

impl Serialize for Field<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.value {
            Node::Text(text) => serializer.serialize_str(text),
            value => match value.scalar().filter(|_| self.documented.contains(&self.key)) {
                Some(text) => {
                    self.is_as_received.set(false);
                    serializer.serialize_str(&text)
                }
                None => value.serialize(serializer),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn order() -> Value {
        json!({"id": 12, "total": 4.4, "comments": null, "active": true, "extra": {"a": 1}, "status": "Approved",
            "purchase_order_item_list": [{"id": 9, "quantity": "1", "note": 5}]})
    }

    fn tree(value: Value) -> Object<'static> {
        match value.into() {
            Node::Object(object) => object,
            other => panic!("{other:?} is no object"),
        }
    }

    #[test]
    fn documented_scalars_are_strings_and_unknown_fields_stay() {
        let expected = json!({"purchaseorder": {"id": "12", "total": "4.4", "comments": "", "active": "1", "extra": {"a": 1},
            "status": "Approved", "supplier_order_number": "SO-1", "purchase_order_item_list": [{"id": "9", "quantity": "1", "note": 5}]}});
        let echo = Echo::new(&tree(order()), &[]).with_number("SO-1");
        assert_eq!(serde_json::from_str::<Value>(&echo).unwrap(), expected);
        // A field that is there already receives the number; a nested one of the same name does not.
        let mut again = order();
        again["extra"] = json!({"supplier_order_number": ""});
        again["supplier_order_number"] = Value::Null;
        again["last"] = 1.into();
        let echo = Echo::new(&tree(again), &[]).with_number("SO-1");
        assert!(echo.contains(r#""extra":{"supplier_order_number":""}"#), "{}", echo);
        assert!(echo.ends_with(r#""supplier_order_number":"SO-1","last":1}}"#), "{}", echo);
    }

    #[test]
    fn the_body_is_the_order_as_received_whatever_its_formatting() {
        let plain = json!({"id": "1", "total": "4.4", "supplier_order_number": "", "x": {"y": 1}, "purchase_order_item_list":
            [{"id": "9", "quantity": "1", "note": 5}, "odd"], "last": "é\"\n"});
        let mut orders = vec![plain.clone(), order()];
        for (path, value) in [
            ("/supplier_order_number", json!("SO-1")),
            ("/supplier_order_number", json!(null)),
            ("/total", json!(4.4)),
            ("/purchase_order_item_list/0/quantity", json!(1)),
            ("/purchase_order_item_list/0/id", json!(null)),
            ("/purchase_order_item_list", json!({"0": 1})),
        ] {
            let mut order = plain.clone();
            *order.pointer_mut(path).unwrap() = value;
            orders.push(order);
        }
        for order in orders {
            let (echo, body) = Echo::with_body(&tree(order.clone()), &[]);
            assert_eq!(body, order.to_string());
            assert_eq!(echo, Echo::new(&tree(order), &[]));
        }
    }
}

//! What ezyVet is told about an order (SPSI.md 1, 5.1).

use super::decide::Finding;
use super::json::{Node, Object};
use super::read::{LINES, ROOT};
use crate::config::DeclineAnswer;
use serde::ser::{Serialize, Serializer};
use serde_json::{Value, json};
use std::cell::Cell;

/// An answer as it is stored and sent: word for word the same for the same order again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    /// JSON.
    pub body: String,
}

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

/// The answer to an order that is stored, but for our number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Echo {
    text: String,
    /// Where the number goes.
    place: usize,
}

impl Echo {
    /// The order as received with room for our number. The documented scalars are strings (SPSI.md 1); what we do not know
    /// goes back as it came. `ours` goes where ezyVet has the fields, else to the end.
    pub(super) fn of(order: &Object<'_>, ours: &[(&str, &str)]) -> Self {
        Self::and_body(order, ours).0
    }

    /// The same, with the order as received in JSON: nearly always they are one text.
    pub(super) fn and_body(order: &Object<'_>, ours: &[(&str, &str)]) -> (Self, String) {
        let is_as_received = Cell::new(true);
        let ours = [(NUMBER, "")].iter().chain(ours).map(|(key, text)| (*key, Node::Text((*text).into())));
        let ours: Vec<_> = ours.collect();
        let find = |key: &str| ours.iter().find(|(known, _)| *known == key).map(|(_, text)| text);
        let fields = order.iter().map(|(key, value)| (key, find(key).unwrap_or(value)));
        let added = ours.iter().filter(|(key, _)| !order.contains(key)).map(|(key, text)| (*key, text));
        let before = format!("{{\"{ROOT}\":");
        let mut text = Vec::with_capacity(4_096);
        text.extend_from_slice(before.as_bytes());
        text.push(b'{');
        let mut place = 0;
        for (at, (key, value)) in fields.chain(added).enumerate() {
            if at > 0 {
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
                place = text.len() - 1;
            }
        }
        text.extend_from_slice(b"}}");
        // Both are made of texts.
        let text = String::from_utf8(text).unwrap_or_default();
        let is_ours = |(key, text): &(&str, Node<'_>)| order.get(key) == Some(text);
        let body = if is_as_received.get() && ours.iter().all(is_ours) {
            text[before.len()..text.len() - 1].to_owned()
        } else {
            serde_json::to_string(order).unwrap_or_default()
        };
        (Self { text, place }, body)
    }

    /// With our number, which needs no escapes.
    pub fn with(&self, number: &str) -> Reply {
        let (before, after) = self.text.split_at(self.place);
        Reply { status: 200, body: [before, number, after].concat() }
    }
}

fn write(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    // Memory takes whatever is written to it, and all of our keys are texts.
    let _ = serde_json::to_writer(out, value);
}

/// The decline in the reading that is set.
pub(super) fn declined<'a>(
    order: impl FnOnce() -> Object<'a>,
    number: &str,
    findings: &[Finding],
    reading: DeclineAnswer,
) -> Reply {
    let reasons: Vec<&Finding> = findings.iter().filter(|finding| finding.action == "decline").collect();
    let words: Vec<_> = reasons.iter().map(|finding| finding.text.as_str()).collect();
    let words = words.join("; ");
    let status = match reading {
        DeclineAnswer::Status422 => 422,
        DeclineAnswer::Status400 => 400,
        DeclineAnswer::Status409 => 409,
        DeclineAnswer::Cancelled => {
            let comments = format!("Declined: {words}");
            return Echo::of(&order(), &[("status", "Cancelled"), ("comments", &comments)]).with(number);
        }
    };
    let messages: Vec<Value> = reasons
        .iter()
        .map(|finding| json!({"level": "error", "type": code(finding.rule), "text": finding.text, "fields": [finding.field]}))
        .collect();
    let body = json!({"message": format!("The order was declined: {words}"), "messages": messages});
    Reply { status, body: body.to_string() }
}

/// `rule_price_below` is a setting; the reason is `price_below`.
fn code(rule: &str) -> &str {
    rule.strip_prefix("rule_").unwrap_or(rule)
}

/// A line with those of its fields as strings that are documented so.
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
    /// Turned to false where it is written as another text than it came.
    is_as_received: &'a Cell<bool>,
}

impl Serialize for Field<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.value {
            // Nearly all are strings as they come.
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

    fn read(reply: &Reply) -> Value {
        serde_json::from_str(&reply.body).unwrap()
    }

    #[test]
    fn documented_scalars_are_strings_and_unknown_fields_stay() {
        let expected = json!({"purchaseorder": {"id": "12", "total": "4.4", "comments": "", "active": "1", "extra": {"a": 1},
            "status": "Approved", "supplier_order_number": "SO-1", "purchase_order_item_list": [{"id": "9", "quantity": "1", "note": 5}]}});
        let reply = Echo::of(&tree(order()), &[]).with("SO-1");
        assert_eq!((reply.status, read(&reply)), (200, expected));
        // Where it stands already, the number goes to its place, and nowhere else.
        let mut again = order();
        again["extra"] = json!({"supplier_order_number": ""});
        again["supplier_order_number"] = Value::Null;
        again["last"] = 1.into();
        let reply = Echo::of(&tree(again), &[]).with("SO-1");
        assert!(reply.body.contains(r#""extra":{"supplier_order_number":""}"#), "{}", reply.body);
        assert!(reply.body.ends_with(r#""supplier_order_number":"SO-1","last":1}}"#), "{}", reply.body);
    }

    #[test]
    fn the_body_is_the_order_as_received_in_whatever_spelling() {
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
            let (echo, body) = Echo::and_body(&tree(order.clone()), &[]);
            assert_eq!(body, order.to_string());
            assert_eq!(echo, Echo::of(&tree(order), &[]));
        }
    }

    #[test]
    fn a_decline_has_its_reasons_in_every_reading() {
        let finding =
            |rule, action, text: &str| Finding { rule, action, field: "purchaseorder.x".into(), text: text.into() };
        let findings =
            [finding("rule_unknown_product", "decline", "no X"), finding("rule_price_above", "note", "dear")];
        for (reading, status) in
            [(DeclineAnswer::Status422, 422), (DeclineAnswer::Status400, 400), (DeclineAnswer::Status409, 409)]
        {
            let reply = declined(|| tree(order()), "SO-1", &findings, reading);
            let messages =
                json!([{"level": "error", "type": "unknown_product", "text": "no X", "fields": ["purchaseorder.x"]}]);
            let body = json!({"message": "The order was declined: no X", "messages": messages});
            assert_eq!((reply.status, read(&reply)), (status, body));
        }
        let reply = declined(|| tree(order()), "SO-1", &findings, DeclineAnswer::Cancelled);
        let echoed = &read(&reply)[ROOT];
        assert_eq!(
            (reply.status, &echoed["status"], &echoed["comments"]),
            (200, &json!("Cancelled"), &json!("Declined: no X"))
        );
    }
}

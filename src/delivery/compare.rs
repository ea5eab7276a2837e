//! What ezyVet holds against what we sent. Pure.
//!
//! Compares what the answer shows and nothing else: a field that a site does not tell is no difference. Lines are found
//! again by the order line that they are for, in their order.

use super::payload::{Invoice, InvoiceLine};
use crate::ezyvet::answers::StoredInvoice;
use crate::values::{parse_decimal, plain};
use rust_decimal::Decimal;
use serde_json::Value;

/// One thing that is otherwise.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Difference {
    /// `freight`, `line 9 quantity`.
    pub what: String,
    pub sent: String,
    pub stored: String,
}

/// Every difference between an invoice and the active ones that ezyVet holds under its number.
pub fn compare(sent: &Invoice, held: &[StoredInvoice]) -> Vec<Difference> {
    let active: Vec<_> = held.iter().filter(|invoice| invoice.active).collect();
    let mut differences = Vec::new();
    if active.len() > 1 {
        differences.push(difference("invoices with this number", "1".into(), active.len().to_string()));
    }
    let Some(stored) = active.first().map(|invoice| &invoice.document) else { return differences };
    number(&mut differences, "freight".into(), sent.freight, stored.get("freight"));
    number(&mut differences, "freight_tax".into(), sent.freight_tax, stored.get("freight_tax"));
    word(&mut differences, "ownership_id".into(), &sent.ownership_id, stored.get("ownership_id"));
    let Some(mut lines) = lines_of(stored) else { return differences };
    let net = |quantity: Option<Decimal>, price: Option<Decimal>| quantity?.checked_mul(price?);
    let read = |line: &Value, key: &str| line.get(key).and_then(decimal_of);
    let held: Option<Decimal> = lines.iter().map(|line| net(read(line, "quantity"), read(line, "price"))).sum();
    for line in &sent.lines {
        let item = &line.purchase_order_item_id;
        let found = lines
            .iter()
            .position(|stored| stored.get("purchase_order_item_id").and_then(text_of).as_ref() == Some(item));
        match found {
            Some(at) => line_differences(&mut differences, line, &lines.remove(at)),
            None => differences.push(difference(&format!("line {item}"), "there".into(), "not there".into())),
        }
    }
    for extra in lines {
        let item = extra.get("purchase_order_item_id").and_then(text_of).unwrap_or_default();
        differences.push(difference(&format!("line {item}"), "not there".into(), "there".into()));
    }
    let total: Decimal = sent.lines.iter().map(|line| line.quantity * line.price).sum();
    if let Some(held) = held.filter(|held| *held != total) {
        differences.push(difference("total of the lines without tax", plain(total), plain(held)));
    }
    differences
}

fn line_differences(differences: &mut Vec<Difference>, line: &InvoiceLine, stored: &Value) {
    let what = |field: &str| format!("line {} {field}", line.purchase_order_item_id);
    let numbers = [("quantity", line.quantity), ("price", line.price), ("tax", line.tax), ("tax_rate", line.tax_rate)];
    for (field, sent) in numbers {
        number(differences, what(field), sent, stored.get(field));
    }
    let words =
        [("tax_code", &line.tax_code), ("supplier_code", &line.supplier_code), ("location_id", &line.location_id)];
    for (field, sent) in words {
        word(differences, what(field), sent, stored.get(field));
    }
}

fn number(differences: &mut Vec<Difference>, what: String, sent: Decimal, stored: Option<&Value>) {
    let Some(stored) = stored.and_then(text_of) else { return };
    if parse_decimal(&stored).ok() != Some(sent) {
        differences.push(Difference { what, sent: plain(sent), stored });
    }
}

fn word(differences: &mut Vec<Difference>, what: String, sent: &str, stored: Option<&Value>) {
    let Some(stored) = stored.and_then(text_of) else { return };
    if stored.trim() != sent.trim() {
        differences.push(Difference { what, sent: sent.to_owned(), stored });
    }
}

fn difference(what: &str, sent: String, stored: String) -> Difference {
    Difference { what: what.to_owned(), sent, stored }
}

/// The lines, bare or wrapped in their name. None: the answer does not show them.
fn lines_of(stored: &Value) -> Option<Vec<Value>> {
    let list = ["line_item", "line_items", "receiveinvoiceitem_list"].iter().find_map(|key| stored.get(*key))?;
    let list: Vec<&Value> = match list {
        Value::Array(list) => list.iter().collect(),
        Value::Object(map) => map.values().collect(),
        _ => return None,
    };
    let bare = list.into_iter().map(|line| line.get("line_item").unwrap_or(line).clone());
    Some(bare.collect())
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn decimal_of(value: &Value) -> Option<Decimal> {
    parse_decimal(&text_of(value)?).ok()
}

#[cfg(test)]
mod tests {
    use super::super::payload::tests::invoice;
    use super::*;
    use serde_json::json;

    fn held(document: Value) -> StoredInvoice {
        StoredInvoice { id: "1".into(), invoice_number: "INV-000001".into(), active: true, document }
    }

    fn as_sent() -> Value {
        json!({"freight": "4.00", "freight_tax": 10, "ownership_id": 1, "comments": "other", "line_item": [
            {"purchase_order_item_id": "10", "quantity": -1, "price": "4.0", "tax": 0, "tax_rate": 0, "tax_code": "S",
             "supplier_code": "TP2", "location_id": 4},
            {"purchase_order_item_id": 9, "quantity": "2.000000", "price": 4.25, "tax": "0.425", "supplier_code": "TP1"}]})
    }

    #[test]
    fn what_is_spelt_otherwise_or_not_told_is_no_difference() {
        assert_eq!(compare(&invoice(), &[held(as_sent())]), []);
        assert_eq!(compare(&invoice(), &[held(json!({"id": 1}))]), []);
    }

    #[test]
    fn every_difference_is_named() {
        let mut stored = as_sent();
        stored["freight"] = json!(0);
        stored["line_item"][1]["quantity"] = json!(1);
        stored["line_item"][0]["purchase_order_item_id"] = json!(11);
        let found = compare(&invoice(), &[held(stored), held(as_sent())]);
        let found: Vec<_> = found.iter().map(|d| format!("{}: {} / {}", d.what, d.sent, d.stored)).collect();
        let expected = [
            "invoices with this number: 1 / 2",
            "freight: 4 / 0",
            "line 9 quantity: 2 / 1",
            "line 10: there / not there",
            "line 11: not there / there",
            "total of the lines without tax: 4.5 / 0.25",
        ];
        assert_eq!(found, expected);
    }
}

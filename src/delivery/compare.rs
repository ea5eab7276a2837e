//! Compares the invoice that ezyVet holds with the one that was sent. Pure.
//!
//! A field that the answer does not show is no difference. Lines are matched by their order line and their batch; lines
//! without a match by batch are matched by order line alone, in their order.

use super::payload::{Invoice, InvoiceBatch, InvoiceLine};
use crate::ezyvet::answers::{StoredInvoice, entries, text};
use crate::values::{parse_decimal, plain};
use rust_decimal::Decimal;
use serde_json::Value;
use time::{Date, OffsetDateTime, macros::format_description};

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Difference {
    /// Which field differs: `freight`, `line 9 quantity`.
    pub what: String,
    pub sent: String,
    pub stored: String,
}

/// Returns every difference between an invoice and the active invoices that ezyVet holds under its number.
pub fn compare(sent: &Invoice, held: &[StoredInvoice]) -> Vec<Difference> {
    let active: Vec<_> = held.iter().filter(|invoice| invoice.is_active).collect();
    let mut differences = Vec::new();
    if active.len() > 1 {
        differences.push(difference("invoices with this number", "1".into(), active.len().to_string()));
    }
    let Some(stored) = active.first().map(|invoice| &invoice.document) else { return differences };
    compare_number(&mut differences, "freight".into(), sent.freight, text(stored, "freight"));
    compare_number(&mut differences, "freight_tax".into(), sent.freight_tax, text(stored, "freight_tax"));
    compare_text(&mut differences, "ownership_id".into(), &sent.ownership_id, text(stored, "ownership_id"));
    let Some(mut lines) = lines_of(stored) else { return differences };
    let net = |quantity: Option<Decimal>, price: Option<Decimal>| quantity?.checked_mul(price?);
    let read = |line: &Value, key: &str| parse_decimal(&text(line, key)?).ok();
    let held: Option<Decimal> = lines.iter().map(|line| net(read(line, "quantity"), read(line, "price"))).sum();
    // Goods from two batches are two lines for one order line: lines with a matching batch are taken first.
    let mut found: Vec<Option<Value>> = sent.lines.iter().map(|line| take_match(&mut lines, line, true)).collect();
    for (line, found) in sent.lines.iter().zip(&mut found) {
        match found.take().or_else(|| take_match(&mut lines, line, false)) {
            Some(stored) => compare_line(&mut differences, line, &stored),
            None => {
                let what = format!("line {}", line.purchase_order_item_id);
                differences.push(difference(&what, "there".into(), "not there".into()));
            }
        }
    }
    for extra in lines {
        let item = text(&extra, "purchase_order_item_id").unwrap_or_default();
        differences.push(difference(&format!("line {item}"), "not there".into(), "there".into()));
    }
    let total: Decimal = sent.lines.iter().map(|line| line.quantity * line.price).sum();
    if let Some(held) = held.filter(|held| *held != total) {
        differences.push(difference("total of the lines without tax", plain(total), plain(held)));
    }
    differences
}

/// Removes and returns the line of ezyVet's that matches a line that was sent.
fn take_match(lines: &mut Vec<Value>, sent: &InvoiceLine, same_batch: bool) -> Option<Value> {
    let batch = sent.batch.as_ref().map(|batch| batch.name.trim());
    let index = lines.iter().position(|stored| {
        let item = text(stored, "purchase_order_item_id");
        let named = batches_of(stored).unwrap_or_default();
        let named = named.first().map(|batch| batch.name.trim());
        item.as_ref() == Some(&sent.purchase_order_item_id) && (!same_batch || named == batch)
    })?;
    Some(lines.remove(index))
}

fn compare_line(differences: &mut Vec<Difference>, line: &InvoiceLine, stored: &Value) {
    let what = |field: &str| format!("line {} {field}", line.purchase_order_item_id);
    let numbers = [("quantity", line.quantity), ("price", line.price), ("tax", line.tax), ("tax_rate", line.tax_rate)];
    for (field, sent) in numbers {
        compare_number(differences, what(field), sent, text(stored, field));
    }
    let texts =
        [("tax_code", &line.tax_code), ("supplier_code", &line.supplier_code), ("location_id", &line.location_id)];
    for (field, sent) in texts {
        compare_text(differences, what(field), sent, text(stored, field));
    }
    if let Some(held) = batches_of(stored) {
        compare_batches(differences, what, line.batch.as_ref(), &held);
    }
}

fn compare_batches(
    differences: &mut Vec<Difference>,
    what: impl Fn(&str) -> String,
    sent: Option<&InvoiceBatch>,
    held: &[InvoiceBatch],
) {
    let names: Vec<_> = held.iter().map(|batch| batch.name.trim()).collect();
    let sent_names: Vec<_> = sent.iter().map(|batch| batch.name.trim()).collect();
    if names != sent_names {
        let join = |names: &[&str]| if names.is_empty() { "none".into() } else { names.join(", ") };
        return differences.push(difference(&what("batch"), join(&sent_names), join(&names)));
    }
    let (Some(sent), Some(held)) = (sent.and_then(|batch| batch.expiry), held.first()) else { return };
    // An expiry is a day, and midnight differs between time zones.
    let same_day = held.expiry.is_none_or(|held| held.abs_diff(sent) < 86_400);
    if !same_day {
        differences.push(difference(&what("batch expiry"), day(sent), held.expiry.map_or_else(String::new, day)));
    }
}

/// Returns the batches of a line: a list of `name` and `expiry`, bare or wrapped. Returns `None` if the answer does not
/// show them.
fn batches_of(stored: &Value) -> Option<Vec<InvoiceBatch>> {
    let list = match stored.get("batch")? {
        one if one.get("name").is_some() => vec![one],
        list => entries(list)?,
    };
    let read = |batch: &Value| {
        let batch = batch.get("batch").unwrap_or(batch);
        let expiry = text(batch, "expiry").and_then(|expiry| seconds_of(&expiry));
        InvoiceBatch { name: text(batch, "name").unwrap_or_default(), expiry }
    };
    Some(list.into_iter().map(read).collect())
}

/// Parses seconds since 1970, or a day.
fn seconds_of(text: &str) -> Option<i64> {
    let day = || Date::parse(text.get(..10)?, format_description!("[year]-[month]-[day]")).ok();
    text.trim()
        .parse()
        .ok()
        .filter(|seconds| *seconds != 0)
        .or_else(|| Some(day()?.midnight().assume_utc().unix_timestamp()))
}

fn day(seconds: i64) -> String {
    OffsetDateTime::from_unix_timestamp(seconds).map_or_else(|_| seconds.to_string(), |at| at.date().to_string())
}

fn compare_number(differences: &mut Vec<Difference>, what: String, sent: Decimal, stored: Option<String>) {
    let Some(stored) = stored else { return };
    if parse_decimal(&stored).ok() != Some(sent) {
        differences.push(Difference { what, sent: plain(sent), stored });
    }
}

fn compare_text(differences: &mut Vec<Difference>, what: String, sent: &str, stored: Option<String>) {
    let Some(stored) = stored else { return };
    if stored.trim() != sent.trim() {
        differences.push(Difference { what, sent: sent.to_owned(), stored });
    }
}

fn difference(what: &str, sent: String, stored: String) -> Difference {
    Difference { what: what.to_owned(), sent, stored }
}

/// Returns the lines, bare or wrapped in their name. Returns `None` if the answer does not show them.
fn lines_of(stored: &Value) -> Option<Vec<Value>> {
    let list = ["line_item", "line_items", "receiveinvoiceitem_list"].iter().find_map(|key| stored.get(*key))?;
    let bare = entries(list)?.into_iter().map(|line| line.get("line_item").unwrap_or(line).clone());
    Some(bare.collect())
}

#[cfg(test)]
mod tests {
    use super::super::payload::tests::invoice;
    use super::*;
    use serde_json::json;

    fn held(document: Value) -> StoredInvoice {
        StoredInvoice { is_active: true, document }
    }

    fn as_sent() -> Value {
        json!({"freight": "4.00", "freight_tax": 10, "ownership_id": 1, "comments": "other", "line_item": [
            {"purchase_order_item_id": "10", "quantity": -1, "price": "4.0", "tax": 0, "tax_rate": 0, "tax_code": "S",
             "supplier_code": "TP2", "location_id": 4, "batch": []},
            {"purchase_order_item_id": 9, "quantity": "2.000000", "price": 4.25, "tax": "0.425", "supplier_code": "TP1",
             "batch": [{"name": "B1", "expiry": "1830297600"}]}]})
    }

    #[test]
    fn another_spelling_or_a_missing_field_is_no_difference() {
        assert_eq!(compare(&invoice(), &[held(as_sent())]), []);
        assert_eq!(compare(&invoice(), &[held(json!({"id": 1}))]), []);
    }

    fn describe(differences: &[Difference]) -> Vec<String> {
        differences.iter().map(|d| format!("{}: {} / {}", d.what, d.sent, d.stored)).collect()
    }

    /// Returns the differences if ezyVet shows these batches for line 9.
    fn describe_batch(batch: Value) -> Vec<String> {
        let mut stored = as_sent();
        stored["line_item"][1]["batch"] = batch;
        describe(&compare(&invoice(), &[held(stored)]))
    }

    #[test]
    fn another_batch_and_another_expiry_are_differences() {
        assert_eq!(describe_batch(json!([{"name": "B2", "expiry": 1830297600}])), ["line 9 batch: B1 / B2"]);
        assert_eq!(describe_batch(json!([])), ["line 9 batch: B1 / none"]);
        let two = json!([{"name": "B1"}, {"name": "B2"}]);
        assert_eq!(describe_batch(two), ["line 9 batch: B1 / B1, B2"]);
        let expected = ["line 9 batch expiry: 2028-01-01 / 2028-01-02"];
        assert_eq!(describe_batch(json!([{"name": "B1", "expiry": 1830384000}])), expected);
        assert_eq!(describe_batch(json!([{"name": "B1", "expiry": "2028-01-02"}])), expected);
        // A time that cannot be a date is shown as a number.
        assert_eq!(
            describe_batch(json!([{"name": "B1", "expiry": i64::MIN}])),
            [format!("line 9 batch expiry: 2028-01-01 / {}", i64::MIN)]
        );
        let mut stored = as_sent();
        stored["line_item"][0]["batch"] = json!([{"name": "B7", "expiry": null}]);
        assert_eq!(describe(&compare(&invoice(), &[held(stored)])), ["line 10 batch: none / B7"]);
    }

    #[test]
    fn a_batch_in_another_shape_or_at_another_midnight_is_the_same() {
        for batch in [
            json!([{"name": "B1 ", "expiry": 1830297600}]),
            json!([{"batch": {"name": "B1", "expiry": "1830297600"}}]),
            json!({"name": "B1", "expiry": "2028-01-01"}),
            json!({"0": {"name": "B1", "expiry": "2028-01-01 00:00:00"}}),
            // Midnight in Auckland.
            json!([{"name": "B1", "expiry": 1830250800}]),
            json!([{"name": "B1", "expiry": null}]),
            json!([{"name": "B1"}]),
            json!("B1"),
            Value::Null,
        ] {
            assert_eq!(describe_batch(batch.clone()), [""; 0], "{batch}");
        }
    }

    #[test]
    fn lines_of_one_order_line_are_matched_by_their_batch() {
        let mut sent = invoice();
        let mut other = sent.lines[0].clone();
        other.quantity = 3.into();
        other.batch = Some(InvoiceBatch { name: "B2".into(), expiry: None });
        sent.lines.insert(0, other);
        let mut stored = as_sent();
        let mut line = stored["line_item"][1].clone();
        (line["quantity"], line["batch"]) = (json!(3), json!([{"name": "B2", "expiry": null}]));
        stored["line_item"].as_array_mut().unwrap().push(line);
        assert_eq!(describe(&compare(&sent, &[held(stored.clone())])), [""; 0]);
        stored["line_item"][2]["batch"] = json!([{"name": "B3"}]);
        assert_eq!(describe(&compare(&sent, &[held(stored)])), ["line 9 batch: B2 / B3"]);
    }

    #[test]
    fn every_difference_is_named() {
        let mut stored = as_sent();
        stored["freight"] = json!(0);
        stored["line_item"][1]["quantity"] = json!(1);
        stored["line_item"][0]["purchase_order_item_id"] = json!(11);
        let found = compare(&invoice(), &[held(stored), held(as_sent())]);
        let found = describe(&found);
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

//! The order as ezyVet gets it back (SPSI.md 1): documented scalars as strings, unknown fields as received, and the
//! supplier's order number.

use super::document::{LINES, ROOT};
use serde_json::{Map, Value};
use std::borrow::Cow;

/// The field that the supplier fills in.
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

/// Prepares an order for [`echo`]: removes the supplier's number, and turns every documented scalar into a string (SPSI.md 1).
pub(super) fn prepare(order: &mut Map<String, Value>) {
    order.shift_remove(NUMBER);
    write_as_strings(order, &HEADER);
    let lines = order.get_mut(LINES).and_then(Value::as_array_mut);
    for line in lines.into_iter().flatten().filter_map(Value::as_object_mut) {
        write_as_strings(line, &LINE);
    }
}

fn write_as_strings(fields: &mut Map<String, Value>, documented: &[&str]) {
    for (key, value) in fields.iter_mut().filter(|(_, value)| !value.is_string()) {
        if let Some(text) = scalar(value).filter(|_| documented.contains(&key.as_str())) {
            *value = text.into_owned().into();
        }
    }
}

/// Returns a prepared order under the supplier's `number`, as JSON. The number needs no escaping.
pub(super) fn echo(order: &Map<String, Value>, number: &str) -> String {
    let order = to_json(order);
    let fields = order.strip_suffix('}').unwrap_or_default();
    format!("{{\"{ROOT}\":{fields},\"{NUMBER}\":\"{number}\"}}}}")
}

/// Returns a scalar as PHP converts it to a string: `null` is empty, `true` is 1, `false` is 0. `None` for lists and objects.
pub(super) fn scalar(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(text.into()),
        Value::Number(number) => Some(number.to_string().into()),
        Value::Bool(true) => Some("1".into()),
        Value::Bool(false) => Some("0".into()),
        Value::Null => Some("".into()),
        Value::Array(_) | Value::Object(_) => None,
    }
}

/// Writes an order as JSON. Keys keep their order.
pub(super) fn to_json(order: &Map<String, Value>) -> String {
    // Cannot fail: all keys are strings.
    serde_json::to_string(order).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn documented_scalars_are_strings_and_everything_else_stays_in_its_place() {
        let mut order = json!({"id": 12, "total": 4.4, "comments": null, "active": true, "supplier_order_number": null,
            "extra": {"supplier_order_number": ""}, "purchase_order_item_list": [{"id": 9, "quantity": "1", "note": 5}, "odd"]});
        let order = order.as_object_mut().unwrap();
        prepare(order);
        let expected = r#"{"purchaseorder":{"id":"12","total":"4.4","comments":"","active":"1","extra":{"supplier_order_number":""},"purchase_order_item_list":[{"id":"9","quantity":"1","note":5},"odd"],"supplier_order_number":"SO-1"}}"#;
        assert_eq!(echo(order, "SO-1"), expected);
    }
}

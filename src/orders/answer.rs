//! What ezyVet is told about an order (SPSI.md 1, 5.1).

use super::decide::Finding;
use super::read::{LINES, ROOT, scalar_text};
use crate::config::DeclineAnswer;
use serde_json::{Map, Value, json};

/// An answer as it is stored and sent: word for word the same for the same order again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    /// JSON.
    pub body: String,
}

/// What an answer says.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
}

impl Answer {
    pub fn written(&self) -> Reply {
        Reply { status: self.status, body: self.body.to_string() }
    }
}

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

/// The order as received with our number filled in. The documented scalars are strings (SPSI.md 1); what we do not know
/// goes back as it came.
pub fn accepted(order: &Map<String, Value>, number: &str) -> Answer {
    Answer { status: 200, body: json!({ ROOT: echo(order, number) }) }
}

/// The decline in the reading that is set.
pub fn declined(order: &Map<String, Value>, number: &str, findings: &[Finding], reading: DeclineAnswer) -> Answer {
    let reasons: Vec<&Finding> = findings.iter().filter(|finding| finding.action == "decline").collect();
    let status = match reading {
        DeclineAnswer::Status422 => 422,
        DeclineAnswer::Status400 => 400,
        DeclineAnswer::Status409 => 409,
        DeclineAnswer::Cancelled => {
            let mut echo = echo(order, number);
            let words: Vec<_> = reasons.iter().map(|finding| finding.text.as_str()).collect();
            echo.insert("status".into(), "Cancelled".into());
            echo.insert("comments".into(), format!("Declined: {}", words.join("; ")).into());
            return Answer { status: 200, body: json!({ ROOT: echo }) };
        }
    };
    let messages: Vec<Value> = reasons
        .iter()
        .map(|finding| json!({"level": "error", "type": code(finding.rule), "text": finding.text, "fields": [finding.field]}))
        .collect();
    let words: Vec<_> = reasons.iter().map(|finding| finding.text.as_str()).collect();
    Answer {
        status,
        body: json!({"message": format!("The order was declined: {}", words.join("; ")), "messages": messages}),
    }
}

/// `rule_price_below` is a setting; the reason is `price_below`.
fn code(rule: &str) -> &str {
    rule.strip_prefix("rule_").unwrap_or(rule)
}

fn echo(order: &Map<String, Value>, number: &str) -> Map<String, Value> {
    let mut echo = with_strings(order, &HEADER);
    if let Some(Value::Array(lines)) = echo.get_mut(LINES) {
        for line in lines {
            if let Value::Object(fields) = line {
                *fields = with_strings(fields, &LINE);
            }
        }
    }
    echo.insert("supplier_order_number".into(), number.into());
    echo
}

fn with_strings(map: &Map<String, Value>, documented: &[&str]) -> Map<String, Value> {
    map.iter()
        .map(|(key, value)| {
            let text = documented.contains(&key.as_str()).then(|| scalar_text(value)).flatten();
            (key.clone(), text.map_or_else(|| value.clone(), Value::String))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order() -> Map<String, Value> {
        let order = json!({"id": 12, "total": 4.4, "comments": null, "active": true, "extra": {"a": 1}, "status": "Approved",
            "purchase_order_item_list": [{"id": 9, "quantity": "1", "note": 5}]});
        order.as_object().unwrap().clone()
    }

    #[test]
    fn documented_scalars_are_strings_and_unknown_fields_stay() {
        let expected = json!({"purchaseorder": {"id": "12", "total": "4.4", "comments": "", "active": "1", "extra": {"a": 1},
            "status": "Approved", "supplier_order_number": "SO-1", "purchase_order_item_list": [{"id": "9", "quantity": "1", "note": 5}]}});
        assert_eq!(accepted(&order(), "SO-1"), Answer { status: 200, body: expected });
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
            let answer = declined(&order(), "SO-1", &findings, reading);
            let messages =
                json!([{"level": "error", "type": "unknown_product", "text": "no X", "fields": ["purchaseorder.x"]}]);
            assert_eq!(
                answer,
                Answer { status, body: json!({"message": "The order was declined: no X", "messages": messages}) }
            );
        }
        let answer = declined(&order(), "SO-1", &findings, DeclineAnswer::Cancelled);
        assert_eq!(
            (answer.status, &answer.body[ROOT]["status"], &answer.body[ROOT]["comments"]),
            (200, &json!("Cancelled"), &json!("Declined: no X"))
        );
    }
}

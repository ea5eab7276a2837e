//! The answer to an order (SPSI.md 1, 5.1): the order echoed with the supplier's number, or a decline with its reasons.

use super::decide::{Decision, Finding, Verdict};
use super::echo::Echo;
use super::json::Object;
use super::read::OrderRequest;
use crate::config::DeclineAnswer;
use serde_json::{Value, json};

/// An answer as stored. A repeated submission gets the same bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    /// JSON.
    pub body: String,
}

/// Returns the answer to a decided order. A held order is answered like an accepted one, because ezyVet has no status for
/// "wait".
pub(super) fn reply(order: &OrderRequest, decision: &Decision, number: &str, decline_answer: DeclineAnswer) -> Reply {
    match decision.verdict {
        Verdict::Accepted | Verdict::Held => Reply { status: 200, body: order.echo.with_number(number) },
        Verdict::Declined => declined(|| order.parsed_body(), number, &decision.findings, decline_answer),
    }
}

/// Returns the decline in the form that `reading` sets (SPSI.md 5.1).
pub(super) fn declined<'a>(
    order: impl FnOnce() -> Object<'a>,
    number: &str,
    findings: &[Finding],
    reading: DeclineAnswer,
) -> Reply {
    let reasons: Vec<&Finding> = findings.iter().filter(|finding| finding.action == "decline").collect();
    let texts: Vec<_> = reasons.iter().map(|finding| finding.text.as_str()).collect();
    let texts = texts.join("; ");
    let status = match reading {
        DeclineAnswer::Status422 => 422,
        DeclineAnswer::Status400 => 400,
        DeclineAnswer::Status409 => 409,
        DeclineAnswer::Cancelled => {
            let comments = format!("Declined: {texts}");
            let replaced = [("status", "Cancelled"), ("comments", comments.as_str())];
            return Reply { status: 200, body: Echo::new(&order(), &replaced).with_number(number) };
        }
    };
    let messages: Vec<Value> = reasons
        .iter()
        .map(|finding| json!({"level": "error", "type": code(finding.rule), "text": finding.text, "fields": [finding.field]}))
        .collect();
    let body = json!({"message": format!("The order was declined: {texts}"), "messages": messages});
    Reply { status, body: body.to_string() }
}

/// Returns the stable code of a decline: `price_below` for the setting `rule_price_below`.
fn code(rule: &str) -> &str {
    rule.strip_prefix("rule_").unwrap_or(rule)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orders::json::Node;

    fn order() -> Object<'static> {
        Node::from(json!({"id": 12, "status": "Approved"})).into_object()
    }

    #[test]
    fn a_decline_names_its_reasons_in_every_form() {
        let finding =
            |rule, action, text: &str| Finding { rule, action, field: "purchaseorder.x".into(), text: text.into() };
        let findings =
            [finding("rule_unknown_product", "decline", "no X"), finding("rule_price_above", "note", "dear")];
        for (reading, status) in
            [(DeclineAnswer::Status422, 422), (DeclineAnswer::Status400, 400), (DeclineAnswer::Status409, 409)]
        {
            let reply = declined(order, "SO-1", &findings, reading);
            let messages =
                json!([{"level": "error", "type": "unknown_product", "text": "no X", "fields": ["purchaseorder.x"]}]);
            let body = json!({"message": "The order was declined: no X", "messages": messages});
            assert_eq!((reply.status, serde_json::from_str::<Value>(&reply.body).unwrap()), (status, body));
        }
        let reply = declined(order, "SO-1", &findings, DeclineAnswer::Cancelled);
        let echoed = &serde_json::from_str::<Value>(&reply.body).unwrap()["purchaseorder"];
        assert_eq!(
            (reply.status, &echoed["status"], &echoed["comments"]),
            (200, &json!("Cancelled"), &json!("Declined: no X"))
        );
    }
}

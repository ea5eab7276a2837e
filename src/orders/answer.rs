//! The answer to an order (SPSI.md 1, 5.1): the order echoed with the supplier's number, or a decline with its reasons.

use super::decide::{Decision, Finding, Verdict};
use super::echo::{echo, prepare};
use super::read::OrderRequest;
use crate::config::DeclineAnswer;
use serde_json::{Map, Value, json};

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
        Verdict::Accepted | Verdict::Held => Reply { status: 200, body: echo(&order.document, number) },
        Verdict::Declined => declined(&order.document, number, &decision.findings, decline_answer),
    }
}

/// Returns the decline in the form that `reading` sets (SPSI.md 5.1).
pub(super) fn declined(
    order: &Map<String, Value>,
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
            let mut order = order.clone();
            order.insert("status".to_owned(), "Cancelled".into());
            order.insert("comments".to_owned(), format!("Declined: {texts}").into());
            prepare(&mut order);
            return Reply { status: 200, body: echo(&order, number) };
        }
    };
    // The stable code of a decline by `rule_price_below` is `price_below`.
    let code = |finding: &Finding| finding.rule.trim_start_matches("rule_");
    let message = |finding: &Finding| json!({"level": "error", "type": code(finding), "text": finding.text, "fields": [finding.field]});
    let messages: Vec<Value> = reasons.into_iter().map(message).collect();
    let body = json!({"message": format!("The order was declined: {texts}"), "messages": messages});
    Reply { status, body: body.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decline_gives_only_the_reasons_that_decline() {
        let finding =
            |rule, action, text: &str| Finding { rule, action, field: "purchaseorder.x".into(), text: text.into() };
        let findings =
            [finding("rule_unknown_product", "decline", "no X"), finding("rule_price_above", "note", "dear")];
        let reply = declined(&Map::new(), "SO-1", &findings, DeclineAnswer::Status422);
        let body = json!({"message": "The order was declined: no X", "messages": [
            {"level": "error", "type": "unknown_product", "text": "no X", "fields": ["purchaseorder.x"]}]});
        assert_eq!(reply.body, body.to_string());
    }
}

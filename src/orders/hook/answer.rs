//! The answer of the order hook: parsed strictly, then applied to the decision. Pure.

use crate::config::HookDecision;
use crate::orders::decide::{Decision, Finding, Verdict};
use crate::orders::document::{LINES, ROOT};
use crate::orders::read::OrderRequest;
use serde::Deserialize;

/// A reason is cut to this many characters.
const MAX_REASON_CHARACTERS: usize = 500;

/// What the supplier's system answers to `order.decide`.
#[derive(Deserialize)]
struct HookAnswer {
    decision: HookDecision,
    /// Why, for people. The clinic's staff see the reason of a decline.
    reason: Option<String>,
    /// Reasons that concern one line.
    lines: Option<Vec<LineReason>>,
}

#[derive(Deserialize)]
struct LineReason {
    /// ezyVet's id of the order line.
    item: String,
    reason: String,
}

/// Why there is no valid answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HookFailure {
    #[error("SPSI_ORDER_HOOK_URL is not set")]
    NotConfigured,
    #[error("the circuit breaker is open")]
    BreakerOpen,
    #[error("no answer within the deadline")]
    Timeout,
    #[error("the call failed: {0}")]
    Call(String),
    #[error("it answered with status {0}")]
    Status(u16),
    #[error("its answer is not valid: {0}")]
    Invalid(String),
}

impl HookFailure {
    /// The label `outcome` of the metrics.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::NotConfigured => "not_configured",
            Self::BreakerOpen => "breaker_open",
            Self::Timeout => "timeout",
            Self::Call(_) => "failed",
            Self::Status(_) => "status",
            Self::Invalid(_) => "invalid",
        }
    }
}

/// What the call came to: a decision and its reasons.
#[derive(Clone, Debug)]
pub struct Consulted {
    pub decision: HookDecision,
    findings: Vec<Finding>,
}

/// Parses the answer to a call about `order`. A line that the order does not have makes the answer invalid.
pub fn parse(status: u16, body: &[u8], order: &OrderRequest) -> Result<Consulted, HookFailure> {
    if !(200..300).contains(&status) {
        return Err(HookFailure::Status(status));
    }
    let HookAnswer { decision, reason, lines } =
        serde_json::from_slice(body).map_err(|error| HookFailure::Invalid(error.to_string()))?;
    let mut consulted = Consulted { decision, findings: Vec::new() };
    if let Some(reason) = reason.as_deref().map(cut).filter(|reason| !reason.is_empty()) {
        consulted.add(ROOT.to_owned(), reason);
    }
    for LineReason { item, reason } in lines.into_iter().flatten() {
        let index = order.lines.iter().position(|line| line.ezyvet_id == item);
        let index = index.ok_or_else(|| HookFailure::Invalid(format!("the order has no line `{item}`")))?;
        consulted.add(format!("{ROOT}.{LINES}[{index}]"), cut(&reason));
    }
    // There is at least one text: a decline must give a reason to the clinic.
    if consulted.findings.is_empty() {
        let text = match decision {
            HookDecision::Accept => "The supplier's system accepted the order",
            HookDecision::Decline => "The supplier declined the order",
            HookDecision::Hold => "The supplier's system left the order to staff",
            HookDecision::Ask => "The supplier's system decides later",
        };
        consulted.add(ROOT.to_owned(), text.to_owned());
    }
    Ok(consulted)
}

impl Consulted {
    /// Decides by the default. The failure is noted for staff only.
    pub fn without_answer(failure: &HookFailure, default: HookDecision) -> Self {
        let text = format!("The order hook was not heard: {failure}");
        let note = Finding { rule: "hook", action: "note", field: ROOT.to_owned(), text };
        let mut consulted = Self { decision: default, findings: vec![note] };
        let text = match default {
            HookDecision::Ask => "The supplier's system decides later",
            HookDecision::Accept => "The order was accepted without the supplier's system",
            HookDecision::Hold => "The order was left to staff",
            HookDecision::Decline => "The order cannot be checked at the moment; please call the supplier",
        };
        consulted.add(ROOT.to_owned(), text.to_owned());
        consulted
    }

    fn add(&mut self, field: String, text: String) {
        let action = match self.decision {
            HookDecision::Accept | HookDecision::Ask => "note",
            HookDecision::Hold => "hold",
            HookDecision::Decline => "decline",
        };
        self.findings.push(Finding { rule: "hook", action, field, text });
    }

    /// Applies the answer to an order that the rules accept. Returns true if the order must also wait as with the rule
    /// `ask`.
    pub fn apply(&self, decision: &mut Decision) -> bool {
        decision.verdict = match self.decision {
            HookDecision::Accept | HookDecision::Ask => Verdict::Accepted,
            HookDecision::Hold => Verdict::Held,
            HookDecision::Decline => Verdict::Declined,
        };
        decision.findings.extend_from_slice(&self.findings);
        self.decision == HookDecision::Ask
    }
}

/// Cuts a reason, and replaces control characters, which have no place in ezyVet's messages.
fn cut(reason: &str) -> String {
    let readable = reason.trim().chars().map(|sign| if sign.is_control() { ' ' } else { sign });
    readable.take(MAX_REASON_CHARACTERS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reasons(body: &[u8]) -> Vec<(&'static str, String, String)> {
        let order = br#"{"purchaseorder": {"id": 1, "purchase_order_item_list": [
            {"id": 9, "supplier_code": "A", "quantity": 1, "price_per_unit": 4},
            {"id": 10, "supplier_code": "B", "quantity": 1, "price_per_unit": 4}]}}"#;
        let consulted = parse(201, body, &crate::orders::read::read(order, 10).unwrap()).unwrap();
        consulted.findings.into_iter().map(|finding| (finding.action, finding.field, finding.text)).collect()
    }

    #[test]
    fn a_decline_gives_its_reasons_by_line_or_at_least_one() {
        let body = br#"{"decision": "decline", "reason": "no credit\u0000 left", "lines": [{"item": "10", "reason": "gone"}], "x": 1}"#;
        let line = "purchaseorder.purchase_order_item_list[1]".to_owned();
        let expected = [
            ("decline", "purchaseorder".to_owned(), "no credit  left".to_owned()),
            ("decline", line, "gone".to_owned()),
        ];
        assert_eq!(reasons(body), expected);
        assert_eq!(reasons(br#"{"decision": "decline"}"#).len(), 1);
    }
}

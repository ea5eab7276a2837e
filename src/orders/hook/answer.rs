//! The answer of the order hook: parsed strictly, then applied to the decision. Pure.

use crate::config::HookDefault;
use crate::orders::decide::{Decision, Finding, Verdict};
use crate::orders::document::{LINES, ROOT};
use crate::orders::read::OrderRequest;
use serde::Deserialize;
use std::fmt;
use utoipa::ToSchema;

/// The code of findings that come from the hook.
const RULE: &str = "hook";
/// A reason is cut to this many characters.
const MAX_REASON_CHARACTERS: usize = 500;

/// What the supplier's system answers to `order.decide`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, ToSchema)]
pub struct HookAnswer {
    pub decision: HookDecision,
    /// Why, for people. The clinic's staff see the reason of a decline.
    #[serde(default)]
    pub reason: Option<String>,
    /// Reasons that concern one line.
    #[serde(default)]
    pub lines: Option<Vec<LineReason>>,
}

/// What becomes of the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum HookDecision {
    Accept,
    Decline,
    /// Held for staff.
    Hold,
    /// Held until the supplier's system decides by the API.
    Ask,
}

/// A reason that concerns a line of the order
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, ToSchema)]
pub struct LineReason {
    /// ezyVet's id of the order line.
    pub item: String,
    pub reason: String,
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

impl HookDecision {
    /// The label `outcome` of the metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Decline => "decline",
            Self::Hold => "hold",
            Self::Ask => "ask",
        }
    }
}

impl From<HookDefault> for HookDecision {
    fn from(default: HookDefault) -> Self {
        match default {
            HookDefault::Ask => Self::Ask,
            HookDefault::Accept => Self::Accept,
            HookDefault::Hold => Self::Hold,
            HookDefault::Decline => Self::Decline,
        }
    }
}

/// What the call came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Consulted {
    Answered(HookAnswer),
    Failed { failure: HookFailure, default: HookDefault },
}

/// Parses the answer to a call about `order`. A line that the order does not have makes the answer invalid.
pub fn parse(status: u16, body: &[u8], order: &OrderRequest) -> Result<HookAnswer, HookFailure> {
    if !(200..300).contains(&status) {
        return Err(HookFailure::Status(status));
    }
    let answer: HookAnswer = serde_json::from_slice(body).map_err(|error| HookFailure::Invalid(error.to_string()))?;
    match answer.lines.iter().flatten().find(|line| position(order, &line.item).is_none()) {
        Some(line) => Err(HookFailure::Invalid(format!("the order has no line `{}`", line.item))),
        None => Ok(answer),
    }
}

impl Consulted {
    /// Applies the answer to an order that the rules accept. Returns true if the order must also wait as with the rule
    /// `ask`.
    pub fn apply(&self, order: &OrderRequest, decision: &mut Decision) -> bool {
        let (verdict, texts) = match self {
            Self::Answered(answer) => (answer.decision, answer_texts(answer, order)),
            Self::Failed { failure, default } => {
                decision.findings.push(finding(
                    "note",
                    ROOT.to_owned(),
                    format!("The order hook was not heard: {failure}"),
                ));
                ((*default).into(), vec![(ROOT.to_owned(), default_text(*default))])
            }
        };
        let action = match verdict {
            HookDecision::Accept | HookDecision::Ask => "note",
            HookDecision::Hold => "hold",
            HookDecision::Decline => "decline",
        };
        decision.verdict = match verdict {
            HookDecision::Accept | HookDecision::Ask => Verdict::Accepted,
            HookDecision::Hold => Verdict::Held,
            HookDecision::Decline => Verdict::Declined,
        };
        decision.findings.extend(texts.into_iter().map(|(field, text)| finding(action, field, text)));
        verdict == HookDecision::Ask
    }
}

fn finding(action: &'static str, field: String, text: String) -> Finding {
    Finding { rule: RULE, action, field, text }
}

/// The fields and texts of an answer. There is at least one: a decline must give a reason to the clinic.
fn answer_texts(answer: &HookAnswer, order: &OrderRequest) -> Vec<(String, String)> {
    let whole = answer.reason.as_deref().map(cut).filter(|reason| !reason.is_empty());
    let mut texts: Vec<_> = whole.map(|reason| (ROOT.to_owned(), reason)).into_iter().collect();
    let lines =
        answer.lines.iter().flatten().filter_map(|line| Some((position(order, &line.item)?, cut(&line.reason))));
    texts.extend(lines.map(|(index, reason)| (format!("{ROOT}.{LINES}[{index}]"), reason)));
    if texts.is_empty() {
        let text = match answer.decision {
            HookDecision::Accept => "The supplier's system accepted the order",
            HookDecision::Decline => "The supplier declined the order",
            HookDecision::Hold => "The supplier's system left the order to staff",
            HookDecision::Ask => "The supplier's system decides later",
        };
        texts.push((ROOT.to_owned(), text.to_owned()));
    }
    texts
}

fn default_text(default: HookDefault) -> String {
    let text = match default {
        HookDefault::Ask => "The supplier's system decides later",
        HookDefault::Accept => "The order was accepted without the supplier's system",
        HookDefault::Hold => "The order was left to staff",
        HookDefault::Decline => "The order cannot be checked at the moment; please call the supplier",
    };
    text.to_owned()
}

fn position(order: &OrderRequest, item: &str) -> Option<usize> {
    order.lines.iter().position(|line| line.ezyvet_id == item)
}

/// Cuts a reason, and replaces control characters, which have no place in ezyVet's messages.
fn cut(reason: &str) -> String {
    let readable = reason.trim().chars().map(|sign| if sign.is_control() { ' ' } else { sign });
    readable.take(MAX_REASON_CHARACTERS).collect()
}

impl fmt::Display for HookDecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order() -> OrderRequest {
        let body = r#"{"purchaseorder": {"id": 1, "purchase_order_item_list": [
            {"id": 9, "supplier_code": "A", "quantity": 1, "price_per_unit": 4},
            {"id": 10, "supplier_code": "B", "quantity": 1, "price_per_unit": 4}]}}"#;
        crate::orders::read::read(body.as_bytes(), 10).unwrap()
    }

    fn applied(consulted: &Consulted) -> (Verdict, bool, Vec<(&'static str, String, String)>) {
        let mut decision = Decision { verdict: Verdict::Accepted, findings: Vec::new(), pending: None };
        let asks = consulted.apply(&order(), &mut decision);
        let findings = decision.findings.into_iter().map(|finding| (finding.action, finding.field, finding.text));
        (decision.verdict, asks, findings.collect())
    }

    #[test]
    fn a_decline_gives_its_reasons_by_line() {
        let body = br#"{"decision": "decline", "reason": "no credit\u0000 left", "lines": [{"item": "10", "reason": "gone"}], "x": 1}"#;
        let answer = parse(200, body, &order()).unwrap();
        let (verdict, asks, findings) = applied(&Consulted::Answered(answer));
        assert_eq!((verdict, asks), (Verdict::Declined, false));
        let line = "purchaseorder.purchase_order_item_list[1]".to_owned();
        let expected = [
            ("decline", "purchaseorder".to_owned(), "no credit  left".to_owned()),
            ("decline", line, "gone".to_owned()),
        ];
        assert_eq!(findings, expected);
    }

    #[test]
    fn a_decline_without_a_reason_has_a_text_all_the_same() {
        let answer = parse(201, br#"{"decision": "decline"}"#, &order()).unwrap();
        assert_eq!(applied(&Consulted::Answered(answer)).2.len(), 1);
    }

    #[test]
    fn nonsense_is_no_answer() {
        for (status, body, outcome) in [
            (500, &br#"{"decision": "accept"}"#[..], "status"),
            (302, b"", "status"),
            (200, b"", "invalid"),
            (200, b"ok", "invalid"),
            (200, br#"{"decision": "yes"}"#, "invalid"),
            (200, br#"{"decision": "decline", "lines": [{"item": "11", "reason": "x"}]}"#, "invalid"),
        ] {
            assert_eq!(parse(status, body, &order()).unwrap_err().as_str(), outcome);
        }
    }

    #[test]
    fn a_failure_is_noted_and_its_default_follows() {
        for (default, verdict, asks) in [
            (HookDefault::Ask, Verdict::Accepted, true),
            (HookDefault::Accept, Verdict::Accepted, false),
            (HookDefault::Hold, Verdict::Held, false),
            (HookDefault::Decline, Verdict::Declined, false),
        ] {
            let done = applied(&Consulted::Failed { failure: HookFailure::Timeout, default });
            assert_eq!((done.0, done.1), (verdict, asks));
            assert_eq!(done.2[0].0, "note", "the cause is for staff only");
        }
    }
}

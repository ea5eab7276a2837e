//! The rule `rule_ask`: decisions by the supplier's system. Pure.
//!
//! An order that the other rules accept is held until somebody decides about it: the supplier's system by the staff API, or
//! staff, with the same use cases ([`super::accept`], [`super::decline`]). When `ask_within` has passed, `ask_default`
//! applies ([`super::overdue`]). Orders that another rule holds or declines are not asked about.
//!
//! With `rule_ask=hook`, the order hook is called first, and its answer decides ([`super::hook`]).

use super::decide::{self, Decision, Finding, Pending, Terms, Verdict};
use super::document::ROOT;
use super::hook::Consulted;
use super::read::OrderRequest;
use crate::config::{AskDefault, AskRule, ClinicSettings};
use time::OffsetDateTime;

/// Decides about an order by every rule. Returns `None` if the order hook decides and has not been called yet.
pub(super) fn decide(
    now: OffsetDateTime,
    order: &OrderRequest,
    terms: &Terms,
    settings: &ClinicSettings,
    hook: Option<&Consulted>,
) -> Option<Decision> {
    let mut decision = decide::decide(order, terms, settings);
    if decision.verdict == Verdict::Accepted {
        let waits = match settings.rule_ask {
            AskRule::Off => false,
            AskRule::Ask => true,
            AskRule::Hook => hook?.apply(&mut decision),
        };
        if waits {
            hold_until_decided(&mut decision, now, settings);
        }
    }
    Some(decision)
}

/// Holds an order until the supplier's system or staff decide, or until their time is over.
fn hold_until_decided(decision: &mut Decision, now: OffsetDateTime, settings: &ClinicSettings) {
    let default = settings.ask_default;
    let then = match default {
        AskDefault::Hold => "it stays held for staff",
        AskDefault::Accept => "it is accepted",
        AskDefault::Decline => "it is declined",
    };
    let text = format!("The order waits for a decision. If none is made within {}, {then}", settings.ask_within);
    decision.verdict = Verdict::Held;
    let within = time::Duration::try_from(settings.ask_within.0).unwrap_or(time::Duration::MAX);
    decision.pending = Some(Pending { decide_by: now.saturating_add(within), default });
    decision.findings.push(Finding { rule: "rule_ask", action: "ask", field: ROOT.to_owned(), text });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::HookDecision;
    use crate::orders::decide::tests::{order, settings, terms};
    use crate::orders::hook::HookFailure;
    use time::macros::datetime;

    fn decided(arguments: &[&str], hook: Option<&Consulted>) -> Option<Decision> {
        decide(datetime!(2026-03-01 12:00 UTC), &order(), &terms(), &settings(arguments), hook)
    }

    #[test]
    fn only_an_order_that_the_other_rules_accept_is_asked_about() {
        let plain = decided(&[], None).unwrap();
        assert_eq!((plain.verdict, plain.pending), (Verdict::Accepted, None));
        let asked = decided(&["--rule-ask", "ask", "--ask-within", "90m", "--ask-default", "accept"], None).unwrap();
        let pending = Pending { decide_by: datetime!(2026-03-01 13:30 UTC), default: AskDefault::Accept };
        assert_eq!((asked.verdict, asked.pending), (Verdict::Held, Some(pending)));
        let text = &asked.findings[0].text;
        assert_eq!(text, "The order waits for a decision. If none is made within 90m, it is accepted");
        let refused = decided(&["--rule-ask", "ask", "--minimum-order", "50"], None).unwrap();
        assert_eq!((refused.verdict, refused.pending), (Verdict::Declined, None));
    }

    #[test]
    fn the_hook_is_needed_only_where_it_decides() {
        assert!(decided(&["--rule-ask", "hook"], None).is_none());
        assert!(decided(&["--rule-ask", "hook", "--minimum-order", "50"], None).is_some());
        let failed = Consulted::without_answer(&HookFailure::Timeout, HookDecision::Ask);
        let asked = decided(&["--rule-ask", "hook"], Some(&failed)).unwrap();
        assert!(asked.verdict == Verdict::Held && asked.pending.is_some());
        // The rules changed their mind while the hook was called.
        let refused = decided(&["--rule-ask", "hook", "--minimum-order", "50"], Some(&failed)).unwrap();
        assert_eq!(refused.findings.len(), 1);
    }
}

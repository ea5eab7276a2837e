//! What follows from how a call ended (DESIGN.md 2.4). Pure: time and chance are arguments.
//!
//! Guarantees: an invoice whose fate is unclear is never sent again before two looks with a wait between them, and once at
//! the most; `supplied`, which would count stock twice, is never repeated unless ezyVet certainly did not do it; a wait
//! that ezyVet asks for only ever delays.
//!
//! An answer of 500 to 599 in ezyVet's own envelope is an answer (SPSI.md 2): the call was not done, and is repeated, an
//! invoice after a look. From something in between, or as a 502 or 504, it leaves a `supplied` unclear. A site that does
//! the job, fails afterwards and says so would get an invoice twice, where the job still waits for approval and a look
//! does not see it: `server_error=unclear` treats every such answer but a 503 as if none had come, at the price that an
//! invoice that met two, and a `supplied` that met one, wait for staff.

use crate::config::{ServerError, Unclear};
use crate::ezyvet::Outcome;
use std::time::Duration;

/// What a delivery brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    ReceiveInvoice,
    Supplied,
}

/// What is to be done with a delivery that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Send,
    /// Ask whether the invoice is there.
    Look,
    /// Ask whether the clinic has approved the invoice.
    Receipt,
}

/// How far a delivery has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Failures in a row.
    pub failures: u32,
    /// A send failed in a way that is certain only in ezyVet's own view: look before sending again.
    pub look_first: bool,
    /// Looks since the outcome became unclear.
    pub looks: u32,
    /// Times that it was sent again after an unclear outcome.
    pub resends: u32,
    /// Times that the clinic's approval was asked for.
    pub receipt_polls: u32,
    /// Product and location uids were looked up afresh after a refusal.
    pub map_refreshed: bool,
}

/// The settings that matter here.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    pub retry_base: Duration,
    pub retry_max: Duration,
    pub unclear: Unclear,
    pub server_error: ServerError,
    pub unclear_wait: Duration,
    pub receipt_poll: Duration,
    /// Longest wait between two questions for an approval.
    pub receipt_poll_max: Duration,
    pub receipt_give_up: Duration,
}

/// What becomes of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// ezyVet has it.
    Delivered,
    /// The clinic approved it.
    Confirmed,
    /// Send again, after a look if `look_first`. `spent`: it counts as a failure.
    Retry { after: Duration, look_first: bool, spent: bool },
    /// Uids may be stale: look them up afresh and send again, once.
    RefreshMap,
    /// Unclear: look (again) after this.
    LookAfter { after: Duration, looks: u32 },
    /// A look itself failed: the same again after this.
    RepeatLook { after: Duration },
    /// Send again under the same number, at once.
    Resend,
    /// Unclear, and staff decide. An invoice is still looked for now and then.
    Hold { look_after: Option<Duration> },
    /// Staff must look.
    Attention,
    /// The site does not grant it.
    Skip,
    /// Ask for the approval again after this.
    PollAfter { after: Duration },
    /// Asked long enough.
    StopPolling,
}

/// What a look for an invoice found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Active,
    /// There, but deleted or rejected in ezyVet.
    Inactive,
    Absent,
    /// The look failed.
    NotKnown(Outcome),
}

impl Policy {
    /// After a call that sends. `jitter` is between 0 and 1.
    pub fn after_send(&self, kind: Kind, outcome: &Outcome, history: &History, jitter: f64) -> Next {
        let backoff = self.backoff(history.failures, jitter);
        let invoice = kind == Kind::ReceiveInvoice;
        match outcome {
            Outcome::Done => Next::Delivered,
            Outcome::NeverSent { .. } | Outcome::Unauthorised { .. } => {
                Next::Retry { after: backoff, look_first: history.look_first, spent: true }
            }
            Outcome::RateLimited { reset } => {
                Next::Retry { after: reset.unwrap_or(backoff), look_first: history.look_first, spent: false }
            }
            Outcome::Refused { status: 400 | 404 | 422, .. } if !invoice && !history.map_refreshed => Next::RefreshMap,
            Outcome::Refused { .. } => Next::Attention,
            Outcome::Forbidden { .. } if invoice => Next::Attention,
            Outcome::Forbidden { .. } => Next::Skip,
            Outcome::Failed { status: 503, .. } => Next::Retry { after: backoff, look_first: invoice, spent: true },
            Outcome::Failed { status, own_words, .. }
                if self.server_error == ServerError::NotDone
                    && (*own_words || invoice && !matches!(status, 502 | 504)) =>
            {
                Next::Retry { after: backoff, look_first: invoice, spent: true }
            }
            Outcome::Failed { .. } | Outcome::Unclear { .. } if invoice => {
                Next::LookAfter { after: Duration::ZERO, looks: 0 }
            }
            Outcome::Failed { .. } | Outcome::Unclear { .. } => Next::Hold { look_after: None },
        }
    }

    /// After a look for an invoice. `unclear`: its fate is unclear; otherwise the look precedes a repetition.
    pub fn after_look(&self, found: &Found, unclear: bool, history: &History, jitter: f64) -> Next {
        match found {
            Found::Active => Next::Confirmed,
            Found::Inactive => Next::Attention,
            Found::NotKnown(Outcome::Refused { .. } | Outcome::Forbidden { .. }) => Next::Attention,
            Found::NotKnown(Outcome::RateLimited { reset: Some(reset) }) => Next::RepeatLook { after: *reset },
            Found::NotKnown(_) => Next::RepeatLook { after: self.backoff(history.failures, jitter) },
            Found::Absent if !unclear => Next::Resend,
            Found::Absent => match history.looks {
                0 => Next::LookAfter { after: self.unclear_wait, looks: 1 },
                1 if self.unclear == Unclear::Resend && history.resends == 0 => Next::Resend,
                looks => Next::Hold { look_after: Some(self.poll_wait(looks - 1)) },
            },
        }
    }

    /// After asking whether the clinic has approved. `age`: since it was delivered.
    pub fn after_receipt(&self, found: &Found, history: &History, age: Duration, jitter: f64) -> Next {
        match found {
            Found::Active => Next::Confirmed,
            Found::Inactive => Next::Attention,
            Found::NotKnown(Outcome::RateLimited { reset: Some(reset) }) => Next::PollAfter { after: *reset },
            Found::Absent | Found::NotKnown(_) if age >= self.receipt_give_up => Next::StopPolling,
            Found::NotKnown(Outcome::Refused { .. } | Outcome::Forbidden { .. }) | Found::Absent => {
                Next::PollAfter { after: self.poll_wait(history.receipt_polls + 1) }
            }
            Found::NotKnown(_) => {
                Next::PollAfter { after: self.backoff(history.failures, jitter).max(self.receipt_poll) }
            }
        }
    }

    /// Twice as long for every failure in a row, between half and all of it, so that many do not come back at once.
    pub fn backoff(&self, failures: u32, jitter: f64) -> Duration {
        doubled(self.retry_base, failures).min(self.retry_max).mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
    }

    /// The wait before question number `poll`, counted from 0.
    fn poll_wait(&self, poll: u32) -> Duration {
        doubled(self.receipt_poll, poll).min(self.receipt_poll_max.max(self.receipt_poll))
    }
}

fn doubled(base: Duration, times: u32) -> Duration {
    base.saturating_mul(1_u32.checked_shl(times.min(31)).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const POLICY: Policy = Policy {
        retry_base: Duration::from_secs(5),
        retry_max: Duration::from_secs(3600),
        unclear: Unclear::Resend,
        server_error: ServerError::NotDone,
        unclear_wait: Duration::from_secs(900),
        receipt_poll: Duration::from_secs(900),
        receipt_poll_max: Duration::from_secs(86_400),
        receipt_give_up: Duration::from_secs(30 * 86_400),
    };
    const FRESH: History =
        History { failures: 0, look_first: false, looks: 0, resends: 0, receipt_polls: 0, map_refreshed: false };

    fn text() -> String {
        "x".into()
    }

    fn outcome() -> impl Strategy<Value = Outcome> {
        prop_oneof![
            Just(Outcome::Done),
            (400u16..430).prop_map(|status| Outcome::Refused { status, text: text() }),
            Just(Outcome::NeverSent { why: text() }),
            proptest::option::of(0u64..7200)
                .prop_map(|reset| Outcome::RateLimited { reset: reset.map(Duration::from_secs) }),
            Just(Outcome::Unauthorised { text: text() }),
            Just(Outcome::Forbidden { text: text() }),
            (500u16..512, any::<bool>()).prop_map(|(status, own_words)| Outcome::Failed {
                status,
                text: text(),
                own_words
            }),
            Just(Outcome::Unclear { why: text() }),
        ]
    }

    fn kind() -> impl Strategy<Value = Kind> {
        prop_oneof![Just(Kind::ReceiveInvoice), Just(Kind::Supplied)]
    }

    proptest! {
        #[test]
        fn every_wait_is_bounded_and_a_reset_only_ever_delays(
            kind in kind(), outcome in outcome(), failures in 0u32..1000, jitter in 0.0f64..=1.0,
        ) {
            let history = History { failures, ..FRESH };
            if let Next::Retry { after, .. } = POLICY.after_send(kind, &outcome, &history, jitter) {
                match outcome {
                    Outcome::RateLimited { reset: Some(reset) } => prop_assert!(after >= reset),
                    _ => prop_assert!(after <= POLICY.retry_max && after >= POLICY.retry_base / 2),
                }
            }
        }

        #[test]
        fn supplied_is_repeated_only_where_ezyvet_certainly_did_not_do_it(
            outcome in outcome(), failures in 0u32..9, jitter in 0.0f64..=1.0, trusted in any::<bool>(),
        ) {
            let history = History { failures, ..FRESH };
            let server_error = if trusted { ServerError::NotDone } else { ServerError::Unclear };
            let next = Policy { server_error, ..POLICY }.after_send(Kind::Supplied, &outcome, &history, jitter);
            let unsure = match outcome {
                Outcome::Unclear { .. } => true,
                Outcome::Failed { status, own_words, .. } => status != 503 && !(trusted && own_words),
                _ => false,
            };
            prop_assert_eq!(unsure, next == Next::Hold { look_after: None });
        }

        #[test]
        fn an_invoice_is_sent_again_after_an_unclear_outcome_once_at_the_most(
            outcomes in proptest::collection::vec(outcome(), 1..60), hold in any::<bool>(),
        ) {
            let policy = Policy { unclear: if hold { Unclear::Hold } else { Unclear::Resend }, ..POLICY };
            let (mut history, mut waited) = (FRESH, Duration::ZERO);
            for outcome in outcomes {
                // Nothing is ever found: the worst case.
                if let Next::LookAfter { looks, .. } = policy.after_send(Kind::ReceiveInvoice, &outcome, &history, 0.5) {
                    history.looks = looks;
                    loop {
                        match policy.after_look(&Found::Absent, true, &history, 0.5) {
                            Next::LookAfter { after, looks } => (history.looks, waited) = (looks, waited + after),
                            Next::Resend => {
                                history.resends += 1;
                                prop_assert!(waited >= policy.unclear_wait);
                                break;
                            }
                            Next::Hold { .. } => {
                                prop_assert!(hold || history.resends == 1);
                                return Ok(());
                            }
                            other => prop_assert!(false, "{other:?}"),
                        }
                    }
                    prop_assert!(!hold && history.resends == 1);
                }
            }
        }
    }

    #[test]
    fn each_outcome_of_an_invoice_leads_where_the_design_says() {
        let next = |outcome| POLICY.after_send(Kind::ReceiveInvoice, &outcome, &FRESH, 1.0);
        let wary = Policy { server_error: ServerError::Unclear, ..POLICY };
        let wary = |outcome| wary.after_send(Kind::ReceiveInvoice, &outcome, &FRESH, 1.0);
        let failed = |status, own_words| Outcome::Failed { status, text: text(), own_words };
        let look = Next::LookAfter { after: Duration::ZERO, looks: 0 };
        let look_then_send = Next::Retry { after: POLICY.retry_base, look_first: true, spent: true };
        assert_eq!(next(Outcome::Done), Next::Delivered);
        assert_eq!(next(Outcome::Refused { status: 422, text: text() }), Next::Attention);
        assert_eq!(next(Outcome::Forbidden { text: text() }), Next::Attention);
        assert_eq!(next(failed(503, true)), look_then_send);
        assert_eq!(next(failed(500, true)), look_then_send);
        assert_eq!(next(failed(500, false)), look_then_send);
        assert_eq!(wary(failed(500, true)), look);
        assert_eq!(wary(failed(500, false)), look);
        assert_eq!(wary(failed(503, true)), look_then_send);
        assert_eq!(next(failed(502, false)), look);
        assert_eq!(next(failed(504, false)), look);
        assert_eq!(next(Outcome::Unclear { why: text() }), look);
        let never = next(Outcome::NeverSent { why: text() });
        assert_eq!(never, Next::Retry { after: POLICY.retry_base, look_first: false, spent: true });
    }

    #[test]
    fn a_refused_supplied_is_mapped_afresh_once_and_a_missing_scope_is_skipped() {
        let refused = Outcome::Refused { status: 422, text: text() };
        assert_eq!(POLICY.after_send(Kind::Supplied, &refused, &FRESH, 0.0), Next::RefreshMap);
        let refreshed = History { map_refreshed: true, ..FRESH };
        assert_eq!(POLICY.after_send(Kind::Supplied, &refused, &refreshed, 0.0), Next::Attention);
        let forbidden = Outcome::Forbidden { text: text() };
        assert_eq!(POLICY.after_send(Kind::Supplied, &forbidden, &FRESH, 0.0), Next::Skip);
    }

    #[test]
    fn approvals_are_asked_for_ever_more_rarely_and_not_for_ever() {
        let wait = |receipt_polls, days: u64| {
            let history = History { receipt_polls, ..FRESH };
            POLICY.after_receipt(&Found::Absent, &history, Duration::from_secs(days * 86_400), 0.0)
        };
        assert_eq!(wait(0, 0), Next::PollAfter { after: Duration::from_secs(1800) });
        assert_eq!(wait(20, 3), Next::PollAfter { after: POLICY.receipt_poll_max });
        assert_eq!(wait(40, 30), Next::StopPolling);
    }
}

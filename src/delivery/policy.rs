//! Decides what follows from how a call ended (DESIGN.md 2.4). Pure: time and chance are arguments.
//!
//! Guarantees: an unclear invoice is sent again only after two look-ups with a wait between them, and once at most; a
//! `supplied`, which would count stock twice, is repeated only if ezyVet certainly did not do it; a wait that ezyVet asks
//! for only ever delays.
//!
//! An answer of 500 to 599 is unclear by default (`SPSI_SERVER_ERROR=unclear`), except 503, which says "later". A site that
//! does a job, fails afterwards and answers 500 would get the invoice twice if the answer counted as "not done": a look-up
//! does not see a job that waits for approval. `not-done` trusts a 500 in ezyVet's own envelope: the call is repeated, an
//! invoice after a look-up. A 502 or 504 is unclear in both settings, because a gateway does not know what became of the
//! call. The circuit breaker (`session`) keeps an outage from making many deliveries unclear.

use crate::config::{ServerError, SiteSettings, Unclear};
use crate::ezyvet::Outcome;
use std::time::Duration;
use time::OffsetDateTime;

/// The kind of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    ReceiveInvoice,
    Supplied,
}

/// How far a delivery has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Failures in a row.
    pub failures: u32,
    /// Look the invoice up before sending it again.
    pub look_first: bool,
    /// Look-ups since the outcome became unclear.
    pub looks: u32,
    /// Times that the delivery was sent again after an unclear outcome.
    pub resends: u32,
    /// Times that the clinic's approval was asked for.
    pub receipt_polls: u32,
    /// When the uids of a `supplied` were last discarded, to be looked up again.
    pub remapped_at: Option<OffsetDateTime>,
}

/// Decides by the settings of a site.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a>(pub &'a SiteSettings);

/// What becomes of a delivery. Every `after` is a wait from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// ezyVet received the delivery.
    Delivered,
    /// The clinic approved the invoice.
    Confirmed,
    /// Send again, after a look-up if `look_first`. A refused attempt (429) neither counts as a failure nor as an attempt.
    Retry { after: Duration, look_first: bool, counts: bool },
    /// Nothing was tried: try again.
    Postpone { after: Duration },
    /// ezyVet refused the uids: look them up again and send again, once.
    Remap,
    /// Unclear: look the invoice up.
    LookAfter { after: Duration, looks: u32 },
    /// The look-up failed: repeat it.
    RepeatLook { after: Duration },
    /// Send again under the same number, at once.
    Resend,
    /// Unclear, and staff decide. An invoice is still looked up now and then.
    Hold { look_after: Option<Duration> },
    /// Staff decide.
    Attention,
    /// No uid was found. Staff see the delivery, and its uids are looked up again.
    Unmapped { recheck_after: Duration },
    /// The site does not grant the inventory scopes.
    Skip,
    /// Ask for the approval again.
    PollAfter { after: Duration },
    /// The clinic did not approve for too long: stop asking.
    StopPolling,
}

/// What looking an invoice up found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    Active,
    /// ezyVet holds the invoice, but it was deleted or rejected.
    Inactive,
    Absent,
    Failed(Outcome),
}

impl Policy<'_> {
    /// Decides after a call that sends. `jitter` is between 0 and 1.
    pub fn after_send(&self, kind: Kind, outcome: &Outcome, history: &History, jitter: f64) -> Decision {
        let backoff = self.backoff(history.failures, jitter);
        let invoice = kind == Kind::ReceiveInvoice;
        match outcome {
            Outcome::Done => Decision::Delivered,
            Outcome::NeverSent { .. } | Outcome::Unauthorised { .. } => {
                Decision::Retry { after: backoff, look_first: history.look_first, counts: true }
            }
            Outcome::RateLimited { reset } => {
                Decision::Retry { after: reset.unwrap_or(backoff), look_first: history.look_first, counts: false }
            }
            Outcome::Refused { status: 400 | 404 | 422, .. } if !invoice && history.remapped_at.is_none() => {
                Decision::Remap
            }
            Outcome::Refused { .. } => Decision::Attention,
            Outcome::Forbidden { .. } if invoice => Decision::Attention,
            Outcome::Forbidden { .. } => Decision::Skip,
            Outcome::Failed { status: 503, .. } => {
                Decision::Retry { after: backoff, look_first: invoice, counts: true }
            }
            Outcome::Failed { status, from_ezyvet, .. }
                if self.0.server_error == ServerError::NotDone
                    && (*from_ezyvet || invoice && !matches!(status, 502 | 504)) =>
            {
                Decision::Retry { after: backoff, look_first: invoice, counts: true }
            }
            Outcome::Failed { .. } | Outcome::Unclear { .. } if invoice => {
                Decision::LookAfter { after: Duration::ZERO, looks: 0 }
            }
            Outcome::Failed { .. } | Outcome::Unclear { .. } => Decision::Hold { look_after: None },
        }
    }

    /// Decides after looking an invoice up. `is_unclear`: its outcome is unclear; otherwise the look-up precedes a retry.
    pub fn after_look(&self, found: &Lookup, is_unclear: bool, history: &History, jitter: f64) -> Decision {
        match found {
            Lookup::Active => Decision::Confirmed,
            Lookup::Inactive => Decision::Attention,
            Lookup::Failed(Outcome::Refused { .. } | Outcome::Forbidden { .. }) => Decision::Attention,
            Lookup::Failed(Outcome::RateLimited { reset: Some(reset) }) => Decision::RepeatLook { after: *reset },
            Lookup::Failed(_) => Decision::RepeatLook { after: self.backoff(history.failures, jitter) },
            Lookup::Absent if !is_unclear => Decision::Resend,
            Lookup::Absent => match history.looks {
                0 => Decision::LookAfter { after: self.0.unclear_wait.0, looks: 1 },
                1 if self.0.unclear == Unclear::Resend && history.resends == 0 => Decision::Resend,
                looks => Decision::Hold { look_after: Some(self.poll_wait(looks - 1)) },
            },
        }
    }

    /// Decides after asking whether the clinic approved. `age`: time since the invoice was delivered.
    pub fn after_receipt(&self, found: &Lookup, history: &History, age: Duration, jitter: f64) -> Decision {
        match found {
            Lookup::Active => Decision::Confirmed,
            Lookup::Inactive => Decision::Attention,
            Lookup::Failed(Outcome::RateLimited { reset: Some(reset) }) => Decision::PollAfter { after: *reset },
            Lookup::Absent | Lookup::Failed(_) if age >= self.0.receipt_give_up.0 => Decision::StopPolling,
            Lookup::Failed(Outcome::Refused { .. } | Outcome::Forbidden { .. }) | Lookup::Absent => {
                Decision::PollAfter { after: self.poll_wait(history.receipt_polls + 1) }
            }
            Lookup::Failed(_) => {
                Decision::PollAfter { after: self.backoff(history.failures, jitter).max(self.0.receipt_poll.0) }
            }
        }
    }

    /// Returns the wait before a retry. It doubles with every failure in a row; jitter takes off up to half, so that many
    /// deliveries do not retry at the same time.
    pub fn backoff(&self, failures: u32, jitter: f64) -> Duration {
        doubled(self.0.retry_base.0, failures).min(self.0.retry_max.0).mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
    }

    /// Returns the wait before poll number `poll`, counted from 0.
    fn poll_wait(&self, poll: u32) -> Duration {
        doubled(self.0.receipt_poll.0, poll).min(self.0.receipt_poll_max.0.max(self.0.receipt_poll.0))
    }
}

fn doubled(base: Duration, times: u32) -> Duration {
    base.saturating_mul(1_u32.checked_shl(times.min(31)).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;
    use proptest::prelude::*;
    use std::sync::LazyLock;

    static SETTINGS: LazyLock<SiteSettings> = LazyLock::new(|| Settings::from_environment().unwrap().site);
    const FRESH: History =
        History { failures: 0, look_first: false, looks: 0, resends: 0, receipt_polls: 0, remapped_at: None };

    fn policy() -> Policy<'static> {
        Policy(&SETTINGS)
    }

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
            (500u16..512, any::<bool>()).prop_map(|(status, from_ezyvet)| Outcome::Failed {
                status,
                text: text(),
                from_ezyvet
            }),
            Just(Outcome::Unclear { why: text() }),
        ]
    }

    fn kind() -> impl Strategy<Value = Kind> {
        prop_oneof![Just(Kind::ReceiveInvoice), Just(Kind::Supplied)]
    }

    proptest! {
        #[test]
        fn every_wait_is_bounded_and_a_reset_only_delays(
            kind in kind(), outcome in outcome(), failures in 0u32..1000, jitter in 0.0f64..=1.0,
        ) {
            let history = History { failures, ..FRESH };
            if let Decision::Retry { after, .. } = policy().after_send(kind, &outcome, &history, jitter) {
                match outcome {
                    Outcome::RateLimited { reset: Some(reset) } => prop_assert!(after >= reset),
                    _ => prop_assert!(after <= SETTINGS.retry_max.0 && after >= SETTINGS.retry_base.0 / 2),
                }
            }
        }

        #[test]
        fn a_supplied_is_repeated_only_if_ezyvet_certainly_did_not_do_it(
            outcome in outcome(), failures in 0u32..9, jitter in 0.0f64..=1.0, is_trusted in any::<bool>(),
        ) {
            let history = History { failures, ..FRESH };
            let server_error = if is_trusted { ServerError::NotDone } else { ServerError::Unclear };
            let settings = SiteSettings { server_error, ..SETTINGS.clone() };
            let next = Policy(&settings).after_send(Kind::Supplied, &outcome, &history, jitter);
            let is_unclear = match outcome {
                Outcome::Unclear { .. } => true,
                Outcome::Failed { status, from_ezyvet, .. } => status != 503 && !(is_trusted && from_ezyvet),
                _ => false,
            };
            prop_assert_eq!(is_unclear, next == Decision::Hold { look_after: None });
        }

        #[test]
        fn an_unclear_invoice_is_sent_again_once_at_most(
            outcomes in proptest::collection::vec(outcome(), 1..60), hold in any::<bool>(),
        ) {
            let unclear = if hold { Unclear::Hold } else { Unclear::Resend };
            let settings = SiteSettings { unclear, ..SETTINGS.clone() };
            let policy = Policy(&settings);
            let (mut history, mut waited) = (FRESH, Duration::ZERO);
            for outcome in outcomes {
                // The worst case: no look-up ever finds the invoice.
                if let Decision::LookAfter { looks, .. } = policy.after_send(Kind::ReceiveInvoice, &outcome, &history, 0.5) {
                    history.looks = looks;
                    loop {
                        match policy.after_look(&Lookup::Absent, true, &history, 0.5) {
                            Decision::LookAfter { after, looks } => (history.looks, waited) = (looks, waited + after),
                            Decision::Resend => {
                                history.resends += 1;
                                prop_assert!(waited >= settings.unclear_wait.0);
                                break;
                            }
                            Decision::Hold { .. } => {
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
    fn each_outcome_of_an_invoice_leads_to_the_decision_of_the_design() {
        let next = |outcome| policy().after_send(Kind::ReceiveInvoice, &outcome, &FRESH, 1.0);
        let trusting = SiteSettings { server_error: ServerError::NotDone, ..SETTINGS.clone() };
        let trusting = |outcome| Policy(&trusting).after_send(Kind::ReceiveInvoice, &outcome, &FRESH, 1.0);
        let failed = |status, from_ezyvet| Outcome::Failed { status, text: text(), from_ezyvet };
        let look = Decision::LookAfter { after: Duration::ZERO, looks: 0 };
        let look_then_send = Decision::Retry { after: SETTINGS.retry_base.0, look_first: true, counts: true };
        assert_eq!(next(Outcome::Done), Decision::Delivered);
        assert_eq!(next(Outcome::Refused { status: 422, text: text() }), Decision::Attention);
        assert_eq!(next(Outcome::Forbidden { text: text() }), Decision::Attention);
        assert_eq!(next(failed(500, true)), look);
        assert_eq!(next(failed(500, false)), look);
        assert_eq!(trusting(failed(500, true)), look_then_send);
        assert_eq!(trusting(failed(500, false)), look_then_send);
        for decide in [&next as &dyn Fn(Outcome) -> Decision, &trusting] {
            assert_eq!(decide(failed(503, true)), look_then_send);
            assert_eq!(decide(failed(502, false)), look);
            assert_eq!(decide(failed(504, false)), look);
            assert_eq!(decide(Outcome::Unclear { why: text() }), look);
        }
        let never = next(Outcome::NeverSent { why: text() });
        assert_eq!(never, Decision::Retry { after: SETTINGS.retry_base.0, look_first: false, counts: true });
    }

    #[test]
    fn a_refused_supplied_is_mapped_again_once_and_a_missing_scope_skips_it() {
        let refused = Outcome::Refused { status: 422, text: text() };
        assert_eq!(policy().after_send(Kind::Supplied, &refused, &FRESH, 0.0), Decision::Remap);
        let remapped = History { remapped_at: Some(OffsetDateTime::UNIX_EPOCH), ..FRESH };
        assert_eq!(policy().after_send(Kind::Supplied, &refused, &remapped, 0.0), Decision::Attention);
        let forbidden = Outcome::Forbidden { text: text() };
        assert_eq!(policy().after_send(Kind::Supplied, &forbidden, &FRESH, 0.0), Decision::Skip);
    }

    #[test]
    fn polls_for_an_approval_become_rarer_and_end() {
        let wait = |receipt_polls, days: u64| {
            let history = History { receipt_polls, ..FRESH };
            policy().after_receipt(&Lookup::Absent, &history, Duration::from_secs(days * 86_400), 0.0)
        };
        assert_eq!(wait(0, 0), Decision::PollAfter { after: Duration::from_secs(1800) });
        assert_eq!(wait(20, 3), Decision::PollAfter { after: SETTINGS.receipt_poll_max.0 });
        assert_eq!(wait(40, 30), Decision::StopPolling);
    }
}

//! What follows from the outcome of a call to an endpoint. Pure.
//!
//! The waits between attempts are those that Standard Webhooks suggests: seconds first, then hours, about three days in all.
//! Jitter and `Retry-After` only ever delay.

use super::client::{Answer, Failure};
use std::time::Duration;
use time::OffsetDateTime;

/// `Retry-After` delays a retry by at most this time.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);
/// Jitter delays a retry by at most this share of its wait.
const JITTER_SHARE: f64 = 0.1;
/// An endpoint is left alone for a while after this many failures in a row.
const FAILURES_BEFORE_PAUSE: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A status of 200 to 299.
    Delivered,
    /// Status 410: the receiver wants no more messages.
    Gone,
    /// Any other status.
    Refused { retry_after: Option<Duration> },
    /// No answer in time.
    TimedOut,
    /// No answer for another reason: no connection, an address that is not permitted.
    Failed,
}

impl Outcome {
    pub fn of(result: &Result<Answer, Failure>) -> Self {
        match result {
            Ok(answer) if (200..300).contains(&answer.status) => Self::Delivered,
            Ok(Answer { status: 410, .. }) => Self::Gone,
            Ok(answer) => Self::Refused { retry_after: answer.retry_after },
            Err(Failure::Timeout(_)) => Self::TimedOut,
            Err(_) => Self::Failed,
        }
    }

    /// The name in attempts and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Gone => "gone",
            Self::Refused { .. } => "refused",
            Self::TimedOut => "timed_out",
            Self::Failed => "failed",
        }
    }
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Delivered,
    RetryAt(OffsetDateTime),
    /// All attempts failed. The message stays in the log and can be sent again by hand.
    GiveUp,
}

/// Decides about a message after its `attempt`, counted from 1. `waits` are the waits before the second and each further
/// attempt. `jitter` is between 0 and 1.
pub fn decide(outcome: Outcome, attempt: u32, waits: &[Duration], now: OffsetDateTime, jitter: f64) -> Next {
    let retry_after = match outcome {
        Outcome::Delivered => return Next::Delivered,
        Outcome::Refused { retry_after } => retry_after.unwrap_or_default().min(MAX_RETRY_AFTER),
        Outcome::Gone | Outcome::TimedOut | Outcome::Failed => Duration::ZERO,
    };
    let wait = usize::try_from(attempt.saturating_sub(1)).ok().and_then(|index| waits.get(index));
    match wait {
        Some(wait) => Next::RetryAt(now + wait.mul_f64(1.0 + JITTER_SHARE * jitter.clamp(0.0, 1.0)).max(retry_after)),
        None => Next::GiveUp,
    }
}

/// Returns how long an endpoint is left alone after failures in a row. During the pause, waiting messages lose no attempts.
pub fn pause_after(failures: u32) -> Option<Duration> {
    let doublings = failures.checked_sub(FAILURES_BEFORE_PAUSE)?;
    Some((FIRST_PAUSE * 2_u32.saturating_pow(doublings.min(10))).min(LONGEST_PAUSE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-26 12:00 UTC);

    fn waits() -> Vec<Duration> {
        [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400].map(Duration::from_secs).to_vec()
    }

    fn failed() -> impl Strategy<Value = Outcome> {
        let seconds = proptest::option::of(0_u64..u64::MAX / 2);
        prop_oneof![
            Just(Outcome::Gone),
            Just(Outcome::TimedOut),
            Just(Outcome::Failed),
            seconds.prop_map(|seconds| Outcome::Refused { retry_after: seconds.map(Duration::from_secs) }),
        ]
    }

    proptest! {
        #[test]
        fn jitter_and_retry_after_only_ever_delay(outcome in failed(), attempt in 1_u32..10, jitter in -1.0..2.0_f64) {
            let wait = waits()[attempt as usize - 1];
            let Next::RetryAt(at) = decide(outcome, attempt, &waits(), NOW, jitter) else { panic!("no retry") };
            prop_assert!(at >= NOW + wait);
            prop_assert!(at <= NOW + wait.mul_f64(1.0 + JITTER_SHARE).max(MAX_RETRY_AFTER));
        }

        #[test]
        fn a_message_is_given_up_exactly_after_its_last_wait(outcome in failed(), attempt in 1_u32..u32::MAX) {
            let next = decide(outcome, attempt, &waits(), NOW, 0.0);
            prop_assert_eq!(next == Next::GiveUp, attempt > 9);
        }

        #[test]
        fn a_pause_grows_with_failures_and_is_bounded(failures in 0_u32..u32::MAX - 1) {
            prop_assert!(pause_after(failures) <= pause_after(failures + 1));
            prop_assert!(pause_after(failures).unwrap_or_default() <= LONGEST_PAUSE);
        }
    }

    #[test]
    fn an_answer_of_2xx_delivers_and_410_ends_the_endpoint() {
        let answer = |status| Ok(Answer { status, body: String::new(), retry_after: None });
        assert_eq!(Outcome::of(&answer(204)), Outcome::Delivered);
        assert_eq!(Outcome::of(&answer(410)), Outcome::Gone);
        // A redirect is not followed.
        for status in [199, 301, 307, 400, 404, 500, 503] {
            assert_eq!(Outcome::of(&answer(status)), Outcome::Refused { retry_after: None });
        }
        assert_eq!(Outcome::of(&Err(Failure::Timeout(Duration::from_secs(1)))), Outcome::TimedOut);
        assert_eq!(decide(Outcome::Delivered, 99, &[], NOW, 0.0), Next::Delivered);
        assert_eq!(pause_after(4), None);
        assert_eq!(pause_after(5), Some(FIRST_PAUSE));
    }
}

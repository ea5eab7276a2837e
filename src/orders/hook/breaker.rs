//! The circuit breaker of the order hook: after failures in a row, orders no longer wait for a hook that does not answer.
//! Pure: time is an argument.
//!
//! Closed: every call is permitted. Open: no call is permitted until the pause ends. Then one call, the probe, is permitted:
//! its success closes the breaker, its failure opens the breaker again. A probe that never ends counts as failed after a
//! pause.

use std::time::Duration;
use tokio::time::Instant;

/// The state of the breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Closed,
    Open,
    /// One call is on its way to find out whether the hook answers again.
    HalfOpen,
}

/// Counts failures in a row, and permits calls.
#[derive(Debug)]
pub struct Breaker {
    max_failures: u32,
    pause: Duration,
    failures: u32,
    state: State,
    /// When the next call may be the probe, unless closed.
    probe_at: Instant,
}

impl Breaker {
    /// Creates a closed breaker that opens for `pause` after `max_failures` failures in a row.
    pub fn new(max_failures: u32, pause: Duration, now: Instant) -> Self {
        Self { max_failures, pause, failures: 0, state: State::Closed, probe_at: now }
    }

    /// Returns whether a call may be made now. Pass its outcome to [`Breaker::settle`].
    pub fn permit(&mut self, now: Instant) -> bool {
        match self.state {
            State::Closed => true,
            State::Open | State::HalfOpen if now < self.probe_at => false,
            State::Open | State::HalfOpen => {
                (self.state, self.probe_at) = (State::HalfOpen, now + self.pause);
                true
            }
        }
    }

    /// Takes the outcome of a permitted call. Returns the new state if it changed.
    pub fn settle(&mut self, is_success: bool, now: Instant) -> Option<State> {
        let before = self.state;
        if is_success {
            (self.state, self.failures) = (State::Closed, 0);
        } else {
            self.failures = self.failures.saturating_add(1);
            // Calls that were permitted before the breaker opened do not prolong the pause.
            if before == State::HalfOpen || before == State::Closed && self.failures >= self.max_failures {
                (self.state, self.probe_at) = (State::Open, now + self.pause);
            }
        }
        (self.state != before).then_some(self.state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PAUSE: Duration = Duration::from_secs(30);

    #[test]
    fn it_opens_after_failures_in_a_row_and_closes_after_a_good_probe() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut breaker = Breaker::new(2, PAUSE, start);
        assert_eq!(breaker.settle(false, at(0)), None);
        assert_eq!(breaker.settle(true, at(0)), None, "not in a row");
        assert_eq!(breaker.settle(false, at(0)), None);
        assert_eq!(breaker.settle(false, at(1)), Some(State::Open));
        assert!(!breaker.permit(at(30)));
        assert_eq!(breaker.settle(false, at(30)), None, "a call from before does not prolong the pause");
        assert!(breaker.permit(at(31)));
        assert!(!breaker.permit(at(32)), "one probe at a time");
        assert_eq!(breaker.settle(false, at(33)), Some(State::Open));
        assert!(!breaker.permit(at(62)));
        assert!(breaker.permit(at(63)));
        assert_eq!(breaker.settle(true, at(64)), Some(State::Closed));
        assert!(breaker.permit(at(64)) && breaker.permit(at(64)));
    }

    #[test]
    fn a_probe_that_never_ends_is_followed_by_another() {
        let start = Instant::now();
        let mut breaker = Breaker::new(1, PAUSE, start);
        breaker.settle(false, start);
        assert!(breaker.permit(start + PAUSE));
        assert!(!breaker.permit(start + PAUSE * 3 / 2));
        assert!(breaker.permit(start + PAUSE * 2));
    }

    proptest! {
        /// However calls and outcomes interleave, an open breaker permits at most one call in each pause.
        #[test]
        fn an_open_breaker_permits_one_call_in_a_pause(steps in proptest::collection::vec((0_u64..20, any::<bool>()), 1..200)) {
            let mut now = Instant::now();
            let mut breaker = Breaker::new(3, PAUSE, now);
            let mut last_probe: Option<Instant> = None;
            for (seconds, fails) in steps {
                now += Duration::from_secs(seconds);
                let was = breaker.state;
                if breaker.permit(now) {
                    if was != State::Closed {
                        prop_assert!(last_probe.is_none_or(|last| now - last >= PAUSE));
                        last_probe = Some(now);
                    }
                    breaker.settle(!fails, now);
                }
                if breaker.state == State::Closed {
                    last_probe = None;
                }
            }
        }
    }
}

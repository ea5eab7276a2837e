//! The circuit breaker of the order hook: after failures in a row, orders no longer wait for a hook that does not answer.
//! Pure: time is an argument.
//!
//! Closed: every call is permitted. Open: one call in each pause is permitted, the probe. A success closes the breaker.

use std::time::Duration;
use tokio::time::Instant;

/// Counts failures in a row, and permits calls.
#[derive(Debug)]
pub struct Breaker {
    max_failures: u32,
    pause: Duration,
    failures: u32,
    /// When the next probe is permitted; `None` while the breaker is closed.
    probe_at: Option<Instant>,
}

impl Breaker {
    /// Creates a closed breaker that opens after `max_failures` failures in a row and permits a probe every `pause`.
    pub fn new(max_failures: u32, pause: Duration) -> Self {
        Self { max_failures, pause, failures: 0, probe_at: None }
    }

    /// Returns whether a call may be made now. Pass its outcome to [`Breaker::settle`].
    pub fn permit(&mut self, now: Instant) -> bool {
        match self.probe_at {
            None => true,
            Some(probe_at) if now < probe_at => false,
            Some(_) => {
                self.probe_at = Some(now + self.pause);
                true
            }
        }
    }

    /// Takes the outcome of a permitted call. Returns whether the breaker is open now, if that has changed.
    pub fn settle(&mut self, is_success: bool, now: Instant) -> Option<bool> {
        let was_open = self.probe_at.is_some();
        if is_success {
            (self.failures, self.probe_at) = (0, None);
        } else if !was_open {
            self.failures += 1;
            self.probe_at = (self.failures >= self.max_failures).then(|| now + self.pause);
        }
        let is_open = self.probe_at.is_some();
        (is_open != was_open).then_some(is_open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_failures_in_a_row_permits_one_probe_in_a_pause_and_closes_after_a_success() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut breaker = Breaker::new(2, Duration::from_secs(30));
        assert_eq!(breaker.settle(false, at(0)), None);
        assert_eq!(breaker.settle(true, at(0)), None, "not in a row");
        assert_eq!(breaker.settle(false, at(0)), None);
        assert_eq!(breaker.settle(false, at(1)), Some(true));
        assert!(!breaker.permit(at(30)));
        assert_eq!(breaker.settle(false, at(30)), None, "a call from before does not prolong the pause");
        assert!(breaker.permit(at(31)));
        assert!(!breaker.permit(at(32)), "one probe at a time");
        assert_eq!(breaker.settle(false, at(33)), None);
        assert!(!breaker.permit(at(60)));
        assert!(breaker.permit(at(61)));
        assert!(breaker.permit(at(91)), "the last probe never ended");
        assert_eq!(breaker.settle(true, at(92)), Some(false));
        assert!(breaker.permit(at(92)) && breaker.permit(at(92)));
    }
}

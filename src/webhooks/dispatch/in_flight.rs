//! The calls of this process that are under way, and how many more may begin. Pure.
//!
//! Two classes keep endpoints that hang from delaying the others. A call begins in the fast class, unless its endpoint did not
//! answer in time before. A call that has waited for a second moves to the slow class and frees its place. If the slow class is
//! full, calls stay where they are, which bounds the connections of the process by both limits together.

use super::Busy;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// A call that has waited for so long has become slow.
const SLOW_AFTER: Duration = Duration::from_secs(1);
/// More calls than an endpoint may have.
const BLOCKED: i64 = 1_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallClass {
    Fast,
    /// For endpoints that did not answer in time before.
    Slow,
}

struct Call {
    endpoint: i64,
    class: CallClass,
    began: Instant,
}

impl Call {
    fn is_slow(&self, now: Instant) -> bool {
        self.class == CallClass::Slow || now.duration_since(self.began) >= SLOW_AFTER
    }
}

/// The calls under way, by lease.
pub(super) struct InFlight {
    calls: HashMap<i64, Call>,
    max_fast: usize,
    max_slow: usize,
}

impl InFlight {
    pub fn new(max_fast: usize, max_slow: usize) -> Self {
        Self { calls: HashMap::new(), max_fast, max_slow }
    }

    pub fn begin(&mut self, lease: i64, endpoint: i64, class: CallClass, now: Instant) {
        self.calls.insert(lease, Call { endpoint, class, began: now });
    }

    pub fn end(&mut self, lease: i64) {
        self.calls.remove(&lease);
    }

    /// Returns the calls under way of each endpoint. A slow call counts as [`BLOCKED`]: an endpoint that may hang gets no
    /// further call.
    pub fn by_endpoint(&self, now: Instant) -> Busy {
        let mut busy = Busy::new();
        for call in self.calls.values() {
            *busy.entry(call.endpoint).or_default() += if call.is_slow(now) { BLOCKED } else { 1 };
        }
        busy
    }

    /// Returns how many calls may begin in a class.
    pub fn free(&self, class: CallClass, now: Instant) -> usize {
        let slow = self.calls.values().filter(|call| call.is_slow(now)).count();
        let fast = self.calls.len() - slow;
        match class {
            CallClass::Fast => self.max_fast.saturating_sub(fast + slow.saturating_sub(self.max_slow)),
            CallClass::Slow => self.max_slow.saturating_sub(slow),
        }
    }

    /// Returns when a call of a full fast class becomes slow.
    pub fn next_release(&self, now: Instant) -> Option<Duration> {
        if self.free(CallClass::Fast, now) > 0 {
            return None;
        }
        let fast = self.calls.values().filter(|call| call.class == CallClass::Fast);
        let waits = fast.map(|call| SLOW_AFTER.saturating_sub(now.duration_since(call.began)));
        waits.filter(|wait| !wait.is_zero()).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_hangs_frees_its_place_after_a_second() {
        let mut in_flight = InFlight::new(2, 3);
        let start = Instant::now();
        in_flight.begin(1, 10, CallClass::Fast, start);
        in_flight.begin(2, 11, CallClass::Fast, start);
        in_flight.begin(3, 12, CallClass::Slow, start);
        assert_eq!((in_flight.free(CallClass::Fast, start), in_flight.free(CallClass::Slow, start)), (0, 2));
        assert_eq!(in_flight.next_release(start), Some(SLOW_AFTER));
        let later = start + SLOW_AFTER;
        assert_eq!((in_flight.free(CallClass::Fast, later), in_flight.free(CallClass::Slow, later)), (2, 0));
        // The slow class is full: further calls that hang keep their places.
        in_flight.begin(4, 13, CallClass::Fast, start);
        assert_eq!(in_flight.free(CallClass::Fast, later), 1);
        in_flight.end(3);
        assert_eq!(in_flight.free(CallClass::Fast, later), 2);
        assert_eq!(in_flight.by_endpoint(start), Busy::from([(10, 1), (11, 1), (13, 1)]));
        assert_eq!(in_flight.by_endpoint(later), Busy::from([(10, BLOCKED), (11, BLOCKED), (13, BLOCKED)]));
    }
}

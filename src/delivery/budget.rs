//! How many calls a site still permits (SPSI.md 2, DESIGN.md 2.5).
//!
//! Guarantee: whatever moment between our sending and the arrival of the answer ezyVet counts a call at, no window of its
//! holds more calls than it permits. A call counts from its reservation until one window after its answer arrived. Calls
//! are spent evenly: after a pause a few may go at once, then one per interval. Pure: time is an argument. The whole of it
//! is stored with the lease, so a restart remembers.

use crate::ezyvet::{Endpoint, RateHeaders};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use time::OffsetDateTime;

/// What ezyVet permits.
#[derive(Clone, Copy, Debug)]
pub struct Permitted {
    pub per_endpoint: u32,
    pub per_site: u32,
    pub window: Duration,
}

/// Whom a limit binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Scope {
    Endpoint(Endpoint),
    Site,
}

/// A call that may be made now. Give it back with [`Budget::answered`] or [`Budget::never_sent`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Ticket {
    number: u64,
    endpoint: Endpoint,
}

/// The calls of a site. Times are microseconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Budget {
    /// When the answers of the last window arrived, oldest first.
    answered: BTreeMap<Endpoint, VecDeque<i64>>,
    flying: Vec<(u64, Endpoint)>,
    tickets: u64,
    endpoints: BTreeMap<Endpoint, Gate>,
    site: Gate,
}

/// One limit's pace, and what ezyVet said about it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Gate {
    /// When the next call is due at an even pace; earlier calls draw on the burst.
    pace: i64,
    /// Nothing goes before this (a 429).
    closed_until: i64,
    /// At most `left` more calls before `left_until` (the headers).
    left: u32,
    left_until: i64,
}

impl Ticket {
    pub fn endpoint(self) -> Endpoint {
        self.endpoint
    }
}

impl Budget {
    /// A budget as it was stored. Calls that were in flight when their holder died count as answered now.
    pub fn restored(stored: serde_json::Value, now: OffsetDateTime) -> Self {
        let mut budget: Self = serde_json::from_value(stored).unwrap_or_default();
        for (_, endpoint) in std::mem::take(&mut budget.flying) {
            budget.answered.entry(endpoint).or_default().push_back(micros(now));
        }
        budget
    }

    /// Takes a call, or says when to ask again.
    pub fn reserve(
        &mut self,
        endpoint: Endpoint,
        now: OffsetDateTime,
        permitted: Permitted,
    ) -> Result<Ticket, OffsetDateTime> {
        let now = micros(now);
        let window = permitted.window.as_micros() as i64;
        self.forget(now - window);
        let mut earliest = now;
        for (scope, limit) in [(Scope::Endpoint(endpoint), permitted.per_endpoint), (Scope::Site, permitted.per_site)] {
            let limit = limit.max(1);
            let (gap, burst) = (window / i64::from(limit), i64::from((limit / 4).max(1)));
            let full = self.count(scope) >= limit as usize;
            let oldest = self.oldest(scope).filter(|_| full);
            let room_at = match oldest {
                Some(at) => at + window,
                // All of them are in flight: nobody knows when their answers come.
                None if full => now + (gap / 8).max(1_000),
                None => now,
            };
            let gate = self.gate(scope);
            if oldest.is_some() {
                // Work waits: what the pace saved up is given up, so that calls go out evenly from here on.
                gate.pace = gate.pace.max(room_at);
            }
            gate.pace = gate.pace.max(now - gap * (burst - 1));
            let headers = if gate.left == 0 { gate.left_until } else { now };
            // `pace` holds the burst already: it lags behind the present by what may go at once.
            earliest = earliest.max(room_at).max(gate.pace).max(gate.closed_until).max(headers);
        }
        if earliest > now {
            return Err(time(earliest));
        }
        for (scope, limit) in [(Scope::Endpoint(endpoint), permitted.per_endpoint), (Scope::Site, permitted.per_site)] {
            let gate = self.gate(scope);
            gate.pace += window / i64::from(limit.max(1));
            gate.left = gate.left.saturating_sub(1);
        }
        self.tickets += 1;
        self.flying.push((self.tickets, endpoint));
        Ok(Ticket { number: self.tickets, endpoint })
    }

    /// An answer arrived, or was waited for in vain.
    pub fn answered(&mut self, ticket: Ticket, now: OffsetDateTime, headers: RateHeaders, permitted: Permitted) {
        self.land(ticket);
        let now = micros(now);
        let answered = self.answered.entry(ticket.endpoint).or_default();
        answered.push_back(now.max(answered.back().copied().unwrap_or(now)));
        if let (Some(remaining), Some(reset)) = (headers.remaining, headers.reset) {
            let scope = told_about(headers, ticket.endpoint, permitted).unwrap_or(Scope::Endpoint(ticket.endpoint));
            // Calls still in flight may not be in ezyVet's count yet.
            let flying = self.flying(scope) as u32;
            let (left, until) = (remaining.saturating_sub(flying), now + reset.as_micros() as i64);
            let gate = self.gate(scope);
            // Answers overtake each other: within one count the lowest number is the newest.
            let same_count = now < gate.left_until && (until - gate.left_until).abs() < 1_500_000;
            gate.left = if same_count { gate.left.min(left) } else { left };
            gate.left_until = until;
        }
    }

    /// A 429 came: nothing goes until the reset, or for a whole window if ezyVet named none. Unless the headers say that
    /// the limit is the endpoint's, the whole site waits: an excess gets a partner switched off.
    pub fn limited(&mut self, ticket: Ticket, now: OffsetDateTime, headers: RateHeaders, permitted: Permitted) {
        self.answered(ticket, now, RateHeaders::default(), permitted);
        let scope = told_about(headers, ticket.endpoint, permitted).unwrap_or(Scope::Site);
        let until = micros(now) + headers.reset.unwrap_or(permitted.window).as_micros() as i64;
        let gate = self.gate(scope);
        gate.closed_until = gate.closed_until.max(until);
    }

    /// The call did not leave, so it does not count.
    pub fn never_sent(&mut self, ticket: Ticket) {
        self.land(ticket);
    }

    fn land(&mut self, ticket: Ticket) {
        self.flying.retain(|(number, _)| *number != ticket.number);
    }

    fn gate(&mut self, scope: Scope) -> &mut Gate {
        match scope {
            Scope::Endpoint(endpoint) => self.endpoints.entry(endpoint).or_default(),
            Scope::Site => &mut self.site,
        }
    }

    fn forget(&mut self, before: i64) {
        for times in self.answered.values_mut() {
            while times.front().is_some_and(|at| *at <= before) {
                times.pop_front();
            }
        }
    }

    fn flying(&self, scope: Scope) -> usize {
        self.flying.iter().filter(|(_, endpoint)| scope == Scope::Site || scope == Scope::Endpoint(*endpoint)).count()
    }

    fn count(&self, scope: Scope) -> usize {
        let answered = match scope {
            Scope::Endpoint(endpoint) => self.answered.get(&endpoint).map_or(0, VecDeque::len),
            Scope::Site => self.answered.values().map(VecDeque::len).sum(),
        };
        answered + self.flying(scope)
    }

    fn oldest(&self, scope: Scope) -> Option<i64> {
        match scope {
            Scope::Endpoint(endpoint) => self.answered.get(&endpoint)?.front().copied(),
            Scope::Site => self.answered.values().filter_map(VecDeque::front).min().copied(),
        }
    }
}

/// Which limit an answer's headers speak of, told by its height.
fn told_about(headers: RateHeaders, endpoint: Endpoint, permitted: Permitted) -> Option<Scope> {
    let limit = headers.limit.filter(|_| permitted.per_endpoint != permitted.per_site)?;
    if limit == permitted.per_endpoint {
        Some(Scope::Endpoint(endpoint))
    } else {
        (limit == permitted.per_site).then_some(Scope::Site)
    }
}

fn micros(at: OffsetDateTime) -> i64 {
    (at.unix_timestamp_nanos() / 1_000) as i64
}

fn time(micros: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1_000).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use time::macros::datetime;

    const START: OffsetDateTime = datetime!(2026-11-21 12:00 UTC);
    const PERMITTED: Permitted = Permitted { per_endpoint: 60, per_site: 180, window: Duration::from_secs(60) };

    fn headers(limit: u32, remaining: u32, reset: u64) -> RateHeaders {
        RateHeaders { limit: Some(limit), remaining: Some(remaining), reset: Some(Duration::from_secs(reset)) }
    }

    /// Works through `wanted` endpoints, `latency` each, one call in flight per endpoint at the most, for `length`.
    /// Gives the moments between which ezyVet may have counted each call.
    fn work(
        budget: &mut Budget,
        permitted: Permitted,
        wanted: &[Endpoint],
        latency: Duration,
        length: Duration,
    ) -> Vec<(Endpoint, OffsetDateTime, OffsetDateTime)> {
        let (mut calls, mut flying): (Vec<_>, Vec<(OffsetDateTime, OffsetDateTime, Ticket)>) = (Vec::new(), Vec::new());
        let mut now = START;
        while now < START + length {
            let mut next = START + length;
            for flight in flying.extract_if(.., |flight| flight.1 <= now) {
                budget.answered(flight.2, flight.1, RateHeaders::default(), permitted);
                calls.push((flight.2.endpoint, flight.0, flight.1));
            }
            for endpoint in wanted {
                while flying.iter().filter(|flight| flight.2.endpoint == *endpoint).count() < 4 {
                    match budget.reserve(*endpoint, now, permitted) {
                        Ok(ticket) => flying.push((now, now + latency, ticket)),
                        Err(at) => {
                            next = next.min(at);
                            break;
                        }
                    }
                }
            }
            now = flying
                .iter()
                .map(|flight| flight.1)
                .fold(next, OffsetDateTime::min)
                .max(now + Duration::from_micros(1));
        }
        calls
    }

    fn most_in_a_window(mut at: Vec<OffsetDateTime>, window: Duration) -> usize {
        at.sort_unstable();
        (0..at.len()).map(|i| at[i..].iter().take_while(|t| **t < at[i] + window).count()).max().unwrap_or_default()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_window_ever_holds_more_than_is_permitted(
            per_endpoint in 1u32..40, extra in 0u32..80, latency in 0u64..3_000, counted in 0.0f64..=1.0, count in 1usize..5,
        ) {
            let permitted = Permitted { per_endpoint, per_site: per_endpoint + extra, window: Duration::from_secs(20) };
            let mut budget = Budget::default();
            let latency = Duration::from_millis(latency);
            let calls = work(&mut budget, permitted, &Endpoint::ALL[..count], latency, Duration::from_secs(70));
            let at = |call: &(Endpoint, OffsetDateTime, OffsetDateTime)| {
                // Any moment between sending and answer, differing from call to call.
                let part = if call.1.microsecond().is_multiple_of(2) { counted } else { 1.0 - counted };
                call.1 + (call.2 - call.1).unsigned_abs().mul_f64(part)
            };
            prop_assert!(most_in_a_window(calls.iter().map(at).collect(), permitted.window) <= permitted.per_site as usize);
            for endpoint in Endpoint::ALL {
                let own = calls.iter().filter(|call| call.0 == endpoint).map(at).collect();
                prop_assert!(most_in_a_window(own, permitted.window) <= permitted.per_endpoint as usize);
            }
        }
    }

    #[test]
    fn nearly_all_that_is_permitted_is_used_while_work_waits() {
        for (wanted, limit) in [(&Endpoint::ALL[..1], 60), (&Endpoint::ALL[..3], 180), (&Endpoint::ALL[..7], 180)] {
            for latency in [50, 900] {
                let (mut budget, latency) = (Budget::default(), Duration::from_millis(latency));
                let calls = work(&mut budget, PERMITTED, wanted, latency, Duration::from_secs(600));
                assert!(calls.len() >= limit * 10 * 95 / 100, "{} of {}", calls.len(), limit * 10);
            }
        }
    }

    #[test]
    fn calls_are_spent_evenly_after_a_small_burst() {
        let calls = work(
            &mut Budget::default(),
            PERMITTED,
            &[Endpoint::JobQueue],
            Duration::from_millis(1),
            Duration::from_secs(300),
        );
        let at_once = calls.iter().filter(|call| call.1 < START + Duration::from_millis(100)).count();
        assert_eq!(at_once, 15);
        let later: Vec<_> = calls.iter().filter(|call| call.1 > START + Duration::from_secs(61)).collect();
        let longest = later.windows(2).map(|pair| pair[1].1 - pair[0].1).max().unwrap();
        assert!(longest <= time::Duration::milliseconds(1_100), "{longest}");
    }

    #[test]
    fn after_a_429_nothing_goes_until_exactly_the_reset() {
        let mut budget = Budget::default();
        let ticket = budget.reserve(Endpoint::JobQueue, START, PERMITTED).unwrap();
        let reset = RateHeaders { limit: None, remaining: None, reset: Some(Duration::from_secs(17)) };
        budget.limited(ticket, START, reset, PERMITTED);
        let free = START + Duration::from_secs(17);
        assert_eq!(budget.reserve(Endpoint::Supplied, START, PERMITTED), Err(free));
        assert_eq!(budget.reserve(Endpoint::Supplied, free - Duration::from_micros(1), PERMITTED), Err(free));
        assert!(budget.reserve(Endpoint::Supplied, free, PERMITTED).is_ok());
    }

    #[test]
    fn a_429_about_one_endpoint_leaves_the_others_open() {
        let mut budget = Budget::default();
        let ticket = budget.reserve(Endpoint::JobQueue, START, PERMITTED).unwrap();
        budget.limited(ticket, START, headers(60, 0, 30), PERMITTED);
        assert!(budget.reserve(Endpoint::JobQueue, START, PERMITTED).is_err());
        assert!(budget.reserve(Endpoint::Supplied, START, PERMITTED).is_ok());
    }

    #[test]
    fn the_headers_correct_what_we_counted() {
        let mut budget = Budget::default();
        let first = budget.reserve(Endpoint::JobQueue, START, PERMITTED).unwrap();
        let second = budget.reserve(Endpoint::JobQueue, START, PERMITTED).unwrap();
        // Somebody else used most of it; one of ours is still in flight.
        budget.answered(first, START, headers(60, 2, 20), PERMITTED);
        let third = budget.reserve(Endpoint::JobQueue, START, PERMITTED).unwrap();
        let reset = START + Duration::from_secs(20);
        assert_eq!(budget.reserve(Endpoint::JobQueue, START, PERMITTED), Err(reset));
        // An answer that was overtaken does not raise it again.
        budget.answered(second, START, headers(60, 5, 20), PERMITTED);
        budget.never_sent(third);
        assert_eq!(budget.reserve(Endpoint::JobQueue, START, PERMITTED), Err(reset));
        assert!(budget.reserve(Endpoint::JobQueue, reset, PERMITTED).is_ok());
    }

    #[test]
    fn a_restart_remembers_and_counts_what_was_in_flight() {
        let permitted = Permitted { per_endpoint: 2, ..PERMITTED };
        let mut budget = Budget::default();
        let ticket = budget.reserve(Endpoint::JobQueue, START, permitted).unwrap();
        budget.answered(ticket, START, RateHeaders::default(), permitted);
        let later = START + Duration::from_secs(31);
        let _in_flight = budget.reserve(Endpoint::JobQueue, later, permitted).unwrap();
        let mut restored = Budget::restored(serde_json::to_value(&budget).unwrap(), later);
        assert_eq!(restored.count(Scope::Endpoint(Endpoint::JobQueue)), 2);
        assert_eq!(restored.flying, []);
        assert!(restored.reserve(Endpoint::JobQueue, later, permitted).is_err());
        assert_eq!(Budget::restored(serde_json::json!({}), later), Budget::default());
    }
}

//! The rate limiter of a site (SPSI.md 2, DESIGN.md 2.5), and the pause of an endpoint whose sends end unclear.
//!
//! Guarantee: no window of ezyVet's holds more calls than ezyVet permits, at whatever moment between the sending and the
//! arrival of the answer ezyVet counts a call. A call counts from its reservation until one window after its answer
//! arrived. Calls are spread evenly: after an idle time a few may leave at once, then one per interval. Pure: time is an
//! argument. The budget is stored with the lease, so a restart does not forget it.

use crate::ezyvet::{Endpoint, RateHeaders};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use time::OffsetDateTime;

/// After this many unclear sends in a row, an endpoint is paused, and then tried with one call at a time. Each unclear
/// `supplied` costs staff a look into ezyVet.
const MAX_UNCLEAR_SENDS: u32 = 2;

/// How many calls ezyVet permits in a window.
#[derive(Clone, Copy, Debug)]
pub struct RateLimits {
    pub per_endpoint: u32,
    pub per_site: u32,
    pub window: Duration,
}

/// What a limit applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Scope {
    Endpoint(Endpoint),
    Site,
}

/// The right to make one call. End it with [`Budget::record_answer`], [`Budget::record_rate_limit`] or [`Budget::cancel`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Reservation {
    number: u64,
    pub endpoint: Endpoint,
}

/// The calls of a site. Times are microseconds since 1970. The serialised names are stored: they do not change.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Budget {
    /// When the answers of the last window arrived, oldest first.
    answered: BTreeMap<Endpoint, VecDeque<i64>>,
    #[serde(rename = "flying")]
    in_flight: Vec<(u64, Endpoint)>,
    #[serde(rename = "tickets")]
    reservations: u64,
    endpoints: BTreeMap<Endpoint, LimitState>,
    site: LimitState,
}

/// The pace under one limit, what ezyVet said about the limit, and the pause after unclear sends.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct LimitState {
    /// When the next call is due at an even pace. Earlier calls use up the burst.
    #[serde(rename = "pace")]
    paced_at: i64,
    /// No call leaves before this (429).
    closed_until: i64,
    /// At most `left` more calls leave before `left_until` (rate headers).
    left: u32,
    left_until: i64,
    /// Sends in a row whose outcome is unclear.
    unclear_sends: u32,
    /// Nothing is sent before this, because too many sends were unclear.
    paused_until: i64,
}

impl Budget {
    /// Restores a stored budget. Calls that were in flight when their holder died count as answered now.
    pub fn restored(stored: serde_json::Value, now: OffsetDateTime) -> Self {
        let mut budget: Self = serde_json::from_value(stored).unwrap_or_default();
        for (_, endpoint) in std::mem::take(&mut budget.in_flight) {
            budget.answered.entry(endpoint).or_default().push_back(micros(now));
        }
        budget
    }

    /// Reserves a call, or returns when to ask again.
    pub fn reserve(
        &mut self,
        endpoint: Endpoint,
        now: OffsetDateTime,
        limits: RateLimits,
    ) -> Result<Reservation, OffsetDateTime> {
        let now = micros(now);
        let window = limits.window.as_micros() as i64;
        self.forget_answers(now - window);
        let mut earliest = now;
        for (scope, limit) in [(Scope::Endpoint(endpoint), limits.per_endpoint), (Scope::Site, limits.per_site)] {
            let limit = limit.max(1);
            let (gap, burst) = (window / i64::from(limit), i64::from((limit / 4).max(1)));
            let is_full = self.count(scope) >= limit as usize;
            let oldest = self.oldest_answer(scope).filter(|_| is_full);
            let room_at = match oldest {
                Some(at) => at + window,
                // All of them are in flight: when their answers come is not known.
                None if is_full => now + (gap / 8).max(1_000),
                None => now,
            };
            let state = self.state(scope);
            if oldest.is_some() {
                // Work waits: give the burst up, so that calls leave evenly from here on.
                state.paced_at = state.paced_at.max(room_at);
            }
            // `paced_at` lags behind `now` by what may leave at once.
            state.paced_at = state.paced_at.max(now - gap * (burst - 1));
            let headers = if state.left == 0 { state.left_until } else { now };
            earliest = earliest.max(room_at).max(state.paced_at).max(state.closed_until).max(headers);
        }
        if earliest > now {
            return Err(time(earliest));
        }
        for (scope, limit) in [(Scope::Endpoint(endpoint), limits.per_endpoint), (Scope::Site, limits.per_site)] {
            let state = self.state(scope);
            state.paced_at += window / i64::from(limit.max(1));
            state.left = state.left.saturating_sub(1);
        }
        self.reservations += 1;
        self.in_flight.push((self.reservations, endpoint));
        Ok(Reservation { number: self.reservations, endpoint })
    }

    /// Ends a reservation whose answer arrived, or whose timeout passed.
    pub fn record_answer(
        &mut self,
        reservation: Reservation,
        now: OffsetDateTime,
        headers: RateHeaders,
        limits: RateLimits,
    ) {
        self.cancel(reservation);
        let now = micros(now);
        let answered = self.answered.entry(reservation.endpoint).or_default();
        answered.push_back(now.max(answered.back().copied().unwrap_or(now)));
        if let (Some(remaining), Some(reset)) = (headers.remaining, headers.reset) {
            let endpoint = Scope::Endpoint(reservation.endpoint);
            let scope = scope_of(headers, reservation.endpoint, limits).unwrap_or(endpoint);
            // Calls in flight may not be in ezyVet's count yet.
            let in_flight = self.count_in_flight(scope) as u32;
            let (left, until) = (remaining.saturating_sub(in_flight), now + reset.as_micros() as i64);
            let state = self.state(scope);
            // Answers overtake each other: within one window of ezyVet's the lowest number is the newest.
            let is_same_window = now < state.left_until && (until - state.left_until).abs() < 1_500_000;
            state.left = if is_same_window { state.left.min(left) } else { left };
            state.left_until = until;
        }
    }

    /// Ends a reservation that ezyVet answered with 429: no call leaves until the reset, or for a whole window if ezyVet
    /// named none. The whole site waits, unless the headers name the limit of the endpoint: ezyVet switches off a partner
    /// who exceeds limits.
    pub fn record_rate_limit(
        &mut self,
        reservation: Reservation,
        now: OffsetDateTime,
        headers: RateHeaders,
        limits: RateLimits,
    ) {
        self.record_answer(reservation, now, RateHeaders::default(), limits);
        let scope = scope_of(headers, reservation.endpoint, limits).unwrap_or(Scope::Site);
        let until = micros(now) + headers.reset.unwrap_or(limits.window).as_micros() as i64;
        let state = self.state(scope);
        state.closed_until = state.closed_until.max(until);
    }

    /// Ends a reservation whose call did not leave: the call does not count.
    pub fn cancel(&mut self, reservation: Reservation) {
        self.in_flight.retain(|(number, _)| *number != reservation.number);
    }

    /// Permits a send, or returns when to ask again. While the endpoint is in trouble, permits one per `trial`.
    pub fn permit_send(
        &mut self,
        endpoint: Endpoint,
        now: OffsetDateTime,
        trial: Duration,
    ) -> Result<(), OffsetDateTime> {
        let state = self.state(Scope::Endpoint(endpoint));
        if state.unclear_sends < MAX_UNCLEAR_SENDS {
            return Ok(());
        }
        if micros(now) < state.paused_until {
            return Err(time(state.paused_until));
        }
        state.paused_until = micros(now) + trial.as_micros() as i64;
        Ok(())
    }

    /// Records how a send ended. Unclear sends in a row pause the endpoint for `pause`.
    pub fn record_send(&mut self, endpoint: Endpoint, is_unclear: bool, now: OffsetDateTime, pause: Duration) {
        let state = self.state(Scope::Endpoint(endpoint));
        if is_unclear {
            state.unclear_sends += 1;
            state.paused_until = micros(now) + pause.as_micros() as i64;
        } else {
            state.unclear_sends = 0;
        }
    }

    fn state(&mut self, scope: Scope) -> &mut LimitState {
        match scope {
            Scope::Endpoint(endpoint) => self.endpoints.entry(endpoint).or_default(),
            Scope::Site => &mut self.site,
        }
    }

    fn forget_answers(&mut self, before: i64) {
        for times in self.answered.values_mut() {
            while times.front().is_some_and(|at| *at <= before) {
                times.pop_front();
            }
        }
    }

    fn count_in_flight(&self, scope: Scope) -> usize {
        self.in_flight
            .iter()
            .filter(|(_, endpoint)| scope == Scope::Site || scope == Scope::Endpoint(*endpoint))
            .count()
    }

    fn count(&self, scope: Scope) -> usize {
        let answered = match scope {
            Scope::Endpoint(endpoint) => self.answered.get(&endpoint).map_or(0, VecDeque::len),
            Scope::Site => self.answered.values().map(VecDeque::len).sum(),
        };
        answered + self.count_in_flight(scope)
    }

    fn oldest_answer(&self, scope: Scope) -> Option<i64> {
        match scope {
            Scope::Endpoint(endpoint) => self.answered.get(&endpoint)?.front().copied(),
            Scope::Site => self.answered.values().filter_map(VecDeque::front).min().copied(),
        }
    }
}

/// Returns which limit the headers of an answer describe, recognised by its height.
fn scope_of(headers: RateHeaders, endpoint: Endpoint, limits: RateLimits) -> Option<Scope> {
    let limit = headers.limit.filter(|_| limits.per_endpoint != limits.per_site)?;
    if limit == limits.per_endpoint {
        Some(Scope::Endpoint(endpoint))
    } else {
        (limit == limits.per_site).then_some(Scope::Site)
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
    const ENDPOINTS: [Endpoint; 4] =
        [Endpoint::JobQueue, Endpoint::ReceiveInvoice, Endpoint::Supplied, Endpoint::Product];
    const LIMITS: RateLimits = RateLimits { per_endpoint: 60, per_site: 180, window: Duration::from_secs(60) };

    fn headers(limit: u32, remaining: u32, reset: u64) -> RateHeaders {
        RateHeaders { limit: Some(limit), remaining: Some(remaining), reset: Some(Duration::from_secs(reset)) }
    }

    /// Calls `endpoints` for `length`, `latency` each, with at most four calls in flight per endpoint. Returns when each call
    /// was sent and answered: ezyVet may count the call at any moment between them.
    fn work(
        budget: &mut Budget,
        limits: RateLimits,
        endpoints: &[Endpoint],
        latency: Duration,
        length: Duration,
    ) -> Vec<(Endpoint, OffsetDateTime, OffsetDateTime)> {
        let (mut calls, mut in_flight): (Vec<_>, Vec<(OffsetDateTime, OffsetDateTime, Reservation)>) =
            (Vec::new(), Vec::new());
        let mut now = START;
        while now < START + length {
            let mut next = START + length;
            for call in in_flight.extract_if(.., |call| call.1 <= now) {
                budget.record_answer(call.2, call.1, RateHeaders::default(), limits);
                calls.push((call.2.endpoint, call.0, call.1));
            }
            for endpoint in endpoints {
                while in_flight.iter().filter(|call| call.2.endpoint == *endpoint).count() < 4 {
                    match budget.reserve(*endpoint, now, limits) {
                        Ok(reservation) => in_flight.push((now, now + latency, reservation)),
                        Err(at) => {
                            next = next.min(at);
                            break;
                        }
                    }
                }
            }
            now =
                in_flight.iter().map(|call| call.1).fold(next, OffsetDateTime::min).max(now + Duration::from_micros(1));
        }
        calls
    }

    fn max_in_a_window(mut at: Vec<OffsetDateTime>, window: Duration) -> usize {
        at.sort_unstable();
        (0..at.len()).map(|i| at[i..].iter().take_while(|t| **t < at[i] + window).count()).max().unwrap_or_default()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_window_holds_more_calls_than_ezyvet_permits(
            per_endpoint in 1u32..40, extra in 0u32..80, latency in 0u64..3_000, counted in 0.0f64..=1.0, count in 1usize..5,
        ) {
            let limits = RateLimits { per_endpoint, per_site: per_endpoint + extra, window: Duration::from_secs(20) };
            let mut budget = Budget::default();
            let latency = Duration::from_millis(latency);
            let calls = work(&mut budget, limits, &ENDPOINTS[..count], latency, Duration::from_secs(70));
            let at = |call: &(Endpoint, OffsetDateTime, OffsetDateTime)| {
                // Any moment between sending and answer, differing from call to call.
                let part = if call.1.microsecond().is_multiple_of(2) { counted } else { 1.0 - counted };
                call.1 + (call.2 - call.1).unsigned_abs().mul_f64(part)
            };
            prop_assert!(max_in_a_window(calls.iter().map(at).collect(), limits.window) <= limits.per_site as usize);
            for endpoint in ENDPOINTS {
                let own = calls.iter().filter(|call| call.0 == endpoint).map(at).collect();
                prop_assert!(max_in_a_window(own, limits.window) <= limits.per_endpoint as usize);
            }
        }
    }

    #[test]
    fn nearly_all_permitted_calls_are_used_while_work_waits() {
        for (endpoints, limit) in [(&ENDPOINTS[..1], 60), (&ENDPOINTS[..3], 180), (&ENDPOINTS[..4], 180)] {
            for latency in [50, 900] {
                let (mut budget, latency) = (Budget::default(), Duration::from_millis(latency));
                let calls = work(&mut budget, LIMITS, endpoints, latency, Duration::from_secs(600));
                assert!(calls.len() >= limit * 10 * 95 / 100, "{} of {}", calls.len(), limit * 10);
            }
        }
    }

    #[test]
    fn calls_leave_evenly_after_a_small_burst() {
        let calls = work(
            &mut Budget::default(),
            LIMITS,
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
    fn after_a_429_no_call_leaves_before_the_reset() {
        let mut budget = Budget::default();
        let reservation = budget.reserve(Endpoint::JobQueue, START, LIMITS).unwrap();
        let reset = RateHeaders { limit: None, remaining: None, reset: Some(Duration::from_secs(17)) };
        budget.record_rate_limit(reservation, START, reset, LIMITS);
        let free = START + Duration::from_secs(17);
        assert_eq!(budget.reserve(Endpoint::Supplied, START, LIMITS), Err(free));
        assert_eq!(budget.reserve(Endpoint::Supplied, free - Duration::from_micros(1), LIMITS), Err(free));
        assert!(budget.reserve(Endpoint::Supplied, free, LIMITS).is_ok());
    }

    #[test]
    fn a_429_about_one_endpoint_leaves_the_others_open() {
        let mut budget = Budget::default();
        let reservation = budget.reserve(Endpoint::JobQueue, START, LIMITS).unwrap();
        budget.record_rate_limit(reservation, START, headers(60, 0, 30), LIMITS);
        assert!(budget.reserve(Endpoint::JobQueue, START, LIMITS).is_err());
        assert!(budget.reserve(Endpoint::Supplied, START, LIMITS).is_ok());
    }

    #[test]
    fn the_rate_headers_correct_the_count() {
        let mut budget = Budget::default();
        let first = budget.reserve(Endpoint::JobQueue, START, LIMITS).unwrap();
        let second = budget.reserve(Endpoint::JobQueue, START, LIMITS).unwrap();
        // Another partner used most of the calls; one of ours is in flight.
        budget.record_answer(first, START, headers(60, 2, 20), LIMITS);
        let third = budget.reserve(Endpoint::JobQueue, START, LIMITS).unwrap();
        let reset = START + Duration::from_secs(20);
        assert_eq!(budget.reserve(Endpoint::JobQueue, START, LIMITS), Err(reset));
        // An answer that was overtaken does not raise the number again.
        budget.record_answer(second, START, headers(60, 5, 20), LIMITS);
        budget.cancel(third);
        assert_eq!(budget.reserve(Endpoint::JobQueue, START, LIMITS), Err(reset));
        assert!(budget.reserve(Endpoint::JobQueue, reset, LIMITS).is_ok());
    }

    #[test]
    fn a_restored_budget_counts_the_calls_that_were_in_flight() {
        let limits = RateLimits { per_endpoint: 2, ..LIMITS };
        let mut budget = Budget::default();
        let reservation = budget.reserve(Endpoint::JobQueue, START, limits).unwrap();
        budget.record_answer(reservation, START, RateHeaders::default(), limits);
        let later = START + Duration::from_secs(31);
        let _in_flight = budget.reserve(Endpoint::JobQueue, later, limits).unwrap();
        let mut restored = Budget::restored(serde_json::to_value(&budget).unwrap(), later);
        assert_eq!(restored.count(Scope::Endpoint(Endpoint::JobQueue)), 2);
        assert_eq!(restored.in_flight, []);
        assert!(restored.reserve(Endpoint::JobQueue, later, limits).is_err());
        assert_eq!(Budget::restored(serde_json::json!({}), later), Budget::default());
    }

    #[test]
    fn unclear_sends_in_a_row_pause_the_endpoint_and_then_one_call_tries_it() {
        let (mut budget, pause, trial) = (Budget::default(), Duration::from_secs(900), Duration::from_secs(30));
        for _ in 0..MAX_UNCLEAR_SENDS {
            assert_eq!(budget.permit_send(Endpoint::Supplied, START, trial), Ok(()));
            budget.record_send(Endpoint::Supplied, true, START, pause);
        }
        let end = START + pause;
        assert_eq!(budget.permit_send(Endpoint::Supplied, START, trial), Err(end));
        assert_eq!(budget.permit_send(Endpoint::JobQueue, START, trial), Ok(()));
        assert_eq!(budget.permit_send(Endpoint::Supplied, end, trial), Ok(()));
        assert_eq!(budget.permit_send(Endpoint::Supplied, end, trial), Err(end + trial));
        budget.record_send(Endpoint::Supplied, false, end, pause);
        assert_eq!(budget.permit_send(Endpoint::Supplied, end, trial), Ok(()));
    }
}

//! A rate limiter for failed token requests, per client id and per address, in fixed windows.
//!
//! Requests with a remembered secret (see `verifier`) bypass this limit, so that guesses from elsewhere do not lock out the
//! clinic itself.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use time::OffsetDateTime;

/// With more entries than this, finished windows are removed.
const MAX_ENTRIES: usize = 10_000;
/// Longest client id that is counted, in bytes.
const MAX_CLIENT_ID: usize = 200;

#[derive(Clone, Copy)]
struct Window {
    began: OffsetDateTime,
    failures: u32,
}

#[derive(Default)]
struct Counts {
    clients: HashMap<String, Window>,
    addresses: HashMap<IpAddr, Window>,
}

/// Counts failed token requests.
pub struct Throttle {
    per_client: u32,
    per_address: u32,
    length: Duration,
    counts: Mutex<Counts>,
}

impl Throttle {
    /// Allows `per_client` failures of a client id and `per_address` failures of an address in a window of `length`.
    pub fn new(per_client: u32, per_address: u32, length: Duration) -> Self {
        Self { per_client, per_address, length, counts: Mutex::default() }
    }

    /// Returns the seconds until this client id or address may try again, or `None` if a try is allowed now.
    pub fn wait(&self, client_id: &str, address: IpAddr, now: OffsetDateTime) -> Option<u64> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let client = counts.clients.get(client_id).and_then(|window| window.wait(self.per_client, self.length, now));
        let address = counts.addresses.get(&address).and_then(|window| window.wait(self.per_address, self.length, now));
        client.max(address)
    }

    /// Counts a failure of the client id and of the address.
    pub fn failed(&self, client_id: &str, address: IpAddr, now: OffsetDateTime) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.clients.len() + counts.addresses.len() > MAX_ENTRIES {
            counts.clients.retain(|_, window| window.is_open(self.length, now));
            counts.addresses.retain(|_, window| window.is_open(self.length, now));
        }
        let fresh = Window { began: now, failures: 0 };
        // Longer client ids do not exist and would fill the memory. Their address is counted.
        if client_id.len() <= MAX_CLIENT_ID {
            counts.clients.entry(client_id.to_owned()).or_insert(fresh).count(self.length, now);
        }
        counts.addresses.entry(address).or_insert(fresh).count(self.length, now);
    }

    /// Takes back one failure of the address, because the try succeeded. Counts of windows that have ended stay.
    pub fn forgive(&self, client_id: &str, address: IpAddr, now: OffsetDateTime) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let windows = [counts.clients.get(client_id).copied(), counts.addresses.get(&address).copied()];
        if windows.iter().flatten().all(|window| window.is_open(self.length, now))
            && let Some(window) = counts.addresses.get_mut(&address)
        {
            window.failures = window.failures.saturating_sub(1);
        }
    }

    /// Clears the failures of a client id that sent the right secret.
    pub fn succeeded(&self, client_id: &str) {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clients.remove(client_id);
    }
}

impl Window {
    fn is_open(&self, length: Duration, now: OffsetDateTime) -> bool {
        now < self.began + length
    }

    fn count(&mut self, length: Duration, now: OffsetDateTime) {
        if !self.is_open(length, now) {
            *self = Self { began: now, failures: 0 };
        }
        self.failures += 1;
    }

    fn wait(&self, limit: u32, length: Duration, now: OffsetDateTime) -> Option<u64> {
        (self.is_open(length, now) && self.failures >= limit)
            .then(|| (self.began + length - now).whole_seconds().max(1).unsigned_abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-21 10:00 UTC);
    const MINUTE: Duration = Duration::from_secs(60);
    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::BROADCAST);

    #[test]
    fn a_client_is_limited_after_its_failures_and_others_are_not() {
        let throttle = Throttle::new(3, 100, MINUTE);
        for _ in 0..3 {
            assert_eq!(throttle.wait("a", HERE, NOW), None);
            throttle.failed("a", HERE, NOW);
        }
        assert_eq!(throttle.wait("a", THERE, NOW + Duration::from_secs(50)), Some(10));
        assert_eq!(throttle.wait("b", HERE, NOW), None);
        assert_eq!(throttle.wait("a", HERE, NOW + MINUTE), None);
    }
}

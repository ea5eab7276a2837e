//! Failed tries for a token, counted per client id and per address, in windows of a set length.
//!
//! A clinic whose right secret is still remembered (see `verifier`) is not asked here, so that guessing at its client id
//! from elsewhere does not lock it out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use time::OffsetDateTime;

/// More keys than this, and the finished windows are swept out.
const SWEEP_AT: usize = 10_000;

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

pub struct Throttle {
    per_client: u32,
    per_address: u32,
    length: Duration,
    counts: Mutex<Counts>,
}

impl Throttle {
    /// `length` is that of a window.
    pub fn new(per_client: u32, per_address: u32, length: Duration) -> Self {
        Self { per_client, per_address, length, counts: Mutex::default() }
    }

    /// Seconds until this client or address may try again, if it has used up its tries.
    pub fn wait(&self, client_id: &str, address: IpAddr, now: OffsetDateTime) -> Option<u64> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let client = counts.clients.get(client_id).and_then(|window| window.wait(self.per_client, self.length, now));
        let address = counts.addresses.get(&address).and_then(|window| window.wait(self.per_address, self.length, now));
        client.max(address)
    }

    pub fn failed(&self, client_id: &str, address: IpAddr, now: OffsetDateTime) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.clients.len() + counts.addresses.len() > SWEEP_AT {
            counts.clients.retain(|_, window| window.lasts(self.length, now));
            counts.addresses.retain(|_, window| window.lasts(self.length, now));
        }
        let fresh = Window { began: now, failures: 0 };
        // A made-up client id of a megabyte is not kept; the address is counted all the same.
        if client_id.len() <= 200 {
            counts.clients.entry(client_id.to_owned()).or_insert(fresh).count(self.length, now);
        }
        counts.addresses.entry(address).or_insert(fresh).count(self.length, now);
    }

    /// Takes one failure back: the try was right after all.
    pub fn forgive(&self, client_id: &str, address: IpAddr, now: OffsetDateTime) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let windows = [counts.clients.get(client_id).copied(), counts.addresses.get(&address).copied()];
        if windows.iter().flatten().all(|window| window.lasts(self.length, now))
            && let Some(window) = counts.addresses.get_mut(&address)
        {
            window.failures = window.failures.saturating_sub(1);
        }
    }

    /// A right secret clears the client's failures.
    pub fn succeeded(&self, client_id: &str) {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clients.remove(client_id);
    }
}

impl Window {
    fn lasts(&self, length: Duration, now: OffsetDateTime) -> bool {
        now < self.began + length
    }

    fn count(&mut self, length: Duration, now: OffsetDateTime) {
        if !self.lasts(length, now) {
            *self = Self { began: now, failures: 0 };
        }
        self.failures += 1;
    }

    fn wait(&self, most: u32, length: Duration, now: OffsetDateTime) -> Option<u64> {
        (self.lasts(length, now) && self.failures >= most)
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
    fn a_client_waits_after_its_tries_and_others_do_not() {
        let throttle = Throttle::new(3, 100, MINUTE);
        for _ in 0..3 {
            assert_eq!(throttle.wait("a", HERE, NOW), None);
            throttle.failed("a", HERE, NOW);
        }
        assert_eq!(throttle.wait("a", THERE, NOW), Some(60));
        assert_eq!(throttle.wait("b", HERE, NOW), None);
        assert_eq!(throttle.wait("a", HERE, NOW + MINUTE), None);
    }

    #[test]
    fn an_address_waits_whatever_client_ids_it_makes_up() {
        let throttle = Throttle::new(100, 5, MINUTE);
        for i in 0..5 {
            throttle.failed(&format!("made-up-{i}"), HERE, NOW);
        }
        assert_eq!(throttle.wait("another", HERE, NOW + Duration::from_secs(50)), Some(10));
        assert_eq!(throttle.wait("another", THERE, NOW), None);
    }
}

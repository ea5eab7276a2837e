//! Measures which share of the permitted calls the rate limiter uses, and whether it ever exceeds a limit: 1,000 sites in
//! one process, work always waiting, a simulated clock. The simulated ezyVet counts independently: in fixed windows with a
//! phase per site, each call at a random moment between its sending and its answer, and with rate headers on every answer.
//! Run: `cargo bench --bench rate`.
//!
//! The baseline is what ezyVet permits: 180 calls a minute and site.

use spsi_partner::delivery::budget::{Budget, RateLimits, Reservation};
use spsi_partner::ezyvet::{Endpoint, RateHeaders};
use std::collections::{BinaryHeap, HashMap};
use std::time::{Duration, Instant};
use time::OffsetDateTime;

const SITES: usize = 1_000;
const MINUTES: u64 = 10;
const LIMITS: RateLimits = RateLimits { per_endpoint: 60, per_site: 180, window: Duration::from_secs(60) };
/// Enough endpoints that the limit per site binds, too.
const ENDPOINTS: [Endpoint; 4] = [Endpoint::JobQueue, Endpoint::ReceiveInvoice, Endpoint::Supplied, Endpoint::Product];
/// Calls of one endpoint that the worker keeps in flight.
const IN_FLIGHT: usize = 4;
const WINDOW: i64 = 60_000_000;
const END: i64 = MINUTES as i64 * WINDOW;

/// Pseudo-random numbers, equal in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: i64) -> i64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as i64 % limit
    }
}

/// ezyVet's count of the calls of one site.
struct Server {
    phase: i64,
    counts: HashMap<(i64, Option<Endpoint>), u32>,
    refused: u64,
}

impl Server {
    fn count(&mut self, endpoint: Endpoint, at: i64) -> RateHeaders {
        let window = (at + self.phase) / WINDOW;
        let mut used = [0; 2];
        for (used, scope) in used.iter_mut().zip([Some(endpoint), None]) {
            let count = self.counts.entry((window, scope)).or_default();
            *count += 1;
            *used = *count;
        }
        self.refused += u64::from(used[0] > LIMITS.per_endpoint || used[1] > LIMITS.per_site);
        let reset = WINDOW - (at + self.phase) % WINDOW;
        RateHeaders {
            limit: Some(LIMITS.per_endpoint),
            remaining: Some(LIMITS.per_endpoint.saturating_sub(used[0])),
            reset: Some(Duration::from_micros(reset as u64)),
        }
    }
}

fn time(micros: i64) -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::from_micros(micros as u64)
}

/// Simulates one site for the whole time. Returns calls made, calls refused, and decisions of the limiter.
fn simulate_site(number: u64) -> (u64, u64, u64) {
    let mut chance = Chance(number * 7_919 + 1);
    let (mut budget, mut made, mut decisions) = (Budget::default(), 0, 0);
    let mut server = Server { phase: chance.below(WINDOW), counts: HashMap::new(), refused: 0 };
    let mut in_flight = BinaryHeap::new();
    let mut reservations = HashMap::new();
    let (mut now, mut sequence) = (0, 0_u64);
    while now < END {
        while let Some(&(std::cmp::Reverse(at), number)) = in_flight.peek() {
            if at > now {
                break;
            }
            in_flight.pop();
            if let Some((reservation, headers)) = reservations.remove(&number) {
                budget.record_answer(reservation, time(at), headers, LIMITS);
            }
        }
        let mut next = END;
        for endpoint in ENDPOINTS {
            loop {
                let own = reservations
                    .values()
                    .filter(|(reservation, _): &&(Reservation, RateHeaders)| reservation.endpoint == endpoint);
                if own.count() >= IN_FLIGHT {
                    break;
                }
                decisions += 1;
                match budget.reserve(endpoint, time(now), LIMITS) {
                    Ok(reservation) => {
                        let latency = 50_000 + chance.below(850_000);
                        let headers = server.count(endpoint, now + chance.below(latency));
                        sequence += 1;
                        made += 1;
                        reservations.insert(sequence, (reservation, headers));
                        in_flight.push((std::cmp::Reverse(now + latency), sequence));
                    }
                    Err(at) => {
                        next = next.min((at - OffsetDateTime::UNIX_EPOCH).whole_microseconds() as i64);
                        break;
                    }
                }
            }
        }
        let landing = in_flight.peek().map_or(END, |(at, _)| at.0);
        now = next.min(landing).max(now + 1);
    }
    (made, server.refused, decisions)
}

fn main() {
    let began = Instant::now();
    let (mut made, mut refused, mut decisions, mut least) = (0, 0, 0, u64::MAX);
    for number in 0..SITES as u64 {
        let (calls, over, asked) = simulate_site(number);
        (made, refused, decisions, least) = (made + calls, refused + over, decisions + asked, least.min(calls));
    }
    let elapsed = began.elapsed();
    let permitted = SITES as u64 * MINUTES * u64::from(LIMITS.per_site);
    let share = |calls: u64, of: u64| calls as f64 * 100.0 / of as f64;
    println!("{SITES} sites, {MINUTES} simulated minutes, {} permitted calls a minute and site", LIMITS.per_site);
    println!("  used of what is permitted      {:6.2} %", share(made, permitted));
    println!("  the site that used least       {:6.2} %", share(least, permitted / SITES as u64));
    println!("  calls over the limit (429)     {refused:6}");
    println!("  cost of a decision             {:6.0} ns", elapsed.as_nanos() as f64 / decisions as f64);
    println!(
        "{}",
        serde_json::json!({"sites": SITES, "minutes": MINUTES, "used_percent": share(made, permitted), "refused": refused, "decisions": decisions, "seconds": elapsed.as_secs_f64()})
    );
    if refused > 0 || share(made, permitted) < 95.0 {
        std::process::exit(1);
    }
}

//! What the tests stand on: databases, the real binary, a supplier that serves, and a client that sends any bytes.

pub mod binary;
pub mod cable;
pub mod client;
pub mod database;
pub mod ezyvet;
pub mod order;
pub mod pgbouncer;
pub mod supplier;

use std::time::{Duration, Instant};

/// Asks again and again until there is an answer; fails with `what` when the time is up.
#[track_caller]
pub fn until<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(began.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(25));
    }
}

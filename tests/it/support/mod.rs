//! Test support: databases, the real `spsi` binary, a running supplier, and an HTTP client that sends arbitrary bytes.

pub mod binary;
pub mod client;
pub mod database;
pub mod database_proxy;
pub mod ezyvet;
pub mod order;
pub mod pgbouncer;
pub mod staff;
pub mod supplier;

use std::time::{Duration, Instant};

/// Calls `ask` every 25 ms until it returns `Some`. Panics with `condition` after `limit`.
#[track_caller]
pub fn until<T>(condition: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(began.elapsed() < limit, "not within {limit:?}: {condition}");
        std::thread::sleep(Duration::from_millis(25));
    }
}

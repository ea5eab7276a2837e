//! Limits the requests of each API key in this process: a token bucket that refills evenly over a minute.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use time::OffsetDateTime;

/// The window of the limit, in seconds.
pub const WINDOW_SECONDS: f64 = 60.0;
/// With more buckets than this, full ones are removed.
const MAX_BUCKETS: usize = 10_000;

/// What is left of a key's limit after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    pub is_allowed: bool,
    /// Requests in a window.
    pub limit: u32,
    /// Requests that are left now.
    pub remaining: u32,
    /// Seconds until the next request is allowed if none is left, else until the bucket is full.
    pub reset_seconds: u64,
}

impl Quota {
    /// The value of the header `RateLimit` (draft-ietf-httpapi-ratelimit-headers).
    pub fn header(self) -> String {
        format!("\"key\";r={};t={}", self.remaining, self.reset_seconds)
    }

    /// The value of the header `RateLimit-Policy`.
    pub fn policy(self) -> String {
        format!("\"key\";q={};w={WINDOW_SECONDS}", self.limit)
    }
}

struct Bucket {
    tokens: f64,
    at: OffsetDateTime,
}

/// The buckets of all keys.
pub struct Limiter {
    limit: u32,
    buckets: Mutex<HashMap<i64, Bucket>>,
}

impl Limiter {
    /// Allows each key `limit` requests a minute.
    pub fn new(limit: u32) -> Self {
        Self { limit, buckets: Mutex::default() }
    }

    /// Takes one request from the bucket of a key.
    pub fn take(&self, key: i64, now: OffsetDateTime) -> Quota {
        let capacity = f64::from(self.limit);
        let per_second = capacity / WINDOW_SECONDS;
        let refilled = |bucket: &Bucket| {
            let seconds = (now - bucket.at).as_seconds_f64().max(0.0);
            (bucket.tokens + seconds * per_second).min(capacity)
        };
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() > MAX_BUCKETS {
            buckets.retain(|_, bucket| refilled(bucket) < capacity);
        }
        let bucket = buckets.entry(key).or_insert(Bucket { tokens: capacity, at: now });
        *bucket = Bucket { tokens: refilled(bucket), at: now };
        let is_allowed = bucket.tokens >= 1.0;
        if is_allowed {
            bucket.tokens -= 1.0;
        }
        let missing = if bucket.tokens >= 1.0 { capacity - bucket.tokens } else { 1.0 - bucket.tokens };
        let reset_seconds = (missing / per_second).ceil() as u64;
        Quota { is_allowed, limit: self.limit, remaining: bucket.tokens as u32, reset_seconds }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::Duration;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-26 10:00 UTC);

    #[test]
    fn a_key_that_used_its_limit_waits_for_the_next_token_and_others_do_not() {
        let limiter = Limiter::new(60);
        for left in (0..60).rev() {
            let quota = limiter.take(1, NOW);
            assert!(quota.is_allowed);
            assert_eq!(quota.remaining, left);
        }
        let refused = limiter.take(1, NOW);
        assert_eq!((refused.is_allowed, refused.reset_seconds), (false, 1));
        assert_eq!(refused.header(), "\"key\";r=0;t=1");
        assert_eq!(refused.policy(), "\"key\";q=60;w=60");
        assert!(limiter.take(2, NOW).is_allowed);
        assert!(limiter.take(1, NOW + Duration::seconds(1)).is_allowed);
        assert_eq!(limiter.take(1, NOW + Duration::hours(1)).remaining, 59);
    }
}

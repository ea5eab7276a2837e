//! ezyVet's rate limits (SPSI.md 2), per endpoint and over all endpoints: fixed windows that open with the first call.

use std::collections::BTreeMap;

use super::{
    clock::{Millis, parse_millis},
    faults::Endpoint,
};

/// The rate limits of a partner.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Limits {
    /// Calls allowed per window for each endpoint
    #[arg(long = "rate-per-endpoint", default_value_t = 60, value_name = "CALLS")]
    pub per_endpoint: u32,
    /// Calls allowed per window over all endpoints
    #[arg(long = "rate-per-site", default_value_t = 180, value_name = "CALLS")]
    pub per_site: u32,
    /// Length of a rate limit window
    #[arg(long = "rate-window", default_value = "60s", value_parser = parse_millis, value_name = "SPAN")]
    pub window: Millis,
}

/// The outcome of a call, and the rate limit headers: those of the counter with fewer calls left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The call is within the limits.
    pub allowed: bool,
    /// `x-ratelimit-limit`.
    pub limit: u32,
    /// `x-ratelimit-remaining`.
    pub remaining: u32,
    /// `x-ratelimit-reset`: seconds until the window ends, rounded up.
    pub reset: i64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counter {
    opened: Millis,
    used: u32,
}

impl Counter {
    fn open_window(&mut self, now: Millis, window: Millis) {
        if self.used == 0 || now >= self.opened + window {
            *self = Self { opened: now, used: 0 };
        }
    }

    fn verdict(self, limit: u32, now: Millis, window: Millis, allowed: bool) -> Verdict {
        let left = (self.opened + window - now).max(0);
        Verdict { allowed, limit, remaining: limit.saturating_sub(self.used), reset: (left + 999) / 1000 }
    }
}

/// The rate counters of a partner at a site; all its credential sets share them.
#[derive(Debug, Default)]
pub struct Rates {
    endpoints: BTreeMap<Endpoint, Counter>,
    site: Counter,
}

impl Rates {
    /// Counts a call, unless it is beyond a limit.
    pub fn count(&mut self, limits: Limits, endpoint: Endpoint, now: Millis) -> Verdict {
        let counter = self.endpoints.entry(endpoint).or_default();
        counter.open_window(now, limits.window);
        self.site.open_window(now, limits.window);
        let is_endpoint_full = counter.used >= limits.per_endpoint;
        let is_site_full = self.site.used >= limits.per_site;
        let allowed = !is_endpoint_full && !is_site_full;
        if allowed {
            counter.used += 1;
            self.site.used += 1;
        }
        let of_endpoint = counter.verdict(limits.per_endpoint, now, limits.window, allowed);
        let of_site = self.site.verdict(limits.per_site, now, limits.window, allowed);
        if of_site.remaining < of_endpoint.remaining || (is_site_full && !is_endpoint_full) {
            of_site
        } else {
            of_endpoint
        }
    }

    /// Uses up the window of an endpoint for an injected 429: calls before the reset are refused too.
    pub fn exhaust(&mut self, limits: Limits, endpoint: Endpoint, now: Millis) -> Verdict {
        let counter = self.endpoints.entry(endpoint).or_default();
        counter.open_window(now, limits.window);
        counter.used = limits.per_endpoint.max(1);
        counter.verdict(limits.per_endpoint, now, limits.window, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { per_endpoint: 3, per_site: 4, window: 60_000 };

    #[test]
    fn an_endpoint_is_limited_until_its_window_ends() {
        let mut rates = Rates::default();
        let mut call = |now| rates.count(LIMITS, Endpoint::JobQueue, now);
        assert_eq!(call(1000), Verdict { allowed: true, limit: 3, remaining: 2, reset: 60 });
        assert_eq!(call(2000).remaining, 1);
        assert_eq!(call(3000).remaining, 0);
        assert_eq!(call(30_500), Verdict { allowed: false, limit: 3, remaining: 0, reset: 31 });
        assert!(!call(60_999).allowed);
        assert_eq!(call(61_000), Verdict { allowed: true, limit: 3, remaining: 2, reset: 60 });
    }
}

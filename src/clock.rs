//! The source of time. Pure functions take `now` as an argument; long-lived parts hold a [`Clock`], which tests move by
//! hand.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use time::OffsetDateTime;

/// The source of the current time.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The machine's clock.
    #[default]
    System,
    /// A clock for tests: only [`Clock::advance`] and [`Clock::sleep`] move it.
    Test(Arc<Mutex<OffsetDateTime>>),
}

impl Clock {
    /// Creates a test clock that shows `start`.
    pub fn test(start: OffsetDateTime) -> Self {
        Self::Test(Arc::new(Mutex::new(start)))
    }

    /// Returns the current time, truncated to microseconds, the precision of Postgres.
    #[expect(clippy::disallowed_methods, reason = "the only function that reads the machine's clock")]
    pub fn now(&self) -> OffsetDateTime {
        let now = match self {
            Self::System => OffsetDateTime::now_utc(),
            Self::Test(time) => *time.lock().unwrap_or_else(PoisonError::into_inner),
        };
        now.replace_nanosecond(now.nanosecond() / 1_000 * 1_000).unwrap_or(now)
    }

    /// Moves a test clock forward; does nothing to the machine's clock.
    pub fn advance(&self, by: Duration) {
        if let Self::Test(time) = self {
            *time.lock().unwrap_or_else(PoisonError::into_inner) += by;
        }
    }

    /// Waits. A test clock advances at once instead, so that tests take no real time.
    pub async fn sleep(&self, by: Duration) {
        match self {
            Self::System => tokio::time::sleep(by).await,
            Self::Test(_) => self.advance(by),
        }
    }
}

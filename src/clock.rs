//! Time is an argument. Pure functions take `now`; parts that live through time hold a [`Clock`], which tests set by hand.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use time::OffsetDateTime;

/// Where the present comes from.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The machine's clock.
    #[default]
    System,
    /// A clock that moves only when told.
    Test(Arc<Mutex<OffsetDateTime>>),
}

impl Clock {
    /// A clock that stands at `start` until [`Clock::advance`].
    pub fn test(start: OffsetDateTime) -> Self {
        Self::Test(Arc::new(Mutex::new(start)))
    }

    /// The present, cut to microseconds, because that is what Postgres keeps.
    #[expect(clippy::disallowed_methods, reason = "the one place where the machine's clock is read")]
    pub fn now(&self) -> OffsetDateTime {
        let now = match self {
            Self::System => OffsetDateTime::now_utc(),
            Self::Test(at) => *at.lock().unwrap_or_else(PoisonError::into_inner),
        };
        now.replace_nanosecond(now.nanosecond() / 1_000 * 1_000).unwrap_or(now)
    }

    /// Moves a test clock. The machine's clock is not ours to move: no effect there.
    pub fn advance(&self, by: Duration) {
        if let Self::Test(at) = self {
            *at.lock().unwrap_or_else(PoisonError::into_inner) += by;
        }
    }

    /// Waits. A test clock jumps instead, so that a stepped worker needs no real time.
    pub async fn sleep(&self, by: Duration) {
        match self {
            Self::System => tokio::time::sleep(by).await,
            Self::Test(_) => self.advance(by),
        }
    }
}

//! The source of time. Pure functions take `now` as an argument; long-lived parts hold a [`Clock`], which tests move by
//! hand.

use serde::de::{Deserialize, Deserializer, Error};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use time::format_description::well_known::Rfc3339;
use time::{Date, OffsetDateTime, Time};

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

/// Formats a time for JSON.
pub fn rfc3339(time: OffsetDateTime) -> String {
    time.format(&Rfc3339).unwrap_or_default()
}

/// Parses the start of a period: a day or a moment. A day starts at midnight UTC.
pub fn parse_since(text: &str) -> Result<OffsetDateTime, String> {
    parse_moment(text, 0)
}

/// Parses the end of a period: a day or a moment. A day ends at the next midnight UTC.
pub fn parse_until(text: &str) -> Result<OffsetDateTime, String> {
    parse_moment(text, 1)
}

/// Reads an optional text with [`parse_since`].
pub fn read_since<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<OffsetDateTime>, D::Error> {
    Option::<String>::deserialize(deserializer)?.map(|text| parse_since(&text).map_err(D::Error::custom)).transpose()
}

/// Reads an optional text with [`parse_until`].
pub fn read_until<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<OffsetDateTime>, D::Error> {
    Option::<String>::deserialize(deserializer)?.map(|text| parse_until(&text).map_err(D::Error::custom)).transpose()
}

fn parse_moment(text: &str, days: i64) -> Result<OffsetDateTime, String> {
    if let Ok(moment) = OffsetDateTime::parse(text, &Rfc3339) {
        return Ok(moment);
    }
    let day = Date::parse(text, time::macros::format_description!("[year]-[month]-[day]")).ok();
    let day = day.and_then(|day| day.checked_add(time::Duration::days(days)));
    day.map(|day| day.with_time(Time::MIDNIGHT).assume_utc())
        .ok_or_else(|| format!("`{text}` is neither a date like 2026-01-31 nor a time like 2026-01-31T08:00:00Z"))
}

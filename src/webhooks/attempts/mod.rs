//! The history of calls to endpoints.

pub(super) mod store;

pub use store::list;

use super::policy::Outcome;
use crate::config::Retention;
use crate::db::Pool;
use crate::events::EventId;
use serde::Serialize;
use time::OffsetDateTime;

/// How many characters of an answer are stored.
const MAX_STORED_ANSWER: usize = 2_000;

/// A call that was made.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = WebhookAttempt)]
pub struct Attempt {
    pub id: i64,
    /// Id of the webhook
    pub webhook: i64,
    /// Id of the event. `null` for a test
    #[schema(value_type = Option<String>)]
    pub event: Option<EventId>,
    #[serde(rename = "type")]
    pub event_type: String,
    /// 1 for the first call of a message
    pub attempt: i32,
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub started_at: OffsetDateTime,
    pub duration_ms: i32,
    /// `delivered`, `refused`, `gone`, `timed_out` or `failed`
    pub outcome: String,
    /// HTTP status of the answer. `null`: no answer came
    pub status: Option<i32>,
    pub error: Option<String>,
    /// The beginning of the answer
    pub response: Option<String>,
}

/// A call to store.
#[derive(Clone, Debug)]
pub struct NewAttempt {
    pub endpoint: i64,
    pub event: Option<EventId>,
    pub event_type: String,
    pub attempt: u32,
    pub started_at: OffsetDateTime,
    pub duration_ms: i32,
    pub outcome: Outcome,
    pub status: Option<u16>,
    pub error: Option<String>,
    pub response: Option<String>,
}

/// Shortens an answer to what is stored. A Postgres text holds no zero byte; an answer may.
pub fn stored_answer(body: &str) -> String {
    body.chars().take(MAX_STORED_ANSWER).map(|c| if c == '\0' { '\u{fffd}' } else { c }).collect()
}

/// Deletes attempts that are older than `kept_for`. Returns how many.
pub async fn prune(pool: &Pool, kept_for: Retention, now: OffsetDateTime) -> Result<u64, sqlx::Error> {
    let Retention::Time(kept_for) = kept_for else { return Ok(0) };
    let mut total = 0;
    loop {
        let deleted = store::prune(pool, now - kept_for.0).await?;
        total += deleted;
        if deleted == 0 {
            return Ok(total);
        }
    }
}

//! Sends events again, in the caller's transaction.

use super::{EndpointError, find, store};
use crate::audit;
use crate::db::Pool;
use crate::events::{self, EventError};
use crate::webhooks::fan_out;
use serde_json::json;
use sqlx::PgConnection;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Where a replay starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplayFrom {
    /// This event, `evt_17`, and every later one.
    Event(String),
    /// The first event recorded at or after this time, and every later one.
    Time(OffsetDateTime),
}

impl ReplayFrom {
    /// Returns the position before the first event to send. `None`: there is no such event.
    pub async fn position(&self, pool: &Pool) -> Result<Option<i64>, EventError> {
        events::sequence(pool).await?;
        match self {
            Self::Event(id) => Ok(Some(events::find_position(pool, id).await? - 1)),
            Self::Time(time) => Ok(events::find_since(pool, *time).await?.map(|position| position - 1)),
        }
    }
}

/// Sends the events behind a position again, as far as the endpoint wants them, those that it got already included. The
/// dispatcher does so in batches; an endpoint that is not active gets them when it is. `start` is that of
/// [`ReplayFrom::position`]; `from` is recorded in the audit.
pub async fn replay(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    actor: &str,
    id: i64,
    from: &ReplayFrom,
    start: i64,
) -> Result<super::Endpoint, EndpointError> {
    fan_out::store::lock(connection).await?;
    if !store::go_back(connection, id, start).await? {
        return Err(EndpointError::Unknown(id));
    }
    let from = match from {
        ReplayFrom::Event(event) => event.clone(),
        ReplayFrom::Time(time) => time.format(&Rfc3339).unwrap_or_default(),
    };
    let detail = json!({ "from": from });
    audit::record(connection, now, actor, "webhook.replay", ("webhook", Some(id)), detail).await?;
    find(connection, id).await
}

/// Sends one event again, or for the first time if the endpoint does not want its type. An event that is waiting already
/// stays as it is.
pub async fn resend(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    actor: &str,
    id: i64,
    event: &str,
) -> Result<super::Endpoint, EndpointError> {
    fan_out::store::lock(connection).await?;
    let endpoint = find(connection, id).await?;
    events::sequence_in(connection).await?;
    let found = events::find(&mut *connection, event).await?;
    if fan_out::store::resend(connection, id, found.id.0, now).await? {
        let detail = json!({ "event": found.id });
        audit::record(connection, now, actor, "webhook.resend", ("webhook", Some(id)), detail).await?;
        store::wake(connection).await?;
    }
    Ok(endpoint)
}

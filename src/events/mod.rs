//! The event log: facts that the supplier's own systems read (`GET /staff/v1/events`, `spsi event list`) or receive
//! (webhooks).
//!
//! Guarantees: an event is inserted in the transaction of its fact, so neither exists without the other. A reader that
//! continues after the last position it read misses no event, although transactions commit out of order: events get their
//! positions after their commit, from one sequencer at a time ([`sequence`]). Events of one subject are in the order of
//! their facts, because a later fact of a subject is recorded after the commit of the earlier one. `data` never changes.
//!
//! Refuses a cursor that is older than the oldest event kept: its reader has missed events and must know.

mod data;
mod doorbell;
mod facts;
mod kind;
mod store;

pub use data::{
    CatalogImported, ContractPricesImported, DeliveryEvent, InvoiceDifference, InvoiceDiffers, OrderEvent,
    OrderFinding, SCHEMA_VERSION, ShipmentEvent, SiteUnreachable,
};
pub use doorbell::{CHANNEL, Doorbell};
pub use facts::{record_delivery, record_invoice_differs, record_order, record_shipment, record_site_unreachable};
pub use kind::Kind;
pub use store::record;

use crate::config::Retention;
use crate::db::Pool;
use serde::Serialize;
use serde_json::Value;
use sqlx::{PgConnection, PgExecutor};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use time::OffsetDateTime;

/// How many events one transaction of the sequencer takes.
const SEQUENCE_BATCH: i64 = 5_000;
/// The prefix of an event's id in its text form.
const ID_PREFIX: &str = "evt_";

/// Why events cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    #[error("`{0}` is neither the id of an event, such as evt_17, nor a cursor")]
    BadCursor(String),
    #[error("there is no event `{0}`")]
    Unknown(String),
    /// Events after the cursor were deleted because of their age.
    #[error(
        "the events after `{0}` are deleted (SPSI_EVENTS_KEPT_FOR); read everything anew, then start without a cursor"
    )]
    CursorExpired(String),
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
}

/// The id of an event: `evt_17` in text and JSON. Receivers recognise a repeated event by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, sqlx::Type)]
#[sqlx(transparent)]
pub struct EventId(pub i64);

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ID_PREFIX}{}", self.0)
    }
}

impl FromStr for EventId {
    type Err = EventError;

    fn from_str(text: &str) -> Result<Self, EventError> {
        let id = text.strip_prefix(ID_PREFIX).and_then(|id| id.parse().ok()).filter(|id| *id > 0);
        id.map(Self).ok_or_else(|| EventError::Unknown(text.to_owned()))
    }
}

impl Serialize for EventId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A recorded event, as readers and webhooks get it.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Event {
    /// Recognise a repeated event by this id.
    #[schema(value_type = String, example = "evt_17")]
    pub id: EventId,
    #[serde(rename = "type")]
    #[schema(value_type = String, example = "order.accepted")]
    pub kind: String,
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub created_at: OffsetDateTime,
    /// Depends on `type`; `version` names the version of its schema.
    #[schema(value_type = Object)]
    pub data: Value,
    /// Order of reading.
    #[serde(skip)]
    pub position: i64,
    #[serde(skip)]
    pub clinic_id: Option<i64>,
}

/// Returns up to `limit` events of these kinds, or of all if there are none, after a position, in order. `None` starts with
/// the oldest event kept. Continue after the position of the last event.
pub async fn list(pool: &Pool, after: Option<i64>, kinds: &[Kind], limit: i64) -> Result<Vec<Event>, EventError> {
    sequence(pool).await?;
    if let Some(after) = after
        && !are_kept_after(pool, after).await?
    {
        return Err(EventError::CursorExpired(after.to_string()));
    }
    let after = after.unwrap_or(0);
    let kinds: Vec<String> = kinds.iter().map(ToString::to_string).collect();
    Ok(if kinds.is_empty() {
        store::list(pool, after, limit).await?
    } else {
        store::list_of_kinds(pool, after, &kinds, limit).await?
    })
}

/// Whether no event after a position has been deleted because of its age.
pub async fn are_kept_after(pool: &Pool, position: i64) -> Result<bool, sqlx::Error> {
    Ok(store::deleted_through(pool).await? <= position)
}

/// Returns the position behind which a reader continues. `cursor` is the id of the last event read, or the position that a
/// list returned as its next cursor.
pub async fn find_position(pool: &Pool, cursor: &str) -> Result<i64, EventError> {
    if let Ok(position) = cursor.parse::<i64>() {
        return if position >= 0 { Ok(position) } else { Err(EventError::BadCursor(cursor.to_owned())) };
    }
    let id: EventId = cursor.parse().map_err(|_| EventError::BadCursor(cursor.to_owned()))?;
    sequence(pool).await?;
    match store::find(pool, id).await? {
        Some(event) => Ok(event.position),
        None if store::is_older_than_log(pool, id).await? => Err(EventError::CursorExpired(cursor.to_owned())),
        None => Err(EventError::Unknown(cursor.to_owned())),
    }
}

/// Returns one event.
pub async fn find(executor: impl PgExecutor<'_>, id: &str) -> Result<Event, EventError> {
    let event = store::find(executor, id.parse()?).await?;
    event.ok_or_else(|| EventError::Unknown(id.to_owned()))
}

/// Returns the position of the first event that was recorded at or after a time. Events that committed out of order may be
/// a little earlier.
pub async fn find_since(pool: &Pool, time: OffsetDateTime) -> Result<Option<i64>, sqlx::Error> {
    let Some((mut low, high)) = store::id_range(pool).await? else { return Ok(None) };
    // Ids grow with time. Searching them by halves needs no index on the time.
    let mut end = high + 1;
    while low < end {
        let middle = low + (end - low) / 2;
        match store::first_from(pool, middle).await? {
            Some((_, created_at)) if created_at >= time => end = middle,
            Some((id, _)) => low = id + 1,
            None => end = middle,
        }
    }
    store::lowest_position_from(pool, low).await
}

/// Gives every event that is committed or of the caller's transaction a position, and keeps other sequencers out until the
/// transaction ends. Returns the last position.
pub async fn sequence_in(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    store::lock_sequencer(connection).await?;
    while store::sequence(connection, SEQUENCE_BATCH).await? == SEQUENCE_BATCH {}
    store::last_position(connection).await
}

/// Gives every committed event a position. Returns the last position.
pub async fn sequence(pool: &Pool) -> Result<i64, sqlx::Error> {
    while store::has_unsequenced(pool).await? {
        let mut transaction = pool.begin().await?;
        // A statement of its own: the next one sees everything that was committed before the lock was free.
        store::lock_sequencer(&mut transaction).await?;
        let sequenced = store::sequence(&mut transaction, SEQUENCE_BATCH).await?;
        transaction.commit().await?;
        if sequenced < SEQUENCE_BATCH {
            break;
        }
    }
    store::last_position(pool).await
}

/// Deletes events that are older than `kept_for`. Returns how many.
pub async fn prune(pool: &Pool, kept_for: Retention, now: OffsetDateTime) -> Result<u64, sqlx::Error> {
    let Retention::Time(kept_for) = kept_for else { return Ok(0) };
    let mut total = 0;
    loop {
        let deleted = store::prune(pool, now - kept_for.0).await?;
        total += deleted;
        if deleted == 0 {
            return Ok(total);
        }
        // Leaves the disk to others between two batches.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

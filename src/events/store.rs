//! SQL of the event log.

use super::{Event, EventId, Kind};
use crate::db::Pool;
use crate::ids::ClinicId;
use serde_json::Value;
use sqlx::{PgConnection, PgExecutor};
use time::OffsetDateTime;

/// Advisory lock ("spsi", 3): held by the sequencer until its transaction ends.
const SEQUENCER_LOCK: i64 = 0x7370_7369_0003;

/// Records an event in the caller's transaction. `data` is one of the structs of [`super::data`], as JSON. Events of one
/// subject, a kind of row and its id, are read and delivered in order. `clinic`: the one that the event concerns, if any.
pub async fn record(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    kind: Kind,
    subject: (&str, i64),
    clinic: Option<ClinicId>,
    data: Value,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "with recorded as (
             insert into event (kind, subject_kind, subject_id, clinic_id, created_at, data)
             values ($1, $2, $3, $4, $5, $6) returning id)
         select pg_notify('spsi_events', '') from recorded where $7",
        kind.as_str(),
        subject.0,
        subject.1,
        clinic as Option<ClinicId>,
        now,
        data,
        kind.notifies()
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Wakes the dispatchers at once.
pub(super) async fn notify(pool: &Pool) -> Result<(), sqlx::Error> {
    sqlx::query!("select pg_notify('spsi_events', '')").execute(pool).await.map(drop)
}

/// Whether a committed event has no position yet. One probe of an index that is almost always empty.
pub(super) async fn has_unsequenced(pool: &Pool) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(r#"select exists (select from event where position is null) as "exists!""#)
        .fetch_one(pool)
        .await
}

pub(super) async fn lock_sequencer(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!("select pg_advisory_xact_lock($1)", SEQUENCER_LOCK).execute(connection).await.map(drop)
}

/// Gives up to `limit` events positions, in the order of their ids. Returns how many. The caller holds the lock.
pub(super) async fn sequence(connection: &mut PgConnection, limit: i64) -> Result<i64, sqlx::Error> {
    let sequenced = sqlx::query!(
        "with next as materialized (
             select id from event where position is null order by id limit $1),
         numbered as materialized (select id, nextval('event_position_seq') as position from next)
         update event e set position = numbered.position from numbered where e.id = numbered.id",
        limit
    )
    .execute(connection)
    .await?;
    Ok(sequenced.rows_affected().cast_signed())
}

/// The last position that readers see.
pub(super) async fn last_position(executor: impl PgExecutor<'_>) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select greatest(deleted_through, (select max(position) from event where position is not null)) as "position!"
           from event_log"#
    )
    .fetch_one(executor)
    .await
}

pub(super) async fn deleted_through(pool: &Pool) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!("select deleted_through from event_log").fetch_one(pool).await
}

/// Whether an event with this id, which does not exist, may have been deleted because of its age.
pub(super) async fn is_older_than_log(pool: &Pool, id: EventId) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select deleted_through > 0 and $1 < coalesce((select min(id) from event), 9223372036854775807) as "older!"
           from event_log"#,
        id.0
    )
    .fetch_one(pool)
    .await
}

pub(super) async fn list(pool: &Pool, after: i64, limit: i64) -> Result<Vec<Event>, sqlx::Error> {
    sqlx::query_as!(
        Event,
        r#"select id as "id: EventId", position as "position!", kind, clinic_id, created_at, data
           from event where position > $1 order by position limit $2"#,
        after,
        limit
    )
    .fetch_all(pool)
    .await
}

/// Reads one range of the index for each kind, and merges them. A single range would pass over every event of another kind.
pub(super) async fn list_of_kinds(
    pool: &Pool,
    after: i64,
    kinds: &[String],
    limit: i64,
) -> Result<Vec<Event>, sqlx::Error> {
    sqlx::query_as!(
        Event,
        r#"select e.id as "id: EventId", e.position as "position!", e.kind, e.clinic_id, e.created_at, e.data
           from unnest($2::text[]) wanted cross join lateral (
               select * from event where kind = wanted and position > $1 order by position limit $3) e
           order by e.position limit $3"#,
        after,
        kinds,
        limit
    )
    .fetch_all(pool)
    .await
}

pub(super) async fn find(executor: impl PgExecutor<'_>, id: EventId) -> Result<Option<Event>, sqlx::Error> {
    sqlx::query_as!(
        Event,
        r#"select id as "id: EventId", coalesce(position, 0) as "position!", kind, clinic_id, created_at, data
           from event where id = $1"#,
        id.0
    )
    .fetch_optional(executor)
    .await
}

/// The lowest and the highest id.
pub(super) async fn id_range(pool: &Pool) -> Result<Option<(i64, i64)>, sqlx::Error> {
    let range = sqlx::query!("select min(id) as low, max(id) as high from event").fetch_one(pool).await?;
    Ok(range.low.zip(range.high))
}

/// The first event from an id on, with its time.
pub(super) async fn first_from(pool: &Pool, id: i64) -> Result<Option<(i64, OffsetDateTime)>, sqlx::Error> {
    let row = sqlx::query!("select id, created_at from event where id >= $1 order by id limit 1", id)
        .fetch_optional(pool)
        .await?;
    Ok(row.map(|row| (row.id, row.created_at)))
}

/// The lowest position of the events from an id on. Events commit out of order by fewer than 10,000 others.
pub(super) async fn lowest_position_from(pool: &Pool, id: i64) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar!(
        "select min(position) from (select position from event where id >= $1 order by id limit 10000) following",
        id
    )
    .fetch_one(pool)
    .await
}

/// Deletes events that were recorded `before`, among the 5,000 oldest. Walking the index of positions from its start needs no
/// further index. Returns how many.
pub(super) async fn prune(pool: &Pool, before: OffsetDateTime) -> Result<u64, sqlx::Error> {
    let deleted = sqlx::query_scalar!(
        r#"with oldest as materialized (
               select id, created_at from event where position is not null order by position limit 5000),
           deleted as (
               delete from event e using oldest where e.id = oldest.id and oldest.created_at < $1 returning e.position),
           noted as (
               update event_log set deleted_through = greatest(deleted_through, (select max(position) from deleted))
               where exists (select from deleted))
           select count(*) as "deleted!" from deleted"#,
        before
    )
    .fetch_one(pool)
    .await?;
    Ok(deleted.unsigned_abs())
}

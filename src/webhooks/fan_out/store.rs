//! SQL of the messages' birth.

use crate::db::Pool;
use sqlx::PgConnection;
use time::OffsetDateTime;

/// Advisory lock ("spsi", 4): fan-out and changes of endpoints hold it exclusively, settlements share it, until their
/// transaction ends.
const FAN_OUT_LOCK: i64 = 0x7370_7369_0004;

/// Waits for settlements to end, and excludes them until the end of the transaction.
pub async fn lock(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!("select pg_advisory_xact_lock($1)", FAN_OUT_LOCK).execute(connection).await.map(drop)
}

/// Excludes fan-out until the end of the transaction.
pub async fn lock_shared(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!("select pg_advisory_xact_lock_shared($1)", FAN_OUT_LOCK).execute(connection).await.map(drop)
}

/// Lets the caller's transaction commit without waiting for the disk. If Postgres crashes within the next moment, the
/// transaction is undone as a whole. The dispatcher then does its work again, which at-least-once delivery permits.
pub async fn commit_without_flush(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query_scalar!("select set_config('synchronous_commit', 'off', true)").fetch_one(connection).await.map(drop)
}

pub async fn fanned_out_through(pool: &Pool) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!("select fanned_out_through from webhook_log").fetch_one(pool).await
}

/// Counts the endpoints that get each event of every clinic as it comes.
pub async fn count_followers_of_all_clinics(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select count(*) as "count!" from webhook_endpoint
           where state = 'active' and caught_up_through is null and clinic_id is null"#
    )
    .fetch_one(connection)
    .await
}

/// Makes the messages of the next `limit` events for every follower. Returns the number of events. A message is due at once
/// if it is the first of its subject at its endpoint.
pub async fn fan_out(connection: &mut PgConnection, now: OffsetDateTime, limit: i64) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"with next as materialized (
               select id, position, kind, clinic_id, subject_kind, subject_id from event
               where position > (select fanned_out_through from webhook_log) order by position limit $2),
           matched as (
               select e.id as endpoint_id, n.* from next n join webhook_endpoint e on e.clinic_id = n.clinic_id
               where e.state = 'active' and e.caught_up_through is null and (e.events = '{}' or n.kind = any(e.events))
               union all
               select e.id, n.* from next n cross join webhook_endpoint e
               where e.clinic_id is null
                   and e.state = 'active' and e.caught_up_through is null and (e.events = '{}' or n.kind = any(e.events))),
           wanted as (
               select m.*, row_number() over (
                   partition by m.endpoint_id, m.subject_kind, m.subject_id order by m.position) as ordinal
               from matched m),
           inserted as (
               insert into webhook_message (event_id, endpoint_id, position, subject_kind, subject_id, due_at)
               select w.id, w.endpoint_id, w.position, w.subject_kind, w.subject_id,
                   case when w.ordinal = 1 and not exists (
                       select from webhook_message m where m.endpoint_id = w.endpoint_id and m.state = 'waiting'
                           and m.subject_kind = w.subject_kind and m.subject_id = w.subject_id) then $1::timestamptz end
               from wanted w
               on conflict do nothing),
           moved as (
               update webhook_log set fanned_out_through = (select max(position) from next) where exists (select from next))
           select count(*) as "events!" from next"#,
        now,
        limit
    )
    .fetch_one(connection)
    .await
}

/// Returns endpoints that have to catch up, those with the longest way to go last.
pub async fn list_behind(pool: &Pool, limit: i64) -> Result<Vec<i64>, sqlx::Error> {
    sqlx::query_scalar!(
        "select id from webhook_endpoint where state = 'active' and caught_up_through is not null
         order by caught_up_through desc limit $1",
        limit
    )
    .fetch_all(pool)
    .await
}

/// Makes the messages of the next `limit` events for an endpoint that is behind. Messages that were finished are sent again.
/// Returns whether the endpoint is still behind.
pub async fn catch_up(
    connection: &mut PgConnection,
    endpoint: i64,
    now: OffsetDateTime,
    limit: i64,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"with behind as materialized (
               select e.id, e.events, e.clinic_id, e.caught_up_through, l.fanned_out_through
               from webhook_endpoint e cross join webhook_log l
               where e.id = $1 and e.state = 'active' and e.caught_up_through is not null),
           next as materialized (
               select v.id, v.position, v.kind, v.clinic_id, v.subject_kind, v.subject_id
               from behind b cross join lateral (
                   select * from event where position > b.caught_up_through and position <= b.fanned_out_through
                   order by position limit $3) v),
           wanted as (
               select b.id as endpoint_id, n.*,
                   row_number() over (partition by n.subject_kind, n.subject_id order by n.position) as ordinal
               from next n join behind b on (b.events = '{}' or n.kind = any(b.events))
                   and (b.clinic_id is null or b.clinic_id = n.clinic_id)),
           inserted as (
               insert into webhook_message as old (event_id, endpoint_id, position, subject_kind, subject_id, due_at)
               select w.id, w.endpoint_id, w.position, w.subject_kind, w.subject_id,
                   case when w.ordinal = 1 and not exists (
                       select from webhook_message m where m.endpoint_id = w.endpoint_id and m.state = 'waiting'
                           and m.subject_kind = w.subject_kind and m.subject_id = w.subject_id) then $2::timestamptz end
               from wanted w
               on conflict (event_id, endpoint_id) do update
               set state = 'waiting', due_at = excluded.due_at, attempts = 0, finished_at = null where old.state <> 'waiting'),
           reached as (
               select case when (select count(*) from next) < $3 then b.fanned_out_through
                           else (select max(position) from next) end as position, b.*
               from behind b where b.caught_up_through <= b.fanned_out_through),
           moved as (
               update webhook_endpoint e set caught_up_through =
                   case when r.position < r.fanned_out_through then r.position end
               from reached r where e.id = r.id)
           select exists (select from reached where position < fanned_out_through) as "behind!""#,
        endpoint,
        now,
        limit
    )
    .fetch_one(connection)
    .await
}

/// Sends one event to an endpoint, again if it was sent before. The caller holds the lock. Returns `false` if the event is
/// waiting already.
pub async fn resend(
    connection: &mut PgConnection,
    endpoint: i64,
    event: i64,
    now: OffsetDateTime,
) -> Result<bool, sqlx::Error> {
    let resent = sqlx::query!(
        "insert into webhook_message as old (event_id, endpoint_id, position, subject_kind, subject_id, due_at)
         select v.id, $1, v.position, v.subject_kind, v.subject_id,
             case when not exists (
                 select from webhook_message m where m.endpoint_id = $1 and m.state = 'waiting'
                     and m.subject_kind = v.subject_kind and m.subject_id = v.subject_id) then $3::timestamptz end
         from event v where v.id = $2 and v.position is not null
         on conflict (event_id, endpoint_id) do update
         set state = 'waiting', due_at = excluded.due_at, attempts = 0, finished_at = null where old.state <> 'waiting'",
        endpoint,
        event,
        now
    )
    .execute(connection)
    .await?;
    Ok(resent.rows_affected() == 1)
}

/// Makes every waiting message of an endpoint due that is the first of its subject and not under way: the endpoint answers
/// again. The caller holds the lock, shared or not.
pub async fn hurry(connection: &mut PgConnection, endpoints: &[i64], now: OffsetDateTime) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update webhook_message set due_at = $2
         where endpoint_id = any($1) and due_at > $2 and lease_token is null",
        endpoints,
        now
    )
    .execute(connection)
    .await
    .map(drop)
}

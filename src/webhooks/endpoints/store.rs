//! SQL of endpoints.

use super::{Change, Endpoint};
use crate::db::{Page, Pool};
use crate::webhooks::call::Target;
use sqlx::PgConnection;
use time::OffsetDateTime;

pub(super) async fn next_id(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(r#"select nextval(pg_get_serial_sequence('webhook_endpoint', 'id')) as "id!""#)
        .fetch_one(connection)
        .await
}

pub(super) async fn insert(
    connection: &mut PgConnection,
    id: i64,
    (new, clinic): (&Change, Option<i64>),
    sealed: &[u8],
    start: i64,
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into webhook_endpoint (id, url, description, events, clinic_id, secret, caught_up_through, created_at, changed_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $8)",
        id,
        new.url.as_deref().unwrap_or_default(),
        new.description.as_deref().unwrap_or_default(),
        new.events.as_deref().unwrap_or_default(),
        clinic,
        sealed,
        start,
        now
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Returns endpoints, newest first; or the one with this id.
pub(super) async fn list(
    connection: &mut PgConnection,
    id: Option<i64>,
    page: Page,
) -> Result<Vec<Endpoint>, sqlx::Error> {
    sqlx::query_as!(
        Endpoint,
        r#"select e.id, e.url, e.description, e.events, c.name as "clinic?", e.clinic_id, e.state, e.disabled_reason, e.failures,
                  e.failing_since, e.last_error, e.last_delivered_at, e.previous_secret_until, e.created_at, e.changed_at
           from webhook_endpoint e left join clinic c on c.id = e.clinic_id
           where ($1::bigint is null or e.id = $1) and ($2::bigint is null or e.id < $2) order by e.id desc limit $3"#,
        id,
        page.before,
        page.limit
    )
    .fetch_all(connection)
    .await
}

/// Changes the given fields. An endpoint that stops notes the position from which it will catch up.
pub(super) async fn update(
    connection: &mut PgConnection,
    id: i64,
    change: &Change,
    clinic: Option<Option<i64>>,
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update webhook_endpoint set url = coalesce($2, url), description = coalesce($3, description),
             events = coalesce($4, events), clinic_id = case when $5 then $6 else clinic_id end, state = coalesce($7, state),
             caught_up_through = case when $7 = 'paused'
                 then coalesce(caught_up_through, (select fanned_out_through from webhook_log)) else caught_up_through end,
             disabled_reason = case when $7 is null then disabled_reason end,
             failures = case when $7 = 'active' then 0 else failures end,
             failing_since = case when $7 = 'active' then null else failing_since end,
             timed_out = case when $7 = 'active' then false else timed_out end,
             not_before = case when $7 = 'active' then null else not_before end,
             changed_at = $8
         where id = $1",
        id,
        change.url.as_deref(),
        change.description.as_deref(),
        change.events.as_deref(),
        clinic.is_some(),
        clinic.flatten(),
        change.state.as_deref(),
        now
    )
    .execute(&mut *connection)
    .await?;
    wake(connection).await
}

/// Wakes the dispatchers when the transaction commits.
pub(super) async fn wake(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!("select pg_notify('spsi_events', '')").execute(connection).await.map(drop)
}

/// Replaces the secret; the old one signs until then. Returns `false` if there is no such endpoint.
pub(super) async fn replace_secret(
    connection: &mut PgConnection,
    id: i64,
    sealed: &[u8],
    until: OffsetDateTime,
    now: OffsetDateTime,
) -> Result<bool, sqlx::Error> {
    let replaced = sqlx::query!(
        "update webhook_endpoint set previous_secret = secret, previous_secret_until = $3, secret = $2, changed_at = $4
         where id = $1",
        id,
        sealed,
        until,
        now
    )
    .execute(connection)
    .await?;
    Ok(replaced.rows_affected() == 1)
}

/// Deletes an endpoint with its attempts and its waiting messages. The caller holds the lock, so no message is made
/// meanwhile.
pub(super) async fn delete(connection: &mut PgConnection, id: i64) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "with waiting as (delete from webhook_message where endpoint_id = $1 and state = 'waiting')
         delete from webhook_endpoint where id = $1",
        id
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Lets an endpoint catch up from an earlier position. Returns `false` if there is no such endpoint.
pub(super) async fn go_back(connection: &mut PgConnection, id: i64, position: i64) -> Result<bool, sqlx::Error> {
    let moved = sqlx::query!(
        "update webhook_endpoint set caught_up_through = least(caught_up_through, $2) where id = $1",
        id,
        position
    )
    .execute(&mut *connection)
    .await?;
    wake(connection).await?;
    Ok(moved.rows_affected() == 1)
}

pub(super) async fn find_target(pool: &Pool, id: i64) -> Result<Option<Target>, sqlx::Error> {
    let row = sqlx::query!(
        "select id, url, secret, previous_secret, previous_secret_until from webhook_endpoint where id = $1",
        id
    )
    .fetch_optional(pool)
    .await?;
    Ok(row.map(|row| Target {
        endpoint: row.id,
        url: row.url,
        secret: row.secret,
        previous_secret: row.previous_secret.zip(row.previous_secret_until),
    }))
}

/// Finds a clinic by id, client id or name.
pub(super) async fn find_clinic(connection: &mut PgConnection, which: &str) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar!(
        "select id from clinic where client_id = $1 or name = $1 or id::text = $1
         order by (client_id = $1) desc, (id::text = $1) desc limit 1",
        which
    )
    .fetch_optional(connection)
    .await
}

/// A secret and the one before it, both sealed.
type Secrets = (i64, Vec<u8>, Option<Vec<u8>>);

pub(super) async fn list_secrets(pool: &Pool) -> Result<Vec<Secrets>, sqlx::Error> {
    let rows =
        sqlx::query!("select id, secret, previous_secret from webhook_endpoint order by id").fetch_all(pool).await?;
    Ok(rows.into_iter().map(|row| (row.id, row.secret, row.previous_secret)).collect())
}

/// Stores the same secrets under another key, unless they were rotated meanwhile.
pub(super) async fn reseal(
    pool: &Pool,
    id: i64,
    old: &[u8],
    new: &[u8],
    new_previous: Option<&[u8]>,
) -> Result<u64, sqlx::Error> {
    let resealed = sqlx::query!(
        "update webhook_endpoint set secret = $3, previous_secret = $4 where id = $1 and secret = $2",
        id,
        old,
        new,
        new_previous
    )
    .execute(pool)
    .await?;
    Ok(resealed.rows_affected())
}

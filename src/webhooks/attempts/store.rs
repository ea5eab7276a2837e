//! SQL of attempts.

use super::{Attempt, NewAttempt};
use crate::db::{Page, Pool};
use crate::events::EventId;
use sqlx::PgExecutor;
use time::OffsetDateTime;

/// Stores calls. Leaves out those to endpoints that were removed meanwhile. Returns the ids.
pub async fn insert(executor: impl PgExecutor<'_>, attempts: &[&NewAttempt]) -> Result<Vec<i64>, sqlx::Error> {
    let column = |value: fn(&NewAttempt) -> i64| attempts.iter().map(|new| value(new)).collect::<Vec<_>>();
    let text = |value: fn(&NewAttempt) -> Option<&str>| {
        attempts.iter().map(|new| value(new).map(str::to_owned)).collect::<Vec<_>>()
    };
    let events: Vec<Option<i64>> = attempts.iter().map(|new| new.event.map(|event| event.0)).collect();
    let started_at: Vec<OffsetDateTime> = attempts.iter().map(|new| new.started_at).collect();
    let statuses: Vec<Option<i32>> = attempts.iter().map(|new| new.status.map(i32::from)).collect();
    sqlx::query_scalar!(
        "insert into webhook_attempt (endpoint_id, event_id, event_type, attempt, started_at, duration_ms, outcome, status, error,
             response)
         select g.endpoint_id, g.event_id, g.event_type, g.attempt, g.started_at, g.duration_ms, g.outcome, g.status, g.error,
             g.response
         from unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[], $5::timestamptz[], $6::bigint[], $7::text[],
                 $8::int[], $9::text[], $10::text[])
             as g (endpoint_id, event_id, event_type, attempt, started_at, duration_ms, outcome, status, error, response)
         join webhook_endpoint e on e.id = g.endpoint_id
         returning id",
        &column(|new| new.endpoint),
        &events as &[Option<i64>],
        &text(|new| Some(&new.event_type)) as &[Option<String>],
        &column(|new| i64::from(new.attempt)),
        &started_at,
        &column(|new| i64::from(new.duration_ms)),
        &text(|new| Some(new.outcome.name())) as &[Option<String>],
        &statuses as &[Option<i32>],
        &text(|new| new.error.as_deref()) as &[Option<String>],
        &text(|new| new.response.as_deref()) as &[Option<String>]
    )
    .fetch_all(executor)
    .await
}

/// Returns the calls to an endpoint, newest first.
pub async fn list(pool: &Pool, endpoint: i64, page: Page) -> Result<Vec<Attempt>, sqlx::Error> {
    sqlx::query_as!(
        Attempt,
        r#"select id, endpoint_id as webhook, event_id as "event: EventId", event_type, attempt, started_at, duration_ms, outcome,
                  status, error, response
           from webhook_attempt where endpoint_id = $1 and ($2::bigint is null or id < $2) order by id desc limit $3"#,
        endpoint,
        page.before,
        page.limit
    )
    .fetch_all(pool)
    .await
}

/// Deletes attempts that started `before`, among the 5,000 oldest, by walking the primary key from its start.
pub(super) async fn prune(pool: &Pool, before: OffsetDateTime) -> Result<u64, sqlx::Error> {
    let deleted = sqlx::query!(
        "with oldest as materialized (select id, started_at from webhook_attempt order by id limit 5000)
         delete from webhook_attempt a using oldest where a.id = oldest.id and oldest.started_at < $1",
        before
    )
    .execute(pool)
    .await?;
    Ok(deleted.rows_affected())
}

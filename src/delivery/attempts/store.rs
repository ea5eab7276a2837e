//! SQL of the attempts.

use crate::db::Pool;
use crate::ezyvet::Exchange;
use crate::ids::DeliveryId;
use sqlx::{PgConnection, PgExecutor};
use time::OffsetDateTime;

/// Maximum number of characters of ezyVet's answer that an attempt stores.
const MAX_STORED_ANSWER: usize = 4000;

pub(in crate::delivery) async fn insert(
    connection: &mut PgConnection,
    delivery: DeliveryId,
    purpose: &str,
    request: &str,
    now: OffsetDateTime,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        "insert into delivery_attempt (delivery_id, purpose, started_at, request) values ($1, $2, $3, $4) returning id",
        delivery.0,
        purpose,
        now,
        request
    )
    .fetch_one(connection)
    .await
}

/// Stores how a call ended, with the beginning of the answer.
pub(in crate::delivery) async fn finish(
    executor: impl PgExecutor<'_>,
    attempt: i64,
    exchange: &Exchange,
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    // A Postgres text holds no zero byte; an answer may.
    let text = |text: &str| text.replace('\0', "\u{fffd}");
    let response: String = exchange.body.chars().take(MAX_STORED_ANSWER).collect();
    sqlx::query!(
        "update delivery_attempt set finished_at = $2, status = $3, response = $4, outcome = $5, detail = $6 where id = $1",
        attempt,
        now,
        exchange.status.map(i32::from),
        text(&response),
        exchange.outcome.name(),
        text(&exchange.outcome.to_string())
    )
    .execute(executor)
    .await
    .map(drop)
}

/// The progress of [`prune`].
pub(in crate::delivery) struct Pruned {
    /// The id to continue after. `None`: the attempts that follow are too young.
    pub next: Option<i64>,
    pub deleted: u64,
}

/// Deletes attempts of deliveries that are done and that started `before`, among the next 5,000 after an id. Walking the
/// primary key needs no further index, and ends at the first page that is too young.
pub(in crate::delivery) async fn prune(pool: &Pool, after: i64, before: OffsetDateTime) -> Result<Pruned, sqlx::Error> {
    let row = sqlx::query!(
        r#"with page as (
               select id, delivery_id, started_at from delivery_attempt where id > $1 order by id limit 5000),
           deleted as (
               delete from delivery_attempt a using page p join delivery d on d.id = p.delivery_id
               where a.id = p.id and p.started_at < $2 and d.due_at is null
                 and d.state in ('delivered', 'confirmed', 'skipped', 'cancelled')
               returning a.id)
           select max(id) as last, coalesce(bool_and(started_at < $2), false) as "old!",
                  (select count(*) from deleted) as "deleted!"
           from page"#,
        after,
        before
    )
    .fetch_one(pool)
    .await?;
    Ok(Pruned { next: row.last.filter(|_| row.old), deleted: row.deleted.unsigned_abs() })
}

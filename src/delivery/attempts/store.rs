//! SQL of the attempts.

use crate::ids::DeliveryId;
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;

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

/// How an attempt ended.
pub(in crate::delivery) struct Ended<'a> {
    pub status: Option<u16>,
    pub response: &'a str,
    pub outcome: &'a str,
    pub detail: &'a str,
}

pub(in crate::delivery) async fn finish(
    connection: &mut PgConnection,
    attempt: i64,
    ended: &Ended<'_>,
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    // Postgres texts hold no zero bytes; an answer may.
    sqlx::query!(
        "update delivery_attempt set finished_at = $2, status = $3, response = $4, outcome = $5, detail = $6 where id = $1",
        attempt,
        now,
        ended.status.map(i32::from),
        ended.response.replace('\0', "\u{fffd}"),
        ended.outcome,
        ended.detail.replace('\0', "\u{fffd}")
    )
    .execute(connection)
    .await
    .map(drop)
}

/// How far [`prune`] came.
pub(in crate::delivery) struct Pruned {
    /// Where to go on. None: what follows is young.
    pub next: Option<i64>,
    pub deleted: u64,
}

/// Deletes attempts from before a moment whose deliveries are done, among the next thousands after an id. They are walked
/// in their order, so that this costs what there is to delete and no index.
pub(in crate::delivery) async fn prune(
    pool: &PgPool,
    after: i64,
    before: OffsetDateTime,
) -> Result<Pruned, sqlx::Error> {
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

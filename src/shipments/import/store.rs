//! SQL of imported files of shipments.

use sqlx::PgConnection;
use time::OffsetDateTime;

/// A file with the same content that was imported before.
pub struct EarlierFile {
    pub file: String,
    pub at: OffsetDateTime,
    pub actor: String,
}

/// Records a file by the digest of its content. Returns the earlier file with the same content, which it replaces. Waits for
/// a transaction that is importing the same content.
pub async fn insert_file(
    connection: &mut PgConnection,
    digest: &[u8],
    file: &str,
    now: OffsetDateTime,
    actor: &str,
) -> Result<Option<EarlierFile>, sqlx::Error> {
    let is_new = sqlx::query!(
        "insert into shipment_file (digest, file, at, actor) values ($1, $2, $3, $4) on conflict do nothing",
        digest,
        file,
        now,
        actor
    )
    .execute(&mut *connection)
    .await?
    .rows_affected()
        == 1;
    if is_new {
        return Ok(None);
    }
    sqlx::query_as!(
        EarlierFile,
        "with earlier as (select file, at, actor from shipment_file where digest = $1 for update),
              replaced as (update shipment_file set file = $2, at = $3, actor = $4 where digest = $1)
         select file, at, actor from earlier",
        digest,
        file,
        now,
        actor
    )
    .fetch_optional(connection)
    .await
}

/// Locks orders, given by `supplier_order_number` or id, until the end of the transaction. Every transaction that locks
/// several orders locks them in ascending order of their ids. Unknown orders are left out.
pub async fn lock_orders(connection: &mut PgConnection, orders: &[&str]) -> Result<(), sqlx::Error> {
    let numbers: Vec<String> = orders.iter().map(|order| (*order).to_owned()).collect();
    let ids: Vec<i64> = orders.iter().filter_map(|order| order.parse().ok()).collect();
    sqlx::query!(
        "select id from purchase_order where supplier_order_number = any($1) or id = any($2) order by id for no key update",
        &numbers,
        &ids
    )
    .fetch_all(connection)
    .await
    .map(drop)
}

//! SQL of orders that wait for a decision, across all clinics.

use crate::ids::OrderId;
use sqlx::PgConnection;
use time::OffsetDateTime;

/// An order whose time to decide is over, locked.
pub struct Overdue {
    pub id: OrderId,
    pub number: String,
    /// `hold`, `accept` or `decline`.
    pub default: String,
    pub decide_by: OffsetDateTime,
}

/// Locks the order whose time to decide ended first. Passes over orders that another transaction has locked: another
/// worker applies the default, or somebody decides at this moment.
pub async fn lock_overdue(connection: &mut PgConnection, now: OffsetDateTime) -> Result<Option<Overdue>, sqlx::Error> {
    sqlx::query_as!(
        Overdue,
        r#"select id as "id: OrderId", supplier_order_number as number, decide_default as "default!", decide_by as "decide_by!"
           from purchase_order where decide_by <= $1 order by decide_by limit 1 for update skip locked"#,
        now
    )
    .fetch_optional(connection)
    .await
}

/// Leaves a locked order to staff: it stays held without a deadline.
pub async fn clear_deadline(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    id: OrderId,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update purchase_order set decide_by = null, decide_default = null, changed_at = $2 where id = $1",
        id as OrderId,
        now
    )
    .execute(connection)
    .await
    .map(drop)
}

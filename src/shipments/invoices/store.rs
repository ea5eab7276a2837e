//! SQL of issued invoices.

use super::{Filter, Invoice};
use crate::db::{self, Page};
use serde_json::Value;
use sqlx::PgConnection;

/// Finds an invoice by its number, or else by its id.
pub(super) async fn find_id(connection: &mut PgConnection, which: &str) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar!(
        "select coalesce((select id from invoice where invoice_number = $1), (select id from invoice where id = $2))",
        which,
        which.parse::<i64>().ok()
    )
    .fetch_one(connection)
    .await
}

/// Returns a page of the invoices that the filter selects, newest first; or the one with this id.
pub(super) async fn list(
    connection: &mut PgConnection,
    filter: &Filter,
    page: Page,
    id: Option<i64>,
) -> Result<Vec<Invoice>, sqlx::Error> {
    let mut transaction = db::begin_planning_for_arguments(connection).await?;
    let invoices = sqlx::query_as!(
        Invoice,
        r#"select i.id, i.invoice_number, d.state as "state?", i.shipment_id as shipment, i.part,
                  o.supplier_order_number as "order", c.name as clinic, s.clinic_id, d.id as "delivery?",
                  coalesce(d.stale, false) as "stale!", coalesce(d.differences <> '[]', false) as "differs!",
                  coalesce(d.created_at, s.shipped_at) as "issued_at!", d.delivered_at
           from invoice i
           join shipment s on s.id = i.shipment_id
           join purchase_order o on o.id = s.order_id
           join clinic c on c.id = s.clinic_id
           left join delivery d on d.shipment_id = i.shipment_id and d.kind = 'receive_invoice'
                               and d.invoice_number = i.invoice_number
           where ($1::bigint is null or i.id = $1)
             and ($2::bigint is null or i.id < $2)
             and ($3::text is null or d.state = $3)
             and ($4::text is null or s.order_id = any(array(
                  select id from purchase_order where supplier_order_number = upper($4) or id = $5)))
             and ($6::text is null or s.clinic_id = any(array(
                  select id from clinic where id::text = $6 or name = $6 or client_id = $6)))
             and ($7::bigint is null or i.shipment_id = $7)
             and (not $8 or d.stale) and (not $9 or d.differences <> '[]')
           order by i.id desc limit $10"#,
        id,
        page.before,
        filter.state,
        filter.order,
        filter.order.as_ref().and_then(|order| order.parse::<i64>().ok()),
        filter.clinic,
        filter.shipment,
        filter.stale,
        filter.differing,
        page.limit
    )
    .fetch_all(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(invoices)
}

/// The frozen content of an invoice.
pub(super) struct Content {
    pub payload: Value,
    pub differences: Value,
}

pub(super) async fn find_content(connection: &mut PgConnection, id: i64) -> Result<Option<Content>, sqlx::Error> {
    sqlx::query_as!(
        Content,
        "select d.payload, d.differences from invoice i
         join delivery d on d.shipment_id = i.shipment_id and d.kind = 'receive_invoice' and d.invoice_number = i.invoice_number
         where i.id = $1",
        id
    )
    .fetch_optional(connection)
    .await
}

//! SQL of known orders and their revisions. Every query takes the clinic, or the id of an order that was found by it.

use super::{Existing, NewRevision};
use crate::ids::{ClinicId, OrderId};
use crate::orders::store::NewLineRow;
use serde_json::json;
use sqlx::PgConnection;
use time::OffsetDateTime;

/// Finds the clinic's order with this id and locks it.
pub async fn find(
    connection: &mut PgConnection,
    clinic: ClinicId,
    ezyvet_id: &str,
) -> Result<Option<Existing>, sqlx::Error> {
    sqlx::query_as!(
        Existing,
        r#"select id as "id: OrderId", supplier_order_number as number, purchase_order_number, state, revision, body::text as "body!", answer_status, answer_body::text as "answer_body!",
                  exists (select from purchase_order_line l where l.order_id = o.id and l.cancelled <> 0) as "part_cancelled!"
           from purchase_order o where clinic_id = $1 and ezyvet_id = $2 for update"#,
        clinic as ClinicId,
        ezyvet_id
    )
    .fetch_optional(connection)
    .await
}

/// Deletes the lines of an order, and with them its reservations, before the order is decided again.
pub async fn delete_lines(connection: &mut PgConnection, now: OffsetDateTime, id: OrderId) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "with gone as (delete from purchase_order_line where order_id = $1 returning supplier_code, reserved)
         insert into stock_move (moved_at, codes)
         select $2, array_agg(distinct supplier_code) from gone where reserved > 0 having count(*) > 0",
        id as OrderId,
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Replaces an order's content. The caller has made sure that nothing was shipped, has deleted the lines, and settles the
/// reservations afterwards.
///
/// Returns false if another order with the same purchase_order_number was stored since the terms were read. The transaction
/// is void then.
pub async fn update(
    connection: &mut PgConnection,
    id: OrderId,
    revision: NewRevision<'_>,
) -> Result<bool, sqlx::Error> {
    let NewRevision { received_at, number, order, repeats_number, decision, reply } = revision;
    let lines = NewLineRow::of_orders([order]);
    let done = sqlx::query!(
        "with placed as (
             update purchase_order set purchase_order_number = $2, state = $3, is_return = $4, body = $5::text::json,
                 answer_status = $6, answer_body = $7::text::json, findings = $8, ordered_at = $9, ownership_id = $10, shipping_address_id = $11,
                 freight = $12, freight_tax = $13, tax = $14, total = $15, changed_at = $16, revision = $17, repeats_number = $19,
                 decide_by = $20, decide_default = $21
             where id = $1
             returning id),
         revised as (
             insert into purchase_order_revision (order_id, revision, received_at, body, findings)
             select id, $17, $16, $5::text::json, $8 from placed)
         insert into purchase_order_line (order_id, position, ezyvet_id, product_id, supplier_code, outers, units_per_outer,
             price_per_unit, tax_per_unit, quantity, total, total_tax, location_id)
         select placed.id, position, line.ezyvet_id, product_id, supplier_code, outers, units_per_outer, price_per_unit,
             tax_per_unit, quantity, total, total_tax, location_id
         from placed, unnest($18::new_order_line[]) line",
        id as OrderId,
        order.purchase_order_number,
        decision.verdict.state(),
        order.is_return(),
        // As text: sqlx sends a JSON value as jsonb, which does not keep the order of keys.
        order.body,
        reply.status as i16,
        reply.body,
        json!(decision.findings),
        order.ordered_at,
        order.ownership_id,
        order.shipping_address_id,
        order.freight,
        order.freight_tax,
        order.tax,
        order.total,
        received_at,
        number,
        lines as Vec<NewLineRow<'_>>,
        repeats_number,
        decision.pending.map(|pending| pending.decide_by),
        decision.pending.map(|pending| pending.default.as_str())
    )
    .execute(connection)
    .await;
    match done {
        Err(sqlx::Error::Database(error)) if error.constraint() == Some("purchase_order_number_once") => Ok(false),
        done => done.map(|_| true),
    }
}

/// Passes a purchase_order_number on: after the first order that had it was revised to another number, the next order with
/// the number no longer repeats it.
pub async fn pass_number_on(connection: &mut PgConnection, clinic: ClinicId, number: &str) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "with same as materialized (
             select id, repeats_number from purchase_order
             where clinic_id = $1 and purchase_order_number = $2 and purchase_order_number <> '')
         update purchase_order set repeats_number = false
         where id = (select min(id) from same having bool_and(repeats_number))",
        clinic as ClinicId,
        number
    )
    .execute(connection)
    .await?;
    Ok(())
}

//! SQL of reservations, across clinics: for staff, and for transactions that hold the order's lock.

use super::BackOrder;
use crate::db::Pool;
use crate::ids::{OrderId, ShipmentId};
use sqlx::{PgConnection, PgExecutor};
use time::OffsetDateTime;

/// Recomputes the reservations of an order from its state and lines. The caller holds the order's lock.
pub async fn settle(connection: &mut PgConnection, now: OffsetDateTime, order: OrderId) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "with wanted as (
             select l.id, case when o.state in ('accepted', 'held', 'part_shipped')
                 then greatest(l.quantity - l.cancelled - coalesce(
                     (select sum(s.quantity) from shipment_line s where s.order_line_id = l.id), 0), 0)
                 else 0 end as units
             from purchase_order o join purchase_order_line l on l.order_id = o.id
             where o.id = $1),
         moved as (
             update purchase_order_line l set reserved = wanted.units from wanted
             where l.id = wanted.id and l.reserved <> wanted.units
             returning l.supplier_code)
         insert into stock_move (moved_at, codes)
         select $2, array_agg(distinct supplier_code) from moved having count(*) > 0",
        order as OrderId,
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Lowers the stock on hand by the goods of a shipment, not below zero: a warehouse file may have counted too little.
pub(crate) async fn lower_on_hand(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    shipment: ShipmentId,
) -> Result<(), sqlx::Error> {
    // An import reads and writes the whole catalogue under this lock. Without it, the import could overwrite this change,
    // and the two could deadlock, because the import locks products in another order.
    sqlx::query!("select pg_advisory_xact_lock_shared($1)", crate::db::IMPORT_LOCK).execute(&mut *connection).await?;
    sqlx::query!(
        "with gone as (
             select l.supplier_code, sum(s.quantity) as units
             from shipment_line s join purchase_order_line l on l.id = s.order_line_id
             where s.shipment_id = $1 and s.quantity > 0 group by l.supplier_code),
         locked as materialized (
             select p.id, gone.units from product p join gone on gone.supplier_code = p.code
             order by p.id for no key update of p),
         lowered as (
             update product p set stock_available = greatest(p.stock_available - locked.units, 0)
             from locked where p.id = locked.id
             returning p.code)
         insert into stock_move (moved_at, codes) select $2, array_agg(code) from lowered having count(*) > 0",
        shipment as ShipmentId,
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Counts lines whose reservation differs from what their order requires. Always 0 between transactions.
pub async fn wrong_reservations(pool: &Pool) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select count(*) as "count!" from purchase_order o join purchase_order_line l on l.order_id = o.id
           where l.reserved <> case when o.state in ('accepted', 'held', 'part_shipped')
               then greatest(l.quantity - l.cancelled - coalesce(
                   (select sum(s.quantity) from shipment_line s where s.order_line_id = l.id), 0), 0)
               else 0 end"#
    )
    .fetch_one(pool)
    .await
}

/// Returns the products with more units on open orders than on hand, largest shortage first.
pub async fn back_orders(executor: impl PgExecutor<'_>) -> Result<Vec<BackOrder>, sqlx::Error> {
    sqlx::query_as!(
        BackOrder,
        r#"select r.supplier_code as "supplier_code!", coalesce(p.name, '') as "name!", coalesce(p.stock_available, 0) as "on_hand!",
                  r.reserved as "reserved!", r.reserved - coalesce(p.stock_available, 0) as "short!", r.orders as "orders!",
                  r.since as "since!", r.order_numbers as "order_numbers!"
           from (
               select l.supplier_code, sum(l.reserved) as reserved, count(distinct o.id) as orders, min(o.received_at) as since,
                      array_agg(o.supplier_order_number order by o.id, l.position) as order_numbers
               from purchase_order_line l join purchase_order o on o.id = l.order_id
               where l.reserved > 0 group by l.supplier_code) r
           left join product p on p.code = r.supplier_code
           where r.reserved > coalesce(p.stock_available, 0)
           order by 5 desc, 1"#
    )
    .fetch_all(executor)
    .await
}

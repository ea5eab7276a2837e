//! SQL of exports, across all clinics. The rows are streamed.
//!
//! What changed is read from one range of the event log's positions, and the rows are then looked up by key: a nightly export
//! costs what is new, not what is stored.

use super::rows::{InvoiceRow, OrderRow, ShipmentRow};
use crate::ids::{DeliveryId, OrderId, ShipmentId};
use crate::orders::{Filter, OrderState};
use futures_util::stream::BoxStream;
use sqlx::PgConnection;

/// A stream of rows.
pub type RowStream<'a, R> = BoxStream<'a, Result<R, sqlx::Error>>;

/// Which rows: those with an event in a range of positions.
#[derive(Clone, Copy, Debug)]
pub struct Changes {
    /// Exclusive; `None` selects every row.
    pub since: Option<i64>,
    /// Inclusive.
    pub until: i64,
}

/// Returns the lines of orders, by order and position.
pub fn orders<'a>(connection: &'a mut PgConnection, changes: Changes, filter: &'a Filter) -> RowStream<'a, OrderRow> {
    sqlx::query_as!(
        OrderRow,
        r#"select o.id as "id: OrderId", o.supplier_order_number, o.state, c.name as clinic, o.clinic_id, o.ezyvet_id, o.purchase_order_number,
                  o.revision, o.is_return, o.ordered_at, o.received_at, o.shipping_address_id, a.value as "ship_to?", o.ownership_id,
                  b.value as "account_number?", coalesce(o.body ->> 'comments', '') as "comments!", o.freight,
                  o.total as order_total, l.position, l.ezyvet_id as item, l.supplier_code, coalesce(p.name, '') as "name!", l.location_id,
                  l.outers, l.units_per_outer, l.quantity, s.units as "shipped!", l.cancelled,
                  case when l.quantity > 0 then greatest(l.quantity - l.cancelled - s.units, 0)
                       else least(l.quantity - l.cancelled - s.units, 0) end as "outstanding!",
                  l.price_per_unit, l.tax_per_unit, l.total, l.total_tax, o.decide_by
           from (
               select id from purchase_order where $1::bigint is null
               union all
               select distinct subject_id from event
               where position > $1 and position <= $2 and (kind like 'order.%' or kind like 'shipment.%')) wanted
           join purchase_order o on o.id = wanted.id
           join clinic c on c.id = o.clinic_id
           join purchase_order_line l on l.order_id = o.id
           left join product p on p.code = l.supplier_code
           left join clinic_mapping a on a.clinic_id = o.clinic_id and a.kind = 'ship_to' and a.ezyvet_id = o.shipping_address_id
           left join clinic_mapping b on b.clinic_id = o.clinic_id and b.kind = 'account' and b.ezyvet_id = o.ownership_id
           cross join lateral (
               select coalesce(sum(quantity), 0) as units from shipment_line where order_line_id = l.id) s
           where ($3::text is null or o.state = $3)
             and ($4::text is null or c.name = $4 or c.client_id = $4 or c.id::text = $4)
             and ($5::text is null or exists (select from purchase_order_line l where l.order_id = o.id and l.supplier_code = $5))
             and (not $6 or o.state = 'held'
                  or exists (select from shipment s join delivery d on d.shipment_id = s.id
                             where s.order_id = o.id and d.state = 'attention'))
             and (not $7 or (o.state in ('accepted', 'held', 'part_shipped') and o.shipping_address_id not in ('', '0')
                             and a.value is null))
             and ($8::text is null or o.supplier_order_number ilike $8 or o.purchase_order_number ilike $8 or c.name ilike $8
                  or o.ezyvet_id ilike $8 or o.body ->> 'comments' ilike $8)
             and ($9::timestamptz is null or o.received_at >= $9)
             and ($10::timestamptz is null or o.received_at < $10)
             and (not $11 or o.decide_by is not null)
           order by o.id, l.position"#,
        changes.since,
        changes.until,
        filter.state.map(OrderState::as_str),
        filter.clinic,
        filter.product,
        filter.attention,
        filter.unmapped,
        filter.pattern(),
        filter.since,
        filter.until,
        filter.asked
    )
    .fetch(connection)
}

/// Returns the lines of shipments, by shipment and position.
pub fn shipments(connection: &mut PgConnection, changes: Changes) -> RowStream<'_, ShipmentRow> {
    sqlx::query_as!(
        ShipmentRow,
        r#"select s.id as "id: ShipmentId", s.state, o.supplier_order_number as "order", c.name as clinic, s.clinic_id, o.purchase_order_number,
                  (select coalesce(string_agg(invoice_number, ' ' order by part), '') from invoice i
                   where i.shipment_id = s.id) as "invoice_numbers!",
                  s.freight, s.shipped_at, s.received_at, g.position, l.ezyvet_id as item, l.supplier_code,
                  coalesce(p.name, '') as "name!", l.location_id, g.quantity, g.batch, g.expiry
           from (
               select id from shipment where $1::bigint is null
               union all
               select distinct (data ->> case when kind like 'shipment.%' then 'id' else 'shipment' end)::bigint from event
               where position > $1 and position <= $2
                   and (kind like 'shipment.%' or kind like 'delivery.%' or kind = 'invoice.differs')) wanted
           join shipment s on s.id = wanted.id
           join purchase_order o on o.id = s.order_id
           join clinic c on c.id = s.clinic_id
           join shipment_line g on g.shipment_id = s.id
           join purchase_order_line l on l.id = g.order_line_id
           left join product p on p.code = l.supplier_code
           order by s.id, g.position"#,
        changes.since,
        changes.until
    )
    .fetch(connection)
}

/// Returns the lines of invoices, by invoice and position.
pub fn invoices(connection: &mut PgConnection, changes: Changes) -> RowStream<'_, InvoiceRow> {
    sqlx::query_as!(
        InvoiceRow,
        r#"select d.invoice_number, d.state, d.id as "delivery: DeliveryId", s.id as "shipment: ShipmentId",
                  o.supplier_order_number as "order", c.name as clinic, s.clinic_id, o.purchase_order_number,
                  coalesce(d.payload ->> 'ownership_id', '') as "ownership_id!", d.created_at as issued_at, d.delivered_at,
                  coalesce(d.payload ->> 'freight', '0')::numeric as "freight!", g.position as "position!",
                  coalesce(g.line ->> 'purchase_order_item_id', '') as "item!",
                  coalesce(g.line ->> 'supplier_code', '') as "supplier_code!",
                  coalesce(g.line ->> 'location_id', '') as "location_id!",
                  coalesce(g.line ->> 'quantity', '0')::numeric as "quantity!",
                  coalesce(g.line ->> 'price', '0')::numeric as "price!",
                  coalesce(g.line ->> 'tax', '0')::numeric as "tax!",
                  coalesce(g.line ->> 'tax_rate', '0')::numeric as "tax_rate!",
                  coalesce(g.line ->> 'tax_code', '') as "tax_code!",
                  coalesce(g.line -> 'batch' ->> 'name', '') as "batch!"
           from (
               select id from shipment where $1::bigint is null
               union all
               select distinct (data ->> case when kind like 'shipment.%' then 'id' else 'shipment' end)::bigint from event
               where position > $1 and position <= $2
                   and (kind like 'shipment.%' or kind like 'delivery.%' or kind = 'invoice.differs')) wanted
           join shipment s on s.id = wanted.id
           join purchase_order o on o.id = s.order_id
           join clinic c on c.id = s.clinic_id
           join delivery d on d.shipment_id = s.id and d.kind = 'receive_invoice'
           cross join lateral jsonb_array_elements(d.payload -> 'lines') with ordinality g(line, position)
           order by s.id, d.id, g.position"#,
        changes.since,
        changes.until
    )
    .fetch(connection)
}

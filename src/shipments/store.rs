//! SQL of shipments and invoice numbers.

use super::invoice::{Ordered, ShippedLine};
use super::plan::{FieldProblem, Outstanding};
use super::tax::ClinicTax;
use super::{Filter, Line, Order, ShipError, Shipment};
use crate::config::Overrides;
use crate::db::{self, OnConstraint, Page};
use crate::ids::{ClinicId, DeliveryId, OrderId, OrderLineId, ShipmentId, SiteId};
use rust_decimal::Decimal;
use sqlx::PgConnection;
use sqlx::types::Json;
use time::{Date, OffsetDateTime};

/// Locks the order with this `supplier_order_number`, or else this id, until the end of the transaction.
pub(super) async fn lock_order(connection: &mut PgConnection, reference: &str) -> Result<Option<Order>, sqlx::Error> {
    let row = sqlx::query!(
        r#"select o.id, o.clinic_id, c.site_id, coalesce(s.settings, '{}') as "site_settings!: Json<Overrides>", o.state,
                  c.tax_code, c.tax_rate, c.tax_overrides_product,
                  o.supplier_order_number, o.purchase_order_number, o.ownership_id, o.freight, o.freight_tax
           from purchase_order o join clinic c on c.id = o.clinic_id left join site s on s.id = c.site_id
           where o.id = (select id from purchase_order where supplier_order_number = upper($1) or id = $2
                         order by supplier_order_number = upper($1) desc limit 1)
           for no key update of o"#,
        reference,
        reference.parse::<i64>().ok()
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| Order {
        id: OrderId(row.id),
        clinic: ClinicId(row.clinic_id),
        site: row.site_id.map(SiteId),
        site_settings: row.site_settings.0,
        tax: ClinicTax { code: row.tax_code, rate: row.tax_rate, overrides_product: row.tax_overrides_product },
        state: row.state,
        supplier_order_number: row.supplier_order_number,
        ordered: Ordered {
            purchase_order_number: row.purchase_order_number,
            ownership_id: row.ownership_id,
            freight: row.freight,
            freight_tax: row.freight_tax,
        },
    }))
}

/// Returns the lines of an order with their outstanding units and the catalogue's tax.
pub(super) async fn list_outstanding(
    connection: &mut PgConnection,
    order: OrderId,
) -> Result<Vec<Outstanding>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select l.id, l.ezyvet_id, l.product_id, l.supplier_code, l.location_id, l.units_per_outer, l.price_per_unit,
                  l.tax_per_unit, l.quantity, p.tax_rate as "tax_rate?", coalesce(p.tax_code, '') as "tax_code!",
                  l.quantity - l.cancelled - coalesce(
                      (select sum(s.quantity) from shipment_line s where s.order_line_id = l.id), 0) as "outstanding!"
           from purchase_order_line l left join product p on p.code = l.supplier_code
           where l.order_id = $1 order by l.position"#,
        order.0
    )
    .fetch_all(connection)
    .await?;
    let lines = rows.into_iter().map(|row| Outstanding {
        line: ShippedLine {
            line_id: OrderLineId(row.id),
            item: row.ezyvet_id,
            product_id: row.product_id,
            supplier_code: row.supplier_code,
            location_id: row.location_id,
            units_per_outer: if row.units_per_outer.is_zero() { Decimal::ONE } else { row.units_per_outer },
            price_per_unit: row.price_per_unit,
            tax_per_unit: row.tax_per_unit,
            tax_rate: row.tax_rate,
            tax_code: row.tax_code,
            quantity: row.quantity,
            batch: String::new(),
            expiry: None,
        },
        outstanding: row.outstanding,
    });
    Ok(lines.collect())
}

pub(super) async fn insert_shipment(
    connection: &mut PgConnection,
    order: &Order,
    freight: Decimal,
    now: OffsetDateTime,
) -> Result<ShipmentId, sqlx::Error> {
    sqlx::query_scalar!(
        "insert into shipment (order_id, clinic_id, freight, shipped_at) values ($1, $2, $3, $4) returning id",
        order.id.0,
        order.clinic.0,
        freight,
        now
    )
    .fetch_one(connection)
    .await
    .map(ShipmentId)
}

pub(super) async fn insert_lines(
    connection: &mut PgConnection,
    shipment: ShipmentId,
    lines: &[ShippedLine],
) -> Result<(), sqlx::Error> {
    let ids: Vec<i64> = lines.iter().map(|line| line.line_id.0).collect();
    let quantities: Vec<Decimal> = lines.iter().map(|line| line.quantity).collect();
    let batches: Vec<String> = lines.iter().map(|line| line.batch.clone()).collect();
    let expiries: Vec<Option<Date>> = lines.iter().map(|line| line.expiry).collect();
    sqlx::query!(
        "insert into shipment_line (shipment_id, order_line_id, quantity, batch, expiry, position)
         select $1, u.* from unnest($2::bigint[], $3::numeric[], $4::text[], $5::date[]) with ordinality u",
        shipment.0,
        &ids,
        &quantities,
        &batches,
        &expiries as &[Option<Date>]
    )
    .execute(connection)
    .await
    .map(drop)
}

pub(super) async fn set_order_state(
    connection: &mut PgConnection,
    order: OrderId,
    state: &str,
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    sqlx::query!("update purchase_order set state = $2, changed_at = $3 where id = $1", order.0, state, now)
        .execute(connection)
        .await
        .map(drop)
}

/// Increments the counter of a prefix. Its row stays locked until the shipment commits, so numbers are unique without gaps.
pub(super) async fn next_number(connection: &mut PgConnection, prefix: &str) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        "insert into invoice_counter (prefix, last) values ($1, 1)
         on conflict (prefix) do update set last = invoice_counter.last + 1 returning last",
        prefix
    )
    .fetch_one(connection)
    .await
}

pub(super) async fn is_number_used(connection: &mut PgConnection, number: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(r#"select exists (select from invoice where invoice_number = $1) as "used!""#, number)
        .fetch_one(connection)
        .await
}

pub(super) async fn insert_invoice(
    connection: &mut PgConnection,
    shipment: ShipmentId,
    part: i32,
    number: &str,
) -> Result<(), ShipError> {
    sqlx::query!(
        "insert into invoice (shipment_id, part, invoice_number) values ($1, $2, $3)",
        shipment.0,
        part,
        number
    )
    .execute(connection)
    .await
    .on_constraint("invoice_number_key", || {
        ShipError::invalid("invoice_number", FieldProblem::NumberUsed(number.to_owned()))
    })
    .map(drop)
}

/// The shipment of a delivery, locked.
pub(super) struct Invoiced {
    pub shipment: ShipmentId,
    pub parts: i32,
    pub site_settings: Overrides,
}

/// Finds and locks the shipment of a delivery, so that its invoices are numbered one after another.
pub(super) async fn find_invoiced(
    connection: &mut PgConnection,
    delivery: DeliveryId,
) -> Result<Option<Invoiced>, sqlx::Error> {
    let row = sqlx::query!(
        r#"select p.id, (select max(part) from invoice i where i.shipment_id = p.id) as "parts!",
                  coalesce(s.settings, '{}') as "site_settings!: Json<Overrides>"
           from delivery d join shipment p on p.id = d.shipment_id left join site s on s.id = d.site_id
           where d.id = $1 for no key update of p"#,
        delivery.0
    )
    .fetch_optional(connection)
    .await?;
    let invoiced = |shipment, parts, settings: Json<Overrides>| Invoiced { shipment, parts, site_settings: settings.0 };
    Ok(row.map(|row| invoiced(ShipmentId(row.id), row.parts, row.site_settings)))
}

/// Finds a shipment by id, or else by one of its invoice numbers.
pub(super) async fn find_id(connection: &mut PgConnection, which: &str) -> Result<Option<ShipmentId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select coalesce((select id from shipment where id = $2),
                           (select shipment_id from invoice where invoice_number = $1)) as "id: ShipmentId""#,
        which,
        which.parse::<i64>().ok()
    )
    .fetch_one(connection)
    .await
}

/// Returns a page of the shipments that the filter selects, newest first; or the one with this id.
pub(super) async fn list(
    connection: &mut PgConnection,
    filter: &Filter,
    page: Page,
    id: Option<ShipmentId>,
) -> Result<Vec<Shipment>, sqlx::Error> {
    let mut transaction = db::begin_planning_for_arguments(connection).await?;
    let rows = sqlx::query!(
        r#"select s.id, s.state, o.supplier_order_number, s.clinic_id, c.name as clinic, s.freight, s.shipped_at,
                  s.received_at,
                  array(select invoice_number from invoice i where i.shipment_id = s.id order by part) as "numbers!",
                  array(select d.id from delivery d where d.shipment_id = s.id order by d.id) as "deliveries!"
           from shipment s join purchase_order o on o.id = s.order_id join clinic c on c.id = s.clinic_id
           where ($1::bigint is null or s.id = $1)
             and ($5::bigint is null or s.id < $5)
             and ($2::text is null or s.order_id = any(array(
                  select id from purchase_order where supplier_order_number = upper($2) or id = $7)))
             and ($3::text is null or s.clinic_id = any(array(
                  select id from clinic where id::text = $3 or name = $3 or client_id = $3)))
             and ($4::text is null or s.state = $4)
           order by s.id desc limit $6"#,
        id.map(|id| id.0),
        filter.order,
        filter.clinic,
        filter.state,
        page.before,
        page.limit,
        filter.order.as_ref().and_then(|order| order.parse::<i64>().ok())
    )
    .fetch_all(&mut *transaction)
    .await?;
    let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
    let lines = sqlx::query!(
        "select s.shipment_id, l.ezyvet_id, l.supplier_code, l.location_id, s.quantity, s.batch, s.expiry
         from shipment_line s join purchase_order_line l on l.id = s.order_line_id
         where s.shipment_id = any($1) order by s.shipment_id desc, s.position",
        &ids
    )
    .fetch_all(&mut *transaction)
    .await?;
    transaction.commit().await?;
    let mut lines = lines.into_iter().peekable();
    let shipments = rows.into_iter().map(|row| {
        let mut own = Vec::new();
        while let Some(line) = lines.next_if(|line| line.shipment_id == row.id) {
            own.push(Line {
                item: line.ezyvet_id,
                supplier_code: line.supplier_code,
                location_id: line.location_id,
                quantity: line.quantity.normalize(),
                batch: line.batch,
                expiry: line.expiry,
            });
        }
        Shipment {
            id: ShipmentId(row.id),
            state: row.state,
            order: row.supplier_order_number,
            clinic: row.clinic,
            clinic_id: row.clinic_id,
            invoice_number: row.numbers.first().cloned().unwrap_or_default(),
            invoice_numbers: row.numbers,
            freight: row.freight.normalize(),
            shipped_at: row.shipped_at,
            received_at: row.received_at,
            lines: own,
            deliveries: row.deliveries,
        }
    });
    Ok(shipments.collect())
}

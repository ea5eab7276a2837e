//! SQL of events about stored rows. Each statement writes the object that the struct of its kind describes (`data.rs`).

use crate::events::Kind;
use crate::ids::{DeliveryId, OrderId, ShipmentId, SiteId};
use sqlx::PgConnection;
use time::OffsetDateTime;

/// Records an event about an order in the caller's transaction. `reason` is that of staff.
pub async fn record_order(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    kind: Kind,
    order: OrderId,
    reason: Option<&str>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "with recorded as (
             insert into event (kind, subject_kind, subject_id, clinic_id, created_at, data)
             select $1, 'order', o.id, o.clinic_id, $2, jsonb_build_object(
                 'version', 1, 'id', o.id, 'supplier_order_number', o.supplier_order_number, 'clinic', c.name,
                 'clinic_id', o.clinic_id, 'ezyvet_id', o.ezyvet_id, 'purchase_order_number', o.purchase_order_number,
                 'state', o.state, 'is_return', o.is_return, 'revision', o.revision, 'total', trim_scale(o.total)::text,
                 'findings', o.findings, 'reason', $4::text)
             from purchase_order o join clinic c on c.id = o.clinic_id where o.id = $3
             returning id)
         select pg_notify('spsi_events', '') from recorded where $5",
        kind.as_str(),
        now,
        order.0,
        reason,
        kind.notifies()
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Records an event about a shipment in the caller's transaction.
pub async fn record_shipment(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    kind: Kind,
    shipment: ShipmentId,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "with recorded as (
             insert into event (kind, subject_kind, subject_id, clinic_id, created_at, data)
             select $1, 'order', o.id, o.clinic_id, $2, jsonb_build_object(
                 'version', 1, 'id', s.id, 'state', s.state, 'order', o.supplier_order_number, 'order_id', o.id,
                 'clinic', c.name, 'clinic_id', o.clinic_id, 'purchase_order_number', o.purchase_order_number,
                 'invoice_numbers', array(select invoice_number from invoice i where i.shipment_id = s.id order by part),
                 'freight', trim_scale(s.freight)::text)
             from shipment s join purchase_order o on o.id = s.order_id join clinic c on c.id = o.clinic_id
             where s.id = $3
             returning id)
         select pg_notify('spsi_events', '') from recorded where $4",
        kind.as_str(),
        now,
        shipment.0,
        kind.notifies()
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Records an event about a delivery in the caller's transaction.
pub async fn record_delivery(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    kind: Kind,
    delivery: DeliveryId,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into event (kind, subject_kind, subject_id, clinic_id, created_at, data)
         select $1, 'order', o.id, d.clinic_id, $2, jsonb_build_object(
             'version', 1, 'id', d.id, 'kind', d.kind, 'state', d.state, 'invoice_number', d.invoice_number,
             'shipment', d.shipment_id, 'order', o.supplier_order_number, 'clinic', c.name, 'clinic_id', d.clinic_id,
             'site', s.name, 'attempts', d.attempts, 'last_error', d.last_error)
         from delivery d join shipment p on p.id = d.shipment_id join purchase_order o on o.id = p.order_id
         join clinic c on c.id = d.clinic_id left join site s on s.id = d.site_id
         where d.id = $3",
        kind.as_str(),
        now,
        delivery.0
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Records how the invoice that ezyVet holds differs from the one of a delivery, in the caller's transaction.
pub async fn record_invoice_differs(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    delivery: DeliveryId,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into event (kind, subject_kind, subject_id, clinic_id, created_at, data)
         select $1, 'order', o.id, d.clinic_id, $2, jsonb_build_object(
             'version', 1, 'id', d.id, 'invoice_number', d.invoice_number, 'shipment', d.shipment_id,
             'order', o.supplier_order_number, 'clinic', c.name, 'clinic_id', d.clinic_id, 'site', s.name,
             'differences', d.differences)
         from delivery d join shipment p on p.id = d.shipment_id join purchase_order o on o.id = p.order_id
         join clinic c on c.id = d.clinic_id left join site s on s.id = d.site_id
         where d.id = $3",
        Kind::InvoiceDiffers.as_str(),
        now,
        delivery.0
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Records that a site cannot be reached since `now`, in the caller's transaction.
pub async fn record_site_unreachable(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    site: SiteId,
    failures: i32,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        r#"insert into event (kind, subject_kind, subject_id, created_at, data)
         select $1, 'site', id, $2, jsonb_build_object(
             'version', 1, 'id', id, 'name', name, 'failures', $4::int,
             'since', to_char($2::timestamptz at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
         from site where id = $3"#,
        Kind::SiteUnreachable.as_str(),
        now,
        site.0,
        failures
    )
    .execute(connection)
    .await
    .map(drop)
}

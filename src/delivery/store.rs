//! SQL of the outbox, as the worker uses it. Settlements run in a fenced transaction (`lease::store::extend_and_save`).

use super::check::StoredFacts;
use super::compare::Difference;
use super::payload::Payload;
use super::policy::{History, Kind};
use crate::db::Pool;
use crate::events;
use crate::ids::{ClinicId, DeliveryId, ShipmentId, SiteId};
use sqlx::PgConnection;
use sqlx::types::Json;
use time::OffsetDateTime;

/// A delivery that is due.
#[derive(Clone, Debug)]
pub(super) struct DueDelivery {
    pub id: DeliveryId,
    pub shipment_id: ShipmentId,
    pub invoice_number: String,
    pub state: String,
    pub payload: Payload,
    pub attempts: i32,
    pub history: History,
    pub created_at: OffsetDateTime,
    pub delivered_at: Option<OffsetDateTime>,
}

/// Kinds of work that are limited separately, so that none of them delays another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WorkClass {
    Invoice,
    Supplied,
    /// Looking again for the uids of a `supplied` that could not be mapped.
    Recheck,
    /// Asking whether the clinic approved an invoice.
    Receipt,
}

/// How many deliveries of each [`WorkClass`] to return at most.
pub(super) type ClassLimits = [i64; 4];

impl DueDelivery {
    pub fn kind(&self) -> Kind {
        match self.payload {
            Payload::ReceiveInvoice(_) => Kind::ReceiveInvoice,
            Payload::Supplied(_) => Kind::Supplied,
        }
    }

    pub fn class(&self) -> WorkClass {
        match (self.state.as_str(), self.kind()) {
            ("delivered", _) => WorkClass::Receipt,
            ("attention", _) => WorkClass::Recheck,
            (_, Kind::Supplied) => WorkClass::Supplied,
            (_, Kind::ReceiveInvoice) => WorkClass::Invoice,
        }
    }
}

/// Returns what is due at a site and not `in_progress`, oldest first within each class.
pub(super) async fn find_due(
    pool: &Pool,
    site: SiteId,
    now: OffsetDateTime,
    limits: ClassLimits,
    in_progress: &[(i64, WorkClass)],
) -> Result<Vec<DueDelivery>, sqlx::Error> {
    let in_progress: Vec<i64> = in_progress.iter().map(|(id, _)| *id).collect();
    let rows = sqlx::query!(
        r#"with due as (
               (select id from delivery where site_id = $1 and kind = 'receive_invoice' and state in ('waiting', 'unclear')
                and due_at <= $2 and id <> all($3) order by due_at, id limit $4)
               union all
               (select id from delivery where site_id = $1 and kind = 'supplied' and state in ('waiting', 'unclear')
                and due_at <= $2 and id <> all($3) order by due_at, id limit $5)
               union all
               (select id from delivery where site_id = $1 and kind = 'supplied' and state = 'attention'
                and due_at <= $2 and id <> all($3) order by due_at, id limit $6)
               union all
               (select id from delivery where site_id = $1 and kind = 'receive_invoice' and state = 'delivered'
                and due_at <= $2 and id <> all($3) order by due_at, id limit $7))
           select d.id, d.shipment_id, d.invoice_number, d.state, d.payload, d.attempts, d.failures, d.look_first, d.looks,
                  d.resends, d.receipt_polls, d.remapped_at, d.created_at, d.delivered_at
           from due join delivery d using (id) order by d.due_at, d.id"#,
        site.0,
        now,
        &in_progress,
        limits[0],
        limits[1],
        limits[2],
        limits[3]
    )
    .fetch_all(pool)
    .await?;
    let mut due = Vec::new();
    for row in rows {
        let payload = match serde_json::from_value(row.payload) {
            Ok(payload) => payload,
            Err(error) => {
                postpone_unreadable(pool, DeliveryId(row.id), &error.to_string(), now).await?;
                continue;
            }
        };
        due.push(DueDelivery {
            id: DeliveryId(row.id),
            shipment_id: ShipmentId(row.shipment_id),
            invoice_number: row.invoice_number,
            state: row.state,
            payload,
            attempts: row.attempts,
            history: History {
                failures: row.failures.unsigned_abs(),
                look_first: row.look_first,
                looks: row.looks.unsigned_abs(),
                resends: row.resends.unsigned_abs(),
                receipt_polls: row.receipt_polls.unsigned_abs(),
                remapped_at: row.remapped_at,
            },
            created_at: row.created_at,
            delivered_at: row.delivered_at,
        });
    }
    Ok(due)
}

/// Postpones a payload whose format this version does not know, because a newer version is being rolled out.
async fn postpone_unreadable(pool: &Pool, id: DeliveryId, error: &str, now: OffsetDateTime) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update delivery set due_at = $2::timestamptz + interval '1 minute',
                last_error = 'this version of spsi cannot read the payload (upgrade this worker): ' || $3
         where id = $1",
        id.0,
        now,
        error
    )
    .execute(pool)
    .await
    .map(drop)
}

/// Marks a delivery as being sent. Returns `false` if staff or another step changed the delivery since it was read.
pub(super) async fn begin_sending(
    connection: &mut PgConnection,
    delivery: &DueDelivery,
    now: OffsetDateTime,
) -> Result<bool, sqlx::Error> {
    let begun = sqlx::query!(
        "update delivery set state = 'sending', attempts = attempts + 1, changed_at = $4
         where id = $1 and state = $2 and attempts = $3",
        delivery.id.0,
        delivery.state,
        delivery.attempts,
        now
    )
    .execute(connection)
    .await?;
    Ok(begun.rows_affected() == 1)
}

/// Undoes [`begin_sending`] if its commit may have failed and nothing was sent.
pub(super) async fn undo_begin_sending(
    connection: &mut PgConnection,
    delivery: &DueDelivery,
    attempt: i64,
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "with begun as (
             delete from delivery_attempt where id = $4 and delivery_id = $1 and finished_at is null)
         update delivery set state = $2, attempts = attempts - 1, changed_at = $5
         where id = $1 and state = 'sending' and attempts = $3 + 1",
        delivery.id.0,
        delivery.state,
        delivery.attempts,
        attempt,
        now
    )
    .execute(connection)
    .await
    .map(drop)
}

/// The new state of a delivery after a step.
#[derive(Debug)]
pub(super) struct Settlement<'a> {
    pub state: &'a str,
    pub due_at: Option<OffsetDateTime>,
    pub history: History,
    /// The attempt does not count: ezyVet's rate limit refused the call.
    pub refund_attempt: bool,
    pub last_error: Option<&'a str>,
    /// The clinic did not approve the invoice within `SPSI_RECEIPT_GIVE_UP`; polling ended.
    pub stale: bool,
}

/// Settles a delivery. Returns `false` if its state is no longer `from`, or if it no longer has this number of `attempts`.
pub(super) async fn settle(
    connection: &mut PgConnection,
    id: DeliveryId,
    from: &str,
    attempts: Option<i32>,
    to: &Settlement<'_>,
    now: OffsetDateTime,
) -> Result<bool, sqlx::Error> {
    let delivered = matches!(to.state, "delivered" | "confirmed");
    let settled = sqlx::query!(
        "update delivery set state = $3, due_at = $4, failures = $5, look_first = $6, looks = $7, resends = $8,
                receipt_polls = $9, remapped_at = $10, attempts = attempts - $11, last_error = $12, changed_at = $13,
                delivered_at = case when $14 then coalesce(delivered_at, $13) else delivered_at end, stale = $15
         where id = $1 and state = $2 and ($16::int is null or attempts = $16)",
        id.0,
        from,
        to.state,
        to.due_at,
        to.history.failures as i32,
        to.history.look_first,
        to.history.looks as i32,
        to.history.resends as i32,
        to.history.receipt_polls as i32,
        to.history.remapped_at,
        i32::from(to.refund_attempt),
        to.last_error.map(|text| text.replace('\0', "\u{fffd}")),
        now,
        delivered,
        to.stale,
        attempts
    )
    .execute(&mut *connection)
    .await?
    .rows_affected()
        == 1;
    if settled && to.state != "waiting" {
        let reason = (!delivered).then(|| format!("waits for delivery {id}, which is in state {}", to.state));
        update_followers(connection, id, reason.as_deref()).await?;
    }
    Ok(settled)
}

/// Stores how the invoice that ezyVet holds differs from the one that was sent.
pub(super) async fn note_differences(
    connection: &mut PgConnection,
    id: DeliveryId,
    differences: &[Difference],
) -> Result<(), sqlx::Error> {
    sqlx::query!("update delivery set differences = $2 where id = $1", id.0, Json(differences) as _)
        .execute(connection)
        .await
        .map(drop)
}

/// Returns what an invoice is checked against before it is sent.
pub(super) async fn find_stored_facts(pool: &Pool, delivery: &DueDelivery) -> Result<StoredFacts, sqlx::Error> {
    let row = sqlx::query!(
        r#"select array(select l.ezyvet_id from purchase_order_line l join shipment s on s.order_id = l.order_id
                        where s.id = $1) as "items!",
                  exists (select from invoice where invoice_number = $2 and shipment_id <> $1) as "number_taken!""#,
        delivery.shipment_id.0,
        delivery.invoice_number
    )
    .fetch_one(pool)
    .await?;
    Ok(StoredFacts { item_ids: row.items, is_number_taken: row.number_taken })
}

/// Tells the deliveries that wait for this one why they still wait. Without a reason they are due. They keep their age,
/// because older deliveries are sent first.
async fn update_followers(
    connection: &mut PgConnection,
    id: DeliveryId,
    reason: Option<&str>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update delivery set due_at = case when $2::text is null then created_at end, last_error = $2
         where after_id = $1 and state = 'waiting' and due_at is null",
        id.0,
        reason
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Writes a reason to every delivery that is due at a site.
pub(super) async fn explain_site(
    pool: &Pool,
    site: SiteId,
    reason: &str,
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update delivery set last_error = $2 where site_id = $1 and state = 'waiting' and due_at <= $3",
        site.0,
        reason,
        now
    )
    .execute(pool)
    .await
    .map(drop)
}

/// Marks a shipment as received if all its invoices are approved, and its order if all its shipments are received.
pub(super) async fn mark_received_if_complete(
    connection: &mut PgConnection,
    shipment: ShipmentId,
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    let order_id = sqlx::query_scalar!(
        "select o.id from purchase_order o join shipment s on s.order_id = o.id where s.id = $1 for no key update of o",
        shipment.0
    )
    .fetch_one(&mut *connection)
    .await?;
    let received = sqlx::query!(
        "update shipment set state = 'received', received_at = $2
         where id = $1 and state = 'shipped' and not exists (
             select from delivery where shipment_id = $1 and kind = 'receive_invoice' and state not in ('confirmed', 'cancelled'))",
        shipment.0,
        now
    )
    .execute(&mut *connection)
    .await?;
    if received.rows_affected() == 1 {
        events::record_shipment(connection, now, events::Kind::ShipmentReceived, shipment).await?;
    }
    sqlx::query!(
        "update purchase_order set state = 'received', changed_at = $2
         where id = $1 and state = 'shipped'
           and not exists (select from shipment where order_id = $1 and state <> 'received')",
        order_id,
        now
    )
    .execute(connection)
    .await
    .map(drop)
}

/// A delivery to insert.
pub(crate) struct NewDelivery<'a> {
    pub site: Option<SiteId>,
    pub clinic: ClinicId,
    pub shipment: ShipmentId,
    pub invoice_number: &'a str,
    pub after: Option<DeliveryId>,
    pub payload: &'a Payload,
    /// Why the delivery cannot be sent yet. `Some`: the delivery starts in state `attention`.
    pub attention: Option<&'a str>,
}

/// Inserts a delivery in the caller's transaction, and wakes the worker when the transaction commits.
pub(crate) async fn enqueue(
    connection: &mut PgConnection,
    new: &NewDelivery<'_>,
    now: OffsetDateTime,
) -> Result<DeliveryId, sqlx::Error> {
    let (kind, location) = match new.payload {
        Payload::ReceiveInvoice(_) => ("receive_invoice", None),
        Payload::Supplied(supplied) => ("supplied", Some(supplied.location_id.as_str())),
    };
    let id = sqlx::query_scalar!(
        "insert into delivery (site_id, clinic_id, shipment_id, kind, invoice_number, location_id, after_id, state, payload,
                               due_at, last_error, created_at, changed_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $12) returning id",
        new.site.map(|site| site.0),
        new.clinic.0,
        new.shipment.0,
        kind,
        new.invoice_number,
        location,
        new.after.map(|after| after.0),
        if new.attention.is_some() { "attention" } else { "waiting" },
        Json(new.payload) as _,
        (new.attention.is_none() && new.after.is_none()).then_some(now),
        new.attention,
        now
    )
    .fetch_one(&mut *connection)
    .await?;
    if new.attention.is_some() {
        events::record_delivery(connection, now, events::Kind::DeliveryAttention, DeliveryId(id)).await?;
    }
    if let Some(site) = new.site {
        notify_worker(connection, site).await?;
    }
    Ok(DeliveryId(id))
}

/// Wakes the workers when the transaction commits. Equal notifications of one transaction are sent once.
pub(super) async fn notify_worker(connection: &mut PgConnection, site: SiteId) -> Result<(), sqlx::Error> {
    sqlx::query!("select pg_notify('spsi_delivery', $1::bigint::text)", site.0).execute(connection).await.map(drop)
}

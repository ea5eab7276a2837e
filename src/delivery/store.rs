//! SQL of the outbox, as the worker uses it. Everything that settles is done inside a transaction that holds the fence
//! (`lease::store::keep`).

use super::check::Known;
use super::compare::Difference;
use super::payload::Payload;
use super::policy::{History, Kind};
use crate::ids::{ClinicId, DeliveryId, ShipmentId, SiteId};
use sqlx::PgConnection;
use sqlx::types::Json;
use time::OffsetDateTime;

/// A delivery that is due.
#[derive(Clone, Debug)]
pub(super) struct Due {
    pub id: DeliveryId,
    pub shipment_id: ShipmentId,
    pub invoice_number: String,
    pub state: String,
    pub payload: Payload,
    pub attempts: i32,
    pub history: History,
    pub delivered_at: Option<OffsetDateTime>,
}

impl Due {
    pub fn kind(&self) -> Kind {
        match self.payload {
            Payload::ReceiveInvoice(_) => Kind::ReceiveInvoice,
            Payload::Supplied(_) => Kind::Supplied,
        }
    }
}

/// How many of each class may be read at the most: invoices, supplied calls, questions for approval.
pub(super) type Wanted = [i64; 3];

/// What is due at a site, without what is `busy`, oldest first within each class.
pub(super) async fn find_due(
    connection: &mut PgConnection,
    site: SiteId,
    now: OffsetDateTime,
    wanted: Wanted,
    busy: &[i64],
) -> Result<Vec<Due>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"with due as (
               (select id from delivery where site_id = $1 and kind = 'receive_invoice' and state in ('waiting', 'unclear')
                and due_at <= $2 and id <> all($3) order by due_at, id limit $4)
               union all
               (select id from delivery where site_id = $1 and kind = 'supplied' and state in ('waiting', 'unclear')
                and due_at <= $2 and id <> all($3) order by due_at, id limit $5)
               union all
               (select id from delivery where site_id = $1 and kind = 'receive_invoice' and state = 'delivered'
                and due_at <= $2 and id <> all($3) order by due_at, id limit $6))
           select d.id, d.shipment_id, d.invoice_number, d.state, d.payload, d.attempts,
                  d.failures, d.look_first, d.looks, d.resends, d.receipt_polls, d.map_refreshed, d.delivered_at
           from due join delivery d using (id) order by d.due_at, d.id"#,
        site.0,
        now,
        busy,
        wanted[0],
        wanted[1],
        wanted[2]
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut due = Vec::new();
    for row in rows {
        let payload = match serde_json::from_value(row.payload) {
            Ok(payload) => payload,
            Err(error) => {
                postpone_unreadable(connection, DeliveryId(row.id), &error.to_string(), now).await?;
                continue;
            }
        };
        due.push(Due {
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
                map_refreshed: row.map_refreshed,
            },
            delivered_at: row.delivered_at,
        });
    }
    Ok(due)
}

/// A payload of a format that this version does not know (a newer one is being rolled out) waits, and delays no other.
async fn postpone_unreadable(
    connection: &mut PgConnection,
    id: DeliveryId,
    error: &str,
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update delivery set due_at = $2::timestamptz + interval '1 minute',
                last_error = 'this version of spsi cannot read the payload: ' || $3
         where id = $1",
        id.0,
        now,
        error
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Marks a delivery as being sent. False: staff or another step changed it meanwhile.
pub(super) async fn begin_sending(
    connection: &mut PgConnection,
    delivery: &Due,
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

/// Undoes [`begin_sending`] where it is not known whether that was committed, and certain that nothing was sent.
pub(super) async fn take_back(
    connection: &mut PgConnection,
    delivery: &Due,
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

/// A holder that has lost its lease learnt all the same that its call was done. Counts while nobody has sent again.
pub(super) async fn arrived_late(
    connection: &mut PgConnection,
    delivery: &Due,
    due_at: Option<OffsetDateTime>,
    now: OffsetDateTime,
) -> Result<bool, sqlx::Error> {
    let known = sqlx::query!(
        "update delivery set state = 'delivered', due_at = $3, last_error = null, failures = 0, look_first = false,
                changed_at = $4, delivered_at = $4
         where id = $1 and state = 'unclear' and attempts = $2",
        delivery.id.0,
        delivery.attempts,
        due_at,
        now
    )
    .execute(&mut *connection)
    .await?
    .rows_affected()
        == 1;
    if known {
        release_followers(connection, delivery.id).await?;
    }
    Ok(known)
}

/// What a delivery becomes.
pub(super) struct Settled<'a> {
    pub state: &'a str,
    pub due_at: Option<OffsetDateTime>,
    pub history: History,
    /// An attempt that did not count.
    pub refund: bool,
    pub last_error: Option<&'a str>,
    /// The clinic did not approve it for so long that it is no longer asked for.
    pub stale: bool,
}

/// Settles a delivery that is still in `from`. False: it was changed meanwhile.
pub(super) async fn settle(
    connection: &mut PgConnection,
    id: DeliveryId,
    from: &str,
    to: &Settled<'_>,
    now: OffsetDateTime,
) -> Result<bool, sqlx::Error> {
    let delivered = matches!(to.state, "delivered" | "confirmed");
    let settled = sqlx::query!(
        "update delivery set state = $3, due_at = $4, failures = $5, look_first = $6, looks = $7, resends = $8,
                receipt_polls = $9, map_refreshed = $10, attempts = attempts - $11, last_error = $12, changed_at = $13,
                delivered_at = case when $14 then coalesce(delivered_at, $13) else delivered_at end, stale = $15
         where id = $1 and state = $2",
        id.0,
        from,
        to.state,
        to.due_at,
        to.history.failures as i32,
        to.history.look_first,
        to.history.looks as i32,
        to.history.resends as i32,
        to.history.receipt_polls as i32,
        to.history.map_refreshed,
        i32::from(to.refund),
        to.last_error.map(|text| text.replace('\0', "\u{fffd}")),
        now,
        delivered,
        to.stale
    )
    .execute(&mut *connection)
    .await?
    .rows_affected()
        == 1;
    if settled && delivered {
        release_followers(connection, id).await?;
    } else if settled && to.state != "waiting" {
        let reason = format!("waits for delivery {id}, which is in state {}", to.state);
        explain_followers(connection, id, &reason).await?;
    }
    Ok(settled)
}

/// Keeps how the invoice that ezyVet holds differs from ours.
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

/// What is known of an invoice that is about to be sent.
pub(super) async fn find_known(pool: &sqlx::PgPool, delivery: &Due) -> Result<Known, sqlx::Error> {
    let row = sqlx::query!(
        r#"select array(select l.ezyvet_id from purchase_order_line l join shipment s on s.order_id = l.order_id
                        where s.id = $1) as "items!",
                  exists (select from invoice where invoice_number = $2 and shipment_id <> $1) as "number_taken!""#,
        delivery.shipment_id.0,
        delivery.invoice_number
    )
    .fetch_one(pool)
    .await?;
    Ok(Known { items: row.items, number_taken: row.number_taken })
}

/// What waited for this delivery is due, as if it had been from the start: older work goes first.
pub(super) async fn release_followers(connection: &mut PgConnection, id: DeliveryId) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update delivery set due_at = created_at, last_error = null
         where after_id = $1 and state = 'waiting' and due_at is null",
        id.0
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Says why what waits for this delivery does not go on.
pub(super) async fn explain_followers(
    connection: &mut PgConnection,
    id: DeliveryId,
    reason: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update delivery set last_error = $2 where after_id = $1 and state = 'waiting' and due_at is null",
        id.0,
        reason
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Says on everything that is due at a site why it does not go on.
pub(super) async fn explain_site(
    pool: &sqlx::PgPool,
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

/// A shipment all of whose invoices are approved is received, and an order all of whose goods are.
pub(super) async fn receive_if_complete(
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
    sqlx::query!(
        "update shipment set state = 'received', received_at = $2
         where id = $1 and state = 'shipped' and not exists (
             select from delivery where shipment_id = $1 and kind = 'receive_invoice' and state not in ('confirmed', 'cancelled'))",
        shipment.0,
        now
    )
    .execute(&mut *connection)
    .await?;
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

/// A delivery to be written.
pub(crate) struct NewDelivery<'a> {
    pub site: Option<SiteId>,
    pub clinic: ClinicId,
    pub shipment: ShipmentId,
    pub invoice_number: &'a str,
    pub after: Option<DeliveryId>,
    pub payload: &'a Payload,
    /// Nobody can send it yet: for staff, with the reason.
    pub attention: Option<&'a str>,
}

/// Writes a delivery, in the transaction of its shipment, and wakes the worker when that commits.
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
    if let Some(site) = new.site {
        // Equal notifications of one transaction are sent once.
        sqlx::query!("select pg_notify('spsi_delivery', $1::bigint::text)", site.0).execute(connection).await?;
    }
    Ok(DeliveryId(id))
}

//! What people do with deliveries: list, look into, retry, cancel. Every change is in the audit record.
//!
//! Refuses to repeat an unclear `supplied` call unless told that stock would not be counted twice, to send anything before
//! its turn, and to touch what is being sent or has arrived.

mod site;
mod store;

pub use site::{Check, SiteCheck};

use super::map;
use super::payload::Payload;
use super::step::invoice_request;
use super::store::{NewDelivery, enqueue};
use crate::audit;
use crate::clinics::sites::SiteError;
use crate::config::{SiteSettings, Span};
use crate::ids::{ClinicId, DeliveryId, ShipmentId, SiteId};
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;

/// Why staff cannot do that.
#[derive(Debug, thiserror::Error)]
pub enum StaffError {
    #[error("there is no delivery {0}; `spsi delivery list` shows them")]
    Unknown(DeliveryId),
    #[error("delivery {id} is {state}: {why}")]
    State { id: DeliveryId, state: String, why: &'static str },
    #[error(
        "nobody knows whether ezyVet counted this stock; look there first, and if it did not: spsi delivery retry {0} --yes-resend"
    )]
    MightCountTwice(DeliveryId),
    #[error("delivery {id} waits for delivery {after}, which is {state}")]
    NotItsTurn { id: DeliveryId, after: DeliveryId, state: String },
    #[error("the clinic has no site to deliver to: spsi clinic set {0} site=SITE, then retry")]
    NoSite(i64),
    #[error("somebody else has called the site for {0}; try again")]
    SiteBusy(Span),
    #[error("{0}")]
    Call(String),
    #[error(transparent)]
    Stopped(#[from] super::Stop),
    #[error(transparent)]
    Site(#[from] SiteError),
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
}

const REPLACED: &str = "the same invoice was sent under another number instead";

/// Which deliveries. Empty: all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub states: Vec<String>,
    pub kind: Option<String>,
    /// Id or name.
    pub site: Option<String>,
    /// Id or name.
    pub clinic: Option<String>,
    /// `supplier_order_number` or our id.
    pub order: Option<String>,
    pub shipment: Option<i64>,
    pub invoice_number: Option<String>,
    /// Only invoices that the clinic did not approve for so long that it is no longer asked for.
    pub stale: bool,
    /// Only invoices that ezyVet holds otherwise than we sent them.
    pub differing: bool,
}

/// A delivery as staff see it.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Delivery {
    pub id: DeliveryId,
    pub kind: String,
    pub state: String,
    pub invoice_number: String,
    pub shipment: i64,
    /// The order's `supplier_order_number`.
    pub order: String,
    /// Its name.
    pub clinic: String,
    pub clinic_id: i64,
    /// Its name. None: the clinic had no site.
    pub site: Option<String>,
    pub site_id: Option<i64>,
    /// For `supplied`: the stock location.
    pub location_id: Option<String>,
    /// The delivery that comes first.
    pub after: Option<i64>,
    pub attempts: i32,
    /// The clinic did not approve it for so long that it is no longer asked for.
    pub stale: bool,
    /// ezyVet holds another invoice than we sent; see its `differences`.
    pub differs: bool,
    pub last_error: Option<String>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub due_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub changed_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    pub delivered_at: Option<OffsetDateTime>,
}

/// A product of a clinic's orders that no inventory product is known for.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Unmapped {
    /// ezyVet's number of the product.
    pub id: String,
    pub supplier_code: String,
    /// In our catalogue.
    pub name: Option<String>,
    /// Deliveries that wait for it.
    pub deliveries: Vec<i64>,
    /// Inventory products that may be meant: `uid`, `code`, `name`, and what fits: `by` code, barcode or name.
    pub candidates: serde_json::Value,
}

/// How many deliveries are in a state.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct StateCount {
    /// The state once more: every row of a list has an id.
    pub id: String,
    pub state: String,
    pub count: i64,
    pub receive_invoice: i64,
    pub supplied: i64,
}

/// What came of a retry of many.
#[derive(Debug)]
pub struct Bulk {
    pub retried: Vec<Delivery>,
    /// Why the others were left as they are.
    pub left: Vec<StaffError>,
}

/// A call that was made for a delivery.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Attempt {
    pub id: i64,
    /// `send`, `look`, `receipt` or `map`.
    pub purpose: String,
    #[serde(with = "time::serde::rfc3339")]
    pub started_at: OffsetDateTime,
    /// None: under way, or its process died.
    #[serde(with = "time::serde::rfc3339::option")]
    pub finished_at: Option<OffsetDateTime>,
    /// As a line for a shell, with the token left out.
    pub request: String,
    pub status: Option<i32>,
    pub response: Option<String>,
    pub outcome: Option<String>,
    /// The outcome in words.
    pub detail: Option<String>,
}

/// A delivery with everything about it.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Detail {
    #[serde(flatten)]
    pub delivery: Delivery,
    /// Where the invoice that ezyVet holds is not the one that we sent: `what`, `sent`, `stored`.
    pub differences: serde_json::Value,
    /// As it was frozen when the goods left.
    pub payload: serde_json::Value,
    /// What would be sent now. None for `supplied`, whose uids are looked up when it is sent, and without a site.
    pub request: Option<String>,
    pub history: Vec<Attempt>,
}

/// The deliveries that pass, newest first.
pub async fn list(pool: &PgPool, filter: &Filter) -> Result<Vec<Delivery>, StaffError> {
    Ok(store::list(pool, filter, None).await?)
}

/// How many pass in each state; states without any are left out.
pub async fn count(pool: &PgPool, filter: &Filter) -> Result<Vec<StateCount>, StaffError> {
    Ok(store::count(pool, filter).await?)
}

/// Retries everything that passes, oldest first. What cannot be retried is left, and said.
pub async fn retry_all(
    pool: &PgPool,
    now: OffsetDateTime,
    actor: &str,
    filter: &Filter,
    yes_resend: bool,
) -> Result<Bulk, StaffError> {
    let mut bulk = Bulk { retried: Vec::new(), left: Vec::new() };
    for delivery in list(pool, filter).await?.into_iter().rev() {
        match retry(pool, now, actor, delivery.id, yes_resend).await {
            Ok(retried) => bulk.retried.push(retried),
            Err(StaffError::Database(error)) => return Err(error.into()),
            Err(refused) => bulk.left.push(refused),
        }
    }
    Ok(bulk)
}

/// One delivery with every call made for it.
pub async fn show(pool: &PgPool, defaults: &SiteSettings, id: DeliveryId) -> Result<Detail, StaffError> {
    let delivery = find(pool, id).await?;
    let (payload, site) = store::find_payload(pool, id).await?;
    let differences = store::find_differences(pool, id).await?;
    let request = match (&payload, site) {
        (Payload::ReceiveInvoice(invoice), Some((base_url, overrides))) => {
            let settings: SiteSettings = defaults.overridden(&overrides);
            invoice_request(invoice, &settings).ok().map(|request| request.as_curl(&base_url))
        }
        _ => None,
    };
    let payload = serde_json::to_value(&payload).unwrap_or_default();
    Ok(Detail { delivery, differences, payload, request, history: store::list_attempts(pool, id).await? })
}

/// Sends a delivery (again). `yes_resend`: an unclear `supplied` was certainly not counted, or an invoice is to be sent
/// without asking whether it is there.
pub async fn retry(
    pool: &PgPool,
    now: OffsetDateTime,
    actor: &str,
    id: DeliveryId,
    yes_resend: bool,
) -> Result<Delivery, StaffError> {
    let mut transaction = pool.begin().await?;
    let locked = store::lock(&mut transaction, id).await?.ok_or(StaffError::Unknown(id))?;
    let state = locked.state.clone();
    match state.as_str() {
        _ if locked.replaced => return Err(StaffError::State { id, state, why: REPLACED }),
        "waiting" | "attention" | "cancelled" | "skipped" => {}
        "unclear" if locked.kind == "supplied" && !yes_resend => return Err(StaffError::MightCountTwice(id)),
        "unclear" => {}
        "sending" => return Err(StaffError::State { id, state, why: "it is being sent" }),
        _ => return Err(StaffError::State { id, state, why: "ezyVet has it" }),
    }
    if let (Some(after), Some(state)) = (locked.after, &locked.after_state)
        && !matches!(state.as_str(), "delivered" | "confirmed" | "cancelled")
    {
        return Err(StaffError::NotItsTurn { id, after: DeliveryId(after), state: state.clone() });
    }
    let site = locked.site.or(locked.clinic_site).ok_or(StaffError::NoSite(locked.clinic))?;
    let look_first = locked.kind == "receive_invoice" && locked.sent && !yes_resend;
    store::requeue(&mut transaction, id, SiteId(site), look_first, locked.kind == "supplied", now).await?;
    let detail = serde_json::json!({ "was": state, "yes_resend": yes_resend });
    audit::record(&mut transaction, now, actor, "delivery.retry", ("delivery", Some(id.0)), detail).await?;
    transaction.commit().await?;
    if let (Payload::Supplied(supplied), _) = store::find_payload(pool, id).await? {
        // Staff mended something over there: look it up afresh.
        let products: Vec<String> = supplied.lines.into_iter().map(|line| line.product_id).collect();
        map::store::forget(pool, SiteId(site), &products, &supplied.location_id).await?;
    }
    find(pool, id).await
}

/// Puts the same invoice under another number in the place of a delivery. What waited for the old one waits for the new.
pub(crate) async fn replace_invoice(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    id: DeliveryId,
    known_absent: bool,
    number: &str,
) -> Result<DeliveryId, StaffError> {
    let locked = store::lock(connection, id).await?.ok_or(StaffError::Unknown(id))?;
    let state = locked.state.clone();
    let refused = |why| Err(StaffError::State { id, state: state.clone(), why });
    match state.as_str() {
        _ if locked.kind != "receive_invoice" => return refused("only an invoice has a number to change"),
        _ if locked.replaced => return refused(REPLACED),
        "attention" | "cancelled" if !locked.sent || known_absent => {}
        "attention" | "cancelled" | "unclear" | "delivered" if !known_absent => {
            return refused(
                "it may be at the clinic; look there, its job queue included, and if it is not: --yes-resend",
            );
        }
        "unclear" | "delivered" => {}
        "confirmed" => return refused("the clinic approved it"),
        _ => return refused("it is on its way"),
    }
    let site = locked.site.or(locked.clinic_site).ok_or(StaffError::NoSite(locked.clinic))?;
    let Payload::ReceiveInvoice(mut invoice) = store::lock_payload(connection, id).await? else {
        return refused("only an invoice has a number to change");
    };
    number.clone_into(&mut invoice.invoice_number);
    let new = NewDelivery {
        site: Some(SiteId(site)),
        clinic: ClinicId(locked.clinic),
        shipment: ShipmentId(locked.shipment),
        invoice_number: number,
        after: None,
        payload: &Payload::ReceiveInvoice(invoice),
        attention: None,
    };
    let new = enqueue(connection, &new, now).await?;
    store::give_way(connection, id, new, number, now).await?;
    Ok(new)
}

/// Takes a delivery back. What would follow it is then for staff.
pub async fn cancel(pool: &PgPool, now: OffsetDateTime, actor: &str, id: DeliveryId) -> Result<Delivery, StaffError> {
    let mut transaction = pool.begin().await?;
    let locked = store::lock(&mut transaction, id).await?.ok_or(StaffError::Unknown(id))?;
    let state = locked.state;
    match state.as_str() {
        "waiting" | "attention" | "unclear" | "skipped" => {}
        "sending" => return Err(StaffError::State { id, state, why: "it is being sent" }),
        "cancelled" => return Err(StaffError::State { id, state, why: "nothing is left to cancel" }),
        _ => return Err(StaffError::State { id, state, why: "ezyVet has it" }),
    }
    store::cancel(&mut transaction, id, now).await?;
    let detail = serde_json::json!({ "was": state });
    audit::record(&mut transaction, now, actor, "delivery.cancel", ("delivery", Some(id.0)), detail).await?;
    transaction.commit().await?;
    find(pool, id).await
}

/// The products of a site's waiting `supplied` calls whose uid is not known, with the likely candidates.
pub async fn unmapped(pool: &PgPool, site: SiteId) -> Result<Vec<Unmapped>, StaffError> {
    Ok(store::unmapped(pool, site).await?)
}

/// Says which inventory product a product of the clinic's is.
pub async fn pin_product(
    pool: &PgPool,
    now: OffsetDateTime,
    actor: &str,
    site: SiteId,
    (product_id, uid): (&str, &str),
) -> Result<(), StaffError> {
    let mut transaction = pool.begin().await?;
    map::store::pin_product(&mut transaction, site, product_id, uid, now).await?;
    let detail = serde_json::json!({ "product_id": product_id, "uid": uid });
    audit::record(&mut transaction, now, actor, "site.pin", ("site", Some(site.0)), detail).await?;
    Ok(transaction.commit().await?)
}

/// One delivery.
pub(crate) async fn find(pool: &PgPool, id: DeliveryId) -> Result<Delivery, StaffError> {
    store::list(pool, &Filter::default(), Some(id)).await?.pop().ok_or(StaffError::Unknown(id))
}

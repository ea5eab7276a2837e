//! What staff do with deliveries: list, show, retry, cancel. Every change is recorded in the audit.
//!
//! Refuses to repeat an unclear `supplied` unless staff confirm that ezyVet did not count the stock; to send a delivery
//! before the one that it follows; and to change a delivery that is being sent or was received.

mod site;
mod store;

pub use site::{Check, SiteCheck};

use super::inventory_mapping::store as mapping_store;
use super::payload::Payload;
use super::step::invoice_request;
use super::store::{NewDelivery, enqueue};
use crate::audit;
use crate::clinics::sites::SiteError;
use crate::config::{SiteSettings, Span};
use crate::ids::{ClinicId, DeliveryId, ShipmentId, SiteId};
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;

/// Why a staff command was refused.
#[derive(Debug, thiserror::Error)]
pub enum StaffError {
    #[error("no delivery has the id {0}; `spsi delivery list` shows all deliveries")]
    Unknown(DeliveryId),
    #[error("delivery {id} is {state}: {why}")]
    State { id: DeliveryId, state: String, why: &'static str },
    #[error(
        "it is unclear whether ezyVet counted the stock of delivery {0}: look into ezyVet, and if the stock is not there, run `spsi delivery retry {0} --yes-resend`"
    )]
    MightCountTwice(DeliveryId),
    #[error("delivery {id} waits for delivery {after}, which is {state}; retry delivery {after} first")]
    WaitsForOther { id: DeliveryId, after: DeliveryId, state: String },
    #[error("clinic {0} has no site to deliver to: run `spsi clinic set {0} site=SITE`, then `spsi delivery retry`")]
    NoSite(i64),
    #[error("another process has used the site for {0}; run the command again")]
    SiteBusy(Span),
    #[error("{0}")]
    Call(String),
    #[error(transparent)]
    Stopped(#[from] super::StopReason),
    #[error(transparent)]
    Site(#[from] SiteError),
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
}

const REPLACED: &str = "the same invoice was sent under another number instead";

/// Selects deliveries. An empty filter selects all.
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
    /// Only invoices that the clinic did not approve within `SPSI_RECEIPT_GIVE_UP`.
    pub stale: bool,
    /// Only invoices that differ in ezyVet from what was sent.
    pub differing: bool,
}

/// A delivery, as staff see it.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Delivery {
    pub id: DeliveryId,
    pub kind: String,
    pub state: String,
    pub invoice_number: String,
    pub shipment: i64,
    /// The order's `supplier_order_number`.
    pub order: String,
    /// Name of the clinic.
    pub clinic: String,
    pub clinic_id: i64,
    /// Name of the site. `None`: the clinic has no site.
    pub site: Option<String>,
    pub site_id: Option<i64>,
    /// Stock location of a `supplied`.
    pub location_id: Option<String>,
    /// The delivery that must be received before this one is sent.
    pub after: Option<i64>,
    pub attempts: i32,
    /// The clinic did not approve the invoice within `SPSI_RECEIPT_GIVE_UP`; the approval is no longer asked for.
    pub stale: bool,
    /// The invoice in ezyVet differs from the one that was sent; see [`Detail::differences`].
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

/// A product of a clinic that no inventory product is mapped to.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Unmapped {
    /// ezyVet's id of the product.
    pub id: String,
    pub supplier_code: String,
    /// Name in the supplier's catalogue.
    pub name: Option<String>,
    /// Deliveries that need the product.
    pub deliveries: Vec<i64>,
    /// Likely inventory products: `uid`, `code`, `name`, and `by` (what matches: code, barcode or name).
    pub candidates: serde_json::Value,
}

/// How many deliveries are in a state.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct StateCount {
    /// Equal to `state`: every row of a list has an id.
    pub id: String,
    pub state: String,
    pub count: i64,
    pub receive_invoice: i64,
    pub supplied: i64,
}

/// The result of [`retry_all`].
#[derive(Debug)]
pub struct BulkRetry {
    pub retried: Vec<Delivery>,
    /// Why the other deliveries were not retried.
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
    /// `None`: the call is under way, or its process died.
    #[serde(with = "time::serde::rfc3339::option")]
    pub finished_at: Option<OffsetDateTime>,
    /// As a `curl` command, without the token.
    pub request: String,
    pub status: Option<i32>,
    pub response: Option<String>,
    pub outcome: Option<String>,
    /// The outcome as a sentence.
    pub detail: Option<String>,
}

/// A delivery with its payload and history.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Detail {
    #[serde(flatten)]
    pub delivery: Delivery,
    /// Differences between the invoice in ezyVet and the one that was sent: `what`, `sent`, `stored`.
    pub differences: serde_json::Value,
    /// Frozen when the goods left.
    pub payload: serde_json::Value,
    /// The call that would be sent now, as a `curl` command. `None` for a `supplied`, whose uids are looked up when it is
    /// sent, and without a site.
    pub request: Option<String>,
    pub history: Vec<Attempt>,
}

/// Returns the deliveries that pass the filter, newest first.
pub async fn list(pool: &PgPool, filter: &Filter) -> Result<Vec<Delivery>, StaffError> {
    Ok(store::list(pool, filter, None).await?)
}

/// Counts the deliveries that pass the filter by state. States without deliveries are left out.
pub async fn count(pool: &PgPool, filter: &Filter) -> Result<Vec<StateCount>, StaffError> {
    Ok(store::count(pool, filter).await?)
}

/// Retries the deliveries that pass the filter, oldest first. Reports those that cannot be retried.
pub async fn retry_all(
    pool: &PgPool,
    now: OffsetDateTime,
    actor: &str,
    filter: &Filter,
    yes_resend: bool,
) -> Result<BulkRetry, StaffError> {
    let mut bulk = BulkRetry { retried: Vec::new(), left: Vec::new() };
    for delivery in list(pool, filter).await?.into_iter().rev() {
        match retry(pool, now, actor, delivery.id, yes_resend).await {
            Ok(retried) => bulk.retried.push(retried),
            Err(StaffError::Database(error)) => return Err(error.into()),
            Err(refused) => bulk.left.push(refused),
        }
    }
    Ok(bulk)
}

/// Returns a delivery with every call made for it.
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

/// Makes a delivery due now, whatever it waited for. `yes_resend`: staff confirm that ezyVet did not receive the delivery;
/// an invoice is then sent without looking it up first.
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
        "sending" => return Err(StaffError::State { id, state, why: "a worker is sending it" }),
        _ => return Err(StaffError::State { id, state, why: "ezyVet received it" }),
    }
    if let (Some(after), Some(state)) = (locked.after, &locked.after_state)
        && !matches!(state.as_str(), "delivered" | "confirmed" | "cancelled")
    {
        return Err(StaffError::WaitsForOther { id, after: DeliveryId(after), state: state.clone() });
    }
    let site = locked.site.or(locked.clinic_site).ok_or(StaffError::NoSite(locked.clinic))?;
    let look_first = locked.kind == "receive_invoice" && locked.sent && !yes_resend;
    let is_supplied = locked.kind == "supplied";
    store::requeue(&mut transaction, id, SiteId(site), look_first, is_supplied, now).await?;
    if let Payload::Supplied(supplied) = store::lock_payload(&mut transaction, id).await? {
        // The clinic may have corrected ezyVet: look the uids up again, in lists that are read again.
        mapping_store::delete_products(&mut transaction, SiteId(site), &supplied.product_ids()).await?;
        mapping_store::expire_lists(&mut transaction, SiteId(site), now).await?;
    }
    let detail = serde_json::json!({ "was": state, "yes_resend": yes_resend });
    audit::record(&mut transaction, now, actor, "delivery.retry", ("delivery", Some(id.0)), detail).await?;
    transaction.commit().await?;
    find(pool, id).await
}

/// Replaces the delivery of an invoice by one with the same invoice under another number. Deliveries that followed the old
/// one follow the new one. `known_absent`: staff confirm that ezyVet did not receive the old one.
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
                "ezyVet may have received it: search the clinic's invoices and job queue, and if it is not there, add `--yes-resend`",
            );
        }
        "unclear" | "delivered" => {}
        "confirmed" => return refused("the clinic approved it"),
        _ => return refused("it is not sent yet, or is being sent"),
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
    store::replace(connection, id, new, number, now).await?;
    Ok(new)
}

/// Cancels a delivery. Deliveries that follow it wait for staff.
pub async fn cancel(pool: &PgPool, now: OffsetDateTime, actor: &str, id: DeliveryId) -> Result<Delivery, StaffError> {
    let mut transaction = pool.begin().await?;
    let locked = store::lock(&mut transaction, id).await?.ok_or(StaffError::Unknown(id))?;
    let state = locked.state;
    match state.as_str() {
        "waiting" | "attention" | "unclear" | "skipped" => {}
        "sending" => return Err(StaffError::State { id, state, why: "a worker is sending it" }),
        "cancelled" => return Err(StaffError::State { id, state, why: "it is cancelled already" }),
        _ => return Err(StaffError::State { id, state, why: "ezyVet received it" }),
    }
    store::cancel(&mut transaction, id, now).await?;
    let detail = serde_json::json!({ "was": state });
    audit::record(&mut transaction, now, actor, "delivery.cancel", ("delivery", Some(id.0)), detail).await?;
    transaction.commit().await?;
    find(pool, id).await
}

/// Returns the products of a site's open `supplied` deliveries that have no uid, with likely candidates.
pub async fn unmapped(pool: &PgPool, site: SiteId) -> Result<Vec<Unmapped>, StaffError> {
    Ok(store::unmapped(pool, site).await?)
}

/// Pins a product to an inventory product. Deliveries of the site that could not be mapped continue.
pub async fn pin_product(
    pool: &PgPool,
    now: OffsetDateTime,
    actor: &str,
    site: SiteId,
    (product_id, uid): (&str, &str),
) -> Result<(), StaffError> {
    let mut transaction = pool.begin().await?;
    mapping_store::pin_product(&mut transaction, site, product_id, uid, now).await?;
    mapping_store::wake_unmapped(&mut transaction, site, now).await?;
    store::notify_worker(&mut transaction, site).await?;
    let detail = serde_json::json!({ "product_id": product_id, "uid": uid });
    audit::record(&mut transaction, now, actor, "site.pin", ("site", Some(site.0)), detail).await?;
    Ok(transaction.commit().await?)
}

/// Returns one delivery.
pub(crate) async fn find(pool: &PgPool, id: DeliveryId) -> Result<Delivery, StaffError> {
    store::list(pool, &Filter::default(), Some(id)).await?.pop().ok_or(StaffError::Unknown(id))
}

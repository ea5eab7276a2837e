//! What staff do with deliveries: list, show, retry, cancel. Every change is recorded in the audit, in the caller's
//! transaction.
//!
//! Refuses to repeat an unclear `supplied` unless staff confirm that ezyVet did not count the stock; to send a delivery
//! before the one that it follows; and to change a delivery that is being sent or was received.

mod site;
mod store;

pub use site::{Check, SiteCheck, StoredSeparations, stored_separations};
pub use store::{count, unmapped};

use super::inventory_mapping::store as mapping_store;
use super::payload::Payload;
use super::step::invoice_request;
use super::store::{NewDelivery, enqueue, notify_worker};
use crate::audit;
use crate::clinics::sites::SiteError;
use crate::config::{SiteSettings, Span};
use crate::db::Page;
use crate::ids::{ClinicId, DeliveryId, ShipmentId, SiteId};
use sqlx::{PgConnection, PgExecutor};
use time::OffsetDateTime;

/// Why a staff command was refused.
#[derive(Debug, thiserror::Error)]
pub enum StaffError {
    #[error("no delivery has the id or invoice number `{0}`; `spsi delivery list` shows all deliveries")]
    Unknown(String),
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
    #[error(
        "delivery {id} is {state}: ezyVet may have received it: search the clinic's invoices and job queue, and if it is not there, add `--yes-resend`"
    )]
    MightArriveTwice { id: DeliveryId, state: String },
    /// The command is based on a version of the delivery that is no longer current.
    #[error("delivery {0} has changed since it was read; read it again")]
    Stale(DeliveryId),
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

const STATES: [&str; 8] =
    ["waiting", "sending", "unclear", "delivered", "confirmed", "skipped", "attention", "cancelled"];

/// Selects deliveries. All given conditions must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct Filter {
    /// Only in these states, separated by commas
    #[arg(long = "state", value_name = "STATE", value_delimiter = ',', value_parser = STATES)]
    pub states: Vec<String>,
    /// Only of this kind
    #[arg(long, value_parser = ["receive_invoice", "supplied"])]
    pub kind: Option<String>,
    /// Only to this site: id or name
    #[arg(long)]
    pub site: Option<String>,
    /// Only for this clinic: id, client id or name
    #[arg(long)]
    pub clinic: Option<String>,
    /// Only for this order: supplier order number or id
    #[arg(long)]
    pub order: Option<String>,
    /// Only for this shipment: id
    #[arg(long)]
    pub shipment: Option<i64>,
    /// Only with this invoice number
    #[arg(long)]
    pub invoice_number: Option<String>,
    /// Only invoices that the clinic has not approved within SPSI_RECEIPT_GIVE_UP
    #[arg(long)]
    pub stale: bool,
    /// Only invoices whose copy in ezyVet differs from the one sent; `spsi delivery show` lists the differences
    #[arg(long)]
    pub differing: bool,
}

/// A delivery, as staff see it.
#[derive(Clone, Debug, serde::Serialize, utoipa::ToSchema)]
pub struct Delivery {
    #[schema(value_type = i64)]
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

impl Delivery {
    /// Changes with the delivery's state and its attempts.
    pub fn version(&self) -> String {
        version(&self.state, self.attempts)
    }
}

fn version(state: &str, attempts: i32) -> String {
    format!("{state}-{attempts}")
}

/// A product of a clinic that no inventory product is mapped to.
#[derive(Clone, Debug, serde::Serialize, utoipa::ToSchema)]
#[schema(as = UnmappedProduct)]
pub struct Unmapped {
    /// ezyVet's id of the product.
    pub id: String,
    pub supplier_code: String,
    /// Name in the supplier's catalogue.
    pub name: Option<String>,
    /// Deliveries that need the product.
    pub deliveries: Vec<i64>,
    /// Likely inventory products: `uid`, `code`, `name`, and `by` (what matches: code, barcode or name).
    #[schema(value_type = Vec<Object>)]
    pub candidates: serde_json::Value,
}

/// How many deliveries are in a state.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[schema(as = DeliveryCount)]
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
    /// The other deliveries, and why they were not retried.
    pub left: Vec<(DeliveryId, StaffError)>,
}

/// A call that was made for a delivery.
#[derive(Clone, Debug, serde::Serialize, utoipa::ToSchema)]
#[schema(as = DeliveryAttempt)]
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
#[derive(Clone, Debug, serde::Serialize, utoipa::ToSchema)]
#[schema(as = DeliveryInFull)]
pub struct Detail {
    #[serde(flatten)]
    pub delivery: Delivery,
    /// Differences between the invoice in ezyVet and the one that was sent: `what`, `sent`, `stored`.
    #[schema(value_type = Vec<Object>)]
    pub differences: serde_json::Value,
    /// Frozen when the goods left.
    #[schema(value_type = Object)]
    pub payload: serde_json::Value,
    /// The call that would be sent now, as a `curl` command. `None` for a `supplied`, whose uids are looked up when it is
    /// sent, and without a site.
    pub request: Option<String>,
    pub history: Vec<Attempt>,
}

/// Returns a page of the deliveries that pass the filter, newest first.
pub async fn list(connection: &mut PgConnection, filter: &Filter, page: Page) -> Result<Vec<Delivery>, StaffError> {
    Ok(store::list(connection, filter, page, None).await?)
}

/// Returns the id of a delivery: of the one with this id, or else of the last delivery of the invoice with this number.
pub async fn find_id(executor: impl PgExecutor<'_>, which: &str) -> Result<DeliveryId, StaffError> {
    let which = which.trim();
    store::find_id(executor, which).await?.ok_or_else(|| StaffError::Unknown(which.to_owned()))
}

/// Retries the deliveries that pass the filter, oldest first, in the caller's transaction. Reports those that cannot be
/// retried.
pub async fn retry_all(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    actor: &str,
    filter: &Filter,
    yes_resend: bool,
) -> Result<BulkRetry, StaffError> {
    let mut bulk = BulkRetry { retried: Vec::new(), left: Vec::new() };
    let mut ids: Vec<DeliveryId> =
        list(connection, filter, Page::default()).await?.iter().map(|delivery| delivery.id).collect();
    ids.reverse();
    // Before any lease is touched: a worker that settles one of them holds its row, and needs the lease.
    store::lock_all(connection, &ids).await?;
    for id in ids {
        match retry(connection, now, actor, id, yes_resend, None).await {
            Ok(retried) => bulk.retried.push(retried),
            Err(StaffError::Database(error)) => return Err(error.into()),
            Err(refused) => bulk.left.push((id, refused)),
        }
    }
    Ok(bulk)
}

/// Returns a delivery with every call made for it.
pub async fn show(
    connection: &mut PgConnection,
    defaults: &SiteSettings,
    id: DeliveryId,
) -> Result<Detail, StaffError> {
    let delivery = find(connection, id).await?;
    let content = store::find_content(connection, id).await?;
    let request = match (&content.payload.0, &content.base_url, &content.settings) {
        (Payload::ReceiveInvoice(invoice), Some(base_url), Some(overrides)) => {
            let settings = defaults.overridden(&overrides.0);
            invoice_request(invoice, &settings).ok().map(|request| request.as_curl(base_url))
        }
        _ => None,
    };
    let payload = serde_json::to_value(&content.payload).unwrap_or_default();
    let history = store::list_attempts(connection, id).await?;
    Ok(Detail { delivery, differences: content.differences, payload, request, history })
}

/// Locks a delivery's row, and then checks that the delivery is as the caller has seen it.
async fn lock(
    connection: &mut PgConnection,
    id: DeliveryId,
    expected: Option<&str>,
) -> Result<store::LockedDelivery, StaffError> {
    let locked = store::lock(connection, id).await?.ok_or_else(|| StaffError::Unknown(id.to_string()))?;
    if expected.is_some_and(|expected| expected != version(&locked.state, locked.attempts)) {
        return Err(StaffError::Stale(id));
    }
    Ok(locked)
}

/// Makes a delivery due now, whatever it waited for, in the caller's transaction. `yes_resend`: staff confirm that ezyVet did
/// not receive the delivery; an invoice is then sent without looking it up first. `expected` is the version that the caller
/// has seen. A refused retry writes nothing.
pub async fn retry(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    actor: &str,
    id: DeliveryId,
    yes_resend: bool,
    expected: Option<&str>,
) -> Result<Delivery, StaffError> {
    let locked = lock(connection, id, expected).await?;
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
    store::requeue(connection, id, SiteId(site), look_first, is_supplied, now).await?;
    if let Payload::Supplied(supplied) = store::lock_payload(connection, id).await? {
        // The clinic may have corrected ezyVet: look the uids up again, in lists that are read again.
        mapping_store::delete_products(connection, SiteId(site), &supplied.product_ids()).await?;
        mapping_store::expire_lists(connection, SiteId(site), now).await?;
    }
    let detail = serde_json::json!({ "was": state, "yes_resend": yes_resend });
    audit::record(connection, now, actor, "delivery.retry", ("delivery", Some(id.0)), detail).await?;
    find(connection, id).await
}

/// Replaces the delivery of an invoice by one with the same invoice under another number. Deliveries that followed the old
/// one follow the new one. `known_absent`: staff confirm that ezyVet did not receive the old one.
pub(crate) async fn replace_invoice(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    id: DeliveryId,
    known_absent: bool,
    number: &str,
    expected: Option<&str>,
) -> Result<DeliveryId, StaffError> {
    let locked = lock(connection, id, expected).await?;
    let state = locked.state.clone();
    let refused = |why| Err(StaffError::State { id, state: state.clone(), why });
    match state.as_str() {
        _ if locked.kind != "receive_invoice" => return refused("only an invoice has a number to change"),
        _ if locked.replaced => return refused(REPLACED),
        "attention" | "cancelled" if !locked.sent || known_absent => {}
        "attention" | "cancelled" | "unclear" | "delivered" if !known_absent => {
            return Err(StaffError::MightArriveTwice { id, state });
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

/// Cancels a delivery, in the caller's transaction. Deliveries that follow it wait for staff.
pub async fn cancel(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    actor: &str,
    id: DeliveryId,
    expected: Option<&str>,
) -> Result<Delivery, StaffError> {
    let locked = lock(connection, id, expected).await?;
    let state = locked.state;
    match state.as_str() {
        "waiting" | "attention" | "unclear" | "skipped" => {}
        "sending" => return Err(StaffError::State { id, state, why: "a worker is sending it" }),
        "cancelled" => return Err(StaffError::State { id, state, why: "it is cancelled already" }),
        _ => return Err(StaffError::State { id, state, why: "ezyVet received it" }),
    }
    store::cancel(connection, id, now).await?;
    let detail = serde_json::json!({ "was": state });
    audit::record(connection, now, actor, "delivery.cancel", ("delivery", Some(id.0)), detail).await?;
    find(connection, id).await
}

/// Pins a product to an inventory product. Deliveries of the site that could not be mapped continue. In
/// the caller's transaction.
pub async fn pin_product(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    actor: &str,
    site: SiteId,
    (product_id, uid): (&str, &str),
) -> Result<(), StaffError> {
    mapping_store::pin_product(connection, site, product_id, uid, now).await?;
    mapping_store::wake_unmapped(connection, site, now).await?;
    notify_worker(connection, site).await?;
    let detail = serde_json::json!({ "product_id": product_id, "uid": uid });
    audit::record(connection, now, actor, "site.pin", ("site", Some(site.0)), detail).await?;
    Ok(())
}

/// Returns one delivery.
pub async fn find(connection: &mut PgConnection, id: DeliveryId) -> Result<Delivery, StaffError> {
    let found = store::list(connection, &Filter::default(), Page::default(), Some(id)).await?.pop();
    found.ok_or_else(|| StaffError::Unknown(id.to_string()))
}

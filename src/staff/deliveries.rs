//! `/deliveries`: invoices and stock movements on their way to ezyVet.

use super::body::Nothing;
use super::page::{List, PageParams};
use super::problem::{Kind, Problem, Result};
use super::query::{Id, Read};
use super::write::{Answer, IfMatch, Write};
use crate::delivery::StopReason;
use crate::delivery::staff::{self, Delivery, Detail, Filter, StaffError, StateCount};
use crate::ids::DeliveryId;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::{IntoParams, ToSchema};
use validator::Validate;

impl From<StaffError> for Problem {
    fn from(error: StaffError) -> Self {
        let conflict = |text| Self::new(Kind::Conflict, text);
        match error {
            StaffError::Unknown(which) => Self::not_found("delivery", which),
            StaffError::Stale(_) => Self::stale(),
            StaffError::State { id, state, why } => conflict(format!("Delivery {id} is {state}: {why}.")),
            StaffError::MightCountTwice(id) => conflict(format!(
                "Delivery {id} is unclear: ezyVet may have counted its stock. Look into ezyVet; if the stock is not there, \
                 send `yes_resend`."
            )),
            StaffError::MightArriveTwice { id, state } => conflict(format!(
                "Delivery {id} is {state}: ezyVet may have received it. Search the clinic's invoices and job queue; if it is \
                 not there, send `yes_resend`."
            )),
            StaffError::WaitsForOther { id, after, state } => conflict(format!(
                "Delivery {id} waits for delivery {after}, which is {state}. Retry delivery {after} first."
            )),
            StaffError::NoSite(clinic) => {
                conflict(format!("Clinic {clinic} has no ezyVet site to deliver to. Set its `site`, then retry."))
            }
            StaffError::SiteBusy(waited) => {
                conflict(format!("The site is busy: another process has used it for {waited}. Send the request again."))
            }
            StaffError::Call(text) => Self::new(Kind::BadGateway, text),
            StaffError::Stopped(reason) => reason.into(),
            StaffError::Site(error) => error.into(),
            StaffError::Database(error) => error.into(),
        }
    }
}

/// Says why a call to ezyVet failed. A site that cannot be called now is a conflict.
impl From<StopReason> for Problem {
    fn from(reason: StopReason) -> Self {
        match reason {
            StopReason::NoToken(outcome) => {
                Self::new(Kind::BadGateway, format!("ezyVet granted no access token: {outcome}"))
            }
            StopReason::LeaseLost | StopReason::RateLimited(_) | StopReason::DeliveryChanged => Self::new(
                Kind::Conflict,
                format!("The site cannot be called now: {reason}. Send the request again later."),
            ),
            StopReason::Site(error) => error.into(),
            StopReason::Secret(error) => error.into(),
            StopReason::Database(error) => error.into(),
        }
    }
}

/// The states of a delivery.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    Waiting,
    Sending,
    /// Sent, without an answer that says whether it arrived.
    Unclear,
    Delivered,
    /// The clinic approved the invoice.
    Confirmed,
    /// The site does not grant stock movements.
    Skipped,
    /// Needs staff.
    Attention,
    Cancelled,
}

impl DeliveryState {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Sending => "sending",
            Self::Unclear => "unclear",
            Self::Delivered => "delivered",
            Self::Confirmed => "confirmed",
            Self::Skipped => "skipped",
            Self::Attention => "attention",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What a delivery brings to ezyVet.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryKind {
    ReceiveInvoice,
    Supplied,
}

impl DeliveryKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::ReceiveInvoice => "receive_invoice",
            Self::Supplied => "supplied",
        }
    }
}

/// Selects deliveries. All given conditions must hold.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DeliveryParams {
    /// Only in these states, separated by commas: waiting, sending, unclear, delivered, confirmed, skipped, attention, cancelled
    #[serde(default, deserialize_with = "states")]
    #[param(value_type = Option<String>, example = "attention,unclear")]
    state: Vec<DeliveryState>,
    /// Only of this kind
    kind: Option<DeliveryKind>,
    /// Only to this site: id or name
    site: Option<String>,
    /// Only for this clinic: id, client id or name
    clinic: Option<String>,
    /// Only for this order: `supplier_order_number` or id
    order: Option<String>,
    /// Only for this shipment: id
    shipment: Option<i64>,
    /// Only with this invoice number
    invoice_number: Option<String>,
    /// `true`: only invoices that the clinic has not approved within SPSI_RECEIPT_GIVE_UP
    #[serde(default)]
    stale: bool,
    /// `true`: only invoices whose copy in ezyVet differs from the one sent
    #[serde(default)]
    differing: bool,
}

fn states<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<DeliveryState>, D::Error> {
    use serde::de::IntoDeserializer;
    let text = String::deserialize(deserializer)?;
    text.split(',').map(|state| DeliveryState::deserialize(state.trim().into_deserializer())).collect()
}

impl DeliveryParams {
    fn filter(self) -> Filter {
        Filter {
            states: self.state.iter().map(|state| state.as_str().to_owned()).collect(),
            kind: self.kind.map(|kind| kind.as_str().to_owned()),
            site: self.site,
            clinic: self.clinic,
            order: self.order,
            shipment: self.shipment,
            invoice_number: self.invoice_number,
            stale: self.stale,
            differing: self.differing,
        }
    }
}

/// List deliveries
///
/// Newest first.
#[utoipa::path(get, path = "/deliveries", tag = "deliveries", params(DeliveryParams, PageParams),
    responses((status = 200, description = "A page of deliveries", body = List<Delivery>)))]
pub async fn list_deliveries(read: Read<DeliveryParams, PageParams>) -> Result<Answer> {
    let page = read.page.before()?;
    let data = staff::list(&mut *read.staff.pool.begin().await?, &read.params.filter(), page).await?;
    read.page.answer(data, |delivery| delivery.id.0)
}

/// Count deliveries by state
///
/// By state. States without deliveries are left out.
#[utoipa::path(get, path = "/deliveries/counts", tag = "deliveries", params(DeliveryParams, PageParams),
    responses((status = 200, description = "The number of deliveries in each state", body = List<StateCount>)))]
pub async fn count_deliveries(read: Read<DeliveryParams, PageParams>) -> Result<Answer> {
    let data = staff::count(&mut *read.staff.pool.begin().await?, &read.params.filter()).await?;
    Answer::ok(&read.page.split(data, |count| count.id.clone())?)
}

/// Show a delivery
///
/// With its payload, and every call to ezyVet that was made for it. `id`: the id, or the invoice number for the delivery of
/// an invoice. The `ETag` is the version for `If-Match`.
#[utoipa::path(get, path = "/deliveries/{id}", tag = "deliveries", params(("id" = String, Path)),
    responses((status = 200, description = "The delivery", body = Detail)))]
pub async fn show_delivery(read: Read, id: Id) -> Result<Answer> {
    let connection = &mut *read.staff.pool.begin().await?;
    let id = staff::find_id(&mut *connection, &id).await?;
    let detail = staff::show(connection, &read.staff.settings.site, id).await?;
    Answer::versioned(&detail, &detail.delivery.version())
}

/// A delivery to send again.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct Resend {
    /// Confirms that ezyVet did not receive it. Look into ezyVet first: an invoice is then sent without looking for it.
    #[serde(default)]
    pub(super) yes_resend: bool,
}

fn changed(delivery: &Delivery) -> Result<Answer> {
    Answer::versioned(delivery, &delivery.version())
}

/// Send a delivery again
///
/// In every state except `delivered`, `confirmed` and `sending`. An invoice that may have arrived is looked up in ezyVet
/// first.
#[utoipa::path(post, path = "/deliveries/{id}/retry", tag = "deliveries", params(("id" = String, Path), IfMatch), request_body = Resend,
    responses((status = 200, description = "The delivery, due now", body = Delivery)))]
pub async fn retry_delivery(connection: &mut PgConnection, write: Write<Resend>, id: Id) -> Result<Answer> {
    let id = staff::find_id(&mut *connection, &id).await?;
    let (yes_resend, expected) = (write.content.yes_resend, write.if_match.as_deref());
    changed(&staff::retry(connection, write.now, &write.actor, id, yes_resend, expected).await?)
}

/// Cancel a delivery
///
/// Of a delivery that ezyVet does not have. Deliveries that follow it then need staff.
#[utoipa::path(post, path = "/deliveries/{id}/cancel", tag = "deliveries", params(("id" = String, Path), IfMatch),
    request_body = Nothing,
    responses((status = 200, description = "The cancelled delivery", body = Delivery)))]
pub async fn cancel_delivery(connection: &mut PgConnection, write: Write, id: Id) -> Result<Answer> {
    let id = staff::find_id(&mut *connection, &id).await?;
    let expected = write.if_match.as_deref();
    changed(&staff::cancel(connection, write.now, &write.actor, id, expected).await?)
}

/// Deliveries to send again. All given conditions must hold, and at least one must be given.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct BulkResend {
    /// Only in these states.
    #[serde(default)]
    states: Vec<DeliveryState>,
    kind: Option<DeliveryKind>,
    /// Id or name.
    site: Option<String>,
    /// Id, client id or name.
    clinic: Option<String>,
    /// `supplier_order_number` or id.
    order: Option<String>,
    shipment: Option<i64>,
    invoice_number: Option<String>,
    /// Only invoices that the clinic has not approved within SPSI_RECEIPT_GIVE_UP.
    #[serde(default)]
    stale: bool,
    /// Only invoices whose copy in ezyVet differs from the one sent.
    #[serde(default)]
    differing: bool,
    /// Confirms that ezyVet received none of them.
    #[serde(default)]
    yes_resend: bool,
}

/// The result of sending many deliveries again.
#[derive(Debug, Serialize, ToSchema)]
pub struct Retried {
    /// Due now.
    pub retried: Vec<Delivery>,
    /// Unchanged, with the reason.
    pub left: Vec<Left>,
}

/// A delivery that was not retried.
#[derive(Debug, Serialize, ToSchema)]
pub struct Left {
    #[schema(value_type = i64)]
    pub id: DeliveryId,
    pub reason: String,
}

/// Send many deliveries again
///
/// Retries the deliveries that pass the filter, oldest first. Those that cannot be retried stay unchanged and are listed
/// with the reason.
#[utoipa::path(post, path = "/deliveries/retry", tag = "deliveries", request_body = BulkResend,
    responses((status = 200, description = "The deliveries that are due now, and those left", body = Retried)))]
pub async fn retry_deliveries(connection: &mut PgConnection, write: Write<BulkResend>) -> Result<Answer> {
    let resend = write.content;
    let filter = Filter {
        states: resend.states.iter().map(|state| state.as_str().to_owned()).collect(),
        kind: resend.kind.map(|kind| kind.as_str().to_owned()),
        site: resend.site,
        clinic: resend.clinic,
        order: resend.order,
        shipment: resend.shipment,
        invoice_number: resend.invoice_number,
        stale: resend.stale,
        differing: resend.differing,
    };
    if filter == Filter::default() {
        return Err(Problem::field(Kind::Invalid, "(body)", "needs at least one condition, such as `states`"));
    }
    let bulk = staff::retry_all(connection, write.now, &write.actor, &filter, resend.yes_resend).await?;
    let left = |(id, error): (DeliveryId, StaffError)| Left { id, reason: Problem::from(error).detail };
    Answer::ok(&Retried { retried: bulk.retried, left: bulk.left.into_iter().map(left).collect() })
}

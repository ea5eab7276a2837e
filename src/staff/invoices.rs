//! `/invoices`: the invoices that were issued, by their numbers.

use super::deliveries::{DeliveryState, Resend};
use super::page::{List, PageParams};
use super::problem::{Kind, Problem, Result};
use super::query::{Id, Read};
use super::write::{Answer, IfMatch, Write};
use crate::ids::DeliveryId;
use crate::shipments;
use crate::shipments::invoices::{self, Filter, Invoice, InvoiceInFull};
use serde::Deserialize;
use sqlx::PgConnection;
use utoipa::IntoParams;

/// Selects invoices. All given conditions must hold.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct InvoiceParams {
    /// Only invoices whose delivery is in this state
    state: Option<DeliveryState>,
    /// Only of this order: `supplier_order_number` or id
    order: Option<String>,
    /// Only of this clinic: id, client id or name
    clinic: Option<String>,
    /// Only of this shipment: id
    shipment: Option<i64>,
    /// `true`: only invoices that the clinic has not approved within SPSI_RECEIPT_GIVE_UP
    #[serde(default)]
    stale: bool,
    /// `true`: only invoices whose copy in ezyVet differs from the one sent
    #[serde(default)]
    differing: bool,
}

/// List invoices
///
/// Newest first. A reissued invoice is listed under each of its numbers.
#[utoipa::path(get, path = "/invoices", tag = "invoices", params(InvoiceParams, PageParams),
    responses((status = 200, description = "A page of invoices", body = List<Invoice>)))]
pub async fn list_invoices(read: Read<InvoiceParams, PageParams>) -> Result<Answer> {
    let page = read.page.before()?;
    let params = read.params;
    let filter = Filter {
        state: params.state.map(|state| state.as_str().to_owned()),
        order: params.order,
        clinic: params.clinic,
        shipment: params.shipment,
        stale: params.stale,
        differing: params.differing,
    };
    let data = invoices::list(&mut *read.staff.pool.begin().await?, &filter, page).await?;
    read.page.answer(data, |invoice| invoice.id)
}

/// Show an invoice
///
/// As it was frozen when the goods left, with its deliveries, and the differences from its copy in ezyVet. The `ETag` is the
/// version for `If-Match`.
#[utoipa::path(get, path = "/invoices/{number}", tag = "invoices", params(("number" = String, Path)),
    responses((status = 200, description = "The invoice", body = InvoiceInFull)))]
pub async fn show_invoice(read: Read, number: Id) -> Result<Answer> {
    let invoice = invoices::show(&mut *read.staff.pool.begin().await?, &number).await?;
    let answer = Answer::ok(&invoice)?;
    Ok(match invoice.version() {
        Some(version) => answer.with_version(&version),
        None => answer,
    })
}

/// Send an invoice under a new number
///
/// For an invoice that ezyVet never received. Its delivery is cancelled, and the old number is never used again. The answer
/// is the invoice under its new number.
#[utoipa::path(post, path = "/invoices/{number}/reissue", tag = "invoices", params(("number" = String, Path), IfMatch),
    request_body = Resend,
    responses((status = 200, description = "The invoice under its new number", body = InvoiceInFull)))]
pub async fn reissue_invoice(connection: &mut PgConnection, write: Write<Resend>, number: Id) -> Result<Answer> {
    let (defaults, now) = (&write.staff.settings.site, write.now);
    let (known_absent, expected) = (write.content.yes_resend, write.if_match.as_deref());
    let old = invoices::find(connection, &number).await?;
    let Some(delivery) = old.delivery.map(DeliveryId) else {
        let text = format!("Shipment {} was recorded without an invoice.", old.shipment);
        return Err(Problem::new(Kind::Conflict, text));
    };
    let new = shipments::reissue(connection, defaults, now, &write.actor, delivery, known_absent, expected).await?;
    Answer::ok(&invoices::show(connection, &new.invoice_number).await?)
}

//! `/invoices`: the invoices that were issued, by their numbers.

use super::deliveries::{DeliveryState, Resend};
use super::page::{List, PageParams};
use super::problem::{Kind, Problem};
use super::query::{self, Read};
use super::write::{Answer, IfMatch, Json, Write};
use crate::ids::DeliveryId;
use crate::shipments;
use crate::shipments::invoices::{self, Filter, Invoice, InvoiceInFull};
use actix_web::{HttpResponse, web};
use serde::Deserialize;
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
    #[serde(default, with = "query::text")]
    shipment: Option<i64>,
    /// `true`: only invoices that the clinic has not approved within SPSI_RECEIPT_GIVE_UP
    #[serde(default, with = "query::text")]
    stale: Option<bool>,
    /// `true`: only invoices whose copy in ezyVet differs from the one sent
    #[serde(default, with = "query::text")]
    differing: Option<bool>,
}

/// List invoices
///
/// Newest first. A reissued invoice is listed under each of its numbers.
#[utoipa::path(get, path = "/invoices", tag = "invoices", params(InvoiceParams, PageParams),
    responses((status = 200, description = "A page of invoices", body = List<Invoice>)))]
pub async fn list_invoices(read: Read<InvoiceParams, PageParams>) -> Result<HttpResponse, Problem> {
    let page = read.page.page(&read.staff.settings)?;
    let params = read.params;
    let filter = Filter {
        state: params.state.map(|state| state.as_str().to_owned()),
        order: params.order,
        clinic: params.clinic,
        shipment: params.shipment,
        stale: params.stale.unwrap_or_default(),
        differing: params.differing.unwrap_or_default(),
    };
    let data = invoices::list(&mut *read.staff.pool.acquire().await?, &filter, page).await?;
    read.page.respond(&read.staff.settings, data, |invoice| invoice.id)
}

/// Show an invoice
///
/// As it was frozen when the goods left, with its deliveries, and the differences from its copy in ezyVet. The `ETag` is the
/// version for `If-Match`.
#[utoipa::path(get, path = "/invoices/{number}", tag = "invoices", params(("number" = String, Path)),
    responses((status = 200, description = "The invoice", body = InvoiceInFull)))]
pub async fn show_invoice(read: Read, number: web::Path<String>) -> Result<HttpResponse, Problem> {
    let invoice = invoices::show(&mut *read.staff.pool.acquire().await?, &number).await?;
    let answer = Answer::ok(&invoice)?;
    Ok(match invoice.version() {
        Some(version) => answer.with_version(&version),
        None => answer,
    }
    .into_response())
}

/// Send an invoice under a new number
///
/// For an invoice that ezyVet never received. Its delivery is cancelled, and the old number is never used again. The answer
/// is the invoice under its new number.
#[utoipa::path(post, path = "/invoices/{number}/reissue", tag = "invoices", params(("number" = String, Path), IfMatch),
    request_body = Resend,
    responses((status = 200, description = "The invoice under its new number", body = InvoiceInFull)))]
pub async fn reissue_invoice(write: Write<Json<Resend>>, number: web::Path<String>) -> Result<HttpResponse, Problem> {
    write
        .run(async |connection, write| {
            let (defaults, actor, now) = (&write.staff.settings.site, write.caller.actor(), write.now);
            let (known_absent, expected) = (write.content.0.yes_resend, write.if_match.as_deref());
            let old = invoices::find(connection, &number).await?;
            let Some(delivery) = old.delivery.map(DeliveryId) else {
                let text = format!("Shipment {} was recorded without an invoice.", old.shipment);
                return Err(Problem::new(Kind::Conflict, text));
            };
            let new = shipments::reissue(connection, defaults, now, &actor, delivery, known_absent, expected).await?;
            Answer::ok(&invoices::show(connection, &new.invoice_number).await?)
        })
        .await
}

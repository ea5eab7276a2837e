//! The invoices that were issued, by their numbers: list and show. Each number belongs to one shipment; the delivery that
//! carries it says how far the invoice is. An invoice that was reissued keeps its old number, whose delivery is cancelled.

mod store;

use super::ShipError;
use crate::db::Page;
use crate::delivery::staff::{self, Delivery};
use serde::Serialize;
use serde_json::Value;
use sqlx::PgConnection;
use time::OffsetDateTime;
use utoipa::ToSchema;

/// An issued invoice number.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Invoice {
    pub id: i64,
    pub invoice_number: String,
    /// The state of its delivery. Null: the shipment was recorded without an invoice.
    pub state: Option<String>,
    pub shipment: i64,
    /// Position among the invoice numbers of the shipment, from 1.
    pub part: i32,
    /// The order's `supplier_order_number`.
    pub order: String,
    /// The clinic's name.
    pub clinic: String,
    pub clinic_id: i64,
    /// The delivery that carries the invoice.
    pub delivery: Option<i64>,
    /// The clinic did not approve the invoice within `SPSI_RECEIPT_GIVE_UP`.
    pub stale: bool,
    /// The invoice in ezyVet differs from the one that was sent.
    pub differs: bool,
    #[serde(with = "time::serde::rfc3339")]
    pub issued_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    pub delivered_at: Option<OffsetDateTime>,
}

/// An invoice with its content and its way to ezyVet.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct InvoiceInFull {
    #[serde(flatten)]
    pub invoice: Invoice,
    /// The invoice as it was frozen when the goods left. Null: the shipment was recorded without an invoice.
    #[schema(value_type = Option<Object>)]
    pub payload: Option<Value>,
    /// Differences between the invoice in ezyVet and the one that was sent: `what`, `sent`, `stored`.
    #[schema(value_type = Vec<Object>)]
    pub differences: Value,
    /// The deliveries with this number: the invoice, and the stock movements that follow it.
    pub deliveries: Vec<Delivery>,
}

impl InvoiceInFull {
    /// The version of the delivery that carries the invoice.
    pub fn version(&self) -> Option<String> {
        let carries = |delivery: &&Delivery| Some(delivery.id.0) == self.invoice.delivery;
        self.deliveries.iter().find(carries).map(Delivery::version)
    }
}

/// Selects invoices. All given conditions must hold.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// State of the delivery.
    pub state: Option<String>,
    /// `supplier_order_number` or our id.
    pub order: Option<String>,
    /// Id, client id or name.
    pub clinic: Option<String>,
    pub shipment: Option<i64>,
    pub stale: bool,
    pub differing: bool,
}

/// Returns a page of the invoices that pass the filter, newest first.
pub async fn list(connection: &mut PgConnection, filter: &Filter, page: Page) -> Result<Vec<Invoice>, ShipError> {
    Ok(store::list(connection, filter, page, None).await?)
}

/// Returns one invoice without its content, by its number or else its id.
pub async fn find(connection: &mut PgConnection, which: &str) -> Result<Invoice, ShipError> {
    let unknown = || ShipError::UnknownInvoice(which.to_owned());
    let id = store::find_id(connection, which.trim()).await?.ok_or_else(unknown)?;
    let found = store::list(connection, &Filter::default(), Page::default(), Some(id)).await?;
    found.into_iter().next().ok_or_else(unknown)
}

/// Returns one invoice, by its number or else its id.
pub async fn show(connection: &mut PgConnection, which: &str) -> Result<InvoiceInFull, ShipError> {
    let invoice = find(connection, which).await?;
    let content = store::find_content(connection, invoice.id).await?;
    let filter = staff::Filter {
        shipment: Some(invoice.shipment),
        invoice_number: Some(invoice.invoice_number.clone()),
        ..staff::Filter::default()
    };
    let deliveries = staff::list(connection, &filter, Page::default()).await?;
    let (payload, differences) = content.map(|content| (content.payload, content.differences)).unzip();
    Ok(InvoiceInFull {
        invoice,
        payload,
        differences: differences.unwrap_or_else(|| Value::Array(Vec::new())),
        deliveries,
    })
}

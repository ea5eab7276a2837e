//! The request to the order hook: `order.decide`.

use crate::clinics::cache::CachedClinic;
use crate::ids::ClinicId;
use crate::orders::read::{OrderLine, OrderRequest};
use crate::values::text;
use aws_lc_rs::digest::{SHA256, digest};
use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::value::RawValue;
use std::fmt::Write;
use time::OffsetDateTime;
use utoipa::ToSchema;

/// The body of a request to the order hook
#[derive(Debug, Serialize, ToSchema)]
pub struct OrderDecide<'a> {
    /// The same for every request about this content of the order, also in the header `webhook-id`.
    pub id: String,
    /// `order.decide`
    #[serde(rename = "type")]
    pub kind: &'static str,
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub created_at: OffsetDateTime,
    pub data: OrderToDecide<'a>,
}

/// An order that is not stored yet
#[derive(Debug, Serialize, ToSchema)]
pub struct OrderToDecide<'a> {
    pub clinic: &'a str,
    #[schema(value_type = i64)]
    pub clinic_id: ClinicId,
    /// ezyVet's id of the order.
    pub ezyvet_id: &'a str,
    pub purchase_order_number: &'a str,
    pub is_return: bool,
    /// The order's date at the clinic.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ordered_at: Option<OffsetDateTime>,
    pub shipping_address_id: &'a str,
    /// The business whose books are touched.
    pub ownership_id: &'a str,
    /// Includes tax.
    #[serde(with = "text")]
    #[schema(value_type = String)]
    pub freight: Decimal,
    #[serde(with = "text")]
    #[schema(value_type = String)]
    pub tax: Decimal,
    /// Includes tax.
    #[serde(with = "text")]
    #[schema(value_type = String)]
    pub total: Decimal,
    pub items: Vec<LineToDecide<'a>>,
    /// The order as ezyVet sent it.
    #[schema(value_type = Object)]
    pub purchaseorder: Option<&'a RawValue>,
}

/// A line of it. Quantities are in units, prices and totals without tax
#[derive(Debug, Serialize, ToSchema)]
pub struct LineToDecide<'a> {
    /// ezyVet's id of the line.
    pub item: &'a str,
    pub supplier_code: &'a str,
    #[serde(with = "text")]
    #[schema(value_type = String)]
    pub outers: Decimal,
    #[serde(with = "text")]
    #[schema(value_type = String)]
    pub units_per_outer: Decimal,
    #[serde(with = "text")]
    #[schema(value_type = String)]
    pub quantity: Decimal,
    #[serde(with = "text")]
    #[schema(value_type = String)]
    pub price_per_unit: Decimal,
    #[serde(with = "text")]
    #[schema(value_type = String)]
    pub total: Decimal,
    #[serde(with = "text")]
    #[schema(value_type = String)]
    pub total_tax: Decimal,
    /// The stock location that the goods go to.
    pub location_id: &'a str,
}

impl<'a> OrderDecide<'a> {
    pub fn new(now: OffsetDateTime, clinic: &'a CachedClinic, order: &'a OrderRequest) -> Self {
        let data = OrderToDecide {
            clinic: &clinic.row.name,
            clinic_id: clinic.row.id,
            ezyvet_id: &order.ezyvet_id,
            purchase_order_number: &order.purchase_order_number,
            is_return: order.is_return(),
            ordered_at: order.ordered_at,
            shipping_address_id: &order.shipping_address_id,
            ownership_id: &order.ownership_id,
            freight: order.freight,
            tax: order.tax,
            total: order.total,
            items: order.lines.iter().map(LineToDecide::from).collect(),
            purchaseorder: serde_json::from_str(&order.body).ok(),
        };
        Self { id: id(clinic.row.id, order), kind: "order.decide", created_at: now, data }
    }
}

impl<'a> From<&'a OrderLine> for LineToDecide<'a> {
    fn from(line: &'a OrderLine) -> Self {
        Self {
            item: &line.ezyvet_id,
            supplier_code: &line.supplier_code,
            outers: line.outers,
            units_per_outer: line.units_per_outer,
            quantity: line.quantity,
            price_per_unit: line.price_per_unit,
            total: line.total,
            total_tax: line.total_tax,
            location_id: &line.location_id,
        }
    }
}

/// The id of a request is a digest of the clinic and the order, so that a receiver recognises a second request about the same
/// order: after a crash between the answer and the commit, or from another process at the same time.
fn id(clinic: ClinicId, order: &OrderRequest) -> String {
    let hash = digest(&SHA256, format!("{clinic} {}", order.body).as_bytes());
    hash.as_ref()[..16].iter().fold("ord_".to_owned(), |mut id, byte| {
        let _ = write!(id, "{byte:02x}");
        id
    })
}

//! The rows of exports. A column is never renamed or moved, because readers of files rely on both; new ones are appended.

use super::encode::Row;
use crate::ids::{DeliveryId, OrderId, ShipmentId};
use crate::values::text;
use rust_decimal::Decimal;
use serde::Serialize;
use time::{Date, OffsetDateTime};

/// Declares a kind of row with its columns.
macro_rules! row {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Serialize)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)+
        }

        impl Row for $name {
            const COLUMNS: &'static [&'static str] = &[$(stringify!($field),)+];
        }
    };
}

row!(
    /// A line of an order with the order's header. Quantities are in units.
    OrderRow {
        id: OrderId,
        supplier_order_number: String,
        state: String,
        clinic: String,
        clinic_id: i64,
        ezyvet_id: String,
        purchase_order_number: String,
        revision: i32,
        is_return: bool,
        #[serde(with = "time::serde::rfc3339::option")]
        ordered_at: Option<OffsetDateTime>,
        #[serde(with = "time::serde::rfc3339")]
        received_at: OffsetDateTime,
        shipping_address_id: String,
        ship_to: Option<String>,
        ownership_id: String,
        account_number: Option<String>,
        comments: String,
        #[serde(with = "text")]
        freight: Decimal,
        #[serde(with = "text")]
        order_total: Decimal,
        position: i32,
        /// ezyVet's id of the line, which `shipment create --line` and `shipment import` take.
        item: String,
        supplier_code: String,
        name: String,
        location_id: String,
        #[serde(with = "text")]
        outers: Decimal,
        #[serde(with = "text")]
        units_per_outer: Decimal,
        #[serde(with = "text")]
        quantity: Decimal,
        #[serde(with = "text")]
        shipped: Decimal,
        #[serde(with = "text")]
        cancelled: Decimal,
        #[serde(with = "text")]
        outstanding: Decimal,
        #[serde(with = "text")]
        price_per_unit: Decimal,
        #[serde(with = "text")]
        tax_per_unit: Decimal,
        #[serde(with = "text")]
        total: Decimal,
        #[serde(with = "text")]
        total_tax: Decimal,
        #[serde(with = "time::serde::rfc3339::option")]
        decide_by: Option<OffsetDateTime>,
    }
);

row!(
    /// A line of a shipment with the shipment's header. Quantities are in units, negative for a return.
    ShipmentRow {
        id: ShipmentId,
        state: String,
        /// The order's `supplier_order_number`.
        order: String,
        clinic: String,
        clinic_id: i64,
        purchase_order_number: String,
        /// Separated by spaces: several if the invoice was split.
        invoice_numbers: String,
        /// Includes tax.
        #[serde(with = "text")]
        freight: Decimal,
        #[serde(with = "time::serde::rfc3339")]
        shipped_at: OffsetDateTime,
        #[serde(with = "time::serde::rfc3339::option")]
        received_at: Option<OffsetDateTime>,
        position: i32,
        item: String,
        supplier_code: String,
        name: String,
        location_id: String,
        #[serde(with = "text")]
        quantity: Decimal,
        batch: String,
        #[serde(serialize_with = "day")]
        expiry: Option<Date>,
    }
);

row!(
    /// A line of an invoice as it was sent, with the invoice's header. Counts units or outers, by the site's setting
    /// `invoice_unit`.
    InvoiceRow {
        invoice_number: String,
        /// The state of its delivery.
        state: String,
        delivery: DeliveryId,
        shipment: ShipmentId,
        /// The order's `supplier_order_number`.
        order: String,
        clinic: String,
        clinic_id: i64,
        purchase_order_number: String,
        ownership_id: String,
        #[serde(with = "time::serde::rfc3339")]
        issued_at: OffsetDateTime,
        #[serde(with = "time::serde::rfc3339::option")]
        delivered_at: Option<OffsetDateTime>,
        /// Includes tax.
        #[serde(with = "text")]
        freight: Decimal,
        position: i64,
        item: String,
        supplier_code: String,
        location_id: String,
        #[serde(with = "text")]
        quantity: Decimal,
        /// Price of one, without tax.
        #[serde(with = "text")]
        price: Decimal,
        /// Tax on one.
        #[serde(with = "text")]
        tax: Decimal,
        #[serde(with = "text")]
        tax_rate: Decimal,
        tax_code: String,
        batch: String,
    }
);

fn day<S: serde::Serializer>(day: &Option<Date>, serializer: S) -> Result<S::Ok, S::Error> {
    day.map(|day| day.to_string()).serialize(serializer)
}

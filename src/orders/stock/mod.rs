//! Stock reservations of orders, in units.
//!
//! An order line reserves its outstanding units while its order is accepted, held or part_shipped. A held order reserves
//! too, so that staff can still accept it. Free stock is stock on hand less reservations; clinics never see it below zero.
//! A shipment lowers both. Returned goods raise neither: the warehouse's next file says which of them can be sold again.
//!
//! Reservations are added up from the lines whenever stock is read, so no counter can drift, and orders of one product do
//! not wait for each other. Only if stock decides (`rule_stock_short` is `hold` or `decline`) are orders of the same
//! products decided one after another ([`super::store::lock`]).
//!
//! Every function works in the caller's transaction, under the lock of the order's row.

mod store;

use rust_decimal::Decimal;
use serde::Serialize;
use time::OffsetDateTime;

pub(crate) use store::lower_on_hand;
pub use store::{back_orders, settle, wrong_reservations};

/// A product with more units on open orders than on hand.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct BackOrder {
    pub supplier_code: String,
    pub name: String,
    #[serde(with = "crate::values::text")]
    #[schema(value_type = String)]
    pub on_hand: Decimal,
    /// Outstanding units of open orders.
    #[serde(with = "crate::values::text")]
    #[schema(value_type = String)]
    pub reserved: Decimal,
    /// `reserved` less `on_hand`.
    #[serde(with = "crate::values::text")]
    #[schema(value_type = String)]
    pub short: Decimal,
    pub orders: i64,
    /// When the oldest of these orders was received.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// Numbers of these orders, oldest first.
    pub order_numbers: Vec<String>,
}

//! What orders hold of the stock, in units.
//!
//! A line reserves what is outstanding of it while its order is accepted, held or part_shipped; a held order reserves too,
//! so that staff who accept it can keep the promise. Free stock is what is on hand less what is reserved, and never shown
//! below zero. A shipment lowers both; goods coming back raise neither: the warehouse's next file says what of them can be
//! sold again. Every function works in the caller's transaction, under the lock of the order's row.
//!
//! Free stock is added up from the lines whenever it is read, so that no counter can be wrong, and orders of one product do
//! not wait for each other. Where stock decides about an order (`rule_stock_short` is hold or decline), orders of the same
//! products are decided one after the other ([`super::store::lock`]).

mod store;

use rust_decimal::Decimal;
use serde::Serialize;
use sqlx::PgPool;
use time::OffsetDateTime;

pub(crate) use store::lower_on_hand;
pub use store::{settle, wrong_reservations};

/// A product of which more is on order than on hand.
#[derive(Debug, Serialize)]
pub struct BackOrder {
    pub supplier_code: String,
    pub name: String,
    #[serde(with = "crate::values::text")]
    pub on_hand: Decimal,
    /// Outstanding units of open orders.
    #[serde(with = "crate::values::text")]
    pub reserved: Decimal,
    /// `reserved` less `on_hand`.
    #[serde(with = "crate::values::text")]
    pub short: Decimal,
    pub orders: i64,
    /// When the oldest of these orders came.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// Their numbers, oldest first.
    pub order_numbers: Vec<String>,
}

/// Products of which more is on order than on hand, the shortest first.
pub async fn back_orders(pool: &PgPool) -> Result<Vec<BackOrder>, sqlx::Error> {
    store::back_orders(pool).await
}

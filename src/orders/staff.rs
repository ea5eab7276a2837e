//! What the order desk does with orders.

use super::answer;
use super::decide::Finding;
use super::{OrderError, store};
use crate::audit;
use crate::config::{ClinicSettings, Overrides};
use crate::ids::OrderId;
use crate::values::text;
use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::{Map, Value, json};
use sqlx::PgPool;
use time::OffsetDateTime;

/// An order as lists show it.
#[derive(Debug, Serialize)]
pub struct Order {
    pub id: OrderId,
    pub state: String,
    pub supplier_order_number: String,
    pub clinic: String,
    /// ezyVet's id of the order.
    pub ezyvet_id: String,
    pub purchase_order_number: String,
    pub is_return: bool,
    pub revision: i32,
    /// With tax.
    #[serde(with = "text")]
    pub total: Decimal,
    pub lines: i64,
    #[serde(with = "time::serde::rfc3339")]
    pub received_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub changed_at: OffsetDateTime,
    /// What the decision found: rule, action, field, text.
    pub findings: Value,
}

/// A line as `order show` shows it; quantities in units.
#[derive(Debug, Serialize)]
pub struct OrderLine {
    /// ezyVet's id of the line: what `shipment create --line` takes.
    pub item: String,
    pub supplier_code: String,
    pub name: String,
    #[serde(with = "text")]
    pub outers: Decimal,
    #[serde(with = "text")]
    pub units_per_outer: Decimal,
    #[serde(with = "text")]
    pub quantity: Decimal,
    #[serde(with = "text")]
    pub shipped: Decimal,
    #[serde(with = "text")]
    pub cancelled: Decimal,
    #[serde(with = "text")]
    pub price_per_unit: Decimal,
    #[serde(with = "text")]
    pub total: Decimal,
    #[serde(with = "text")]
    pub total_tax: Decimal,
    pub location_id: String,
}

/// An order with everything.
#[derive(Debug, Serialize)]
pub struct OrderInFull {
    #[serde(flatten)]
    pub order: Order,
    pub items: Vec<OrderLine>,
    /// As ezyVet sent it.
    pub purchaseorder: Value,
}

/// Which orders to list; every condition that is given must hold.
#[derive(Debug, Default, clap::Args)]
pub struct Filter {
    /// Only orders in this state
    #[arg(long, value_parser = ["accepted", "held", "declined", "part_shipped", "shipped", "received", "cancelled"])]
    pub state: Option<String>,
    /// Only orders of this clinic: id, client id or name
    #[arg(long)]
    pub clinic: Option<String>,
    /// Only orders with a line of this product code
    #[arg(long)]
    pub product: Option<String>,
    /// Only orders that wait for staff
    #[arg(long)]
    pub attention: bool,
    /// Only orders whose numbers, clinic or comments hold this text
    #[arg(long)]
    pub text: Option<String>,
}

/// Orders, newest first.
pub async fn list(pool: &PgPool, filter: &Filter) -> Result<Vec<Order>, OrderError> {
    Ok(store::list(pool, filter).await?)
}

/// The id of an order, from our number or our id.
pub async fn find(pool: &PgPool, which: &str) -> Result<OrderId, OrderError> {
    store::find_id(pool, which.trim()).await?.ok_or_else(|| OrderError::NoOrder(which.to_owned()))
}

/// One order, from our number or our id.
pub async fn show(pool: &PgPool, which: &str) -> Result<OrderInFull, OrderError> {
    let id = find(pool, which).await?;
    let (order, purchaseorder) =
        store::find_body(pool, id).await?.ok_or_else(|| OrderError::NoOrder(which.to_owned()))?;
    Ok(OrderInFull { order, items: store::lines(pool, id).await?, purchaseorder })
}

/// Accepts a held order.
pub async fn accept(pool: &PgPool, now: OffsetDateTime, actor: &str, which: &str) -> Result<OrderInFull, OrderError> {
    let id = find(pool, which).await?;
    let mut transaction = pool.begin().await?;
    let (state, ..) = store::lock(&mut transaction, id).await?;
    if state != "held" {
        return Err(OrderError::NotNow(format!("order {which} is {state}; only a held order is accepted by staff")));
    }
    store::set_state(&mut transaction, now, id, "accepted", None).await?;
    audit::record(&mut transaction, now, actor, "order.accept", ("order", Some(id.0)), json!({})).await?;
    transaction.commit().await?;
    show(pool, which).await
}

/// Declines an order of which nothing has been shipped. ezyVet has no call to be told; the same order sent again gets
/// the decline as its answer.
pub async fn decline(
    pool: &PgPool,
    now: OffsetDateTime,
    actor: &str,
    defaults: &ClinicSettings,
    which: &str,
    reason: &str,
) -> Result<OrderInFull, OrderError> {
    let id = find(pool, which).await?;
    let mut transaction = pool.begin().await?;
    let (state, body, number, clinic) = store::lock(&mut transaction, id).await?;
    if state != "held" && state != "accepted" {
        return Err(OrderError::NotNow(format!(
            "order {which} is {state}; only a held or accepted order can be declined"
        )));
    }
    let overrides: Overrides =
        serde_json::from_value(store::clinic_overrides(&mut transaction, clinic).await?).unwrap_or_default();
    let settings = defaults.overridden(&overrides);
    let finding =
        Finding { rule: "staff", action: "decline", field: super::read::ROOT.into(), text: reason.to_owned() };
    let body: Map<String, Value> = body.as_object().cloned().unwrap_or_default();
    let answer = answer::declined(&body, &number, &[finding], settings.decline_answer);
    store::set_state(&mut transaction, now, id, "declined", Some(&answer)).await?;
    audit::record(&mut transaction, now, actor, "order.decline", ("order", Some(id.0)), json!({ "reason": reason }))
        .await?;
    transaction.commit().await?;
    show(pool, which).await
}

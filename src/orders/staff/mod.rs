//! Staff commands on orders: list, show, accept, hold, decline, cancel outstanding units, export. Every change writes an
//! audit entry with its reason and settles the reservations, in one transaction.

mod cancel;
mod store;

use super::answer;
use super::decide::Finding;
use super::json::Node;
use super::revisions::{Change, difference};
use super::{OrderError, stock};
use crate::audit;
use crate::clock::{parse_since, parse_until};
use crate::config::{ClinicSettings, Overrides};
use crate::ids::OrderId;
use crate::values::text;
use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::{Map, Value, json};
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;

pub use cancel::CancelledLine;

/// An order in lists.
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
    /// Includes tax.
    #[serde(with = "text")]
    pub total: Decimal,
    pub lines: i64,
    #[serde(with = "time::serde::rfc3339")]
    pub received_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub changed_at: OffsetDateTime,
    /// The decision's findings: rule, action, field, text.
    pub findings: Value,
    pub shipping_address_id: String,
    /// The address that staff mapped it to (`spsi clinic map`).
    pub ship_to: Option<String>,
    /// The business whose books are touched.
    pub ownership_id: String,
    /// The account number that staff mapped it to.
    pub account_number: Option<String>,
    /// The order's date at the clinic.
    #[serde(with = "time::serde::rfc3339::option")]
    pub ordered_at: Option<OffsetDateTime>,
}

/// An order line. Quantities are in units.
#[derive(Debug, Serialize)]
pub struct OrderLine {
    /// ezyVet's id of the line, which `shipment create --line` takes.
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
    /// Units reserved for the line.
    #[serde(with = "text")]
    pub reserved: Decimal,
    #[serde(with = "text")]
    pub price_per_unit: Decimal,
    #[serde(with = "text")]
    pub total: Decimal,
    #[serde(with = "text")]
    pub total_tax: Decimal,
    pub location_id: String,
}

/// An order with its lines, its content and its revisions.
#[derive(Debug, Serialize)]
pub struct OrderInFull {
    #[serde(flatten)]
    pub order: Order,
    pub items: Vec<OrderLine>,
    /// The last submission, as received.
    pub purchaseorder: Value,
    /// Every submission with different content, oldest first.
    pub revisions: Vec<Revision>,
}

/// One submission of an order, and its differences from the one before.
#[derive(Debug, Serialize)]
pub struct Revision {
    pub revision: i32,
    #[serde(with = "time::serde::rfc3339")]
    pub received_at: OffsetDateTime,
    /// The decision's findings at the time.
    pub findings: Value,
    pub changes: Vec<Change>,
}

/// A line with its order's header, for systems that read files. Quantities are in units.
#[derive(Debug, Serialize)]
pub struct ExportedLine {
    pub id: OrderId,
    pub supplier_order_number: String,
    pub state: String,
    pub clinic: String,
    pub clinic_id: i64,
    pub ezyvet_id: String,
    pub purchase_order_number: String,
    pub revision: i32,
    pub is_return: bool,
    #[serde(with = "time::serde::rfc3339::option")]
    pub ordered_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339")]
    pub received_at: OffsetDateTime,
    pub shipping_address_id: String,
    pub ship_to: Option<String>,
    pub ownership_id: String,
    pub account_number: Option<String>,
    pub comments: String,
    #[serde(with = "text")]
    pub freight: Decimal,
    #[serde(with = "text")]
    pub order_total: Decimal,
    pub position: i32,
    /// ezyVet's id of the line, which `shipment create --line` and `shipment import` take.
    pub item: String,
    pub supplier_code: String,
    pub name: String,
    pub location_id: String,
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
    pub outstanding: Decimal,
    #[serde(with = "text")]
    pub price_per_unit: Decimal,
    #[serde(with = "text")]
    pub tax_per_unit: Decimal,
    #[serde(with = "text")]
    pub total: Decimal,
    #[serde(with = "text")]
    pub total_tax: Decimal,
}

/// Selects orders. All given conditions must hold.
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
    /// Only orders that need staff: held, or with a delivery that needs attention
    #[arg(long)]
    pub attention: bool,
    /// Only open orders whose shipping_address_id is not mapped to an address (`spsi clinic map`)
    #[arg(long)]
    pub unmapped: bool,
    /// Only orders whose numbers, clinic or comments contain this text
    #[arg(long)]
    pub text: Option<String>,
    /// Only orders received on or after this day or moment: YYYY-MM-DD, or RFC 3339
    #[arg(long, value_name = "WHEN", value_parser = parse_since)]
    pub since: Option<OffsetDateTime>,
    /// Only orders received on or before this day, or before this moment
    #[arg(long, value_name = "WHEN", value_parser = parse_until)]
    pub until: Option<OffsetDateTime>,
}

/// Returns orders, newest first.
pub async fn list(pool: &PgPool, filter: &Filter) -> Result<Vec<Order>, OrderError> {
    Ok(store::list(pool, filter, None).await?)
}

/// The lines of the orders that pass, by order and position.
pub async fn export(pool: &PgPool, filter: &Filter) -> Result<Vec<ExportedLine>, OrderError> {
    Ok(store::export(pool, filter).await?)
}

/// The id of an order, from our number or our id.
pub async fn find(pool: &PgPool, which: &str) -> Result<OrderId, OrderError> {
    store::find_id(pool, which.trim()).await?.ok_or_else(|| OrderError::NotFound(which.to_owned()))
}

/// Returns one order, by `supplier_order_number` or id.
pub async fn show(pool: &PgPool, which: &str) -> Result<OrderInFull, OrderError> {
    let id = find(pool, which).await?;
    let order = store::list(pool, &Filter::default(), Some(id)).await?.pop();
    let order = order.ok_or_else(|| OrderError::NotFound(which.to_owned()))?;
    let sent = store::revisions(pool, id).await?;
    let mut revisions = Vec::with_capacity(sent.len());
    let mut before: Option<Map<String, Value>> = None;
    for sent in sent {
        let body = sent.body.as_object().cloned().unwrap_or_default();
        let changes = before.as_ref().map(|before| difference(before, &body)).unwrap_or_default();
        before = Some(body);
        let store::Submission { revision, received_at, findings, .. } = sent;
        revisions.push(Revision { revision, received_at, findings, changes });
    }
    let purchaseorder = Value::Object(before.unwrap_or_default());
    Ok(OrderInFull { order, items: store::lines(pool, id).await?, purchaseorder, revisions })
}

/// Accepts a held order.
pub async fn accept(
    pool: &PgPool,
    now: OffsetDateTime,
    actor: &str,
    which: &str,
    reason: Option<&str>,
) -> Result<OrderInFull, OrderError> {
    change(pool, now, actor, which, ("accept", "accepted", &["held"]), reason).await
}

/// Holds an accepted order, which keeps its reservations and cannot be shipped until it is accepted again.
pub async fn hold(
    pool: &PgPool,
    now: OffsetDateTime,
    actor: &str,
    which: &str,
    reason: &str,
) -> Result<OrderInFull, OrderError> {
    change(pool, now, actor, which, ("hold", "held", &["accepted"]), Some(reason)).await
}

async fn change(
    pool: &PgPool,
    now: OffsetDateTime,
    actor: &str,
    which: &str,
    (verb, to, from): (&str, &str, &[&str]),
    reason: Option<&str>,
) -> Result<OrderInFull, OrderError> {
    let id = find(pool, which).await?;
    let mut transaction = pool.begin().await?;
    let locked = lock(&mut transaction, which, id, verb, from).await?;
    store::set_state(&mut transaction, now, id, to, None).await?;
    stock::settle(&mut transaction, now, id).await?;
    let detail = json!({"was": locked.state, "reason": reason});
    audit::record(&mut transaction, now, actor, &format!("order.{verb}"), ("order", Some(id.0)), detail).await?;
    transaction.commit().await?;
    show(pool, which).await
}

async fn lock(
    connection: &mut PgConnection,
    which: &str,
    id: OrderId,
    verb: &str,
    from: &[&str],
) -> Result<store::Locked, OrderError> {
    let locked = store::lock(connection, id).await?;
    if !from.contains(&locked.state.as_str()) {
        let text = format!(
            "order {which} is {}; only an order that is {} can be changed by `{verb}`",
            locked.state,
            from.join(" or ")
        );
        return Err(OrderError::NotAllowed(text));
    }
    Ok(locked)
}

/// Declines an order of which nothing has shipped. ezyVet has no call to receive that; the same order submitted again gets
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
    let locked = lock(&mut transaction, which, id, "decline", &["held", "accepted"]).await?;
    let overrides: Overrides =
        serde_json::from_value(store::clinic_overrides(&mut transaction, locked.clinic).await?).unwrap_or_default();
    let settings = defaults.overridden(&overrides);
    let finding =
        Finding { rule: "staff", action: "decline", field: super::document::ROOT.into(), text: reason.to_owned() };
    let answer = answer::declined(
        || Node::from(locked.body.clone()).into_object(),
        &locked.number,
        &[finding],
        settings.decline_answer,
    );
    store::set_state(&mut transaction, now, id, "declined", Some(&answer)).await?;
    stock::settle(&mut transaction, now, id).await?;
    let detail = json!({"was": locked.state, "reason": reason});
    audit::record(&mut transaction, now, actor, "order.decline", ("order", Some(id.0)), detail).await?;
    transaction.commit().await?;
    show(pool, which).await
}

/// Cancels outstanding units of an order: those of `lines`, or all if `lines` is empty. An order without outstanding units
/// becomes shipped if anything was shipped, else cancelled. ezyVet has no call to receive that.
pub async fn cancel(
    pool: &PgPool,
    now: OffsetDateTime,
    actor: &str,
    which: &str,
    lines: &[CancelledLine],
    reason: &str,
) -> Result<OrderInFull, OrderError> {
    let id = find(pool, which).await?;
    let mut transaction = pool.begin().await?;
    let locked = lock(&mut transaction, which, id, "cancel", &["accepted", "held", "part_shipped"]).await?;
    let open = store::open_lines(&mut transaction, id).await?;
    let cancelled = cancel::cancelled(&open, lines).map_err(OrderError::NotAllowed)?;
    store::cancel_lines(&mut transaction, &cancelled.lines).await?;
    let state = match (cancelled.nothing_left, locked.state.as_str()) {
        (false, state) => state.to_owned(),
        (true, "part_shipped") => store::state_of_shipped(&mut transaction, id).await?,
        (true, _) => "cancelled".to_owned(),
    };
    store::set_state(&mut transaction, now, id, &state, None).await?;
    stock::settle(&mut transaction, now, id).await?;
    let units = |(line, units): &(crate::ids::OrderLineId, Decimal)| {
        let item = open.iter().find(|open| open.id == *line).map(|open| open.item.clone());
        json!({"item": item, "units": crate::values::plain(*units)})
    };
    let lines: Vec<Value> = cancelled.lines.iter().map(units).collect();
    let detail = json!({"was": locked.state, "state": state, "lines": lines, "reason": reason});
    audit::record(&mut transaction, now, actor, "order.cancel", ("order", Some(id.0)), detail).await?;
    transaction.commit().await?;
    show(pool, which).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn a_period_includes_its_whole_last_day() {
        assert_eq!(parse_since("2026-01-31"), Ok(datetime!(2026-01-31 0:00 UTC)));
        assert_eq!(parse_until("2026-01-31"), Ok(datetime!(2026-02-01 0:00 UTC)));
        assert_eq!(parse_until("2026-01-31T08:00:00Z"), Ok(datetime!(2026-01-31 8:00 UTC)));
        assert!(parse_since("yesterday").is_err());
    }
}

//! Staff commands on orders: list, show, and change: accept, hold, decline, cancel outstanding units. Every change writes an
//! audit entry with its reason and settles the reservations, in the caller's transaction, under the lock of the order's row.
//!
//! Two people may work on one order: a change that names the version it is based on ([`Order::version`]) is refused if the
//! order has changed since.

mod cancel;
mod filter;
mod store;

use super::answer;
use super::decide::Finding;
use super::document::ROOT;
use super::revisions::{Change, difference};
use super::{OrderError, stock};
use crate::audit;
use crate::config::{ClinicSettings, Overrides};
use crate::db::Page;
use crate::events;
use crate::ids::{OrderId, OrderLineId};
use crate::values::{plain, text};
use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::{Map, Value, json};
use sqlx::{PgConnection, PgExecutor};
use time::OffsetDateTime;
use utoipa::ToSchema;

pub use cancel::{CancelProblem, CancelledLine, WrongLine};
pub use filter::{Filter, OrderState};

/// An order in lists.
#[derive(Debug, Serialize, ToSchema)]
pub struct Order {
    #[schema(value_type = i64)]
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
    #[schema(value_type = String)]
    pub total: Decimal,
    pub lines: i64,
    #[serde(with = "time::serde::rfc3339")]
    pub received_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub changed_at: OffsetDateTime,
    /// The decision's findings: rule, action, field, text.
    #[schema(value_type = Vec<Object>)]
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
    /// Until when the supplier's system or staff can decide about an order that `rule_ask` holds.
    #[serde(with = "time::serde::rfc3339::option")]
    pub decide_by: Option<OffsetDateTime>,
    /// What follows if nobody does: `hold`, `accept` or `decline`.
    pub decide_default: Option<String>,
}

/// An order line. Quantities are in units.
#[derive(Debug, Serialize, ToSchema)]
pub struct OrderLine {
    /// ezyVet's id of the line, which `shipment create --line` takes.
    pub item: String,
    pub supplier_code: String,
    pub name: String,
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
    pub shipped: Decimal,
    #[serde(with = "text")]
    #[schema(value_type = String)]
    pub cancelled: Decimal,
    /// Units reserved for the line.
    #[serde(with = "text")]
    #[schema(value_type = String)]
    pub reserved: Decimal,
    #[serde(with = "text")]
    #[schema(value_type = String)]
    pub price_per_unit: Decimal,
    #[serde(with = "text")]
    #[schema(value_type = String)]
    pub total: Decimal,
    #[serde(with = "text")]
    #[schema(value_type = String)]
    pub total_tax: Decimal,
    pub location_id: String,
}

/// An order with its lines, its content and its revisions.
#[derive(Debug, Serialize, ToSchema)]
pub struct OrderInFull {
    #[serde(flatten)]
    pub order: Order,
    pub items: Vec<OrderLine>,
    /// The last submission, as received.
    #[schema(value_type = Object)]
    pub purchaseorder: Value,
    /// Every submission with different content, oldest first.
    pub revisions: Vec<Revision>,
}

/// One submission of an order, and its differences from the one before.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OrderRevision)]
pub struct Revision {
    pub revision: i32,
    #[serde(with = "time::serde::rfc3339")]
    pub received_at: OffsetDateTime,
    /// The decision's findings at the time.
    #[schema(value_type = Vec<Object>)]
    pub findings: Value,
    pub changes: Vec<Change>,
}

impl Order {
    /// Changes with the order's state, its content, and the units cancelled or shipped.
    pub fn version(&self) -> String {
        version(&self.state, self.revision, self.changed_at)
    }
}

fn version(state: &str, revision: i32, changed_at: OffsetDateTime) -> String {
    format!("{state}-{revision}-{:x}", changed_at.unix_timestamp_nanos() / 1000)
}

/// Returns a page of the orders that pass, newest first.
pub async fn list(connection: &mut PgConnection, filter: &Filter, page: Page) -> Result<Vec<Order>, OrderError> {
    Ok(store::list(connection, filter, page, None).await?)
}

/// The id of an order, from our number or our id.
pub async fn find(executor: impl PgExecutor<'_>, which: &str) -> Result<OrderId, OrderError> {
    store::find_id(executor, which.trim()).await?.ok_or_else(|| OrderError::NotFound(which.to_owned()))
}

/// Returns one order, by `supplier_order_number` or id.
pub async fn show(connection: &mut PgConnection, which: &str) -> Result<OrderInFull, OrderError> {
    let id = find(&mut *connection, which).await?;
    let order = store::list(connection, &Filter::default(), Page::default(), Some(id)).await?.pop();
    let order = order.ok_or_else(|| OrderError::NotFound(which.to_owned()))?;
    let sent = store::revisions(connection, id).await?;
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
    Ok(OrderInFull { order, items: store::lines(connection, id).await?, purchaseorder, revisions })
}

/// A decision of staff, or of the supplier's system, about an order. ezyVet has no call to receive it: the same order
/// submitted again gets the answer.
#[derive(Clone, Copy)]
pub enum Action<'a> {
    /// Accepts a held order.
    Accept,
    /// Holds an accepted order. It keeps its reservations and cannot be shipped until it is accepted again.
    Hold,
    /// Declines an order of which nothing has shipped. The clinic's staff see the reason.
    Decline { defaults: &'a ClinicSettings },
    /// Cancels outstanding units: those of these lines, or all if there are no lines. An order without outstanding units
    /// becomes shipped if anything was shipped, else cancelled.
    Cancel(&'a [CancelledLine]),
}

impl Action<'_> {
    /// The verb, the states of orders that it can change, and the event.
    fn rule(self) -> (&'static str, &'static [&'static str], events::Kind) {
        match self {
            Self::Accept => ("accept", &["held"], events::Kind::OrderAccepted),
            Self::Hold => ("hold", &["accepted"], events::Kind::OrderHeld),
            Self::Decline { .. } => ("decline", &["held", "accepted"], events::Kind::OrderDeclined),
            Self::Cancel(_) => ("cancel", &["accepted", "held", "part_shipped"], events::Kind::OrderCancelled),
        }
    }
}

/// Changes an order in the caller's transaction. `expected` is the version that the caller has seen.
pub async fn change(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    actor: &str,
    which: &str,
    action: Action<'_>,
    reason: Option<&str>,
    expected: Option<&str>,
) -> Result<OrderInFull, OrderError> {
    let id = find(&mut *connection, which).await?;
    let locked = store::lock(connection, id).await?;
    if expected.is_some_and(|expected| expected != version(&locked.state, locked.revision, locked.changed_at)) {
        return Err(OrderError::Stale { order: locked.number });
    }
    let (verb, allowed, event) = action.rule();
    if !allowed.contains(&locked.state.as_str()) {
        return Err(OrderError::State { order: locked.number, state: locked.state, verb, allowed });
    }
    let mut detail = json!({"was": locked.state, "reason": reason});
    let mut answer = None;
    let state = match action {
        Action::Accept => "accepted".to_owned(),
        Action::Hold => "held".to_owned(),
        Action::Decline { defaults } => {
            answer = Some(decline_answer(connection, &locked, defaults, reason).await?);
            "declined".to_owned()
        }
        Action::Cancel(lines) => {
            let (state, cancelled) = cancel_lines(connection, &locked, lines).await?;
            (detail["state"], detail["lines"]) = (json!(state), cancelled);
            state
        }
    };
    store::set_state(connection, now, id, &state, answer.as_ref()).await?;
    stock::settle(connection, now, id).await?;
    audit::record(connection, now, actor, &format!("order.{verb}"), ("order", Some(id.0)), detail).await?;
    events::record_order(connection, now, event, id, reason).await?;
    show(connection, which).await
}

/// Returns the answer to the order if it is submitted again.
async fn decline_answer(
    connection: &mut PgConnection,
    locked: &store::Locked,
    defaults: &ClinicSettings,
    reason: Option<&str>,
) -> Result<answer::Reply, OrderError> {
    let overrides: Overrides =
        serde_json::from_value(store::clinic_overrides(connection, locked.clinic).await?).unwrap_or_default();
    let settings = defaults.overridden(&overrides);
    let text = reason.unwrap_or("The supplier declined the order").to_owned();
    let finding = Finding { rule: "staff", action: "decline", field: ROOT.into(), text };
    let order = locked.body.as_object().cloned().unwrap_or_default();
    Ok(answer::declined(&order, &locked.number, &[finding], settings.decline_answer))
}

/// Cancels units of lines. Returns the state that the order gets, and the cancelled units for the audit entry.
async fn cancel_lines(
    connection: &mut PgConnection,
    locked: &store::Locked,
    lines: &[CancelledLine],
) -> Result<(String, Value), OrderError> {
    let open = store::open_lines(connection, locked.id).await?;
    let cancelled = cancel::cancelled(&open, lines).map_err(OrderError::WrongLines)?;
    store::cancel_lines(connection, &cancelled.lines).await?;
    let state = match (cancelled.nothing_left, locked.state.as_str()) {
        (false, state) => state.to_owned(),
        (true, "part_shipped") => store::state_of_shipped(connection, locked.id).await?,
        (true, _) => "cancelled".to_owned(),
    };
    let units = |(line, units): &(OrderLineId, Decimal)| {
        let item = open.iter().find(|open| open.id == *line).map(|open| &open.item);
        json!({"item": item, "units": plain(*units)})
    };
    Ok((state, cancelled.lines.iter().map(units).collect()))
}

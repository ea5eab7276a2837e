//! `/orders`: purchase orders of the clinics, and the decisions of the supplier about them.

use super::body::Exact;
use super::page::{List, PageParams};
use super::problem::{FieldError, Kind, Problem, Result};
use super::query::{Id, NoParams, Read};
use super::write::{Answer, IfMatch, Write};
use crate::clinics;
use crate::config::Overrides;
use crate::orders::rules::Rule;
use crate::orders::stock::BackOrder;
use crate::orders::{self, Action, CancelledLine, Filter, Order, OrderError, OrderInFull};
use crate::shipments::order_record::{self, OrderRecord};
use serde::Deserialize;
use sqlx::PgConnection;
use utoipa::{IntoParams, ToSchema};
use validator::Validate;

impl From<OrderError> for Problem {
    fn from(error: OrderError) -> Self {
        match error {
            OrderError::NotFound(which) => Self::not_found("order", which),
            OrderError::State { order, state, verb, allowed } => {
                let allowed = allowed.join(" or ");
                let text =
                    format!("Order {order} is {state}. The operation `{verb}` needs an order that is {allowed}.");
                Self::new(Kind::Conflict, text)
            }
            OrderError::Stale { .. } => Self::stale(),
            OrderError::WrongLines(wrong) => {
                let error = |wrong: &orders::WrongLine| FieldError::new(&wrong.field, wrong.to_string());
                Self::invalid(wrong.iter().map(error).collect())
            }
            OrderError::CannotRevise(text) => Self::new(Kind::Conflict, text),
            OrderError::Database(error) => error.into(),
        }
    }
}

/// List orders
///
/// Newest first.
#[utoipa::path(get, path = "/orders", tag = "orders", params(Filter, PageParams),
    responses((status = 200, description = "A page of orders", body = List<Order>)))]
pub async fn list_orders(read: Read<Filter, PageParams>) -> Result<Answer> {
    let page = read.page.before()?;
    let data = orders::list(&mut *read.staff.pool.begin().await?, &read.params, page).await?;
    read.page.answer(data, |order| order.id.0)
}

/// Show an order
///
/// With its lines, its revisions, its shipments, its deliveries and its audit trail. `id`: the id or the
/// `supplier_order_number`. The `ETag` is the version for `If-Match`.
#[utoipa::path(get, path = "/orders/{id}", tag = "orders", params(("id" = String, Path)),
    responses((status = 200, description = "The order", body = OrderRecord)))]
pub async fn show_order(read: Read, id: Id) -> Result<Answer> {
    let record = order_record::show(&mut *read.staff.pool.begin().await?, &id).await?;
    Answer::versioned(&record, &record.order.order.version())
}

/// A decision that needs no reason.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct Acceptance {
    /// Recorded in the audit trail.
    #[schema(max_length = 2000, example = "price agreed by telephone")]
    reason: Option<String>,
}

/// A decision with its reason.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    #[schema(min_length = 1, max_length = 2000, example = "discontinued by the manufacturer")]
    reason: String,
}

/// Units to take off an order.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct Cancellation {
    /// Recorded in the audit trail.
    #[schema(min_length = 1, max_length = 2000, example = "out of stock for months")]
    reason: String,
    /// Empty: everything outstanding.
    #[serde(default)]
    #[validate(nested)]
    lines: Vec<LineToCancel>,
}

/// A line to cancel.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct LineToCancel {
    /// ezyVet's id of the order line.
    #[schema(example = "9")]
    item: String,
    /// In units. Absent: everything outstanding of the line.
    quantity: Option<Exact>,
}

async fn change<T>(
    connection: &mut PgConnection,
    write: &Write<T>,
    id: &str,
    action: Action<'_>,
    reason: Option<&str>,
) -> Result<Answer> {
    let expected = write.if_match.as_deref();
    let order = orders::change(connection, write.now, &write.actor, id, action, reason, expected).await?;
    Answer::versioned(&order, &order.order.version())
}

/// Accept a held order
#[utoipa::path(post, path = "/orders/{id}/accept", tag = "orders", params(("id" = String, Path), IfMatch), request_body = Acceptance,
    responses((status = 200, description = "The accepted order", body = OrderInFull)))]
pub async fn accept_order(connection: &mut PgConnection, write: Write<Acceptance>, id: Id) -> Result<Answer> {
    change(connection, &write, &id, Action::Accept, write.content.reason.as_deref()).await
}

/// Decline an order of which nothing has shipped
///
/// ezyVet has no call to receive that. The clinic's staff see the reason if they submit the order again.
#[utoipa::path(post, path = "/orders/{id}/decline", tag = "orders", params(("id" = String, Path), IfMatch), request_body = Decision,
    responses((status = 200, description = "The declined order", body = OrderInFull)))]
pub async fn decline_order(connection: &mut PgConnection, write: Write<Decision>, id: Id) -> Result<Answer> {
    let action = Action::Decline { defaults: &write.staff.settings.clinic };
    change(connection, &write, &id, action, Some(&write.content.reason)).await
}

/// Hold an accepted order
///
/// It cannot be shipped until it is accepted again. Its stock stays reserved.
#[utoipa::path(post, path = "/orders/{id}/hold", tag = "orders", params(("id" = String, Path), IfMatch), request_body = Decision,
    responses((status = 200, description = "The held order", body = OrderInFull)))]
pub async fn hold_order(connection: &mut PgConnection, write: Write<Decision>, id: Id) -> Result<Answer> {
    change(connection, &write, &id, Action::Hold, Some(&write.content.reason)).await
}

/// Cancel outstanding units of an order
///
/// Releases their stock. An order without outstanding units becomes `cancelled`, or `shipped` if something was shipped.
#[utoipa::path(post, path = "/orders/{id}/cancel", tag = "orders", params(("id" = String, Path), IfMatch), request_body = Cancellation,
    responses((status = 200, description = "The order", body = OrderInFull)))]
pub async fn cancel_order(connection: &mut PgConnection, write: Write<Cancellation>, id: Id) -> Result<Answer> {
    let Cancellation { reason, lines } = &write.content;
    let line =
        |line: &LineToCancel| CancelledLine { item: line.item.clone(), units: line.quantity.map(|Exact(units)| units) };
    let lines: Vec<_> = lines.iter().map(line).collect();
    change(connection, &write, &id, Action::Cancel(&lines), Some(reason)).await
}

/// List back-orders
///
/// The products with more units on open orders than on hand, largest shortage first.
#[utoipa::path(get, path = "/orders/back-orders", tag = "orders", params(PageParams),
    responses((status = 200, description = "The products that are short", body = List<BackOrder>)))]
pub async fn list_back_orders(read: Read<NoParams, PageParams>) -> Result<Answer> {
    let data = orders::stock::back_orders(&read.staff.pool).await?;
    let position = |row: &BackOrder| (-row.short, row.supplier_code.clone());
    Answer::ok(&read.page.split(data, position)?)
}

/// The clinic whose rules are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RuleParams {
    /// Rules of this clinic: id, client id or name
    clinic: Option<String>,
}

/// List the rules of the order decision
///
/// In the order of the settings page, with their effective and default actions, of the deployment or of a clinic.
#[utoipa::path(get, path = "/orders/rules", tag = "orders", params(RuleParams, PageParams),
    responses((status = 200, description = "The rules", body = List<Rule>)))]
pub async fn list_rules(read: Read<RuleParams, PageParams>) -> Result<Answer> {
    let overrides = match &read.params.clinic {
        Some(clinic) => clinics::find(&read.staff.pool, clinic).await?.settings.0,
        None => Overrides::new(),
    };
    let is_set = |variable: &str| std::env::var_os(variable).is_some();
    let data = orders::rules::rules(&read.staff.settings.clinic, &overrides, is_set);
    let order: Vec<&str> = data.iter().map(|rule| rule.id).collect();
    let position = |rule: &Rule| order.iter().position(|id| *id == rule.id);
    Answer::ok(&read.page.split(data, position)?)
}

//! `/orders`: purchase orders of the clinics, and the decisions of the supplier about them.

use super::body::Exact;
use super::page::{List, PageParams};
use super::problem::{FieldError, Kind, Problem};
use super::query::{self, NoParams, Read};
use super::write::{Answer, IfMatch, Json, Write};
use crate::clinics;
use crate::clock::{parse_since, parse_until};
use crate::config::Overrides;
use crate::orders::rules::Rule;
use crate::orders::stock::BackOrder;
use crate::orders::{self, CancelledLine, Filter, Order, OrderError, OrderInFull};
use crate::shipments::order_record::{self, OrderRecord};
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde::de::{Deserializer, Error};
use time::OffsetDateTime;
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

/// The states of an order.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrderState {
    Accepted,
    Held,
    Declined,
    PartShipped,
    Shipped,
    Received,
    Cancelled,
}

impl OrderState {
    fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Held => "held",
            Self::Declined => "declined",
            Self::PartShipped => "part_shipped",
            Self::Shipped => "shipped",
            Self::Received => "received",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Selects orders. All given conditions must hold.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct OrderParams {
    /// Only orders in this state
    state: Option<OrderState>,
    /// Only orders of this clinic: id, client id or name
    clinic: Option<String>,
    /// Only orders with a line of this product code
    product: Option<String>,
    /// `true`: only orders that need staff, because they are held or have a delivery that needs attention
    #[serde(default, with = "query::text")]
    attention: Option<bool>,
    /// Only orders that wait for a decision of the supplier's system (`rule_ask`)
    #[serde(default, with = "query::text")]
    asked: Option<bool>,
    /// `true`: only open orders whose `shipping_address_id` is not mapped to an address
    #[serde(default, with = "query::text")]
    unmapped: Option<bool>,
    /// Only orders whose numbers, clinic or comments contain this text
    text: Option<String>,
    /// Only orders received on or after this day or moment: YYYY-MM-DD, or RFC 3339
    #[serde(default, deserialize_with = "since")]
    #[param(value_type = Option<String>)]
    since: Option<OffsetDateTime>,
    /// Only orders received on or before this day, or before this moment
    #[serde(default, deserialize_with = "until")]
    #[param(value_type = Option<String>)]
    until: Option<OffsetDateTime>,
}

fn since<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<OffsetDateTime>, D::Error> {
    moment(deserializer, parse_since)
}

fn until<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<OffsetDateTime>, D::Error> {
    moment(deserializer, parse_until)
}

fn moment<'de, D: Deserializer<'de>>(
    deserializer: D,
    parse: impl Fn(&str) -> Result<OffsetDateTime, String>,
) -> Result<Option<OffsetDateTime>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| parse(&text)).transpose().map_err(D::Error::custom)
}

impl OrderParams {
    fn filter(&self) -> Filter {
        Filter {
            state: self.state.map(|state| state.as_str().to_owned()),
            clinic: self.clinic.clone(),
            product: self.product.clone(),
            attention: self.attention.unwrap_or_default(),
            asked: self.asked.unwrap_or_default(),
            unmapped: self.unmapped.unwrap_or_default(),
            text: self.text.clone(),
            since: self.since,
            until: self.until,
        }
    }
}

/// List orders
///
/// Newest first.
#[utoipa::path(get, path = "/orders", tag = "orders", params(OrderParams, PageParams),
    responses((status = 200, description = "A page of orders", body = List<Order>)))]
pub async fn list_orders(read: Read<OrderParams, PageParams>) -> Result<HttpResponse, Problem> {
    let page = read.page.page(&read.staff.settings)?;
    let data = orders::list(&mut *read.staff.pool.acquire().await?, &read.params.filter(), page).await?;
    read.page.respond(&read.staff.settings, data, |order| order.id.0)
}

/// Show an order
///
/// With its lines, its revisions, its shipments, its deliveries and its audit trail. `id`: the id or the
/// `supplier_order_number`. The `ETag` is the version for `If-Match`.
#[utoipa::path(get, path = "/orders/{id}", tag = "orders", params(("id" = String, Path)),
    responses((status = 200, description = "The order", body = OrderRecord)))]
pub async fn show_order(read: Read, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    let record = order_record::show(&mut *read.staff.pool.acquire().await?, &id).await?;
    Ok(Answer::ok(&record)?.with_version(&record.order.order.version()).into_response())
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

fn changed(order: &OrderInFull) -> Result<Answer, Problem> {
    Ok(Answer::ok(order)?.with_version(&order.order.version()))
}

/// Accept a held order
#[utoipa::path(post, path = "/orders/{id}/accept", tag = "orders", params(("id" = String, Path), IfMatch), request_body = Acceptance,
    responses((status = 200, description = "The accepted order", body = OrderInFull)))]
pub async fn accept_order(write: Write<Json<Acceptance>>, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    write
        .run(async |connection, write| {
            let (actor, reason) = (write.caller.actor(), write.content.0.reason.as_deref());
            changed(&orders::accept(connection, write.now, &actor, &id, reason, write.if_match.as_deref()).await?)
        })
        .await
}

/// Decline an order of which nothing has shipped
///
/// ezyVet has no call to receive that. The clinic's staff see the reason if they submit the order again.
#[utoipa::path(post, path = "/orders/{id}/decline", tag = "orders", params(("id" = String, Path), IfMatch), request_body = Decision,
    responses((status = 200, description = "The declined order", body = OrderInFull)))]
pub async fn decline_order(write: Write<Json<Decision>>, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    write
        .run(async |connection, write| {
            let (actor, reason) = (write.caller.actor(), &write.content.0.reason);
            let (defaults, expected) = (&write.staff.settings.clinic, write.if_match.as_deref());
            changed(&orders::decline(connection, write.now, &actor, defaults, &id, reason, expected).await?)
        })
        .await
}

/// Hold an accepted order
///
/// It cannot be shipped until it is accepted again. Its stock stays reserved.
#[utoipa::path(post, path = "/orders/{id}/hold", tag = "orders", params(("id" = String, Path), IfMatch), request_body = Decision,
    responses((status = 200, description = "The held order", body = OrderInFull)))]
pub async fn hold_order(write: Write<Json<Decision>>, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    write
        .run(async |connection, write| {
            let (actor, reason) = (write.caller.actor(), &write.content.0.reason);
            changed(&orders::hold(connection, write.now, &actor, &id, reason, write.if_match.as_deref()).await?)
        })
        .await
}

/// Cancel outstanding units of an order
///
/// Releases their stock. An order without outstanding units becomes `cancelled`, or `shipped` if something was shipped.
#[utoipa::path(post, path = "/orders/{id}/cancel", tag = "orders", params(("id" = String, Path), IfMatch), request_body = Cancellation,
    responses((status = 200, description = "The order", body = OrderInFull)))]
pub async fn cancel_order(write: Write<Json<Cancellation>>, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    write
        .run(async |connection, write| {
            let (actor, Cancellation { reason, lines }) = (write.caller.actor(), &write.content.0);
            let line = |line: &LineToCancel| CancelledLine {
                item: line.item.clone(),
                units: line.quantity.map(|Exact(units)| units),
            };
            let lines: Vec<_> = lines.iter().map(line).collect();
            let expected = write.if_match.as_deref();
            changed(&orders::cancel(connection, write.now, &actor, &id, &lines, reason, expected).await?)
        })
        .await
}

/// List back-orders
///
/// The products with more units on open orders than on hand, largest shortage first.
#[utoipa::path(get, path = "/orders/back-orders", tag = "orders", params(PageParams),
    responses((status = 200, description = "The products that are short", body = List<BackOrder>)))]
pub async fn list_back_orders(read: Read<NoParams, PageParams>) -> Result<HttpResponse, Problem> {
    let data = orders::stock::back_orders(&read.staff.pool).await?;
    let position = |row: &BackOrder| (-row.short, row.supplier_code.clone());
    Ok(HttpResponse::Ok().json(read.page.split(&read.staff.settings, data, position)?))
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
pub async fn list_rules(read: Read<RuleParams, PageParams>) -> Result<HttpResponse, Problem> {
    let overrides = match &read.params.clinic {
        Some(clinic) => clinics::find(&read.staff.pool, clinic).await?.settings,
        None => Overrides::new(),
    };
    let is_set = |variable: &str| std::env::var_os(variable).is_some();
    let data = orders::rules::rules(&read.staff.settings.clinic, &overrides, is_set);
    let order: Vec<&str> = data.iter().map(|rule| rule.id).collect();
    let position = |rule: &Rule| order.iter().position(|id| *id == rule.id);
    Ok(HttpResponse::Ok().json(read.page.split(&read.staff.settings, data, position)?))
}

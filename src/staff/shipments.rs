//! `/shipments`: goods that leave the warehouse, and what follows from them.

use super::body::{Day, Exact};
use super::page::{List, PageParams};
use super::problem::{FieldError, Kind, Problem, Result};
use super::query::{Id, Read};
use super::write::{Answer, Write};
use crate::shipments::{self, FieldProblem, Filter, InvalidField, Preview, Requested, ShipError, Shipment};
use serde::Deserialize;
use sqlx::PgConnection;
use utoipa::{IntoParams, ToSchema};
use validator::Validate;

impl From<ShipError> for Problem {
    fn from(error: ShipError) -> Self {
        match error {
            ShipError::UnknownOrder(order) => {
                Self::field(Kind::Invalid, "order", format!("there is no order `{order}`"))
            }
            ShipError::State { order, state } => {
                let text =
                    format!("Order {order} is {state}. Only an order that is accepted or part_shipped can be shipped.");
                Self::new(Kind::Conflict, text)
            }
            ShipError::Invalid(wrong) => Self::invalid(wrong.iter().map(field_error).collect()),
            ShipError::Order(error) => error.into(),
            ShipError::Delivery(error) => error.into(),
            ShipError::Unknown(which) => Self::not_found("shipment", which),
            ShipError::UnknownInvoice(which) => Self::not_found("invoice", which),
            ShipError::Database(error) => error.into(),
        }
    }
}

fn field_error(wrong: &InvalidField) -> FieldError {
    let advice = match wrong.problem {
        FieldProblem::Excess { .. } => "; set `allow_excess` to ship more",
        _ => "",
    };
    FieldError::new(&wrong.field, format!("{wrong}{advice}"))
}

/// A shipment to create.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct NewShipment {
    /// The order's `supplier_order_number` or id.
    #[schema(min_length = 1, example = "SO-3334A")]
    order: String,
    /// One entry for each order line and batch. Empty: everything outstanding is shipped.
    #[serde(default)]
    #[validate(nested)]
    lines: Vec<LineToShip>,
    /// Includes tax.
    freight: Option<Exact>,
    /// 1 to 100 visible characters, never used before. Absent: the next number.
    #[schema(example = "2026-00017")]
    invoice_number: Option<String>,
    /// Allows more units than are outstanding.
    #[serde(default)]
    allow_excess: bool,
    /// Prices to invoice instead of the order's.
    #[serde(default)]
    #[validate(nested)]
    prices: Vec<Price>,
}

/// Goods of one order line and at most one batch.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct LineToShip {
    /// ezyVet's id of the order line.
    #[schema(example = "9")]
    item: String,
    /// In units; negative for a return.
    quantity: Exact,
    batch: Option<String>,
    /// Needs a batch.
    expiry: Option<Day>,
}

/// The price of an order line.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// ezyVet's id of the order line.
    #[schema(example = "9")]
    item: String,
    /// Of one unit, without tax.
    price: Exact,
}

impl From<NewShipment> for shipments::NewShipment {
    fn from(new: NewShipment) -> Self {
        let line = |line: LineToShip| Requested {
            item: line.item,
            quantity: line.quantity.0,
            batch: line.batch.unwrap_or_default(),
            expiry: line.expiry.map(|Day(day)| day),
        };
        Self {
            order: new.order,
            lines: new.lines.into_iter().map(line).collect(),
            freight: new.freight.map(|Exact(freight)| freight).unwrap_or_default(),
            invoice_number: new.invoice_number,
            allow_excess: new.allow_excess,
            prices: new.prices.into_iter().map(|price| (price.item, price.price.0)).collect(),
        }
    }
}

/// Preview a shipment
///
/// Shows the shipment and what would be sent to ezyVet, and stores nothing.
#[utoipa::path(post, path = "/shipments/preview", tag = "shipments", request_body = NewShipment,
    responses((status = 200, description = "The shipment as it would be", body = Preview)))]
pub async fn preview_shipment(connection: &mut PgConnection, write: Write<NewShipment>) -> Result<Answer> {
    let (defaults, new) = (&write.staff.settings.site, write.content.into());
    Answer::ok(&shipments::preview(connection, defaults, write.now, &write.actor, &new).await?)
}

/// Create a shipment
///
/// Numbers its invoice, and queues the invoice and the stock movements for ezyVet. Send an `Idempotency-Key`: goods that
/// leave once are then invoiced once, even if the answer is lost.
#[utoipa::path(post, path = "/shipments", tag = "shipments", request_body = NewShipment,
    responses((status = 201, description = "The shipment", body = Shipment)))]
pub async fn create_shipment(connection: &mut PgConnection, write: Write<NewShipment>) -> Result<Answer> {
    let (defaults, new) = (&write.staff.settings.site, write.content.into());
    let shipment = shipments::ship(connection, defaults, write.now, &write.actor, &new).await?;
    Answer::created(&format!("/shipments/{}", shipment.id), &shipment)
}

/// The states of a shipment.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ShipmentState {
    Shipped,
    /// The clinic has approved its invoices.
    Received,
}

/// Selects shipments. All given conditions must hold.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ShipmentParams {
    /// Only of this order: `supplier_order_number` or id
    order: Option<String>,
    /// Only of this clinic: id, client id or name
    clinic: Option<String>,
    /// Only shipments in this state
    state: Option<ShipmentState>,
}

/// List shipments
///
/// Newest first.
#[utoipa::path(get, path = "/shipments", tag = "shipments", params(ShipmentParams, PageParams),
    responses((status = 200, description = "A page of shipments", body = List<Shipment>)))]
pub async fn list_shipments(read: Read<ShipmentParams, PageParams>) -> Result<Answer> {
    let page = read.page.before()?;
    let ShipmentParams { order, clinic, state } = read.params;
    let state = state.map(|state| match state {
        ShipmentState::Shipped => "shipped".to_owned(),
        ShipmentState::Received => "received".to_owned(),
    });
    let filter = Filter { order, clinic, state };
    let data = shipments::list(&mut *read.staff.pool.begin().await?, &filter, page).await?;
    read.page.answer(data, |shipment| shipment.id.0)
}

/// Show a shipment
///
/// `id`: the id, or one of the invoice numbers.
#[utoipa::path(get, path = "/shipments/{id}", tag = "shipments", params(("id" = String, Path)),
    responses((status = 200, description = "The shipment", body = Shipment)))]
pub async fn show_shipment(read: Read, id: Id) -> Result<Answer> {
    Answer::ok(&shipments::find(&mut *read.staff.pool.begin().await?, &id).await?)
}

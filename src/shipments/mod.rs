//! Shipments: goods that leave the warehouse for one order, and the invoices and stock movements that follow.
//!
//! Guarantees: the shipment, its lines, invoice numbers, deliveries and audit entry are written in the caller's transaction
//! under the order's lock. A shipment never exceeds the outstanding units unless staff allow it. An invoice number is used once for
//! ever, and generated numbers have no gaps. Refuses unknown lines, empty shipments, and orders that are not accepted.

mod import;
pub mod invoice;
pub mod invoices;
mod number;
pub mod order_record;
mod plan;
mod reissue;
mod store;
mod tax;

pub(crate) use crate::catalog::import::cells::parse_day;
pub use import::{ImportError, ImportOptions, Imported, RowError, ShipmentFile, import};
pub use plan::{FieldProblem, InvalidField, Requested};
pub use reissue::reissue;

use crate::audit;
use crate::config::{Overrides, SiteSettings, Switch};
use crate::db::Page;
use crate::delivery::payload::{Invoice, Payload};
use crate::delivery::store::{NewDelivery, enqueue};
use crate::events;
use crate::ids::{ClinicId, OrderId, ShipmentId, SiteId};
use crate::values;
use rust_decimal::Decimal;
use sqlx::{Connection, PgConnection};
use time::{Date, OffsetDateTime};

/// Why goods cannot be shipped.
#[derive(Debug, thiserror::Error)]
pub enum ShipError {
    #[error("there is no order `{0}`; `spsi order list` shows all orders")]
    UnknownOrder(String),
    #[error("order {order} is {state}; only an order that is accepted or part_shipped can be shipped")]
    State { order: String, state: String },
    /// Every wrong part of the request.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<InvalidField>),
    #[error(transparent)]
    Order(#[from] crate::orders::OrderError),
    #[error(transparent)]
    Delivery(#[from] crate::delivery::staff::StaffError),
    #[error("there is no shipment `{0}`; `spsi shipment list` shows all shipments")]
    Unknown(String),
    #[error("there is no invoice `{0}`")]
    UnknownInvoice(String),
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
}

impl ShipError {
    fn invalid(field: &str, problem: FieldProblem) -> Self {
        Self::Invalid(vec![InvalidField::new(field, problem)])
    }
}

/// A shipment to be created.
#[derive(Clone, Debug, Default)]
pub struct NewShipment {
    /// The order's `supplier_order_number` or id.
    pub order: String,
    /// Empty: everything outstanding is shipped.
    pub lines: Vec<Requested>,
    /// Includes tax.
    pub freight: Decimal,
    /// `None`: the next number is generated.
    pub invoice_number: Option<String>,
    /// Allows more units than are outstanding.
    pub allow_excess: bool,
    /// Prices per unit without tax to invoice instead of the order's, by ezyVet's id of the order line.
    pub prices: Vec<(String, Decimal)>,
}

/// A line of a shipment.
#[derive(Clone, Debug, PartialEq, serde::Serialize, utoipa::ToSchema)]
#[schema(as = ShipmentLine)]
pub struct Line {
    /// ezyVet's id of the order line.
    pub item: String,
    pub supplier_code: String,
    pub location_id: String,
    /// In units.
    #[serde(with = "values::text")]
    #[schema(value_type = String)]
    pub quantity: Decimal,
    pub batch: String,
    #[serde(serialize_with = "as_text")]
    #[schema(value_type = Option<String>, format = Date)]
    pub expiry: Option<Date>,
}

/// A shipment with its lines.
#[derive(Clone, Debug, serde::Serialize, utoipa::ToSchema)]
pub struct Shipment {
    #[schema(value_type = i64)]
    pub id: ShipmentId,
    /// `shipped`, or `received` once the clinic has approved its invoices.
    pub state: String,
    /// The order's `supplier_order_number`.
    pub order: String,
    /// The clinic's name.
    pub clinic: String,
    pub clinic_id: i64,
    /// The first invoice number.
    pub invoice_number: String,
    /// All invoice numbers: several if the invoice was split (SPSI.md 4).
    pub invoice_numbers: Vec<String>,
    #[serde(with = "values::text")]
    #[schema(value_type = String)]
    pub freight: Decimal,
    #[serde(with = "time::serde::rfc3339")]
    pub shipped_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    pub received_at: Option<OffsetDateTime>,
    pub lines: Vec<Line>,
    /// Ids of the shipment's deliveries.
    pub deliveries: Vec<i64>,
}

fn as_text<S: serde::Serializer>(day: &Option<Date>, serializer: S) -> Result<S::Ok, S::Error> {
    serde::Serialize::serialize(&day.map(|day| day.to_string()), serializer)
}

/// The result that a shipment would have.
#[derive(Clone, Debug, serde::Serialize, utoipa::ToSchema)]
#[schema(as = ShipmentPreview)]
pub struct Preview {
    pub shipment: Shipment,
    /// The frozen payloads of the deliveries.
    #[schema(value_type = Vec<Object>)]
    pub payloads: Vec<Payload>,
}

/// Selects shipments. All given conditions must hold.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// `supplier_order_number` or our id.
    pub order: Option<String>,
    /// Id, client id or name.
    pub clinic: Option<String>,
    /// `shipped` or `received`.
    pub state: Option<String>,
}

/// Creates a shipment and its deliveries, in the caller's transaction.
pub async fn ship(
    connection: &mut PgConnection,
    defaults: &SiteSettings,
    now: OffsetDateTime,
    actor: &str,
    new: &NewShipment,
) -> Result<Shipment, ShipError> {
    let (id, _) = write(connection, defaults, now, actor, new).await?;
    find_by_id(connection, id).await
}

/// Returns the result of [`ship`], and rolls it back to where the caller's transaction was.
pub async fn preview(
    connection: &mut PgConnection,
    defaults: &SiteSettings,
    now: OffsetDateTime,
    actor: &str,
    new: &NewShipment,
) -> Result<Preview, ShipError> {
    let mut savepoint = connection.begin().await?;
    let (id, payloads) = write(&mut savepoint, defaults, now, actor, new).await?;
    let shipment = find_by_id(&mut savepoint, id).await?;
    savepoint.rollback().await?;
    Ok(Preview { shipment, payloads })
}

/// Returns a page of the shipments that pass the filter, newest first.
pub async fn list(connection: &mut PgConnection, filter: &Filter, page: Page) -> Result<Vec<Shipment>, ShipError> {
    Ok(store::list(connection, filter, page, None).await?)
}

/// Returns one shipment, by id or invoice number.
pub async fn find(connection: &mut PgConnection, which: &str) -> Result<Shipment, ShipError> {
    let which = which.trim();
    let id = store::find_id(connection, which).await?.ok_or_else(|| ShipError::Unknown(which.to_owned()))?;
    find_by_id(connection, id).await
}

async fn find_by_id(connection: &mut PgConnection, id: ShipmentId) -> Result<Shipment, ShipError> {
    let mut found = store::list(connection, &Filter::default(), Page::default(), Some(id)).await?;
    found.pop().ok_or_else(|| ShipError::Unknown(id.to_string()))
}

/// Writes a shipment and everything that belongs to it. Returns its id and the payloads of its deliveries.
async fn write(
    connection: &mut PgConnection,
    defaults: &SiteSettings,
    now: OffsetDateTime,
    actor: &str,
    new: &NewShipment,
) -> Result<(ShipmentId, Vec<Payload>), ShipError> {
    let order = store::lock_order(connection, new.order.trim()).await?;
    let order = order.ok_or_else(|| ShipError::UnknownOrder(new.order.clone()))?;
    if !matches!(order.state.as_str(), "accepted" | "part_shipped") {
        return Err(ShipError::State { order: order.supplier_order_number, state: order.state });
    }
    let mut planned = check(connection, &order, new).await?;
    planned.lines.iter_mut().for_each(|line| order.tax.apply(line));
    let settings = defaults.overridden(&order.site_settings);
    let parcel = invoice::Parcel { shipped_at: now, freight: new.freight, lines: planned.lines };
    let shipment = store::insert_shipment(connection, &order, new.freight, now).await?;
    store::insert_lines(connection, shipment, &parcel.lines).await?;
    let state = if planned.complete { "shipped" } else { "part_shipped" };
    store::set_order_state(connection, order.id, state, now).await?;
    let payloads = write_deliveries(connection, &settings, now, &order, shipment, &parcel, new).await?;
    // Last, because shipments of one invoice prefix queue on its counter, so they lock products one after another.
    crate::orders::stock::settle(connection, now, order.id).await?;
    crate::orders::stock::lower_on_hand(connection, now, shipment).await?;
    let prices: Vec<_> = new.prices.iter().map(|(item, price)| format!("{item}:{}", values::plain(*price))).collect();
    let detail =
        serde_json::json!({ "order": order.supplier_order_number, "allow_excess": new.allow_excess, "prices": prices });
    audit::record(connection, now, actor, "shipment.create", ("shipment", Some(shipment.0)), detail).await?;
    Ok((shipment, payloads))
}

/// Checks every part of a request for a locked order, and plans its lines.
async fn check(connection: &mut PgConnection, order: &Order, new: &NewShipment) -> Result<plan::Plan, ShipError> {
    let outstanding = store::list_outstanding(connection, order.id).await?;
    let planned = plan::plan(&outstanding, &new.lines, &new.prices, new.allow_excess);
    let mut wrong = planned.as_ref().err().cloned().unwrap_or_default();
    if new.freight.is_sign_negative() && !new.freight.is_zero() {
        wrong.push(InvalidField::new("freight", FieldProblem::NegativeFreight(new.freight)));
    }
    if let Some(number) = &new.invoice_number {
        if !number::is_valid(number) {
            wrong.push(InvalidField::new("invoice_number", FieldProblem::BadNumber(number.clone())));
        } else if store::is_number_used(connection, number).await? {
            wrong.push(InvalidField::new("invoice_number", FieldProblem::NumberUsed(number.clone())));
        }
    }
    planned.ok().filter(|_| wrong.is_empty()).ok_or(ShipError::Invalid(wrong))
}

/// Numbers the invoices, records the event, and writes a delivery for each, and one per stock location that follows the last invoice.
async fn write_deliveries(
    connection: &mut PgConnection,
    settings: &SiteSettings,
    now: OffsetDateTime,
    order: &Order,
    shipment: ShipmentId,
    parcel: &invoice::Parcel,
    new: &NewShipment,
) -> Result<Vec<Payload>, ShipError> {
    let invoices = invoice::invoices(&order.ordered, parcel, settings);
    let mut numbers = Vec::new();
    // A shipment without an invoice has a number too, by which staff refer to it.
    for part in 1..=invoices.len().max(1) {
        let number = match &new.invoice_number {
            Some(number) if part == 1 => number.clone(),
            Some(number) => format!("{number}-{part}"),
            None => next_number(connection, settings).await?,
        };
        if !number::is_valid(&number) {
            return Err(ShipError::invalid("invoice_number", FieldProblem::BadNumber(number)));
        }
        store::insert_invoice(connection, shipment, part as i32, &number).await?;
        numbers.push(number);
    }
    // Before the deliveries, which may need attention at once.
    events::record_shipment(connection, now, events::Kind::ShipmentCreated, shipment).await?;
    let clinic = order.clinic;
    let no_site = format!(
        "the clinic has no ezyVet site: run `spsi clinic set {clinic} site=SITE`, then `spsi delivery retry` with this id"
    );
    let attention = order.site.is_none().then_some(no_site.as_str());
    let invoices = invoices.into_iter().zip(&numbers).map(|(invoice, number)| {
        (number, Payload::ReceiveInvoice(Invoice { invoice_number: number.clone(), ..invoice }))
    });
    let supplied = invoice::supplied(parcel, settings);
    let supplied = supplied.into_iter().map(|supplied| (&numbers[0], Payload::Supplied(supplied)));
    let (mut payloads, mut last_invoice) = (Vec::new(), None);
    for (invoice_number, payload) in invoices.chain(supplied) {
        let is_invoice = matches!(payload, Payload::ReceiveInvoice(_));
        let after = last_invoice.filter(|_| !is_invoice);
        let new =
            NewDelivery { site: order.site, clinic, shipment, invoice_number, after, payload: &payload, attention };
        let delivery = enqueue(connection, &new, now).await?;
        if is_invoice {
            last_invoice = Some(delivery);
        }
        payloads.push(payload);
    }
    Ok(payloads)
}

/// Returns the next number that no shipment was given by hand.
async fn next_number(connection: &mut PgConnection, settings: &SiteSettings) -> Result<String, ShipError> {
    let prefix = &settings.invoice_prefix;
    loop {
        let next = store::next_number(connection, prefix).await?;
        let number = number::format(prefix, next, settings.invoice_check_digit == Switch::On);
        if !store::is_number_used(connection, &number).await? {
            return Ok(number);
        }
    }
}

/// An order locked for a shipment.
pub(crate) struct Order {
    id: OrderId,
    clinic: ClinicId,
    site: Option<SiteId>,
    site_settings: Overrides,
    tax: tax::ClinicTax,
    state: String,
    supplier_order_number: String,
    ordered: invoice::Ordered,
}

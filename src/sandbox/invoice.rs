//! The receive invoice: the checks when staff approve its job, and its JSON afterwards.

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, de::Error};
use serde_json::{Value, json};

use super::{
    SUPPLIER_ID,
    clock::Millis,
    order::PurchaseOrder,
    separation::{self, Separation},
    wire::{decimal_of, number, text_of, whole_of},
};

/// The largest number of decimals that a practice system keeps.
const MAX_DECIMALS: u32 = 6;

/// An approved invoice.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Invoice {
    /// ezyVet's id.
    pub id: u64,
    /// Id of the job that created it.
    pub job: u64,
    /// Time of approval.
    pub created: Millis,
    /// Time of the last change.
    pub modified: Millis,
    /// The invoice as it was sent.
    #[serde(flatten)]
    pub draft: InvoiceDraft,
}

/// An invoice body that passed every check (SPSI.md 2, receive invoice body).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InvoiceDraft {
    /// The supplier's number.
    #[serde(deserialize_with = "text")]
    pub invoice_number: String,
    /// Invoice date in epoch seconds.
    #[serde(deserialize_with = "time")]
    pub date: i64,
    /// Due date in epoch seconds.
    #[serde(deserialize_with = "time")]
    pub due_date: i64,
    /// Free text.
    #[serde(default)]
    pub comments: String,
    /// Freight charge.
    #[serde(default, deserialize_with = "amount")]
    pub freight: Decimal,
    /// Freight tax, in percent or as an amount (SPSI.md 5.6).
    #[serde(default, deserialize_with = "amount")]
    pub freight_tax: Decimal,
    /// Id of the business.
    #[serde(deserialize_with = "id")]
    pub ownership_id: u64,
    /// The lines.
    #[serde(rename(deserialize = "line_item"), alias = "lines")]
    pub lines: Vec<InvoiceLine>,
}

/// A line of an invoice.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InvoiceLine {
    /// Id of the order line.
    #[serde(deserialize_with = "id")]
    pub purchase_order_item_id: u64,
    /// Id of the stock location.
    #[serde(deserialize_with = "id")]
    pub location_id: u64,
    /// The supplier's code.
    #[serde(deserialize_with = "text")]
    pub supplier_code: String,
    /// Quantity in units (SPSI.md 5.5).
    #[serde(deserialize_with = "amount")]
    pub quantity: Decimal,
    /// Tax-exclusive price of one unit.
    #[serde(deserialize_with = "amount")]
    pub price: Decimal,
    /// Tax amount of one unit.
    #[serde(deserialize_with = "amount")]
    pub tax: Decimal,
    /// Tax rate in percent.
    #[serde(deserialize_with = "amount")]
    pub tax_rate: Decimal,
    /// Tax code.
    #[serde(deserialize_with = "text")]
    pub tax_code: String,
    /// Batches of the goods.
    #[serde(default)]
    pub batch: Vec<Batch>,
}

/// A batch on an invoice line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Batch {
    /// Batch name.
    #[serde(deserialize_with = "text")]
    pub name: String,
    /// Expiry in epoch seconds.
    #[serde(default, deserialize_with = "optional_time")]
    pub expiry: Option<i64>,
}

/// Reads a scalar that may be written as a number or as a string.
fn scalar<'de, D: Deserializer<'de>, T>(
    input: D,
    read: impl Fn(&Value) -> Option<T>,
    expected: &str,
) -> Result<T, D::Error> {
    read(&Value::deserialize(input)?).ok_or_else(|| Error::custom(format!("must be {expected}")))
}

fn text<'de, D: Deserializer<'de>>(input: D) -> Result<String, D::Error> {
    scalar(input, |value| text_of(value).filter(|text| !text.trim().is_empty()), "text")
}

fn amount<'de, D: Deserializer<'de>>(input: D) -> Result<Decimal, D::Error> {
    let amount = scalar(input, decimal_of, "a number")?;
    if amount.normalize().scale() > MAX_DECIMALS {
        return Err(Error::custom(format!("has more than {MAX_DECIMALS} decimals")));
    }
    Ok(amount)
}

fn time<'de, D: Deserializer<'de>>(input: D) -> Result<i64, D::Error> {
    let since_2000 = 946_684_800..4_102_444_800;
    scalar(input, |value| whole_of(value).filter(|seconds| since_2000.contains(seconds)), "a time in epoch seconds")
}

fn optional_time<'de, D: Deserializer<'de>>(input: D) -> Result<Option<i64>, D::Error> {
    match Value::deserialize(input)? {
        Value::Null => Ok(None),
        value => time(value).map(Some).map_err(Error::custom),
    }
}

fn id<'de, D: Deserializer<'de>>(input: D) -> Result<u64, D::Error> {
    scalar(input, |value| whole_of(value)?.try_into().ok(), "an id")
}

/// Returns a copy without null fields, which PHP does not distinguish from missing ones.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let given = map.iter().filter(|(_, value)| !value.is_null());
            given.map(|(key, value)| (key.clone(), without_nulls(value))).collect()
        }
        Value::Array(list) => list.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}

impl InvoiceDraft {
    /// Reads a body and checks its numbers, its taxes, and its references to the site's separations and orders.
    ///
    /// # Errors
    /// The first problem, with its field.
    pub fn read(body: &Value, separations: &[Separation], orders: &[PurchaseOrder]) -> Result<Self, String> {
        let draft: Self =
            serde_path_to_error::deserialize(without_nulls(body)).map_err(|problem| problem.to_string())?;
        if !separations.iter().any(|part| part.id == draft.ownership_id && part.kind != "Location") {
            return Err(format!("ownership_id: {} is not a business of this site", draft.ownership_id));
        }
        if draft.lines.is_empty() {
            return Err("line_item: must have at least one line".into());
        }
        for (index, line) in draft.lines.iter().enumerate() {
            line.check(separations, orders).map_err(|problem| format!("line_item[{index}].{problem}"))?;
        }
        Ok(draft)
    }
}

impl InvoiceLine {
    fn check(&self, separations: &[Separation], orders: &[PurchaseOrder]) -> Result<(), String> {
        if self.quantity.is_zero() {
            return Err("quantity: must not be zero".into());
        }
        let expected_tax = (self.price * self.tax_rate / Decimal::ONE_HUNDRED).normalize();
        if (expected_tax - self.tax).abs() > Decimal::new(1, 2) {
            let Self { price, tax, tax_rate, .. } = self;
            return Err(format!("tax: is {tax}, but {tax_rate} % of {price} is {expected_tax}"));
        }
        if separation::location(separations, self.location_id).is_none() {
            return Err(format!("location_id: {} is not a stock location of this site", self.location_id));
        }
        let mut open = orders.iter().filter(|order| !order.declined).flat_map(|order| &order.items);
        let item = open.find(|item| item.id == self.purchase_order_item_id).ok_or_else(|| {
            format!("purchase_order_item_id: {} is not a line of an open order", self.purchase_order_item_id)
        })?;
        let says = |field: &str, sent: &str, ordered: &str| {
            let text = format!("{field}: is {sent}, but the order line says {ordered}");
            if sent == ordered { Ok(()) } else { Err(text) }
        };
        says("supplier_code", &self.supplier_code, &item.supplier_code)?;
        says("location_id", &self.location_id.to_string(), &item.location_id.to_string())
    }
}

impl Invoice {
    /// Returns the JSON of `GET /v2/receiveinvoice`.
    pub(super) fn as_item(&self) -> Value {
        let draft = &self.draft;
        let lines = draft.lines.iter().zip(self.id * 1000..).map(|(line, id)| {
            json!({
                "id": id, "quantity": number(line.quantity), "price": number(line.price), "tax": number(line.tax),
                "tax_rate": number(line.tax_rate), "tax_code": line.tax_code, "supplier_code": line.supplier_code, "location_id": line.location_id,
                "purchase_order_item_id": line.purchase_order_item_id, "batch": line.batch,
            })
        });
        json!({
            "id": self.id, "active": 1, "created_at": self.created / 1000, "modified_at": self.modified / 1000,
            "invoice_number": draft.invoice_number, "supplier_id": SUPPLIER_ID, "date": draft.date, "due_date": draft.due_date,
            "comments": draft.comments, "freight": number(draft.freight), "freight_tax": number(draft.freight_tax), "ownership_id": draft.ownership_id,
            "line_item": lines.collect::<Vec<_>>(),
        })
    }
}

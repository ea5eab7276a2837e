//! The receive invoice: the checks when staff approve its job, and its JSON afterwards.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    SUPPLIER_ID,
    clock::Millis,
    order::PurchaseOrder,
    separation::{self, Separation},
    wire::{Problem, Scalars, decimal_of, list_of, text_of, whole_of},
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
    pub invoice_number: String,
    /// Invoice date in epoch seconds.
    pub date: i64,
    /// Due date in epoch seconds.
    pub due_date: i64,
    /// Free text.
    pub comments: String,
    /// Freight charge.
    pub freight: Decimal,
    /// Freight tax, in percent or as an amount (SPSI.md 5.6).
    pub freight_tax: Decimal,
    /// Id of the business.
    pub ownership_id: u64,
    /// The lines.
    pub lines: Vec<InvoiceLine>,
}

/// A line of an invoice.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InvoiceLine {
    /// Id of the order line.
    pub purchase_order_item_id: u64,
    /// Id of the stock location.
    pub location_id: u64,
    /// The supplier's code.
    pub supplier_code: String,
    /// Quantity in units (SPSI.md 5.5).
    pub quantity: Decimal,
    /// Tax-exclusive price of one unit.
    pub price: Decimal,
    /// Tax amount of one unit.
    pub tax: Decimal,
    /// Tax rate in percent.
    pub tax_rate: Decimal,
    /// Tax code.
    pub tax_code: String,
    /// Batches of the goods.
    pub batch: Vec<Batch>,
}

/// A batch on an invoice line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Batch {
    /// Batch name.
    pub name: String,
    /// Expiry in epoch seconds.
    pub expiry: Option<i64>,
}

/// Reads the fields of a JSON object and collects every problem; an invalid field reads as its type's default.
struct Reader<'a> {
    value: &'a Value,
    prefix: String,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    fn new(value: &'a Value, prefix: impl Into<String>) -> Self {
        Self { value, prefix: prefix.into(), problems: Vec::new() }
    }

    fn report(&mut self, name: &str, text: impl Into<String>) {
        let field = format!("{}{name}", self.prefix);
        // Later problems of a field follow from its first one.
        if !self.problems.iter().any(|problem| problem.field == field) {
            self.problems.push(Problem::new(field, text));
        }
    }

    fn field<T>(&mut self, name: &str, read: impl Fn(&Value) -> Option<T>, expected: &str) -> Option<T> {
        match self.value.get(name) {
            None | Some(Value::Null) => {
                self.report(name, "is required");
                None
            }
            Some(value) => {
                let read = read(value);
                if read.is_none() {
                    self.report(name, format!("must be {expected}"));
                }
                read
            }
        }
    }

    fn text(&mut self, name: &str) -> String {
        self.field(name, |value| text_of(value).filter(|text| !text.trim().is_empty()), "text").unwrap_or_default()
    }

    fn amount(&mut self, name: &str) -> Decimal {
        let amount = self.field(name, decimal_of, "a number").unwrap_or_default();
        if amount.normalize().scale() > MAX_DECIMALS {
            self.report(name, format!("has more than {MAX_DECIMALS} decimals"));
        }
        amount
    }

    fn amount_or_zero(&mut self, name: &str) -> Decimal {
        if self.value.get(name).is_none_or(Value::is_null) { Decimal::ZERO } else { self.amount(name) }
    }

    fn time(&mut self, name: &str) -> i64 {
        self.field(
            name,
            |value| whole_of(value).filter(|seconds| (946_684_800..4_102_444_800).contains(seconds)),
            "a time in epoch seconds",
        )
        .unwrap_or_default()
    }

    fn id(&mut self, name: &str) -> u64 {
        self.field(name, |value| whole_of(value)?.try_into().ok(), "an id").unwrap_or_default()
    }
}

impl InvoiceDraft {
    /// Reads a body and checks its numbers, its taxes, and its references to the site's separations and orders.
    ///
    /// # Errors
    /// All problems, each with its field.
    pub fn read(body: &Value, separations: &[Separation], orders: &[PurchaseOrder]) -> Result<Self, Vec<Problem>> {
        let mut reader = Reader::new(body, "");
        let mut draft = Self {
            invoice_number: reader.text("invoice_number"),
            date: reader.time("date"),
            due_date: reader.time("due_date"),
            comments: body.get("comments").and_then(text_of).unwrap_or_default(),
            freight: reader.amount_or_zero("freight"),
            freight_tax: reader.amount_or_zero("freight_tax"),
            ownership_id: reader.id("ownership_id"),
            lines: Vec::new(),
        };
        if !separations.iter().any(|part| part.id == draft.ownership_id && part.kind != "Location") {
            reader.report("ownership_id", format!("{} is not a business of this site", draft.ownership_id));
        }
        let lines = reader.field("line_item", list_of, "a list of lines").unwrap_or_default();
        if lines.is_empty() {
            reader.report("line_item", "must have at least one line");
        }
        let mut problems = reader.problems;
        for (index, line) in lines.iter().enumerate() {
            let mut reader = Reader::new(line, format!("line_item[{index}]."));
            draft.lines.push(InvoiceLine::read(&mut reader, separations, orders));
            problems.append(&mut reader.problems);
        }
        if problems.is_empty() { Ok(draft) } else { Err(problems) }
    }
}

impl InvoiceLine {
    fn read(reader: &mut Reader<'_>, separations: &[Separation], orders: &[PurchaseOrder]) -> Self {
        let line = Self {
            purchase_order_item_id: reader.id("purchase_order_item_id"),
            location_id: reader.id("location_id"),
            supplier_code: reader.text("supplier_code"),
            quantity: reader.amount("quantity"),
            price: reader.amount("price"),
            tax: reader.amount("tax"),
            tax_rate: reader.amount("tax_rate"),
            tax_code: reader.text("tax_code"),
            batch: batches(reader),
        };
        if line.quantity.is_zero() {
            reader.report("quantity", "must not be zero");
        }
        let expected_tax = line.price * line.tax_rate / Decimal::ONE_HUNDRED;
        if (expected_tax - line.tax).abs() > Decimal::new(1, 2) {
            reader.report(
                "tax",
                format!("is {}, but {} % of {} is {}", line.tax, line.tax_rate, line.price, expected_tax.normalize()),
            );
        }
        let is_location = separation::location(separations, line.location_id).is_some();
        if !is_location {
            reader.report("location_id", format!("{} is not a stock location of this site", line.location_id));
        }
        let open = orders.iter().filter(|order| !order.declined);
        match open.flat_map(|order| &order.items).find(|item| item.id == line.purchase_order_item_id) {
            None => reader.report(
                "purchase_order_item_id",
                format!("{} is not a line of an open order", line.purchase_order_item_id),
            ),
            Some(item) => {
                if item.supplier_code != line.supplier_code {
                    reader.report(
                        "supplier_code",
                        format!("is {}, but the order line says {}", line.supplier_code, item.supplier_code),
                    );
                }
                if is_location && item.location_id != line.location_id {
                    reader.report(
                        "location_id",
                        format!("is {}, but the order line says {}", line.location_id, item.location_id),
                    );
                }
            }
        }
        line
    }
}

fn batches(reader: &mut Reader<'_>) -> Vec<Batch> {
    let Some(value) = reader.value.get("batch").filter(|value| !value.is_null()) else { return Vec::new() };
    let list = match value {
        Value::Array(list) => list.clone(),
        other => list_of(other).unwrap_or_else(|| {
            reader.report("batch", "must be a list of batches");
            Vec::new()
        }),
    };
    let mut batches = Vec::new();
    for (index, value) in list.iter().enumerate() {
        let mut inner = Reader::new(value, format!("{}batch[{index}].", reader.prefix));
        let name = inner.text("name");
        let expiry = value.get("expiry").filter(|expiry| !expiry.is_null()).map(|_| inner.time("expiry"));
        batches.push(Batch { name, expiry });
        reader.problems.append(&mut inner.problems);
    }
    batches
}

impl Invoice {
    /// Returns the JSON of `GET /v2/receiveinvoice`.
    pub(super) fn as_item(&self, scalars: Scalars) -> Value {
        let draft = &self.draft;
        let lines: Vec<_> = draft
            .lines
            .iter()
            .enumerate()
            .map(|(index, line)| line.as_item(scalars, self.id * 1000 + index as u64))
            .collect();
        json!({
            "id": scalars.whole(self.id), "active": scalars.whole(1), "created_at": scalars.whole(self.created / 1000), "modified_at": scalars.whole(self.modified / 1000),
            "invoice_number": draft.invoice_number, "supplier_id": scalars.whole(SUPPLIER_ID), "date": scalars.whole(draft.date), "due_date": scalars.whole(draft.due_date),
            "comments": draft.comments, "freight": scalars.decimal(draft.freight), "freight_tax": scalars.decimal(draft.freight_tax), "ownership_id": scalars.whole(draft.ownership_id),
            "line_item": lines,
        })
    }
}

impl InvoiceLine {
    fn as_item(&self, scalars: Scalars, id: u64) -> Value {
        let batch: Vec<_> = self
            .batch
            .iter()
            .map(|batch| json!({"name": batch.name, "expiry": batch.expiry.map(|expiry| scalars.whole(expiry))}))
            .collect();
        json!({
            "id": scalars.whole(id), "quantity": scalars.decimal(self.quantity), "price": scalars.decimal(self.price), "tax": scalars.decimal(self.tax),
            "tax_rate": scalars.decimal(self.tax_rate), "tax_code": self.tax_code, "supplier_code": self.supplier_code, "location_id": scalars.whole(self.location_id),
            "purchase_order_item_id": scalars.whole(self.purchase_order_item_id), "batch": batch,
        })
    }
}

//! The receive invoice: what a practice system checks when staff approve it, and how it is shown afterwards.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    clock::Millis,
    wire::{Problem, Scalars, decimal_of, list_of, text_of, whole_of},
    world::World,
};

/// Most decimals that a practice system keeps.
const MOST_DECIMALS: u32 = 6;

/// An approved invoice.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Invoice {
    /// Number in ezyVet.
    pub id: u64,
    /// The job that it came from.
    pub job: u64,
    /// When it was approved.
    pub created: Millis,
    /// When it last changed.
    pub modified: Millis,
    /// What was sent.
    #[serde(flatten)]
    pub draft: InvoiceDraft,
}

/// An invoice body that passed every check (SPSI.md 2, receive invoice body).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InvoiceDraft {
    /// The supplier's number.
    pub invoice_number: String,
    /// Epoch seconds.
    pub date: i64,
    /// Epoch seconds.
    pub due_date: i64,
    /// Free text.
    pub comments: String,
    /// Freight.
    pub freight: Decimal,
    /// Percent or amount (SPSI.md 5.6).
    pub freight_tax: Decimal,
    /// The business.
    pub ownership_id: u64,
    /// The lines.
    pub lines: Vec<InvoiceLine>,
}

/// A line of an invoice.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InvoiceLine {
    /// The order line.
    pub purchase_order_item_id: u64,
    /// The stock location.
    pub location_id: u64,
    /// The supplier's code.
    pub supplier_code: String,
    /// Units (SPSI.md 5.5).
    pub quantity: Decimal,
    /// Tax-exclusive price of one.
    pub price: Decimal,
    /// Tax of one, as an amount.
    pub tax: Decimal,
    /// Percent.
    pub tax_rate: Decimal,
    /// Tax code.
    pub tax_code: String,
    /// Batches.
    pub batch: Vec<Batch>,
}

/// A batch on an invoice line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Batch {
    /// Name.
    pub name: String,
    /// Epoch seconds.
    pub expiry: Option<i64>,
}

struct Reader<'a> {
    value: &'a Value,
    prefix: String,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    fn new(value: &'a Value, prefix: impl Into<String>) -> Self {
        Self { value, prefix: prefix.into(), problems: Vec::new() }
    }

    fn refuse(&mut self, name: &str, text: impl Into<String>) {
        let field = format!("{}{name}", self.prefix);
        // The first problem of a field is the telling one.
        if !self.problems.iter().any(|problem| problem.field == field) {
            self.problems.push(Problem::new(field, text));
        }
    }

    fn field<T>(&mut self, name: &str, read: impl Fn(&Value) -> Option<T>, wanted: &str) -> Option<T> {
        match self.value.get(name) {
            None | Some(Value::Null) => {
                self.refuse(name, "is required");
                None
            }
            Some(value) => {
                let read = read(value);
                if read.is_none() {
                    self.refuse(name, format!("must be {wanted}"));
                }
                read
            }
        }
    }

    fn words(&mut self, name: &str) -> String {
        self.field(name, |value| text_of(value).filter(|text| !text.trim().is_empty()), "text").unwrap_or_default()
    }

    fn amount(&mut self, name: &str) -> Decimal {
        let amount = self.field(name, decimal_of, "a number").unwrap_or_default();
        if amount.normalize().scale() > MOST_DECIMALS {
            self.refuse(name, format!("has more than {MOST_DECIMALS} decimals"));
        }
        amount
    }

    fn amount_or_zero(&mut self, name: &str) -> Decimal {
        if self.value.get(name).is_none_or(Value::is_null) { Decimal::ZERO } else { self.amount(name) }
    }

    fn moment(&mut self, name: &str) -> i64 {
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
    /// Reads and checks a body against the world: references, numbers, tax.
    ///
    /// # Errors
    /// Every problem at once, each with its field.
    pub fn read(body: &Value, world: &World) -> Result<Self, Vec<Problem>> {
        let mut reader = Reader::new(body, "");
        let mut draft = Self {
            invoice_number: reader.words("invoice_number"),
            date: reader.moment("date"),
            due_date: reader.moment("due_date"),
            comments: body.get("comments").and_then(text_of).unwrap_or_default(),
            freight: reader.amount_or_zero("freight"),
            freight_tax: reader.amount_or_zero("freight_tax"),
            ownership_id: reader.id("ownership_id"),
            lines: Vec::new(),
        };
        let business = world.separations.iter().any(|part| part.id == draft.ownership_id && part.kind != "Location");
        if !business {
            reader.refuse("ownership_id", format!("{} is no business of this site", draft.ownership_id));
        }
        let lines = reader.field("line_item", list_of, "a list of lines").unwrap_or_default();
        if lines.is_empty() {
            reader.refuse("line_item", "has no lines");
        }
        let mut problems = reader.problems;
        for (index, line) in lines.iter().enumerate() {
            let mut reader = Reader::new(line, format!("line_item[{index}]."));
            draft.lines.push(InvoiceLine::read(&mut reader, world));
            problems.append(&mut reader.problems);
        }
        if problems.is_empty() { Ok(draft) } else { Err(problems) }
    }
}

impl InvoiceLine {
    fn read(reader: &mut Reader<'_>, world: &World) -> Self {
        let line = Self {
            purchase_order_item_id: reader.id("purchase_order_item_id"),
            location_id: reader.id("location_id"),
            supplier_code: reader.words("supplier_code"),
            quantity: reader.amount("quantity"),
            price: reader.amount("price"),
            tax: reader.amount("tax"),
            tax_rate: reader.amount("tax_rate"),
            tax_code: reader.words("tax_code"),
            batch: batches(reader),
        };
        if line.quantity.is_zero() {
            reader.refuse("quantity", "is zero");
        }
        let wanted = line.price * line.tax_rate / Decimal::ONE_HUNDRED;
        if (wanted - line.tax).abs() > Decimal::new(1, 2) {
            reader.refuse(
                "tax",
                format!("is {}, but {} % of {} is {}", line.tax, line.tax_rate, line.price, wanted.normalize()),
            );
        }
        let location = world.separations.iter().any(|part| part.id == line.location_id && part.kind == "Location");
        if !location {
            reader.refuse("location_id", format!("{} is no stock location of this site", line.location_id));
        }
        let sent = world.orders.iter().filter(|order| !order.declined);
        match sent.flat_map(|order| &order.items).find(|item| item.id == line.purchase_order_item_id) {
            None => reader
                .refuse("purchase_order_item_id", format!("{} is no line of an order", line.purchase_order_item_id)),
            Some(item) => {
                if item.supplier_code != line.supplier_code {
                    reader.refuse(
                        "supplier_code",
                        format!("is {}, the order line says {}", line.supplier_code, item.supplier_code),
                    );
                }
                if location && item.location_id != line.location_id {
                    reader.refuse(
                        "location_id",
                        format!("is {}, the order line says {}", line.location_id, item.location_id),
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
            reader.refuse("batch", "must be a list of batches");
            Vec::new()
        }),
    };
    let mut batches = Vec::new();
    for (index, value) in list.iter().enumerate() {
        let mut inner = Reader::new(value, format!("{}batch[{index}].", reader.prefix));
        let name = inner.words("name");
        let expiry = value.get("expiry").filter(|expiry| !expiry.is_null()).map(|_| inner.moment("expiry"));
        batches.push(Batch { name, expiry });
        reader.problems.append(&mut inner.problems);
    }
    batches
}

impl Invoice {
    /// `GET /v2/receiveinvoice`.
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
            "invoice_number": draft.invoice_number, "supplier_id": scalars.whole(super::SUPPLIER_ID), "date": scalars.whole(draft.date), "due_date": scalars.whole(draft.due_date),
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

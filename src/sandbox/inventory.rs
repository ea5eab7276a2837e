//! The inventory API (SPSI.md 2): `supplied` calls, which move stock at once, and the requirements of a location.

use std::collections::{BTreeMap, HashMap};

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value, json};
use time::Date;

use super::{
    clock::Millis,
    event::{EventKind, Refusal},
    order::OrderItem,
    product::ClinicProduct,
    separation::{self, Separation},
    wire::{Answer, Request, decimal_of, number},
};

time::serde::format_description!(day, Date, "[year]-[month]-[day]");

/// Units by location uid and product uid.
pub type Stock = BTreeMap<String, BTreeMap<String, Decimal>>;

/// An accepted `POST /inventory/v1/supplied`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SuppliedCall {
    /// Time of the call.
    pub at: Millis,
    /// Uid of the stock location.
    pub location_uid: String,
    /// The exact body.
    pub body: Value,
    /// Units added, by product uid.
    pub lines: Vec<(String, Decimal)>,
}

/// A line of a `supplied` call.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    product_id: String,
    supplied: Number,
    batch: Option<Batch>,
}

#[derive(Deserialize)]
struct Batch {
    code: String,
    /// Only its form is checked.
    #[serde(default, rename = "expireAt", with = "day::option")]
    _expire_at: Option<Date>,
}

impl SuppliedCall {
    /// Reads a call.
    ///
    /// # Errors
    /// 400 if the body is not JSON; 422 for an unknown location or product, or an invalid quantity or batch.
    pub(super) fn read(
        now: Millis,
        request: &Request,
        separations: &[Separation],
        products: &[ClinicProduct],
    ) -> Result<Self, Refusal> {
        let body: Value = serde_json::from_slice(&request.body).map_err(|_| {
            let answer = Answer::error(400, "BadRequest", "The body is not JSON");
            Refusal::mistake(EventKind::MalformedBody, "supplied: the body is not JSON", answer)
        })?;
        let location_uid = requested_location(request, separations)?.uid.clone();
        let sent: Vec<Line> = serde_path_to_error::deserialize(&body)
            .map_err(|problem| refused(&problem.path().to_string(), &problem.inner().to_string()))?;
        if sent.is_empty() {
            return Err(refused("", "must be a list with at least one product"));
        }
        let mut lines = Vec::new();
        for (index, Line { product_id, supplied, batch }) in sent.into_iter().enumerate() {
            if batch.is_some_and(|batch| batch.code.trim().is_empty()) {
                return Err(refused(&format!("[{index}].batch.code"), "must be text"));
            }
            if !products.iter().any(|product| product.uid == product_id) {
                let text = format!("`{product_id}` is not a product of this site");
                return Err(refused(&format!("[{index}].productId"), &text));
            }
            lines.push((product_id, decimal_of(&Value::Number(supplied)).unwrap_or_default()));
        }
        Ok(Self { at: now, location_uid, body, lines })
    }

    /// Returns the answer: the body's lines and their count.
    pub(super) fn as_answer(&self) -> Answer {
        let count = self.lines.len();
        let meta = json!({"items_page": 1, "items_page_total": 1, "items_page_size": count, "items_total": count});
        Answer::json(200, json!({"data": self.body, "meta": meta}))
    }
}

fn refused(field: &str, text: &str) -> Refusal {
    Refusal::mistake(EventKind::Refused, format!("inventory: {field} {text}"), Answer::invalid(field, text))
}

/// Finds the stock location in the query (`?locationUID=`).
///
/// # Errors
/// 422 if the site has no such location.
pub(super) fn requested_location<'a>(
    request: &Request,
    separations: &'a [Separation],
) -> Result<&'a Separation, Refusal> {
    let uid = request.parameter("locationUID").unwrap_or_default();
    separation::location_by_uid(separations, &uid)
        .ok_or_else(|| refused("locationUID", &format!("`{uid}` is not a stock location of this site")))
}

/// Returns the requirements of a location: the available and the outstanding units of every linked product.
pub(super) fn requirements<'a>(
    location: &Separation,
    stock: &Stock,
    products: &[ClinicProduct],
    open_items: impl Iterator<Item = &'a OrderItem>,
) -> Vec<Value> {
    let mut outstanding = HashMap::<u64, Decimal>::new();
    for item in open_items.filter(|item| item.location_id == location.id) {
        *outstanding.entry(item.product_id).or_default() += item.quantity - item.received;
    }
    let available = |uid: &str| stock.get(&location.uid).and_then(|units| units.get(uid)).copied().unwrap_or_default();
    let linked = products.iter().filter(|product| product.linked);
    linked
        .map(|product| {
            let required = outstanding.get(&product.id).copied().unwrap_or_default();
            json!({"productId": product.uid, "product": product.name, "code": product.code,
                "available": number(available(&product.uid)), "minimum": 0, "required": number(required)})
        })
        .collect()
}

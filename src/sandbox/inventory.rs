//! The inventory API (SPSI.md 2): `supplied` calls, which move stock at once, and the requirements of a location.

use std::collections::{BTreeMap, HashMap};

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::{Date, macros::format_description};

use super::{
    clock::Millis,
    event::{EventKind, Refusal},
    order::OrderItem,
    product::ClinicProduct,
    separation::{self, Separation},
    wire::{Answer, Problem, Request, Scalars, decimal_of},
};

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
        let mut problems = Vec::new();
        let location_uid = request.parameter("locationUID").unwrap_or_default();
        if separation::location_by_uid(separations, &location_uid).is_none() {
            problems.push(unknown_location(&location_uid));
        }
        let sent = body.as_array().map(Vec::as_slice).unwrap_or_default();
        if sent.is_empty() {
            problems.push(Problem::new("", "The body must be a list with at least one product"));
        }
        let mut lines = Vec::new();
        for (index, line) in sent.iter().enumerate() {
            match read_line(line, products) {
                Ok(line) => lines.push(line),
                Err(problem) => problems.push(Problem::new(format!("[{index}].{}", problem.field), problem.text)),
            }
        }
        if problems.is_empty() {
            return Ok(Self { at: now, location_uid, body, lines });
        }
        let texts: Vec<_> = problems.iter().map(|problem| format!("{} {}", problem.field, problem.text)).collect();
        let text = format!("supplied: {}", texts.join("; "));
        Err(Refusal::mistake(EventKind::Refused, text, Answer::problems(422, &problems)))
    }

    /// Returns the answer: the body's lines and their count.
    pub(super) fn as_answer(&self, scalars: Scalars) -> Answer {
        let count = scalars.whole(self.lines.len());
        Answer::json(
            200,
            json!({"data": self.body, "meta": {"items_page": scalars.whole(1), "items_page_total": scalars.whole(1), "items_page_size": count, "items_total": count}}),
        )
    }
}

fn unknown_location(uid: &str) -> Problem {
    Problem::new("locationUID", format!("`{uid}` is not a stock location of this site"))
}

fn read_line(line: &Value, products: &[ClinicProduct]) -> Result<(String, Decimal), Problem> {
    let uid = line.get("productId").and_then(Value::as_str).unwrap_or_default();
    if !products.iter().any(|product| product.uid == uid) {
        return Err(Problem::new("productId", format!("`{uid}` is not a product of this site")));
    }
    let supplied = line.get("supplied").filter(|value| value.is_number()).and_then(decimal_of);
    let supplied = supplied.ok_or_else(|| Problem::new("supplied", "must be a number"))?;
    if let Some(batch) = line.get("batch").filter(|batch| !batch.is_null()) {
        if batch.get("code").and_then(Value::as_str).is_none_or(|code| code.trim().is_empty()) {
            return Err(Problem::new("batch.code", "must be text"));
        }
        let format = format_description!("[year]-[month]-[day]");
        let is_date = |value: &Value| value.as_str().is_some_and(|text| Date::parse(text, format).is_ok());
        if batch.get("expireAt").is_some_and(|value| !value.is_null() && !is_date(value)) {
            return Err(Problem::new("batch.expireAt", "must be a date such as 2024-01-23"));
        }
    }
    Ok((uid.to_owned(), supplied))
}

/// Returns the number of calls that repeat an earlier call exactly. Two equal shipments are equal calls too, so a
/// repetition need not be a mistake.
pub(super) fn count_repeated(calls: &[SuppliedCall]) -> usize {
    let mut counts = BTreeMap::<String, usize>::new();
    calls.iter().for_each(|call| *counts.entry(format!("{} {}", call.location_uid, call.body)).or_default() += 1);
    counts.values().map(|count| count - 1).sum()
}

/// Finds the location of `GET /inventory/v1/requirements?locationUID=`.
///
/// # Errors
/// 422 if the site has no such location.
pub(super) fn requested_location<'a>(
    request: &Request,
    separations: &'a [Separation],
) -> Result<&'a Separation, Refusal> {
    let uid = request.parameter("locationUID").unwrap_or_default();
    separation::location_by_uid(separations, &uid).ok_or_else(|| {
        let text = format!("requirements: `{uid}` is not a stock location of this site");
        Refusal::mistake(EventKind::Refused, text, Answer::problems(422, &[unknown_location(&uid)]))
    })
}

/// Returns the requirements of a location: the available and the outstanding units of every linked product.
pub(super) fn requirements<'a>(
    location: &Separation,
    stock: &Stock,
    products: &[ClinicProduct],
    open_items: impl Iterator<Item = &'a OrderItem>,
    scalars: Scalars,
) -> Vec<Value> {
    let mut outstanding = HashMap::<u64, Decimal>::new();
    for item in open_items.filter(|item| item.location_id == location.id) {
        *outstanding.entry(item.product_id).or_default() += item.quantity - item.received;
    }
    let available = |uid: &str| stock.get(&location.uid).and_then(|units| units.get(uid)).copied().unwrap_or_default();
    let linked = products.iter().filter(|product| product.linked);
    linked
        .map(|product| {
            json!({"productId": product.uid, "product": product.name, "code": product.code,
                "available": scalars.decimal(available(&product.uid)), "minimum": scalars.whole(0),
                "required": scalars.decimal(outstanding.get(&product.id).copied().unwrap_or_default())})
        })
        .collect()
}

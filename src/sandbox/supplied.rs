//! `POST /inventory/v1/supplied` (SPSI.md 2): moves stock at a location, at once and without approval.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::{Date, macros::format_description};

use super::{
    clock::Millis,
    event::EventKind,
    wire::{Answer, Problem, Request, decimal_of},
    world::World,
};

/// An accepted call.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SuppliedCall {
    /// When.
    pub at: Millis,
    /// Where the goods went.
    pub location_uid: String,
    /// The body, word for word.
    pub body: Value,
    /// What was added, by product uid.
    pub lines: Vec<(String, Decimal)>,
}

impl World {
    pub(super) fn take_supplied(&mut self, now: Millis, request: &Request) -> Answer {
        let Ok(body) = serde_json::from_slice::<Value>(&request.body) else {
            self.event(now, EventKind::MalformedBody, "supplied: the body is not JSON");
            return Answer::error(400, "BadRequest", "The body is not JSON");
        };
        let mut problems = Vec::new();
        let location = request.parameter("locationUID").unwrap_or_default();
        if !self.separations.iter().any(|part| part.uid == location && part.kind == "Location") {
            problems.push(Problem::new("locationUID", format!("`{location}` is no stock location of this site")));
        }
        let lines = body.as_array().cloned().unwrap_or_default();
        if lines.is_empty() {
            problems.push(Problem::new("", "The body must be a list with at least one product"));
        }
        let mut moves = Vec::new();
        for (index, line) in lines.iter().enumerate() {
            match self.read_line(line) {
                Ok(line) => moves.push(line),
                Err(problem) => problems.push(Problem::new(format!("[{index}].{}", problem.field), problem.text)),
            }
        }
        if !problems.is_empty() {
            let words = problems
                .iter()
                .map(|problem| format!("{} {}", problem.field, problem.text))
                .collect::<Vec<_>>()
                .join("; ");
            self.event(now, EventKind::Refused, format!("supplied: {words}"));
            return Answer::problems(422, &problems);
        }
        let at_location = self.stock.entry(location.clone()).or_default();
        for (product, quantity) in &moves {
            *at_location.entry(product.clone()).or_default() += *quantity;
        }
        self.supplied.push(SuppliedCall { at: now, location_uid: location, body: body.clone(), lines: moves });
        let count = self.settings.scalars.whole(lines.len());
        Answer::json(
            200,
            json!({"data": body, "meta": {"items_page": self.settings.scalars.whole(1), "items_page_total": self.settings.scalars.whole(1), "items_page_size": count, "items_total": count}}),
        )
    }

    fn read_line(&self, line: &Value) -> Result<(String, Decimal), Problem> {
        let uid = line.get("productId").and_then(Value::as_str).unwrap_or_default();
        if !self.products.iter().any(|product| product.uid == uid) {
            return Err(Problem::new("productId", format!("`{uid}` is no product of this site")));
        }
        let supplied = line.get("supplied").filter(|value| value.is_number()).and_then(decimal_of);
        let supplied = supplied.ok_or_else(|| Problem::new("supplied", "must be a number"))?;
        match line.get("batch") {
            None | Some(Value::Null) => {}
            Some(batch) => {
                if batch.get("code").and_then(Value::as_str).is_none_or(|code| code.trim().is_empty()) {
                    return Err(Problem::new("batch.code", "must be text"));
                }
                let format = format_description!("[year]-[month]-[day]");
                let expires = batch.get("expireAt").filter(|value| !value.is_null());
                if expires.is_some_and(|value| value.as_str().and_then(|text| Date::parse(text, format).ok()).is_none())
                {
                    return Err(Problem::new("batch.expireAt", "must be a date such as 2024-01-23"));
                }
            }
        }
        Ok((uid.to_owned(), supplied))
    }

    /// How many accepted calls repeat an earlier one word for word; whether that is a mistake, the caller knows.
    pub fn repeated_supplied(&self) -> usize {
        let mut counts = BTreeMap::<String, usize>::new();
        self.supplied
            .iter()
            .for_each(|call| *counts.entry(format!("{} {}", call.location_uid, call.body)).or_default() += 1);
        counts.values().map(|count| count - 1).sum()
    }
}

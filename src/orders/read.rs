//! Parses a purchase order however a client writes it (SPSI.md 1 and 4): scalars as strings, numbers, booleans or null, a
//! list as an object with numeric keys, JSON under any media type, a form. Reports every bad field at once.

use super::document::{LINES, ROOT};
use super::echo::{prepare, scalar, to_json};
use super::form;
use crate::values::{DECIMAL_PLACES, DecimalError, LARGEST, parse_decimal, plain, round};
use memchr::memmem;
use rust_decimal::Decimal;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::HashSet;
use time::OffsetDateTime;

/// A parsed order.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderRequest {
    /// The order as received, as JSON, with unknown fields. The lines are a list in any case.
    pub body: String,
    /// The order without the supplier's number, its documented scalars as strings.
    pub document: Map<String, Value>,
    pub ezyvet_id: String,
    pub purchase_order_number: String,
    /// The business whose books are touched.
    pub ownership_id: String,
    pub shipping_address_id: String,
    pub ordered_at: Option<OffsetDateTime>,
    /// Includes tax; `freight_tax` is the tax inside it.
    pub freight: Decimal,
    pub freight_tax: Decimal,
    pub tax: Decimal,
    /// Includes tax. Negative for a return.
    pub total: Decimal,
    pub lines: Vec<OrderLine>,
}

/// An order line. Quantities are in units; prices and totals exclude tax.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderLine {
    pub ezyvet_id: String,
    /// ezyVet's id of the clinic's product.
    pub product_id: String,
    pub supplier_code: String,
    pub outers: Decimal,
    pub units_per_outer: Decimal,
    pub price_per_unit: Decimal,
    /// Largest rounding error of the price: half a unit of its last written digit.
    pub price_rounding: Decimal,
    pub tax_per_unit: Decimal,
    pub quantity: Decimal,
    pub total: Decimal,
    pub total_tax: Decimal,
    /// The stock location that the goods go to.
    pub location_id: String,
}

impl OrderRequest {
    /// Whether goods go back: the total is negative, or every quantity is (SPSI.md 1).
    pub fn is_return(&self) -> bool {
        self.total.is_sign_negative() && !self.total.is_zero()
            || self.lines.iter().all(|line| line.quantity < Decimal::ZERO)
    }

    /// The supplier codes of the lines, in order.
    pub(super) fn supplier_codes(&self) -> Vec<String> {
        self.lines.iter().map(|line| line.supplier_code.clone()).collect()
    }
}

/// A field that cannot be parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// For instance `purchaseorder.purchase_order_item_list[2].quantity`.
    pub path: String,
    pub text: String,
}

/// Why a body cannot be parsed as an order.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error("the body is neither JSON nor a form with `purchaseorder[...]` fields")]
    Neither,
    #[error("the body starts with `{{` but is not valid JSON: {0}")]
    BadJson(String),
    #[error("the order has {0} lines; the limit is {1}")]
    TooManyLines(usize, usize),
    #[error("{} fields are invalid", .0.len())]
    Fields(Vec<FieldError>),
}

/// Parses an order of at most `max_lines` lines.
pub fn read(body: &[u8], max_lines: usize) -> Result<OrderRequest, ReadError> {
    let body = body.trim_ascii_start();
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body).trim_ascii();
    let may_hold_nul = [&b"\\u0000"[..], b"%00", b"\0"].iter().any(|nul| memmem::find(body, nul).is_some());
    let mut root: Map<String, Value> = if body.starts_with(b"{") {
        // One UTF-8 check for the whole body is faster than one for each string.
        let read = str::from_utf8(body).map_or_else(|_| serde_json::from_slice(body), serde_json::from_str);
        read.map_err(|error| ReadError::BadJson(error.to_string()))?
    } else {
        form::parse(body).filter(|form| form.contains_key(ROOT)).ok_or(ReadError::Neither)?
    };
    let mut order = match root.remove(ROOT) {
        Some(Value::Object(order)) => order,
        Some(_) => return Err(bad(ROOT, "is not an object")),
        None => return Err(bad(ROOT, "is missing")),
    };
    let lines = list(order.shift_remove(LINES))?;
    if lines.len() > max_lines {
        return Err(ReadError::TooManyLines(lines.len(), max_lines));
    }
    let mut errors = Vec::new();
    let mut header = Fields { map: &order, line: None, errors: &mut errors };
    let ezyvet_id = header.required_text("id");
    let purchase_order_number = header.text("purchase_order_number");
    let ownership_id = header.text("ownership_id");
    let shipping_address_id = header.text("shipping_address_id");
    let ordered_at = header.time("date");
    let [freight, freight_tax, tax, total] =
        ["freight", "freight_tax", "tax", "total"].map(|key| header.decimal(key).unwrap_or_default());
    let mut read: Vec<OrderLine> = Vec::with_capacity(lines.len());
    let mut seen = HashSet::with_capacity(lines.len());
    for (index, line) in lines.iter().enumerate() {
        let Value::Object(map) = line else {
            let path = format!("{ROOT}.{LINES}[{index}]");
            errors.push(FieldError { path, text: "is not an object".into() });
            continue;
        };
        let line = read_line(Fields { map, line: Some(index), errors: &mut errors });
        if !line.ezyvet_id.is_empty() && !seen.insert(line.ezyvet_id.clone()) {
            let path = format!("{ROOT}.{LINES}[{index}].id");
            errors.push(FieldError { path, text: format!("`{}` is also the id of an earlier line", line.ezyvet_id) });
        }
        read.push(line);
    }
    order.insert(LINES.to_owned(), Value::Array(lines));
    // The scan of the raw body rules NUL characters out for nearly every order.
    if may_hold_nul {
        order.iter().for_each(|(key, value)| refuse_nul(format!("{ROOT}.{key}"), value, &mut errors));
    }
    if !errors.is_empty() {
        return Err(ReadError::Fields(errors));
    }
    let body = to_json(&order);
    prepare(&mut order);
    Ok(OrderRequest {
        body,
        document: order,
        ezyvet_id,
        purchase_order_number,
        ownership_id,
        shipping_address_id,
        ordered_at,
        freight,
        freight_tax,
        tax,
        total,
        lines: read,
    })
}

fn bad(path: &str, text: &str) -> ReadError {
    ReadError::Fields(vec![FieldError { path: path.into(), text: text.into() }])
}

/// Reports NUL characters, which Postgres cannot store, in known and unknown fields.
fn refuse_nul(path: String, value: &Value, errors: &mut Vec<FieldError>) {
    let holds_nul = path.contains('\0') || matches!(value, Value::String(text) if text.contains('\0'));
    if holds_nul {
        errors.push(FieldError { path: path.replace('\0', "\u{fffd}"), text: "holds a NUL character".into() });
        return;
    }
    match value {
        Value::Object(object) => {
            object.iter().for_each(|(key, value)| refuse_nul(format!("{path}.{key}"), value, errors));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, value)| refuse_nul(format!("{path}[{at}]"), value, errors));
        }
        _ => {}
    }
}

/// A PHP list that lost an index arrives as an object (SPSI.md 4): its values, by number.
fn list(value: Option<Value>) -> Result<Vec<Value>, ReadError> {
    let path = format!("{ROOT}.{LINES}");
    let lines = match value {
        Some(Value::Array(lines)) => lines,
        Some(Value::Object(object)) => {
            let mut indexed = Vec::with_capacity(object.len());
            for (key, value) in object {
                let index: u64 =
                    key.parse().map_err(|_| bad(&path, "is neither a list nor an object with numbers as keys"))?;
                indexed.push((index, value));
            }
            indexed.sort_by_key(|(index, _)| *index);
            indexed.into_iter().map(|(_, value)| value).collect()
        }
        None | Some(Value::Null) => return Err(bad(&path, "is missing")),
        Some(_) => return Err(bad(&path, "is not a list")),
    };
    if lines.is_empty() { Err(bad(&path, "is empty: an order has at least one line")) } else { Ok(lines) }
}

fn read_line(mut fields: Fields<'_>) -> OrderLine {
    let before = fields.errors.len();
    let quantity = fields.required_decimal("quantity");
    if quantity.is_zero() && fields.errors.len() == before {
        fields.error("quantity", "is zero");
    }
    let price_per_unit = fields.required_decimal("price_per_unit");
    let mut units_per_outer = fields.decimal("units_per_outer").unwrap_or(Decimal::ONE);
    if units_per_outer <= Decimal::ZERO {
        fields.error("units_per_outer", "is not above zero");
        units_per_outer = Decimal::ONE;
    }
    // Optional fields follow from the others.
    let outers = fields.decimal_or("outers", || quantity.checked_div(units_per_outer));
    let total = fields.decimal_or("total", || quantity.checked_mul(price_per_unit));
    let given_total_tax = fields.decimal("total_tax");
    let tax_per_unit = fields.decimal_or("tax_per_unit", || {
        given_total_tax.unwrap_or_default().checked_div(quantity).or(Some(Decimal::ZERO))
    });
    let total_tax = fields.decimal_or("total_tax", || quantity.checked_mul(tax_per_unit));
    let scale = price_per_unit.normalize().scale().max(2);
    OrderLine {
        ezyvet_id: fields.required_text("id"),
        product_id: fields.text("product_id"),
        supplier_code: fields.present_text("supplier_code"),
        outers,
        units_per_outer,
        price_per_unit,
        price_rounding: Decimal::new(5, scale + 1),
        tax_per_unit,
        quantity,
        total,
        total_tax,
        location_id: fields.text("ownership_id"),
    }
}

/// Reads the fields of one object and collects the errors.
struct Fields<'a> {
    map: &'a Map<String, Value>,
    /// Index of the line; `None` for the header.
    line: Option<usize>,
    errors: &'a mut Vec<FieldError>,
}

impl<'a> Fields<'a> {
    fn error(&mut self, key: &str, text: impl Into<String>) {
        let path = match self.line {
            None => format!("{ROOT}.{key}"),
            Some(index) => format!("{ROOT}.{LINES}[{index}].{key}"),
        };
        self.errors.push(FieldError { path, text: text.into() });
    }

    /// Returns the trimmed text of a field, empty if the field is absent.
    fn text(&mut self, key: &str) -> String {
        self.scalar(key).trim().to_owned()
    }

    fn scalar(&mut self, key: &str) -> Cow<'a, str> {
        let Some(value) = self.map.get(key) else { return Cow::default() };
        match scalar(value) {
            None => self.error(key, "is not a single value"),
            Some(text) if text.len() > 1_000 => self.error(key, "is longer than 1000 bytes"),
            Some(text) => return text,
        }
        Cow::default()
    }

    /// Returns the text of a field that must be present but may be empty.
    fn present_text(&mut self, key: &str) -> String {
        if !self.map.contains_key(key) {
            self.error(key, "is missing");
        }
        self.text(key)
    }

    fn required_text(&mut self, key: &str) -> String {
        let before = self.errors.len();
        let text = self.text(key);
        if text.is_empty() && self.errors.len() == before {
            self.error(key, "is missing");
        }
        text
    }

    fn decimal(&mut self, key: &str) -> Option<Decimal> {
        let text = self.scalar(key);
        let text = text.trim();
        // Empty also after an error, which is already reported.
        if text.is_empty() {
            return None;
        }
        match parse_decimal(text) {
            Ok(value) => Some(value),
            Err(error @ (DecimalError::NotANumber | DecimalError::TooLarge)) => {
                let shown: String = text.chars().take(40).collect();
                self.error(key, format!("`{shown}` {error}"));
                None
            }
        }
    }

    /// Returns the decimal, or what `otherwise` computes if the field is absent; the result may be too large.
    fn decimal_or(&mut self, key: &str, otherwise: impl FnOnce() -> Option<Decimal>) -> Decimal {
        let before = self.errors.len();
        if let Some(value) = self.decimal(key) {
            return value;
        }
        if self.errors.len() > before {
            return Decimal::ZERO;
        }
        match otherwise().map(|value| round(value, DECIMAL_PLACES)).filter(|value| value.abs() < LARGEST) {
            Some(value) => value,
            None => {
                self.error(key, "is missing, and the value computed from the other fields is too large");
                Decimal::ZERO
            }
        }
    }

    fn required_decimal(&mut self, key: &str) -> Decimal {
        let before = self.errors.len();
        let value = self.decimal(key);
        if value.is_none() && self.errors.len() == before {
            self.error(key, "is missing");
        }
        value.unwrap_or_default()
    }

    /// Returns a time given in epoch seconds. 0 and an absent field mean no time.
    fn time(&mut self, key: &str) -> Option<OffsetDateTime> {
        let seconds = self.decimal(key).filter(|seconds| !seconds.is_zero())?;
        let time =
            i64::try_from(seconds.trunc()).ok().and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
        if time.is_none() {
            self.error(key, format!("`{}` is not a time in epoch seconds", plain(seconds)));
        }
        time
    }
}

#[cfg(test)]
mod tests;

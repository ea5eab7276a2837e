//! One product of `/products` as JSON, in the types that ezyVet documents (SPSI.md 1).
//!
//! A template holds the parts that are the same for all clinics; writing a product fills in the clinic's prices and the
//! stock.

use super::fixed_decimal;
use crate::config::{BarcodeType, Basis, MissingContractPrice};
use crate::ids::ProductId;
use crate::values::{DECIMAL_PLACES, plain, round};
use rust_decimal::Decimal;
use serde::Serialize;
use time::OffsetDateTime;

/// A product as Postgres holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct CatalogProduct {
    pub id: ProductId,
    pub code: String,
    pub name: String,
    /// The JSON field `type`.
    pub product_type: String,
    pub category: String,
    /// Inner units in one outer; more than zero.
    pub units_per_outer: Decimal,
    pub unit_of_measure: String,
    /// Per outer, without tax. `None`: not for sale, so not listed.
    pub list_price: Option<Decimal>,
    pub barcode: String,
    /// Free units: on hand less reserved.
    pub stock_available: Decimal,
    /// From then on the product is listed with `active` 0, for the time of the setting `withdrawn_for`.
    pub withdrawn_at: Option<OffsetDateTime>,
    pub related_urls: Vec<String>,
    /// Visible only to clinics with the licence.
    pub restricted: bool,
}

/// A clinic's settings for the JSON of products (SPSI.md 5.2 to 5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodySettings {
    /// Whether `list_price` and `contract_price` are per unit or per outer.
    pub price_basis: Basis,
    pub missing_contract_price: MissingContractPrice,
    pub barcode: BarcodeType,
}

/// The largest whole number that every JSON parser reads exactly: 2^53 - 1.
const LARGEST_EXACT: u64 = (1 << 53) - 1;

/// Returns true if a barcode as a JSON number loses no digit (SPSI.md 5.4).
pub fn is_number(barcode: &str) -> bool {
    barcode.bytes().all(|byte| byte.is_ascii_digit())
        && !barcode.starts_with('0')
        && barcode.parse::<u64>().is_ok_and(|number| number <= LARGEST_EXACT)
}

/// Returns the price of one unit, rounded to six decimal places. `None` if the price is out of range.
pub fn unit_price(per_outer: Decimal, units_per_outer: Decimal) -> Option<Decimal> {
    per_outer.checked_div(units_per_outer).map(|price| round(price, DECIMAL_PLACES))
}

/// Converts a price per outer to the basis.
pub(super) fn price_on(basis: Basis, per_outer: Decimal, units_per_outer: Decimal) -> Option<Decimal> {
    match basis {
        Basis::Unit => unit_price(per_outer, units_per_outer),
        Basis::Outer => Some(per_outer),
    }
}

const AFTER_UNIT_PRICE: &[u8] = b"\",\"list_price\":";
const CONTRACT_PRICE: &[u8] = b",\"contract_price\":";
const BARCODE: &[u8] = b",\"barcode\":";
const STOCK: &[u8] = b",\"stock_available\":";
const RELATED_URLS: &[u8] = b",\"related_urls\":";

/// Locates the JSON parts of a product in the buffer of its snapshot. The parts follow each other: the head up to and
/// including `"list_price":`, the price per outer, the barcode, and the list of URLs.
#[derive(Clone, Copy, Debug)]
pub(super) struct ProductTemplate {
    start: usize,
    /// Lengths in bytes.
    head: u32,
    barcode: u32,
    urls: u32,
    unit_price: u8,
    outer_price: u8,
    is_barcode_numeric: bool,
}

/// A clinic's contract price, on the basis of its settings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum ContractPrice {
    None,
    Micros(u32),
    /// A price that does not fit into 32 bits of millionths.
    Large(Decimal),
}

impl ProductTemplate {
    /// Appends the parts to the buffer. `None` if the product has no price or a number is out of range.
    pub(super) fn append(json: &mut Vec<u8>, product: &CatalogProduct) -> Option<Self> {
        let outer_price = plain(product.list_price?);
        let unit_price = plain(unit_price(product.list_price?, product.units_per_outer)?);
        let start = json.len();
        json.extend_from_slice(if product.withdrawn_at.is_none() { b"{\"active\":1" } else { b"{\"active\":0" });
        for (key, text) in [
            (br#","code":"#.as_slice(), &product.code),
            (br#","name":"#, &product.name),
            (br#","type":"#, &product.product_type),
            (br#","category":"#, &product.category),
            (br#","units_per_outer":"#, &plain(product.units_per_outer)),
            (br#","unit_of_measure":"#, &product.unit_of_measure),
        ] {
            json.extend_from_slice(key);
            append_json(json, text)?;
        }
        json.extend_from_slice(b",\"price_per_unit\":\"");
        json.extend_from_slice(unit_price.as_bytes());
        json.extend_from_slice(AFTER_UNIT_PRICE);
        let head = json.len() - start;
        json.extend_from_slice(outer_price.as_bytes());
        let barcode = append_json(json, &product.barcode)?;
        let urls = append_json(json, &product.related_urls)?;
        Some(Self {
            start,
            head: u32::try_from(head).ok()?,
            barcode: u32::try_from(barcode).ok()?,
            urls: u32::try_from(urls).ok()?,
            unit_price: u8::try_from(unit_price.len()).ok()?,
            outer_price: u8::try_from(outer_price.len()).ok()?,
            is_barcode_numeric: is_number(&product.barcode),
        })
    }

    /// Returns the list price of one unit, as JSON text.
    pub(super) fn unit_price<'a>(&self, json: &'a [u8]) -> &'a [u8] {
        let end = self.start + self.head as usize - AFTER_UNIT_PRICE.len();
        &json[end - usize::from(self.unit_price)..end]
    }

    /// Appends the JSON of the product for one clinic.
    pub(super) fn write(
        &self,
        out: &mut Vec<u8>,
        json: &[u8],
        settings: &BodySettings,
        contract: ContractPrice,
        stock: i64,
    ) {
        let head_end = self.start + self.head as usize;
        let outer_end = head_end + usize::from(self.outer_price);
        let barcode_end = outer_end + self.barcode as usize;
        let urls_end = barcode_end + self.urls as usize;
        let list_price = match settings.price_basis {
            Basis::Unit => self.unit_price(json),
            Basis::Outer => &json[head_end..outer_end],
        };
        out.extend_from_slice(&json[self.start..head_end]);
        out.extend_from_slice(list_price);
        match (contract, settings.missing_contract_price) {
            (ContractPrice::None, MissingContractPrice::LeftOut) => {}
            (contract, missing) => {
                out.extend_from_slice(CONTRACT_PRICE);
                match (contract, missing) {
                    (ContractPrice::Micros(price), _) => fixed_decimal::write(out, price.into()),
                    (ContractPrice::Large(price), _) => out.extend_from_slice(plain(price).as_bytes()),
                    (ContractPrice::None, MissingContractPrice::Null) => out.extend_from_slice(b"null"),
                    (ContractPrice::None, _) => out.extend_from_slice(list_price),
                }
            }
        }
        out.extend_from_slice(BARCODE);
        let quotes = usize::from(self.writes_number(settings));
        out.extend_from_slice(&json[outer_end + quotes..barcode_end - quotes]);
        out.extend_from_slice(STOCK);
        fixed_decimal::write(out, stock);
        out.extend_from_slice(RELATED_URLS);
        out.extend_from_slice(&json[barcode_end..urls_end]);
        out.push(b'}');
    }

    /// Returns how many of the bytes that [`Self::write`] appends first are the same for every clinic and every stock.
    pub(super) fn head_length(&self) -> usize {
        self.head as usize
    }

    /// Returns how many bytes [`Self::write`] appends.
    pub(super) fn length(&self, settings: &BodySettings, contract: ContractPrice, stock: i64) -> usize {
        let list_price = usize::from(match settings.price_basis {
            Basis::Unit => self.unit_price,
            Basis::Outer => self.outer_price,
        });
        let contract_price = match (contract, settings.missing_contract_price) {
            (ContractPrice::None, MissingContractPrice::LeftOut) => 0,
            (ContractPrice::None, MissingContractPrice::Null) => CONTRACT_PRICE.len() + 4,
            (ContractPrice::None, MissingContractPrice::ListPrice) => CONTRACT_PRICE.len() + list_price,
            (ContractPrice::Micros(price), _) => CONTRACT_PRICE.len() + fixed_decimal::length(price.into()),
            (ContractPrice::Large(price), _) => CONTRACT_PRICE.len() + plain(price).len(),
        };
        let quotes = if self.writes_number(settings) { 2 } else { 0 };
        let fixed = BARCODE.len() + STOCK.len() + RELATED_URLS.len() + 1;
        let shared = self.head as usize + self.barcode as usize + self.urls as usize;
        shared + list_price + contract_price + fixed - quotes + fixed_decimal::length(stock)
    }

    fn writes_number(&self, settings: &BodySettings) -> bool {
        self.is_barcode_numeric && settings.barcode == BarcodeType::Auto
    }
}

/// Appends a value as JSON and returns its length.
fn append_json(json: &mut Vec<u8>, value: &impl Serialize) -> Option<usize> {
    let start = json.len();
    serde_json::to_writer(&mut *json, value).ok()?;
    Some(json.len() - start)
}

#[cfg(test)]
mod tests;

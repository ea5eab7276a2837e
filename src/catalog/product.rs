//! One product of `/products`, in the JSON types that ezyVet documents (SPSI.md 1), prepared so that only what differs
//! between clinics is left to be filled in.

use super::fixed_decimal;
use crate::config::{BarcodeType, Basis, ClinicSettings, MissingContractPrice, WithdrawnFor};
use crate::ids::ProductId;
use crate::values::{DECIMAL_PLACES, plain, round};
use rust_decimal::Decimal;
use time::OffsetDateTime;

/// A product as the catalogue holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct CatalogProduct {
    pub id: ProductId,
    pub code: String,
    pub name: String,
    /// The field `type`.
    pub product_type: String,
    pub category: String,
    /// Inner units in one outer; above zero.
    pub units_per_outer: Decimal,
    pub unit_of_measure: String,
    /// Per outer, without tax. `None`: not for sale, and never listed.
    pub list_price: Option<Decimal>,
    pub barcode: String,
    pub stock_available: Decimal,
    /// When it was withdrawn; from then on it is listed with `active` 0, for a time.
    pub withdrawn_at: Option<OffsetDateTime>,
    pub related_urls: Vec<String>,
    /// Only for clinics with the licence.
    pub restricted: bool,
}

/// How a clinic wants its products written (SPSI.md 5.2 to 5.4 and 5.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodySettings {
    /// What `list_price` and `contract_price` are prices of.
    pub price_basis: Basis,
    pub missing_contract_price: MissingContractPrice,
    pub barcode: BarcodeType,
    pub withdrawn_for: WithdrawnFor,
}

impl BodySettings {
    /// Whether a product is written alike for both.
    pub(super) fn writes_like(&self, other: &Self) -> bool {
        let Self { price_basis, missing_contract_price, barcode, withdrawn_for: _ } = *self;
        (price_basis, missing_contract_price, barcode)
            == (other.price_basis, other.missing_contract_price, other.barcode)
    }
}

impl From<&ClinicSettings> for BodySettings {
    fn from(settings: &ClinicSettings) -> Self {
        Self {
            price_basis: settings.price_basis,
            missing_contract_price: settings.missing_contract_price,
            barcode: settings.barcode,
            withdrawn_for: settings.withdrawn_for,
        }
    }
}

/// The largest whole number that every JSON reader keeps (2^53 - 1).
const LARGEST_EXACT: u64 = (1 << 53) - 1;

/// Whether a barcode loses nothing as a number (SPSI.md 5.4).
pub fn is_number(barcode: &str) -> bool {
    barcode.bytes().all(|byte| byte.is_ascii_digit())
        && !barcode.starts_with('0')
        && barcode.parse::<u64>().is_ok_and(|number| number <= LARGEST_EXACT)
}

/// The price of one unit, from that of one outer, to six places. `None` where that is no number that we can hold.
pub fn unit_price(per_outer: Decimal, units_per_outer: Decimal) -> Option<Decimal> {
    per_outer.checked_div(units_per_outer).map(|price| round(price, DECIMAL_PLACES))
}

/// The price on the basis that a clinic wants.
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

/// Where the parts of a product lie in the arena of its snapshot: the JSON up to and with `"list_price":`, then the
/// price per outer, the barcode, and the list of addresses, each as JSON.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prepared {
    start: usize,
    head: u32,
    barcode: u32,
    urls: u32,
    unit_price: u8,
    outer_price: u8,
    /// The barcode may go out as a number.
    numeric: bool,
}

/// A clinic's agreed price, on the basis of its settings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum ContractPrice {
    None,
    Micros(u32),
    /// Too large for the form above.
    Large(Decimal),
}

impl Prepared {
    /// Appends the parts to the arena. `None`: no price that can be listed.
    pub(super) fn append(arena: &mut Vec<u8>, product: &CatalogProduct) -> Option<Self> {
        let outer_price = plain(product.list_price?);
        let unit_price = plain(unit_price(product.list_price?, product.units_per_outer)?);
        let start = arena.len();
        arena.extend_from_slice(if product.withdrawn_at.is_none() { b"{\"active\":1" } else { b"{\"active\":0" });
        for (key, text) in [
            ("code", &product.code),
            ("name", &product.name),
            ("type", &product.product_type),
            ("category", &product.category),
            ("units_per_outer", &plain(product.units_per_outer)),
            ("unit_of_measure", &product.unit_of_measure),
        ] {
            arena.extend_from_slice(format!(",\"{key}\":").as_bytes());
            append_json(arena, text.as_str().into());
        }
        arena.extend_from_slice(b",\"price_per_unit\":\"");
        arena.extend_from_slice(unit_price.as_bytes());
        arena.extend_from_slice(AFTER_UNIT_PRICE);
        let head = arena.len() - start;
        arena.extend_from_slice(outer_price.as_bytes());
        let numeric = is_number(&product.barcode);
        let barcode = append_json(arena, product.barcode.as_str().into());
        let urls = append_json(arena, product.related_urls.as_slice().into());
        Some(Self {
            start,
            head: u32::try_from(head).ok()?,
            barcode: u32::try_from(barcode).ok()?,
            urls: u32::try_from(urls).ok()?,
            unit_price: u8::try_from(unit_price.len()).ok()?,
            outer_price: u8::try_from(outer_price.len()).ok()?,
            numeric,
        })
    }

    /// The list price of one unit, as JSON has it.
    pub(super) fn unit_price<'a>(&self, arena: &'a [u8]) -> &'a [u8] {
        let end = self.start + self.head as usize - AFTER_UNIT_PRICE.len();
        &arena[end - usize::from(self.unit_price)..end]
    }

    /// Appends the product as this clinic sees it.
    pub(super) fn write(
        &self,
        out: &mut Vec<u8>,
        arena: &[u8],
        settings: &BodySettings,
        contract: ContractPrice,
        stock: i64,
    ) {
        let head_end = self.start + self.head as usize;
        let outer_end = head_end + usize::from(self.outer_price);
        let barcode_end = outer_end + self.barcode as usize;
        let urls_end = barcode_end + self.urls as usize;
        let list_price = match settings.price_basis {
            Basis::Unit => self.unit_price(arena),
            Basis::Outer => &arena[head_end..outer_end],
        };
        out.extend_from_slice(&arena[self.start..head_end]);
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
        let quotes = usize::from(self.as_number(settings));
        out.extend_from_slice(&arena[outer_end + quotes..barcode_end - quotes]);
        out.extend_from_slice(STOCK);
        fixed_decimal::write(out, stock);
        out.extend_from_slice(RELATED_URLS);
        out.extend_from_slice(&arena[barcode_end..urls_end]);
        out.push(b'}');
    }

    /// How many of the bytes that [`Self::write`] appends are the same for every clinic and whatever the stock.
    pub(super) fn head_length(&self) -> usize {
        self.head as usize
    }

    /// How many bytes [`Self::write`] appends, without writing them.
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
        let quotes = if self.as_number(settings) { 2 } else { 0 };
        let fixed = BARCODE.len() + STOCK.len() + RELATED_URLS.len() + 1;
        let kept = self.head as usize + self.barcode as usize + self.urls as usize;
        kept + list_price + contract_price + fixed - quotes + fixed_decimal::length(stock)
    }

    fn as_number(&self, settings: &BodySettings) -> bool {
        self.numeric && settings.barcode == BarcodeType::Auto
    }
}

fn append_json(arena: &mut Vec<u8>, value: serde_json::Value) -> usize {
    let text = value.to_string();
    arena.extend_from_slice(text.as_bytes());
    text.len()
}

#[cfg(test)]
mod tests;

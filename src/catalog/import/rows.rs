//! Checks the rows of a products file, for each kind of import.

use super::ImportKind;
use super::cells::{self, CODE_CHARACTERS, TEXT_CHARACTERS, not_negative, percentage, positive};
use super::copy::CopyLines;
use super::pump::Rows;
use super::read::{Check, Columns};
use rust_decimal::Decimal;

const CODE: usize = 0;
const NAME: usize = 1;
const TYPE: usize = 2;
const CATEGORY: usize = 3;
const UNITS: usize = 4;
const MEASURE: usize = 5;
const PRICE: usize = 6;
const BARCODE: usize = 7;
const STOCK: usize = 8;
const ACTIVE: usize = 9;
const URLS: usize = 10;
const MANUFACTURER: usize = 11;
const TAX_CODE: usize = 12;
const TAX_RATE: usize = 13;
const RESTRICTED: usize = 14;

/// The columns of the catalogue CSV (DESIGN.md 3).
pub(super) const PRODUCT_COLUMNS: &[&str] = &[
    "code",
    "name",
    "type",
    "category",
    "units_per_outer",
    "unit_of_measure",
    "list_price",
    "barcode",
    "stock_available",
    "active",
    "related_urls",
    "manufacturer",
    "tax_code",
    "tax_rate",
    "restricted",
];

const FULL: Columns = Columns {
    known: PRODUCT_COLUMNS,
    required: &["code", "name", "type", "category", "units_per_outer", "unit_of_measure", "list_price"],
    one_of: &[],
};
const STOCK_ONLY: Columns =
    Columns { known: &["code", "stock_available"], required: &["code", "stock_available"], one_of: &[] };
const PRICES_ONLY: Columns = Columns { known: &["code", "list_price"], required: &["code", "list_price"], one_of: &[] };

/// Checks the rows of one products file. An absent optional column becomes null; the merge then leaves the product's value
/// unchanged.
#[derive(Debug)]
pub(super) struct ProductRows {
    kind: ImportKind,
    /// Number of rows without a price.
    without_price: u64,
    /// Number of rows with neither a price nor a pack size.
    without_units: u64,
}

impl ProductRows {
    pub(super) fn new(kind: ImportKind) -> Self {
        Self { kind, without_price: 0, without_units: 0 }
    }

    fn full(&mut self, check: &mut Check<'_, '_>, lines: &mut CopyLines) {
        let required = |value| cells::required_text(value, TEXT_CHARACTERS);
        let name = check.cell(NAME, required);
        let kind = check.cell(TYPE, required);
        let category = check.cell(CATEGORY, required);
        let measure = check.text(MEASURE);
        let price = check.number(PRICE, not_negative);
        let units = check.number(UNITS, positive);
        let (has_price, has_units) = (check.is_filled(PRICE), check.is_filled(UNITS));
        if has_price && !has_units {
            check.refuse(UNITS, "is empty, but the row has a price; the price of a unit needs the pack size");
        }
        self.without_price += u64::from(!has_price);
        self.without_units += u64::from(!has_price && !has_units);
        let barcode = check.cell(BARCODE, cells::barcode);
        let stock = check.number(STOCK, not_negative).map(Option::unwrap_or_default);
        let active = match check.row.get(ACTIVE) {
            None | Some("") => Some(true),
            Some(_) => check.cell(ACTIVE, cells::boolean),
        };
        let urls = check.cell(URLS, cells::addresses);
        let manufacturer = check.text(MANUFACTURER);
        let tax_code = check.text(TAX_CODE);
        let tax_rate = check.number(TAX_RATE, percentage);
        let restricted = match check.row.get(RESTRICTED) {
            Some("") => Some(false),
            _ => check.cell(RESTRICTED, cells::boolean),
        };
        lines.text(name).text(kind).text(category);
        lines.number(Some(units.flatten().unwrap_or(Decimal::ONE))).boolean(Some(has_units)).text(measure);
        lines.number(price.flatten()).boolean(Some(true));
        lines.text(barcode).number(stock).boolean(active).texts(urls.as_deref()).text(manufacturer).text(tax_code);
        lines.number(tax_rate.flatten()).boolean(Some(check.row.get(TAX_RATE).is_some())).boolean(restricted);
    }
}

impl Rows for ProductRows {
    fn columns(&self) -> Columns {
        match self.kind {
            ImportKind::Full => FULL,
            ImportKind::Stock => STOCK_ONLY,
            ImportKind::Prices => PRICES_ONLY,
        }
    }

    fn row(&mut self, check: &mut Check<'_, '_>, lines: &mut CopyLines) {
        let code = check.cell(CODE, |value| cells::required_text(value, CODE_CHARACTERS));
        // A row with errors is staged too, so that its code is known to the checks. An import with errors is not applied.
        lines.plain(Some(check.row.line)).text(Some(code.unwrap_or_default()));
        match self.kind {
            ImportKind::Full => self.full(check, lines),
            ImportKind::Stock => {
                let stock = check.number(1, not_negative).map(Option::unwrap_or_default);
                write_delta(lines, None, stock);
            }
            ImportKind::Prices => {
                let price = check.number(1, not_negative);
                self.without_price += u64::from(!check.is_filled(1));
                write_delta(lines, Some(price.flatten()), None);
            }
        }
        lines.end();
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.without_price > 0 {
            notes.push(format!(
                "{} rows have no price; these products are not for sale and not listed",
                self.without_price
            ));
        }
        if self.without_units > 0 {
            notes.push(format!("{} of them have no units_per_outer either", self.without_units));
        }
        notes
    }
}

/// Writes a row that changes only the price or the stock.
fn write_delta(lines: &mut CopyLines, price: Option<Option<Decimal>>, stock: Option<Decimal>) {
    lines.text(None).text(None).text(None).number(None).boolean(None).text(None);
    lines.number(price.flatten()).boolean(Some(price.is_some()));
    lines.text(None).number(stock).boolean(None).texts(None).text(None).text(None);
    lines.number(None).boolean(Some(false)).boolean(None);
}

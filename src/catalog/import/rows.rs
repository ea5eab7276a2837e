//! Checks the rows of a products file, for each kind of import.

use super::ImportKind;
use super::cells::{self, CellError, Numbers};
use super::copy::CopyLines;
use super::problems::Problems;
use super::pump::Rows;
use super::read::{Columns, Row};
use rust_decimal::Decimal;

/// Maximum length of a code, in characters.
pub const CODE_CHARACTERS: usize = 100;
/// Maximum length of other texts, in characters.
pub const TEXT_CHARACTERS: usize = 1_000;

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

/// The columns of the catalogue CSV (DESIGN.md 3), in the order of the export.
pub const PRODUCT_COLUMNS: &[&str] = &[
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
    numbers: Numbers,
    /// Number of rows without a price.
    without_price: u64,
    /// Number of rows with neither a price nor a pack size.
    without_units: u64,
}

impl ProductRows {
    pub(super) fn new(kind: ImportKind, numbers: Numbers) -> Self {
        Self { kind, numbers, without_price: 0, without_units: 0 }
    }

    fn full(&mut self, check: &mut Check<'_, '_>, lines: &mut CopyLines) {
        let name = check.required(NAME);
        let kind = check.required(TYPE);
        let category = check.required(CATEGORY);
        let measure = check.cell(MEASURE, |value| cells::text(value, TEXT_CHARACTERS));
        let price = check.number(PRICE, &mut self.numbers, not_negative);
        let units = check.number(UNITS, &mut self.numbers, positive);
        let has_price = check.is_filled(PRICE);
        if has_price && !check.is_filled(UNITS) {
            let reason = "is empty, but the row has a price; the price of a unit needs the pack size";
            check.refuse(UNITS, reason);
        }
        self.without_price += u64::from(!has_price);
        self.without_units += u64::from(!has_price && !check.is_filled(UNITS));
        let barcode = check.cell(BARCODE, cells::barcode);
        let stock = check.number(STOCK, &mut self.numbers, not_negative).map(Option::unwrap_or_default);
        let active = match check.row.get(ACTIVE) {
            None | Some("") => Some(true),
            Some(_) => check.cell(ACTIVE, cells::boolean),
        };
        let urls = check.cell(URLS, cells::addresses);
        let manufacturer = check.cell(MANUFACTURER, |value| cells::text(value, TEXT_CHARACTERS));
        let tax_code = check.cell(TAX_CODE, |value| cells::text(value, TEXT_CHARACTERS));
        let tax_rate = check.number(TAX_RATE, &mut self.numbers, percentage);
        let restricted = match check.row.get(RESTRICTED) {
            Some("") => Some(false),
            _ => check.cell(RESTRICTED, cells::boolean),
        };
        lines.text(name).text(kind).text(category);
        lines.number(Some(units.flatten().unwrap_or(Decimal::ONE))).boolean(Some(check.is_filled(UNITS))).text(measure);
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

    fn row(&mut self, row: &Row<'_>, problems: &mut Problems, lines: &mut CopyLines) {
        let mut check = Check { row, problems };
        let code = check.cell(CODE, |value| cells::required_text(value, CODE_CHARACTERS));
        // A row with errors is staged too, so that its code is known to the checks. An import with errors is not applied.
        lines.plain(Some(row.line)).text(Some(code.unwrap_or_default()));
        match self.kind {
            ImportKind::Full => self.full(&mut check, lines),
            ImportKind::Stock => {
                let stock = check.number(1, &mut self.numbers, not_negative).map(Option::unwrap_or_default);
                write_delta(lines, None, stock);
            }
            ImportKind::Prices => {
                let price = check.number(1, &mut self.numbers, not_negative);
                self.without_price += u64::from(!check.is_filled(1));
                write_delta(lines, Some(price.flatten()), None);
            }
        }
        lines.end();
    }

    fn numbers(&self) -> &Numbers {
        &self.numbers
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

pub(in crate::catalog) fn not_negative(value: Decimal) -> Result<Decimal, CellError> {
    if value.is_sign_negative() && !value.is_zero() { Err(CellError::Negative) } else { Ok(value) }
}

pub(in crate::catalog) fn positive(value: Decimal) -> Result<Decimal, CellError> {
    if value > Decimal::ZERO { Ok(value) } else { Err(CellError::NotPositive) }
}

pub(in crate::catalog) fn percentage(value: Decimal) -> Result<Decimal, CellError> {
    if (Decimal::ZERO..=Decimal::ONE_HUNDRED).contains(&value) { Ok(value) } else { Err(CellError::NotAPercentage) }
}

/// Reads the cells of one row and reports their errors.
pub(super) struct Check<'a, 'row> {
    pub row: &'a Row<'row>,
    pub problems: &'a mut Problems,
}

impl<'row> Check<'_, 'row> {
    /// Parses a cell. `None` if the file lacks the column, or if the cell is invalid, which is reported.
    pub(super) fn cell<T>(&mut self, column: usize, read: impl FnOnce(&'row str) -> Result<T, CellError>) -> Option<T> {
        let value = self.row.get(column)?;
        match read(value) {
            Ok(read) => Some(read),
            Err(reason) => {
                self.problems.add(self.row.line, self.row.name(column), value, reason);
                None
            }
        }
    }

    fn required(&mut self, column: usize) -> Option<&'row str> {
        self.cell(column, |value| cells::required_text(value, TEXT_CHARACTERS))
    }

    /// Parses a number that may be empty. `None` if the column is absent or the number invalid, `Some(None)` if the cell is
    /// empty.
    pub(super) fn number(
        &mut self,
        column: usize,
        numbers: &mut Numbers,
        check: impl FnOnce(Decimal) -> Result<Decimal, CellError>,
    ) -> Option<Option<Decimal>> {
        let line = self.row.line;
        self.cell(column, |value| match value {
            "" => Ok(None),
            value => check(numbers.parse(value, line)?).map(Some),
        })
    }

    /// Returns true if the file has the column and the cell is not empty.
    pub(super) fn is_filled(&self, column: usize) -> bool {
        self.row.get(column).is_some_and(|value| !value.is_empty())
    }

    /// Reports an error of a cell.
    pub(super) fn refuse(&mut self, column: usize, reason: &str) {
        let value = self.row.get(column).unwrap_or_default();
        self.problems.add(self.row.line, self.row.name(column), value, reason);
    }
}

//! Checks the rows of a prices file: contract prices of clinics or of price lists. An import inserts or updates the given
//! prices and leaves all others unchanged. An empty price deletes the price of the period that begins at `valid_from`, or
//! all periods if the row has no date.

pub(in crate::catalog) mod store;

use super::cells::{self, CODE_CHARACTERS, not_negative};
use super::copy::CopyLines;
use super::pump::Rows;
use super::read::{Check, Columns};

const CLINIC: usize = 0;
const PRICE_LIST: usize = 1;
const CODE: usize = 2;
const PRICE: usize = 3;
const VALID_FROM: usize = 4;
const VALID_UNTIL: usize = 5;

pub(super) const COLUMNS: Columns = Columns {
    known: &["clinic", "price_list", "code", "contract_price", "valid_from", "valid_until"],
    required: &["code", "contract_price"],
    one_of: &["clinic", "price_list"],
};

/// Checks the rows of one prices file.
#[derive(Debug)]
pub(super) struct PriceRows;

impl Rows for PriceRows {
    fn columns(&self) -> Columns {
        COLUMNS
    }

    fn row(&mut self, check: &mut Check<'_, '_>, lines: &mut CopyLines) {
        let count_before = check.problems.count;
        match (check.is_filled(CLINIC), check.is_filled(PRICE_LIST)) {
            (false, false) => check.refuse(CLINIC, "is empty, and price_list too; name a clinic or a price list"),
            (true, true) => check.refuse(PRICE_LIST, "is given beside a clinic; use one row for each"),
            _ => {}
        }
        let clinic = check.text(CLINIC).filter(|clinic| !clinic.is_empty());
        let price_list = check.text(PRICE_LIST).filter(|list| !list.is_empty());
        let code = check.cell(CODE, |value| cells::required_text(value, CODE_CHARACTERS));
        let price = check.number(PRICE, not_negative).flatten();
        let from = check.cell(VALID_FROM, cells::optional_date).flatten();
        let until = check.cell(VALID_UNTIL, cells::optional_date).flatten();
        if from.zip(until).is_some_and(|(from, until)| from > until) {
            check.refuse(VALID_UNTIL, "is before valid_from");
        }
        let is_valid = check.problems.count == count_before;
        lines.plain(Some(check.row.line)).text(clinic).text(price_list).text(code).number(price);
        lines.plain(from).plain(until).boolean(Some(is_valid)).end();
    }
}

#[cfg(test)]
mod tests {
    use super::super::pump::tests::{errors_of, pump_bytes};
    use super::*;

    #[test]
    fn every_error_of_every_row_is_reported() {
        let text = "clinic,price_list,code,contract_price,valid_from,valid_until\n\
                    ,,,x,tomorrow,\n7,Group,A,-1,2026-12-31,2026-01-01\n";
        let (lines, pumped) = pump_bytes(text.as_bytes(), PriceRows);
        assert!(lines.lines().all(|line| line.ends_with("\tf")));
        let expected = [
            "2, clinic: is empty, and price_list too; name a clinic or a price list",
            "2, code: is empty",
            "2, contract_price: is not a number",
            "2, valid_from: must be a date like 2026-07-31",
            "3, price_list: is given beside a clinic; use one row for each",
            "3, contract_price: must not be negative",
            "3, valid_until: is before valid_from",
        ];
        assert_eq!(errors_of(pumped), expected);
    }
}

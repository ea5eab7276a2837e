//! Checks the rows of a prices file: contract prices of clinics or of price lists. An import inserts or updates the given
//! prices and leaves all others unchanged. An empty price deletes the price of the period that begins at `valid_from`, or
//! all periods if the row has no date.

pub(in crate::catalog) mod store;

use super::cells::{self, Numbers};
use super::copy::CopyLines;
use super::problems::Problems;
use super::pump::Rows;
use super::read::{Columns, Row};
use super::rows::{CODE_CHARACTERS, Check, TEXT_CHARACTERS, not_negative};

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
pub(super) struct PriceRows {
    numbers: Numbers,
}

impl PriceRows {
    pub(super) fn new(numbers: Numbers) -> Self {
        Self { numbers }
    }
}

impl Rows for PriceRows {
    fn columns(&self) -> Columns {
        COLUMNS
    }

    fn row(&mut self, row: &Row<'_>, problems: &mut Problems, lines: &mut CopyLines) {
        let count_before = problems.count;
        let mut check = Check { row, problems };
        match (check.is_filled(CLINIC), check.is_filled(PRICE_LIST)) {
            (false, false) => check.refuse(CLINIC, "is empty, and price_list too; name a clinic or a price list"),
            (true, true) => check.refuse(PRICE_LIST, "is given beside a clinic; use one row for each"),
            _ => {}
        }
        let clinic = check.cell(CLINIC, |value| cells::text(value, TEXT_CHARACTERS));
        let price_list = check.cell(PRICE_LIST, |value| cells::text(value, TEXT_CHARACTERS));
        let code = check.cell(CODE, |value| cells::required_text(value, CODE_CHARACTERS));
        let price = check.number(PRICE, &mut self.numbers, not_negative).flatten();
        let from = check.cell(VALID_FROM, cells::optional_date).flatten();
        let until = check.cell(VALID_UNTIL, cells::optional_date).flatten();
        if from.zip(until).is_some_and(|(from, until)| from > until) {
            check.refuse(VALID_UNTIL, "is before valid_from");
        }
        let is_valid = problems.count == count_before;
        let (clinic, price_list) = (clinic.filter(|c| !c.is_empty()), price_list.filter(|l| !l.is_empty()));
        lines.plain(Some(row.line)).text(clinic).text(price_list).text(code).number(price);
        lines.plain(from).plain(until).boolean(Some(is_valid)).end();
    }

    fn numbers(&self) -> &Numbers {
        &self.numbers
    }

    fn notes(&self) -> Vec<String> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::super::pump::tests::{errors_of, pump_text};
    use super::*;

    #[test]
    fn rows_name_a_clinic_or_a_price_list() {
        let text = "clinic,price_list,code,contract_price,valid_from,valid_until\n\
                    7,,A,1.50,2026-01-01,2026-12-31\n,Group,A,,,\n";
        let (lines, pumped) = pump_text(text, PriceRows::new(Numbers::default()));
        assert_eq!(pumped.problems.count, 0);
        assert_eq!(lines, "2\t7\t\\N\tA\t1.5\t2026-01-01\t2026-12-31\tt\n3\t\\N\tGroup\tA\t\\N\t\\N\t\\N\tt\n");
    }

    #[test]
    fn every_error_of_every_row_is_reported() {
        let text = "clinic,price_list,code,contract_price,valid_from,valid_until\n\
                    ,,,x,tomorrow,\n7,Group,A,-1,2026-12-31,2026-01-01\n";
        let (lines, pumped) = pump_text(text, PriceRows::new(Numbers::default()));
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

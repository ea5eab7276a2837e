//! Reads the rows of a file of shipments like those of a catalogue file. Pure.

use super::ShipmentFile;
use crate::catalog::import::FormatOptions;
use crate::catalog::import::cells::{CODE_CHARACTERS, Numbers, optional_date, required_text};
use crate::catalog::import::problems::Problems;
use crate::catalog::import::read::{Check, Columns, Table};
use crate::shipments::{NewShipment, Requested};
use crate::values::parse_decimal;
use rust_decimal::Decimal;
use std::collections::HashMap;

const ORDER: usize = 0;
const ITEM: usize = 1;
const QUANTITY: usize = 2;
const BATCH: usize = 3;
const EXPIRY: usize = 4;
const FREIGHT: usize = 5;
const INVOICE_NUMBER: usize = 6;

const COLUMNS: Columns = Columns {
    known: &["order", "item", "quantity", "batch", "expiry", "freight", "invoice_number"],
    required: &["order", "item", "quantity"],
    one_of: &[],
};

/// The rows of one shipment.
#[derive(Debug)]
pub struct Group {
    /// The file's line of each of the shipment's lines. Not empty.
    pub lines: Vec<u64>,
    pub new: NewShipment,
    /// A group with a wrong row is not tried: further errors would be guesses.
    pub has_errors: bool,
}

/// Reads every row. Returns the shipments in the order of the file, and all errors.
pub(super) fn read(file: ShipmentFile<'_>, allow_excess: bool) -> (Vec<Group>, Problems) {
    let mut problems = Problems::new(file.name);
    let mut groups: Vec<Group> = Vec::new();
    // Reading from memory does not fail.
    let Ok(Some(mut table)) = Table::open(file.content, COLUMNS, &FormatOptions::default(), &mut problems) else {
        return (groups, problems);
    };
    let (mut numbers, mut known) = (Numbers::default(), HashMap::new());
    loop {
        let count_before = problems.count;
        let Ok(Some(row)) = table.next(&mut problems) else { return (groups, problems) };
        let mut check = Check { row: &row, problems: &mut problems, numbers: &mut numbers };
        let order = check.cell(ORDER, |value| required_text(value, CODE_CHARACTERS)).unwrap_or_default();
        let requested = requested(&mut check);
        let freight = if check.is_filled(FREIGHT) { decimal(&mut check, FREIGHT) } else { None };
        let number = row.get(INVOICE_NUMBER).filter(|number| !number.is_empty());
        let index =
            *known.entry((order.to_owned(), number.map(str::to_owned))).or_insert_with_key(|(order, number)| {
                let (order, invoice_number) = (order.clone(), number.clone());
                let new = NewShipment { order, invoice_number, allow_excess, ..NewShipment::default() };
                groups.push(Group { lines: Vec::new(), new, has_errors: false });
                groups.len() - 1
            });
        let group = &mut groups[index];
        if let Some(freight) = freight {
            if !group.new.freight.is_zero() && group.new.freight != freight {
                check.refuse(FREIGHT, "differs from the freight on an earlier row of the same shipment");
            }
            group.new.freight = freight;
        }
        group.new.lines.push(requested);
        group.lines.push(row.line);
        group.has_errors |= problems.count > count_before;
    }
}

fn requested(check: &mut Check<'_, '_>) -> Requested {
    let item = check.cell(ITEM, |value| required_text(value, CODE_CHARACTERS)).unwrap_or_default().to_owned();
    let quantity = decimal(check, QUANTITY).unwrap_or(Decimal::ONE);
    let batch = check.text(BATCH).unwrap_or_default().to_owned();
    let expiry = check.cell(EXPIRY, optional_date).flatten();
    Requested { item, quantity, batch, expiry }
}

/// Parses a number with a decimal point.
fn decimal(check: &mut Check<'_, '_>, column: usize) -> Option<Decimal> {
    check.cell(column, |value| Ok(parse_decimal(value)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &[u8]) -> (Vec<Group>, Vec<(u64, String)>) {
        let (groups, problems) = super::read(ShipmentFile { name: "f", content }, false);
        (groups, problems.into_errors().into_iter().map(|error| (error.line, error.column)).collect())
    }

    #[test]
    fn rows_of_one_order_and_number_are_one_shipment() {
        let file = "order,item,quantity,batch,expiry,freight,invoice_number\n\
                    SO-1,9,2,A,2028-01-31,5.50,\n\nSO-1,10,1,,,,\nSO-1,11,1,,,,X-1\nSO-2,9,-3,,,,\n";
        let (groups, errors) = read(file.as_bytes());
        assert_eq!(errors, []);
        let shape: Vec<_> = groups.iter().map(|g| (g.lines.as_slice(), g.new.order.as_str())).collect();
        assert_eq!(shape, [(&[2, 4][..], "SO-1"), (&[5], "SO-1"), (&[6], "SO-2")]);
        assert_eq!(groups[0].new.freight, "5.5".parse().unwrap());
        assert_eq!(groups[0].new.lines[0].expiry.unwrap().to_string(), "2028-01-31");
    }

    #[test]
    fn every_wrong_row_is_reported_at_once() {
        let file =
            b"\xef\xbb\xbfOrder,item,quantity,expiry,freight\n,9,x,tomorrow,\nSO-1,,1,,-\nSO-\xff,9,1,,\nSO-1,9,\0,,\nSO-1,9\n";
        let expected = [
            (2, "expiry"),
            (2, "order"),
            (2, "quantity"),
            (3, "freight"),
            (3, "item"),
            (4, "order"),
            (5, "quantity"),
            (6, ""),
        ];
        assert_eq!(read(file).1, expected.map(|(line, column)| (line, column.to_owned())));
        assert_eq!(read(b"order,items\n").1, [(1, String::new())]);
    }
}

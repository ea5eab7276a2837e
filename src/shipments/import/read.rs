//! Reads the rows of a file of shipments. Pure.

use super::{ImportError, RowError};
use crate::shipments::{NewShipment, Requested};
use crate::values::parse_decimal;
use csv::{ByteRecord, StringRecord};
use rust_decimal::Decimal;
use std::collections::HashMap;
use time::{Date, macros::format_description};

const REQUIRED: [&str; 3] = ["order", "item", "quantity"];

/// The rows of one shipment.
#[derive(Debug)]
pub struct Group {
    /// The file's line of each of the shipment's lines. Not empty.
    pub lines: Vec<u64>,
    pub new: NewShipment,
    /// A group with a wrong row is not tried: further errors would be guesses.
    pub has_errors: bool,
}

impl Group {
    pub fn first_line(&self) -> u64 {
        self.lines.first().copied().unwrap_or_default()
    }
}

/// A row with its columns by name.
struct Cells<'a> {
    columns: &'a HashMap<String, usize>,
    record: StringRecord,
    line: u64,
}

impl Cells<'_> {
    fn get(&self, column: &str) -> &str {
        self.columns.get(column).and_then(|index| self.record.get(*index)).unwrap_or_default()
    }

    fn error(&self, column: &str, reason: impl Into<String>) -> RowError {
        RowError {
            line: self.line,
            column: column.to_owned(),
            value: self.get(column).to_owned(),
            reason: reason.into(),
        }
    }
}

/// Reads every row. Returns the shipments in the order of the file, and all errors.
pub fn read(content: &[u8], allow_excess: bool) -> Result<(Vec<Group>, Vec<RowError>), ImportError> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(true).from_reader(content);
    let mut errors = Vec::new();
    let columns = columns(reader.byte_headers().cloned().unwrap_or_default())?;
    let (mut groups, mut known): (Vec<Group>, HashMap<(String, String), usize>) = (Vec::new(), HashMap::new());
    for record in reader.byte_records() {
        // Reading from memory does not fail, and rows may have any length.
        let Ok(record) = record else { break };
        let line = record.position().map_or(0, csv::Position::line);
        let record = match StringRecord::from_byte_record(record) {
            // Postgres stores no NUL.
            Ok(record) if !record.iter().any(|cell| cell.contains('\0')) => record,
            wrong => {
                let reason = if wrong.is_ok() { "contains a NUL character" } else { "is not UTF-8" };
                errors.push(RowError { line, column: String::new(), value: String::new(), reason: reason.to_owned() });
                continue;
            }
        };
        let cells = Cells { columns: &columns, record, line };
        let errors_before = errors.len();
        let requested = requested(&cells, &mut errors);
        let freight = freight(&cells, &mut errors);
        let key = (cells.get("order").to_owned(), cells.get("invoice_number").to_owned());
        let index = *known.entry(key).or_insert_with(|| {
            groups.push(group(&cells, allow_excess));
            groups.len() - 1
        });
        let group = &mut groups[index];
        if let Some(freight) = freight {
            if !group.new.freight.is_zero() && group.new.freight != freight {
                errors.push(cells.error("freight", "differs from the freight on an earlier row of the same shipment"));
            }
            group.new.freight = freight;
        }
        group.new.lines.push(requested);
        group.lines.push(line);
        group.has_errors |= errors.len() > errors_before;
    }
    if groups.is_empty() && errors.is_empty() {
        return Err(ImportError::Empty);
    }
    Ok((groups, errors))
}

/// Returns the index of each column. Column names are compared without regard to case.
fn columns(headers: ByteRecord) -> Result<HashMap<String, usize>, ImportError> {
    let name = |name: &[u8]| String::from_utf8_lossy(name).trim_start_matches('\u{feff}').trim().to_ascii_lowercase();
    let columns: HashMap<String, usize> =
        headers.iter().enumerate().map(|(index, header)| (name(header), index)).collect();
    let missing: Vec<&str> = REQUIRED.into_iter().filter(|column| !columns.contains_key(*column)).collect();
    if missing.is_empty() { Ok(columns) } else { Err(ImportError::Columns(missing)) }
}

fn group(cells: &Cells<'_>, allow_excess: bool) -> Group {
    let number = Some(cells.get("invoice_number")).filter(|number| !number.is_empty());
    let new = NewShipment {
        order: cells.get("order").to_owned(),
        invoice_number: number.map(str::to_owned),
        allow_excess,
        ..NewShipment::default()
    };
    Group { lines: Vec::new(), new, has_errors: false }
}

fn requested(cells: &Cells<'_>, errors: &mut Vec<RowError>) -> Requested {
    for required in ["order", "item"] {
        if cells.get(required).is_empty() {
            errors.push(cells.error(required, "is empty"));
        }
    }
    let quantity = parse_decimal(cells.get("quantity")).unwrap_or_else(|error| {
        errors.push(cells.error("quantity", error.to_string()));
        Decimal::ONE
    });
    let expiry = Some(cells.get("expiry")).filter(|text| !text.is_empty()).and_then(|text| {
        let day = parse_day(text);
        if day.is_none() {
            errors.push(cells.error("expiry", "is not a date like 2028-01-31"));
        }
        day
    });
    Requested { item: cells.get("item").to_owned(), quantity, batch: cells.get("batch").to_owned(), expiry }
}

fn freight(cells: &Cells<'_>, errors: &mut Vec<RowError>) -> Option<Decimal> {
    let text = Some(cells.get("freight")).filter(|text| !text.is_empty())?;
    parse_decimal(text).map_err(|error| errors.push(cells.error("freight", error.to_string()))).ok()
}

/// Parses `YYYY-MM-DD`.
pub(crate) fn parse_day(text: &str) -> Option<Date> {
    Date::parse(text, format_description!("[year]-[month]-[day]")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_one_order_and_number_are_one_shipment() {
        let file = "order,item,quantity,batch,expiry,freight,invoice_number\n\
                    SO-1,9,2,A,2028-01-31,5.50,\nSO-1,10,1,,,,\nSO-1,11,1,,,,X-1\nSO-2,9,-3,,,,\n";
        let (groups, errors) = read(file.as_bytes(), false).unwrap();
        assert_eq!(errors, []);
        let shape: Vec<_> = groups.iter().map(|g| (g.lines.as_slice(), g.new.order.as_str())).collect();
        assert_eq!(shape, [(&[2, 3][..], "SO-1"), (&[4], "SO-1"), (&[5], "SO-2")]);
        assert_eq!(groups[0].new.freight, "5.5".parse().unwrap());
        assert_eq!(groups[0].new.lines[0].expiry.unwrap().to_string(), "2028-01-31");
    }

    #[test]
    fn every_wrong_row_is_reported_at_once() {
        let file =
            b"\xef\xbb\xbfOrder,item,quantity,expiry,freight\n,9,x,tomorrow,\nSO-1,,1,,-\n\xff,9,1,,\nSO-1,9,\0,,\n";
        let (_, errors) = read(file, false).unwrap();
        let shape: Vec<_> = errors.iter().map(|e| (e.line, e.column.as_str())).collect();
        assert_eq!(
            shape,
            [(2, "order"), (2, "quantity"), (2, "expiry"), (3, "item"), (3, "freight"), (4, ""), (5, "")]
        );
        assert!(
            matches!(read(b"order,items\n", false), Err(ImportError::Columns(missing)) if missing == ["item", "quantity"])
        );
        assert!(matches!(read(b"", false), Err(ImportError::Columns(_))));
        assert!(matches!(read(b"order,item,quantity\n", false), Err(ImportError::Empty)));
    }
}

//! Imports shipments from a CSV file of the warehouse, in one transaction: all rows or none. Reports every wrong row at once.
//!
//! Columns: `order,item,quantity`, optionally `batch,expiry,freight,invoice_number`. Rows with the same order and invoice
//! number form one shipment. Its freight stands on one of the rows, or is the same on all of them.

use super::{FieldProblem, NewShipment, Requested, ShipError, Shipment, ship};
use crate::config::SiteSettings;
use crate::values::parse_decimal;
use rust_decimal::Decimal;
use sqlx::PgPool;
use std::collections::HashMap;
use time::{Date, OffsetDateTime, macros::format_description};

/// An error in one row.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct RowError {
    /// Line of the file; the header is line 1.
    pub line: u64,
    pub column: String,
    pub value: String,
    pub reason: String,
}

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("{} rows are wrong; nothing was shipped", .0.len())]
    Rows(Vec<RowError>),
    #[error(
        "the file has no column `{0}`; required: order,item,quantity; optional: batch,expiry,freight,invoice_number"
    )]
    Column(&'static str),
    #[error("the file cannot be read: {0}")]
    File(#[from] csv::Error),
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
}

/// The shipments that an import created, or would create.
#[derive(Debug, serde::Serialize)]
pub struct Imported {
    pub dry_run: bool,
    pub shipments: Vec<Shipment>,
}

/// The rows of one shipment.
struct Group {
    /// Line of the first row.
    line: u64,
    new: NewShipment,
    /// A group with a wrong row is not tried: further errors would be guesses.
    has_errors: bool,
}

/// Creates the shipments of the file. `dry_run` rolls them back.
pub async fn import(
    pool: &PgPool,
    defaults: &SiteSettings,
    now: OffsetDateTime,
    actor: &str,
    file: impl std::io::Read,
    (dry_run, allow_excess): (bool, bool),
) -> Result<Imported, ImportError> {
    let (groups, mut errors) = read(file, allow_excess)?;
    let mut transaction = pool.begin().await?;
    let mut shipments = Vec::new();
    for group in groups.iter().filter(|group| !group.has_errors) {
        let mut attempt = sqlx::Connection::begin(&mut *transaction).await?;
        match ship(&mut attempt, defaults, now, actor, &group.new).await {
            Ok(shipment) => {
                attempt.commit().await?;
                shipments.push(shipment);
            }
            Err(ShipError::Database(error)) => return Err(error.into()),
            Err(error) => {
                attempt.rollback().await?;
                errors.extend(row_errors(group, &error));
            }
        }
    }
    if !errors.is_empty() {
        transaction.rollback().await?;
        errors.sort_by_key(|error| error.line);
        return Err(ImportError::Rows(errors));
    }
    if dry_run {
        transaction.rollback().await?;
    } else {
        transaction.commit().await?;
    }
    Ok(Imported { dry_run, shipments })
}

/// Returns an error for every wrong part of a refused shipment.
fn row_errors(group: &Group, error: &ShipError) -> Vec<RowError> {
    let error_at = |column: &str, value: String, reason: String| RowError {
        line: group.line,
        column: column.into(),
        value,
        reason,
    };
    let ShipError::Invalid(wrong) = error else {
        return vec![error_at("order", group.new.order.clone(), error.to_string())];
    };
    let row_error = |wrong: &super::InvalidField| {
        let (column, value) = match &wrong.problem {
            FieldProblem::NumberUsed(number) | FieldProblem::BadNumber(number) => ("invoice_number", number.clone()),
            FieldProblem::NegativeFreight(freight) => ("freight", freight.to_string()),
            FieldProblem::UnknownItem { item, .. } => ("item", item.clone()),
            FieldProblem::Excess { requested, .. } => ("quantity", requested.normalize().to_string()),
            _ => ("order", group.new.order.clone()),
        };
        error_at(column, value, wrong.to_string())
    };
    wrong.iter().map(row_error).collect()
}

fn read(file: impl std::io::Read, allow_excess: bool) -> Result<(Vec<Group>, Vec<RowError>), ImportError> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(true).from_reader(file);
    let headers: HashMap<String, usize> = reader
        .headers()?
        .iter()
        .enumerate()
        .map(|(index, name)| (name.trim_start_matches('\u{feff}').to_ascii_lowercase(), index))
        .collect();
    for required in ["order", "item", "quantity"] {
        if !headers.contains_key(required) {
            return Err(ImportError::Column(required));
        }
    }
    let (mut groups, mut errors): (Vec<Group>, Vec<RowError>) = (Vec::new(), Vec::new());
    for record in reader.records() {
        let record = record?;
        let line = record.position().map_or(0, csv::Position::line);
        let cell = |column: &str| headers.get(column).and_then(|index| record.get(*index)).unwrap_or_default();
        let mut wrong = |column: &str, reason: &str| {
            let (column, value) = (column.to_owned(), cell(column).to_owned());
            errors.push(RowError { line, column, value, reason: reason.to_owned() });
        };
        for required in ["order", "item"] {
            if cell(required).is_empty() {
                wrong(required, "is empty");
            }
        }
        let quantity = parse_decimal(cell("quantity")).unwrap_or_else(|error| {
            wrong("quantity", &error.to_string());
            Decimal::ONE
        });
        let freight = match cell("freight") {
            "" => None,
            text => parse_decimal(text).map_err(|error| wrong("freight", &error.to_string())).ok(),
        };
        let expiry = match cell("expiry") {
            "" => None,
            text => parse_day(text).or_else(|| {
                wrong("expiry", "is not a date like 2028-01-31");
                None
            }),
        };
        let number = Some(cell("invoice_number")).filter(|number| !number.is_empty());
        let same = |group: &Group| group.new.order == cell("order") && group.new.invoice_number.as_deref() == number;
        let requested = Requested { item: cell("item").to_owned(), quantity, batch: cell("batch").to_owned(), expiry };
        match groups.iter_mut().find(|group| same(group)) {
            Some(group) => {
                if let Some(freight) = freight {
                    if !group.new.freight.is_zero() && group.new.freight != freight {
                        wrong("freight", "differs from the freight on an earlier row of the same shipment");
                    }
                    group.new.freight = freight;
                }
                group.new.lines.push(requested);
            }
            None => groups.push(Group {
                line,
                has_errors: false,
                new: NewShipment {
                    order: cell("order").to_owned(),
                    lines: vec![requested],
                    freight: freight.unwrap_or_default(),
                    invoice_number: number.map(str::to_owned),
                    allow_excess,
                    prices: Vec::new(),
                },
            }),
        }
        if errors.iter().any(|error| error.line == line)
            && let Some(group) = groups.iter_mut().find(|group| same(group))
        {
            group.has_errors = true;
        }
    }
    Ok((groups, errors))
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
        let shape: Vec<_> = groups.iter().map(|g| (g.line, g.new.order.as_str(), g.new.lines.len())).collect();
        assert_eq!(shape, [(2, "SO-1", 2), (4, "SO-1", 1), (5, "SO-2", 1)]);
        assert_eq!(groups[0].new.freight, "5.5".parse().unwrap());
        assert_eq!(groups[0].new.lines[0].expiry.unwrap().to_string(), "2028-01-31");
    }

    #[test]
    fn every_wrong_row_is_reported_at_once() {
        let file = "order,item,quantity,expiry,freight\n,9,x,tomorrow,\nSO-1,,1,,-\n";
        let (_, errors) = read(file.as_bytes(), false).unwrap();
        let shape: Vec<_> = errors.iter().map(|e| (e.line, e.column.as_str())).collect();
        assert_eq!(shape, [(2, "order"), (2, "quantity"), (2, "expiry"), (3, "item"), (3, "freight")]);
        assert!(matches!(read("order,item\n".as_bytes(), false), Err(ImportError::Column("quantity"))));
    }
}

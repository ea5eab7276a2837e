//! Imports shipments from a CSV file of the warehouse, in the caller's transaction: all rows or none. Reports every wrong row
//! at once.
//!
//! Columns: `order,item,quantity`, optionally `batch,expiry,freight,invoice_number`. Rows with the same order and invoice
//! number form one shipment. Its freight stands on one of the rows, or is the same on all of them.
//!
//! A file ships its goods once: the digest of its content is stored with the shipments, and the same content is refused
//! afterwards, whatever the file is called. Of two imports of one file at the same time, the second waits for the first.

mod read;
mod store;

pub use crate::catalog::import::RowError;

use super::{FieldProblem, InvalidField, NewShipment, ShipError, Shipment, ship};
use crate::catalog::import::problems::Problems;
use crate::config::SiteSettings;
use aws_lc_rs::digest::{SHA256, digest};
use read::Group;
use sqlx::{Connection, PgConnection};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("{} errors in {file}; nothing was shipped", errors.len())]
    Rows { file: String, errors: Vec<RowError> },
    #[error("the file holds no rows below its header")]
    Empty,
    /// The same content was imported before.
    #[error("the content of this file was imported as {file} at {} by {actor}", at.format(&Rfc3339).unwrap_or_default())]
    Repeated { file: String, at: OffsetDateTime, actor: String },
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
}

/// A file to import.
#[derive(Clone, Copy, Debug)]
pub struct ShipmentFile<'a> {
    /// For people.
    pub name: &'a str,
    pub content: &'a [u8],
}

/// How to import a file.
#[derive(Clone, Copy, Debug, Default)]
pub struct ImportOptions {
    /// Checks the file and rolls everything back.
    pub dry_run: bool,
    /// Allows more units than are outstanding.
    pub allow_excess: bool,
    /// Imports a file whose content was imported before.
    pub again: bool,
}

/// The shipments that an import created, or would create.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
pub struct Imported {
    pub dry_run: bool,
    pub shipments: Vec<Shipment>,
}

/// Creates the shipments of the file, in the caller's transaction. If it fails, or with `dry_run`, it leaves the transaction
/// as it was.
pub async fn import(
    connection: &mut PgConnection,
    defaults: &SiteSettings,
    now: OffsetDateTime,
    actor: &str,
    file: ShipmentFile<'_>,
    options: ImportOptions,
) -> Result<Imported, ImportError> {
    let (groups, mut problems) = read::read(file, options.allow_excess);
    if groups.is_empty() && problems.count == 0 {
        return Err(ImportError::Empty);
    }
    let mut savepoint = connection.begin().await?;
    let hash = digest(&SHA256, file.content);
    let earlier = store::insert_file(&mut savepoint, hash.as_ref(), file.name, now, actor).await?;
    if let Some(store::EarlierFile { file, at, actor }) = earlier.filter(|_| !options.again) {
        savepoint.rollback().await?;
        return Err(ImportError::Repeated { file, at, actor });
    }
    // A shipment holds the counter of invoice numbers until the transaction ends. Locked later, an order could be held by
    // somebody who waits for the counter.
    let orders: Vec<&str> = groups.iter().map(|group| group.new.order.as_str()).collect();
    store::lock_orders(&mut savepoint, &orders).await?;
    let mut shipments = Vec::new();
    for group in groups.iter().filter(|group| !group.has_errors) {
        let mut attempt = savepoint.begin().await?;
        match ship(&mut attempt, defaults, now, actor, &group.new).await {
            Ok(shipment) => {
                attempt.commit().await?;
                shipments.push(shipment);
            }
            Err(ShipError::Database(error)) => return Err(error.into()),
            Err(error) => {
                attempt.rollback().await?;
                report(group, &error, &mut problems);
            }
        }
    }
    if problems.count > 0 {
        savepoint.rollback().await?;
        return Err(ImportError::Rows { file: file.name.to_owned(), errors: problems.into_errors() });
    }
    if options.dry_run {
        savepoint.rollback().await?
    } else {
        savepoint.commit().await?
    }
    Ok(Imported { dry_run: options.dry_run, shipments })
}

/// Reports every wrong part of a refused shipment, at the row that is at fault.
fn report(group: &Group, error: &ShipError, problems: &mut Problems) {
    let first_line = group.lines.first().copied().unwrap_or_default();
    let ShipError::Invalid(wrong) = error else {
        return problems.add(first_line, "order", &group.new.order, error);
    };
    for InvalidField { field, problem } in wrong {
        // `lines[2].quantity` is the column `quantity` of the group's third row.
        let of_row = field.strip_prefix("lines[").and_then(|rest| rest.split_once("]."));
        let of_row = of_row.and_then(|(index, column)| Some((index.parse::<usize>().ok()?, column)));
        let (row, column) = of_row.unwrap_or((0, field.as_str()));
        let column = if column == "lines" { "order" } else { column };
        let line = group.lines.get(row).copied().unwrap_or(first_line);
        let value = value(&group.new, row, column);
        let note = if matches!(problem, FieldProblem::Excess { .. }) { " (all rows of the line together)" } else { "" };
        problems.add(line, column, &value, format_args!("{problem}{note}"));
    }
}

fn value(new: &NewShipment, row: usize, column: &str) -> String {
    let requested = new.lines.get(row);
    let value = match column {
        "item" => requested.map(|line| line.item.clone()),
        "quantity" => requested.map(|line| crate::values::plain(line.quantity)),
        "expiry" => requested.and_then(|line| line.expiry).map(|day| day.to_string()),
        "freight" => Some(crate::values::plain(new.freight)),
        "invoice_number" => new.invoice_number.clone(),
        _ => Some(new.order.clone()),
    };
    value.unwrap_or_default()
}

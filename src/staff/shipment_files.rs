//! `/shipments/import`: shipments from a CSV file of the warehouse.

use super::Staff;
use super::problem::{FieldError, Kind, Problem, Result};
use super::query::Read;
use super::write::{Answer, Content, Write};
use crate::shipments::{self, ImportError, ImportOptions, Imported, RowError, ShipmentFile};
use bytes::Bytes;
use serde::Deserialize;
use sqlx::PgConnection;
use time::format_description::well_known::Rfc3339;
use utoipa::IntoParams;

/// The content of a CSV file.
#[derive(Debug)]
pub struct CsvFile(Bytes);

impl Content for CsvFile {
    const MEDIA_TYPES: &'static [&'static str] = &["text/csv"];

    fn limit(staff: &Staff) -> usize {
        staff.settings.server.max_body_bytes
    }

    fn parse(_: &str, bytes: Bytes) -> Result<Self> {
        Ok(Self(bytes))
    }
}

/// How to import a file.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ImportParams {
    /// Name of the file, for people [default: upload]
    name: Option<String>,
    /// `true` checks the file and stores nothing
    #[serde(default)]
    dry_run: bool,
    /// `true` allows more units than are outstanding
    #[serde(default)]
    allow_excess: bool,
    /// `true` ships the goods of a file once more whose content was imported before
    #[serde(default)]
    again: bool,
}

impl From<ImportError> for Problem {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::Rows { errors, .. } => Self::invalid(errors.into_iter().map(field_error).collect()),
            error @ ImportError::Empty => Self::field(Kind::Invalid, "line 1", error.to_string()),
            ImportError::Repeated { file, at, actor } => {
                let at = at.format(&Rfc3339).unwrap_or_default();
                let text = format!(
                    "This content was imported as `{file}` at {at} by {actor}. Set `again=true` to ship it once more."
                );
                Self::new(Kind::Conflict, text)
            }
            ImportError::Database(error) => error.into(),
        }
    }
}

fn field_error(error: RowError) -> FieldError {
    let RowError { line, column, value, reason, .. } = error;
    let field = if column.is_empty() { format!("line {line}") } else { format!("line {line}, {column}") };
    let message = if value.is_empty() { reason } else { format!("`{value}`: {reason}") };
    FieldError::new(field, message)
}

/// Import shipments
///
/// The columns are `order,item,quantity`, optionally `batch,expiry,freight,invoice_number`. Rows with the same order and invoice
/// number are one shipment. All rows are shipped, or none: the answer names every wrong row. A file with the same content as an
/// earlier one is refused.
#[utoipa::path(post, path = "/shipments/import", tag = "shipments", params(ImportParams),
    request_body(content = String, content_type = "text/csv", example = "order,item,quantity,batch,expiry\nSO-3334A,9,12,A2231,2027-12-26\n"),
    responses((status = 200, description = "The shipments that were created, or would be", body = Imported)))]
pub async fn import_shipments(
    connection: &mut PgConnection,
    write: Write<CsvFile>,
    read: Read<ImportParams>,
) -> Result<Answer> {
    let ImportParams { name, dry_run, allow_excess, again } = read.params;
    let options = ImportOptions { dry_run, allow_excess, again };
    let file = ShipmentFile { name: name.as_deref().unwrap_or("upload"), content: &write.content.0 };
    let defaults = &write.staff.settings.site;
    Answer::ok(&shipments::import(connection, defaults, write.now, &write.actor, file, options).await?)
}

//! `/shipments/import`: shipments from a CSV file of the warehouse.

use super::Staff;
use super::problem::{FieldError, Kind, Problem};
use super::query::{self, Read};
use super::write::{Answer, Content, Write};
use crate::shipments::{self, ImportError, ImportOptions, Imported, RowError, ShipmentFile};
use actix_web::HttpResponse;
use bytes::Bytes;
use serde::Deserialize;
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

    fn parse(_: &str, bytes: Bytes) -> Result<Self, Problem> {
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
    #[serde(default, with = "query::text")]
    #[param(value_type = Option<bool>)]
    dry_run: Option<bool>,
    /// `true` allows more units than are outstanding
    #[serde(default, with = "query::text")]
    #[param(value_type = Option<bool>)]
    allow_excess: Option<bool>,
    /// `true` ships the goods of a file once more whose content was imported before
    #[serde(default, with = "query::text")]
    #[param(value_type = Option<bool>)]
    again: Option<bool>,
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
pub async fn import_shipments(read: Read<ImportParams>, write: Write<CsvFile>) -> Result<HttpResponse, Problem> {
    let ImportParams { name, dry_run, allow_excess, again } = read.params;
    let is = |flag: Option<bool>| flag.unwrap_or_default();
    let options = ImportOptions { dry_run: is(dry_run), allow_excess: is(allow_excess), again: is(again) };
    let name = name.unwrap_or_else(|| "upload".to_owned());
    write
        .run(async |connection, write| {
            let (defaults, actor) = (&write.staff.settings.site, write.caller.actor());
            let file = ShipmentFile { name: &name, content: &write.content.0 };
            Answer::ok(&shipments::import(connection, defaults, write.now, &actor, file, options).await?)
        })
        .await
}

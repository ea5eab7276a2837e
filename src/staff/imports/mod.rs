//! `/imports`: files of products and contract prices, checked, applied and rolled back.

mod upload;

use super::body::Nothing;
use super::page::{List, PageParams, encode};
use super::problem::{FieldError, Kind, Problem, Result};
use super::query::{Id, NoParams, Read, parse_id};
use super::write::{Answer, IfMatch, Write, version_of};
use crate::catalog::import::{ImportError, ImportState, Refusal};
use crate::catalog::imports::{self, Change, ChangePosition, ImportRecord, ImportsError};
use serde::Deserialize;
use serde_json::json;
use sqlx::PgConnection;
use upload::{UploadBody, UploadForm, UploadParams};
use utoipa::ToSchema;
use validator::Validate;

impl From<ImportsError> for Problem {
    fn from(error: ImportsError) -> Self {
        match error {
            ImportsError::NotFound(id) => Self::not_found("import", id),
            ImportsError::State { id, state } => Self::new(Kind::Conflict, format!("The import {id} is {state}.")),
            ImportsError::Stale { id, .. } => {
                let text = format!(
                    "The catalogue has changed since the import {id} was checked. Check it again with POST \
                     /imports/{id}/check, then apply it."
                );
                Self::new(Kind::Conflict, text)
            }
            ImportsError::NotLast { id, last } => {
                let text = format!("The import {last} was applied after the import {id}. Roll it back first.");
                Self::new(Kind::Conflict, text)
            }
            ImportsError::NotKept(id) => {
                let text = format!("What the import {id} has changed is no longer kept, so it cannot be rolled back.");
                Self::new(Kind::Conflict, text)
            }
            ImportsError::Options(options) => {
                let errors = options.into_iter().map(|o| FieldError::new(o.option, o.reason.to_string()));
                Self::invalid(errors.collect())
            }
            ImportsError::Import(error) => error.into(),
            ImportsError::Store(error) => error.into(),
        }
    }
}

impl From<ImportError> for Problem {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::NoFile => {
                Self::field(Kind::Invalid, "products", "is missing; send a products file, a prices file, or both")
            }
            ImportError::Mapping(columns) => {
                Self::field(Kind::Invalid, "mapping", format!("names unknown columns: {}", columns.join(", ")))
            }
            ImportError::Refused(refusal) => refused(&refusal),
            ImportError::TooManyWithdrawals { lost, listed, limit_percent, codes } => {
                let text = format!(
                    "The import would take {lost} of {listed} products off sale, more than {limit_percent} %: {}{}. If \
                     the file is complete, apply it with \"allow_withdrawals\": true.",
                    codes.join(", "),
                    if lost > codes.len() as u64 { ", ..." } else { "" }
                );
                Self::new(Kind::Conflict, text)
            }
            ImportError::Read { file, source } => Self::field(Kind::Invalid, file, source.to_string()),
            ImportError::Stopped { file } => Self::fault(file, "the thread that read an uploaded file panicked"),
            ImportError::Store(error) => error.into(),
        }
    }
}

/// Lists the errors of files. The number in a path is the line of the file.
fn refused(refusal: &Refusal) -> Problem {
    let errors = refusal.errors.iter().map(|row| {
        let column = if row.column.is_empty() { String::new() } else { format!(".{}", row.column) };
        let value = if row.value.is_empty() { String::new() } else { format!("{:?} ", row.value) };
        FieldError::new(format!("{}[{}]{column}", row.file, row.line), format!("{value}{}", row.reason))
    });
    let (errors, count): (Vec<_>, _) = (errors.collect(), refusal.count);
    let more = count.saturating_sub(errors.len() as u64);
    let listed = if more > 0 { format!("; {more} of them are not listed") } else { String::new() };
    let noun = if count == 1 { "error" } else { "errors" };
    let text = format!("The files have {count} {noun}{listed}. Nothing was stored.");
    Problem { errors, ..Problem::new(Kind::Invalid, text) }
}

/// The version of an import for `ETag`: a new check or another state is another version.
fn version(import: &ImportRecord) -> String {
    version_of(&json!([import.summary.state, import.checked_version]))
}

fn answer(import: &ImportRecord) -> Result<Answer> {
    Answer::versioned(import, &version(import))
}

/// Permissions for applying an import.
#[derive(Debug, Default, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct ApplyInput {
    /// Permit the import to take more products off sale than SPSI_WITHDRAWAL_LIMIT.
    #[serde(default)]
    allow_withdrawals: bool,
}

/// Upload files
///
/// Stores a products file, a prices file, or both, and answers with the difference from the catalogue; nothing is applied.
/// The columns are those of `spsi catalog import`. Send a form with the files `products` and `prices`, or one file as
/// `text/csv` with the options as parameters. 422 names every error of the files: the number in `products.csv[4].list_price`
/// is the line. An upload that is not applied is deleted after 7 days.
#[utoipa::path(post, path = "/imports", tag = "imports", params(UploadParams),
    request_body(content((UploadForm = "multipart/form-data"), (String = "text/csv"))),
    responses((status = 201, description = "The import and its difference", body = ImportRecord)))]
pub async fn upload_import(
    connection: &mut PgConnection,
    write: Write<UploadBody>,
    read: Read<UploadParams>,
) -> Result<Answer> {
    let (files, options) = upload::read(&write.content, read.params).await?;
    let limit = write.staff.settings.catalog.withdrawal_limit.0;
    let import = imports::upload(connection, write.now, &write.actor, files, &options, limit).await?;
    let path = format!("/imports/{}", import.summary.id.unwrap_or_default());
    Ok(Answer::created(&path, &import)?.with_version(&version(&import)))
}

/// List imports
///
/// Newest first: uploads, and the files that were imported by command.
#[utoipa::path(get, path = "/imports", tag = "imports", params(PageParams),
    responses((status = 200, description = "Imports", body = List<ImportRecord>)))]
pub async fn list_imports(read: Read<NoParams, PageParams>) -> Result<Answer> {
    let data = imports::list(&mut *read.staff.pool.begin().await?, read.page.before()?).await?;
    read.page.answer(data, |import| import.summary.id.unwrap_or_default())
}

/// Show an import
#[utoipa::path(get, path = "/imports/{id}", tag = "imports", params(("id" = i64, Path)),
    responses((status = 200, description = "The import; `ETag` is its version", body = ImportRecord)))]
pub async fn show_import(read: Read, id: Id) -> Result<Answer> {
    answer(&imports::find(&mut *read.staff.pool.begin().await?, parse_id("import", &id)?).await?)
}

/// List the changes of an import
///
/// Products with every changed field, then contract prices. The last 20 applied imports keep their changes.
#[utoipa::path(get, path = "/imports/{id}/changes", tag = "imports", params(("id" = i64, Path), PageParams),
    responses((status = 200, description = "Changes", body = List<Change>)))]
pub async fn list_changes(read: Read<NoParams, PageParams>, id: Id) -> Result<Answer> {
    let (id, position, limit) = (parse_id("import", &id)?, read.page.after::<ChangePosition>()?, read.page.limit);
    let (data, next) = imports::changes(&mut *read.staff.pool.begin().await?, id, position, limit).await?;
    Answer::ok(&List { data, next_cursor: next.map(|next| encode(&next)) })
}

/// Check an upload again
///
/// Compares the files with the present catalogue, after it has changed. 409: the import is not `checked`.
#[utoipa::path(post, path = "/imports/{id}/check", tag = "imports", params(("id" = i64, Path)), request_body = Nothing,
    responses((status = 200, description = "The import and its new difference", body = ImportRecord)))]
pub async fn check_import(connection: &mut PgConnection, write: Write, id: Id) -> Result<Answer> {
    let limit = write.staff.settings.catalog.withdrawal_limit.0;
    answer(&imports::check(connection, write.now, &write.actor, parse_id("import", &id)?, limit).await?)
}

/// Apply an upload
///
/// Makes the difference that was shown. 409: the catalogue has changed since then, the import is not `checked`, or it would
/// take too many products off sale. With `If-Match`, the import must have been checked last as this version shows.
#[utoipa::path(post, path = "/imports/{id}/apply", tag = "imports", params(("id" = i64, Path),
    IfMatch),
    request_body = ApplyInput, responses((status = 200, description = "The applied import", body = ImportRecord)))]
pub async fn apply_import(connection: &mut PgConnection, write: Write<ApplyInput>, id: Id) -> Result<Answer> {
    let (id, limit) = (parse_id("import", &id)?, write.staff.settings.catalog.withdrawal_limit.0);
    let import = imports::find_locked(connection, id).await?;
    if import.summary.state == ImportState::Checked {
        write.check_version(&version(&import))?;
    }
    let allow_withdrawals = write.content.allow_withdrawals;
    answer(&imports::apply(connection, write.now, &write.actor, id, allow_withdrawals, limit).await?)
}

/// Roll an import back
///
/// Restores products, prices and price lists as they were before the import. Only the last applied import can be rolled
/// back, then the one before it; 409 otherwise. Fields that were edited since keep the edit, and stock goes back by the
/// difference that the import made, so shipments since then stay counted.
#[utoipa::path(post, path = "/imports/{id}/roll-back", tag = "imports", params(("id" = i64, Path)), request_body = Nothing,
    responses((status = 200, description = "The import, with what was restored", body = ImportRecord)))]
pub async fn roll_back_import(connection: &mut PgConnection, write: Write, id: Id) -> Result<Answer> {
    answer(&imports::roll_back(connection, write.now, &write.actor, parse_id("import", &id)?).await?)
}

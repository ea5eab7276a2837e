//! `/imports`: files of products and contract prices, checked, applied and rolled back.

mod upload;

use super::body::Nothing;
use super::page::{List, PageParams, decode_text, encode_text};
use super::problem::{FieldError, Kind, Problem};
use super::query::{NoParams, Read};
use super::write::{Answer, IfMatch, Json, Write, version_of};
use crate::catalog::import::{ImportError, ImportState, Refusal};
use crate::catalog::imports::{self, Change, ChangePosition, ImportRecord, ImportsError};
use actix_web::http::header;
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::json;
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
            ImportError::Stopped { file } => {
                tracing::error!(file, "the thread that read an uploaded file panicked");
                Self::internal()
            }
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

fn answer(import: &ImportRecord) -> Result<Answer, Problem> {
    Ok(Answer::ok(import)?.with_version(&version(import)))
}

/// Parses the id of an import.
fn parse_id(text: &str) -> Result<i64, Problem> {
    text.parse().map_err(|_| Problem::not_found("import", text))
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
pub async fn upload_import(read: Read<UploadParams>, write: Write<UploadBody>) -> Result<HttpResponse, Problem> {
    let (files, options) = upload::read(&write.content, read.params).await?;
    write
        .run(async |connection, write| {
            let limit = write.staff.settings.catalog.withdrawal_limit.0;
            let actor = write.caller.actor();
            let import = imports::upload(connection, write.now, &actor, files, &options, limit).await?;
            let path = format!("/imports/{}", import.summary.id.unwrap_or_default());
            Ok(Answer::created(&path, &import)?.with_version(&version(&import)))
        })
        .await
}

/// List imports
///
/// Newest first: uploads, and the files that were imported by command.
#[utoipa::path(get, path = "/imports", tag = "imports", params(PageParams),
    responses((status = 200, description = "Imports", body = List<ImportRecord>)))]
pub async fn list_imports(read: Read<NoParams, PageParams>) -> Result<HttpResponse, Problem> {
    let page = read.page.page(&read.staff.settings)?;
    let mut connection = read.staff.pool.acquire().await?;
    let data = imports::list(&mut connection, page).await?;
    read.page.respond(&read.staff.settings, data, |import| import.summary.id.unwrap_or_default())
}

/// Show an import
#[utoipa::path(get, path = "/imports/{id}", tag = "imports", params(("id" = i64, Path)),
    responses((status = 200, description = "The import; `ETag` is its version", body = ImportRecord)))]
pub async fn show_import(read: Read, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    let mut connection = read.staff.pool.acquire().await?;
    let import = imports::find(&mut connection, parse_id(&id)?).await?;
    Ok(HttpResponse::Ok().insert_header((header::ETAG, format!("\"{}\"", version(&import)))).json(import))
}

/// List the changes of an import
///
/// Products with every changed field, then contract prices. The last 20 applied imports keep their changes.
#[utoipa::path(get, path = "/imports/{id}/changes", tag = "imports", params(("id" = i64, Path), PageParams),
    responses((status = 200, description = "Changes", body = List<Change>)))]
pub async fn list_changes(read: Read<NoParams, PageParams>, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    let limit = read.page.limit(&read.staff.settings)?;
    let position: Option<ChangePosition> = read.page.cursor.as_deref().map(decode_text).transpose()?;
    let mut connection = read.staff.pool.acquire().await?;
    let (data, next) = imports::changes(&mut connection, parse_id(&id)?, position, limit).await?;
    let next_cursor = next.map(|next| encode_text(&json!(next)));
    Ok(HttpResponse::Ok().json(List { data, next_cursor }))
}

/// Check an upload again
///
/// Compares the files with the present catalogue, after it has changed. 409: the import is not `checked`.
#[utoipa::path(post, path = "/imports/{id}/check", tag = "imports", params(("id" = i64, Path)), request_body = Nothing,
    responses((status = 200, description = "The import and its new difference", body = ImportRecord)))]
pub async fn check_import(write: Write<Json<Nothing>>, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    write
        .run(async |connection, write| {
            let limit = write.staff.settings.catalog.withdrawal_limit.0;
            let actor = write.caller.actor();
            answer(&imports::check(connection, write.now, &actor, parse_id(&id)?, limit).await?)
        })
        .await
}

/// Apply an upload
///
/// Makes the difference that was shown. 409: the catalogue has changed since then, the import is not `checked`, or it would
/// take too many products off sale. With `If-Match`, the import must have been checked last as this version shows.
#[utoipa::path(post, path = "/imports/{id}/apply", tag = "imports", params(("id" = i64, Path),
    IfMatch),
    request_body = ApplyInput, responses((status = 200, description = "The applied import", body = ImportRecord)))]
pub async fn apply_import(write: Write<Json<ApplyInput>>, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    write
        .run(async |connection, write| {
            let id = parse_id(&id)?;
            let (limit, actor) = (write.staff.settings.catalog.withdrawal_limit.0, write.caller.actor());
            let import = imports::find_locked(connection, id).await?;
            if import.summary.state == ImportState::Checked {
                write.check_version(&version(&import))?;
            }
            let Json(ApplyInput { allow_withdrawals }) = write.content;
            answer(&imports::apply(connection, write.now, &actor, id, allow_withdrawals, limit).await?)
        })
        .await
}

/// Roll an import back
///
/// Restores products, prices and price lists as they were before the import. Only the last applied import can be rolled
/// back, then the one before it; 409 otherwise. Fields that were edited since keep the edit, and stock goes back by the
/// difference that the import made, so shipments since then stay counted.
#[utoipa::path(post, path = "/imports/{id}/roll-back", tag = "imports", params(("id" = i64, Path)), request_body = Nothing,
    responses((status = 200, description = "The import, with what was restored", body = ImportRecord)))]
pub async fn roll_back_import(write: Write<Json<Nothing>>, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    write
        .run(async |connection, write| {
            answer(&imports::roll_back(connection, write.now, &write.caller.actor(), parse_id(&id)?).await?)
        })
        .await
}

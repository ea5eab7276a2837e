//! Imports as resources: a file is uploaded and compared, then applied, and the last applied import can be rolled back.
//!
//! Guarantees: an upload changes nothing in the catalogue. [`apply`] makes exactly the difference that was shown: if the
//! catalogue's version has changed since, it fails until [`check`] has shown the new difference. An upload that is neither
//! applied nor checked again expires after [`UPLOAD_KEPT_FOR`]. The [`KEPT_IMPORTS`] last applied imports can be rolled
//! back, the newest first.

mod changes;
mod options;
mod roll_back;
mod store;

pub use changes::{Change, ChangePosition, ChangedField, changes};
pub use options::{InvalidOption, UploadOptions};
pub use roll_back::{RollBackSummary, roll_back};

use super::import::changes::store::delete_changes;
use super::import::store::{insert_import, lock_imports, version};
use super::import::{ImportError, ImportState, ImportSummary, Run, SourceFile, SourceFiles};
use crate::audit;
use crate::db::{Page, Pool};
use bytes::Bytes;
use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::json;
use sqlx::PgConnection;
use std::io::Cursor;
use time::{Duration, OffsetDateTime};
use utoipa::ToSchema;

/// An upload that is not applied is deleted after this time.
pub const UPLOAD_KEPT_FOR: Duration = Duration::days(7);
/// Number of applied imports whose difference is kept, so that they can be shown and rolled back.
pub const KEPT_IMPORTS: i64 = 20;

/// Why an operation on an import failed. It has changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum ImportsError {
    #[error("there is no import `{0}`")]
    NotFound(i64),
    #[error("the import {id} is {state}")]
    State { id: i64, state: ImportState },
    /// The catalogue has changed since the difference was shown.
    #[error(
        "the catalogue has version {current}, but the import {id} was checked against version {checked}; check it again"
    )]
    Stale { id: i64, checked: i64, current: i64 },
    #[error("the import {last} was applied after the import {id}; roll it back first")]
    NotLast { id: i64, last: i64 },
    #[error("what the import {0} has changed is no longer kept, so it cannot be rolled back")]
    NotKept(i64),
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Options(Vec<InvalidOption>),
    #[error(transparent)]
    Import(#[from] ImportError),
    #[error("a database statement failed; nothing was changed")]
    Store(#[from] sqlx::Error),
}

/// A file of an upload.
#[derive(Clone, Debug)]
pub struct UploadedFile {
    pub name: String,
    pub content: Bytes,
}

/// The files of an upload: products, prices, or both.
#[derive(Clone, Debug, Default)]
pub struct UploadedFiles {
    pub products: Option<UploadedFile>,
    pub prices: Option<UploadedFile>,
}

/// An import and its difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ImportRecord {
    #[serde(flatten)]
    pub summary: ImportSummary,
    /// Who uploaded or imported the files.
    pub actor: String,
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub applied_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub rolled_back_at: Option<OffsetDateTime>,
    /// Version of the catalogue that the shown difference was computed from. Null for a file that was imported at once.
    pub checked_version: Option<i64>,
    /// What the roll-back has changed.
    pub roll_back: Option<RollBackSummary>,
}

/// Stores the files and their difference from the catalogue, in the caller's transaction. An invalid file is an error.
pub async fn upload(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    actor: &str,
    files: UploadedFiles,
    options: &UploadOptions,
    withdrawal_limit_percent: Decimal,
) -> Result<ImportRecord, ImportsError> {
    let import_options = options.parse(withdrawal_limit_percent).map_err(ImportsError::Options)?;
    let name = files.sources().name()?;
    lock_imports(connection).await?;
    let id = insert_import(connection, now, actor, &name, Some(&json!(options))).await?;
    let run = Run { now, actor, options: &import_options, progress: &|_| () };
    let summary = run.check(connection, id, files.sources()).await?;
    for (kind, file) in [("products", &files.products), ("prices", &files.prices)] {
        if let Some(file) = file {
            store::insert_file(connection, id, kind, file).await?;
        }
    }
    let detail = json!({"file": name, "summary": summary});
    audit::record(connection, now, actor, "catalog.upload", ("catalog_import", Some(id)), detail).await?;
    find(connection, id).await
}

/// Compares the files of an upload with the present catalogue again, in the caller's transaction.
pub async fn check(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    actor: &str,
    id: i64,
    withdrawal_limit_percent: Decimal,
) -> Result<ImportRecord, ImportsError> {
    let options = lock_checked(connection, id).await?;
    let import_options = options.parse(withdrawal_limit_percent).map_err(ImportsError::Options)?;
    delete_changes(connection, id).await?;
    let run = Run { now, actor, options: &import_options, progress: &|_| () };
    let files = store::find_files(connection, id).await?;
    run.check(connection, id, files.sources()).await?;
    find(connection, id).await
}

/// Applies an upload in the caller's transaction. Fails if the catalogue has changed since the difference was shown.
/// `allow_withdrawals` permits more withdrawals than the limit, beside the option of the upload.
pub async fn apply(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    actor: &str,
    id: i64,
    allow_withdrawals: bool,
    withdrawal_limit_percent: Decimal,
) -> Result<ImportRecord, ImportsError> {
    let options = lock_checked(connection, id).await?;
    let current = version(connection).await?;
    let checked = find(connection, id).await?.checked_version.unwrap_or_default();
    if checked != current {
        return Err(ImportsError::Stale { id, checked, current });
    }
    let mut import_options = options.parse(withdrawal_limit_percent).map_err(ImportsError::Options)?;
    import_options.allow_withdrawals |= allow_withdrawals;
    delete_changes(connection, id).await?;
    let files = store::find_files(connection, id).await?;
    let run = Run { now, actor, options: &import_options, progress: &|_| () };
    run.apply(connection, id, files.sources()).await?;
    store::delete_files(connection, id).await?;
    find(connection, id).await
}

/// Finds an import.
pub async fn find(connection: &mut PgConnection, id: i64) -> Result<ImportRecord, ImportsError> {
    let found = store::find(connection, Some(id), Page::default()).await?.pop();
    found.ok_or(ImportsError::NotFound(id))
}

/// Finds an import, and takes the import lock: nobody applies it or checks it again until the end of the transaction.
pub async fn find_locked(connection: &mut PgConnection, id: i64) -> Result<ImportRecord, ImportsError> {
    lock_imports(connection).await?;
    find(connection, id).await
}

/// Lists the imports, newest first.
pub async fn list(connection: &mut PgConnection, page: Page) -> Result<Vec<ImportRecord>, sqlx::Error> {
    store::find(connection, None, page).await
}

/// Deletes what is no longer needed: uploads that nobody has applied, and the differences of older imports.
pub async fn prune(pool: &Pool, now: OffsetDateTime) -> Result<(), sqlx::Error> {
    store::expire_uploads(pool, now - UPLOAD_KEPT_FOR).await?;
    store::delete_old_changes(pool, KEPT_IMPORTS).await
}

/// Takes the import lock and returns the options of an upload. Fails unless the upload waits to be applied.
async fn lock_checked(connection: &mut PgConnection, id: i64) -> Result<UploadOptions, ImportsError> {
    lock_imports(connection).await?;
    let (state, options) = store::lock(connection, id).await?.ok_or(ImportsError::NotFound(id))?;
    match (state, options) {
        (ImportState::Checked, Some(options)) => Ok(options),
        _ => Err(ImportsError::State { id, state }),
    }
}

impl UploadedFiles {
    fn sources(&self) -> SourceFiles {
        let source = |file: &UploadedFile| SourceFile {
            name: file.name.clone(),
            content: Box::new(Cursor::new(file.content.clone())),
        };
        SourceFiles { products: self.products.as_ref().map(source), prices: self.prices.as_ref().map(source) }
    }
}

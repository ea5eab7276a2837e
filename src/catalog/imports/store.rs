//! SQL of imports as resources.

use super::options::UploadOptions;
use super::roll_back::RollBackSummary;
use super::{ImportRecord, UploadedFile, UploadedFiles};
use crate::catalog::import::{ImportState, ImportSummary};
use crate::db::{Page, Pool};
use sqlx::PgConnection;
use sqlx::types::Json;
use time::OffsetDateTime;

/// An uploaded file is stored in pieces of this size, so that no message to Postgres holds the whole file.
const PIECE_BYTES: usize = 1024 * 1024;

pub(super) async fn insert_file(
    connection: &mut PgConnection,
    id: i64,
    kind: &str,
    file: &UploadedFile,
) -> Result<(), sqlx::Error> {
    // An empty file has one empty piece, which keeps its name.
    let pieces = file.content.chunks(PIECE_BYTES).chain(file.content.is_empty().then_some([].as_slice()));
    for (position, piece) in (0..).zip(pieces) {
        sqlx::query!(
            "insert into catalog_import_file (import_id, kind, position, name, content) values ($1, $2, $3, $4, $5)",
            id,
            kind,
            position,
            file.name,
            piece
        )
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

pub(super) async fn find_files(connection: &mut PgConnection, id: i64) -> Result<UploadedFiles, sqlx::Error> {
    let pieces = sqlx::query!(
        r#"select kind = 'products' as "is_products!", name, content from catalog_import_file
           where import_id = $1 order by kind, position"#,
        id
    )
    .fetch_all(connection)
    .await?;
    let file = |is_products| {
        let mut pieces = pieces.iter().filter(|piece| piece.is_products == is_products).peekable();
        let name = pieces.peek()?.name.clone();
        let content = pieces.map(|piece| piece.content.as_slice()).collect::<Vec<_>>().concat();
        Some(UploadedFile { name, content: content.into() })
    };
    Ok(UploadedFiles { products: file(true), prices: file(false) })
}

pub(super) async fn delete_files(connection: &mut PgConnection, id: i64) -> Result<(), sqlx::Error> {
    sqlx::query!("delete from catalog_import_file where import_id = $1", id).execute(connection).await?;
    Ok(())
}

/// Locks an import; returns its state, and its options if it is an upload.
pub(super) async fn lock(
    connection: &mut PgConnection,
    id: i64,
) -> Result<Option<(ImportState, Option<UploadOptions>)>, sqlx::Error> {
    let row = sqlx::query!(
        r#"select state as "state: ImportState", options as "options: Json<UploadOptions>" from catalog_import
           where id = $1 for update"#,
        id
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| (row.state, row.options.map(|options| options.0))))
}

/// Finds one import or a page of all, newest first.
pub(super) async fn find(
    connection: &mut PgConnection,
    id: Option<i64>,
    page: Page,
) -> Result<Vec<ImportRecord>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select id, state as "state: ImportState", summary as "summary: Json<ImportSummary>", actor, created_at, applied_at,
                  rolled_back_at, checked_version, roll_back as "roll_back: Json<RollBackSummary>"
           from catalog_import
           where ($1::bigint is null or id = $1) and ($2::bigint is null or id < $2)
           order by id desc limit $3"#,
        id,
        page.before,
        page.limit
    )
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| ImportRecord {
            summary: ImportSummary { id: Some(row.id), state: row.state, ..row.summary.0 },
            actor: row.actor,
            created_at: row.created_at,
            applied_at: row.applied_at,
            rolled_back_at: row.rolled_back_at,
            checked_version: row.checked_version,
            roll_back: row.roll_back.map(|summary| summary.0),
        })
        .collect())
}

/// Deletes the files and the differences of uploads from before `before`.
pub(super) async fn expire_uploads(pool: &Pool, before: OffsetDateTime) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "with expired as (
             update catalog_import set state = 'expired' where state = 'checked' and created_at < $1 returning id),
         files as (delete from catalog_import_file where import_id in (select id from expired)),
         prices as (delete from catalog_import_price where import_id in (select id from expired))
         delete from catalog_import_product where import_id in (select id from expired)",
        before
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Deletes the differences of all but the last `kept` applied imports.
pub(super) async fn delete_old_changes(pool: &Pool, kept: i64) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "with old as (
             update catalog_import set is_undo_kept = false
             where is_undo_kept and apply_number <= (select max(apply_number) - $1 from catalog_import) returning id),
         prices as (delete from catalog_import_price where import_id in (select id from old))
         delete from catalog_import_product where import_id in (select id from old)",
        kept
    )
    .execute(pool)
    .await?;
    Ok(())
}

//! Exports the catalogue as the CSV of the import. Importing an export changes nothing, and a second export has the same
//! bytes.
//!
//! Rows are in byte order of the code. The columns are those of DESIGN.md 3, with `restricted` only if at least one
//! product is restricted. Postgres writes the CSV, so that memory does not grow with the catalogue.

mod store;

use crate::db::Pool;
use futures_util::TryStreamExt;
use std::io::{self, BufWriter, Write};

/// The reason why an export failed. The output is incomplete.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("cannot write the catalogue")]
    Write(#[from] io::Error),
    #[error("a database statement failed")]
    Store(#[from] sqlx::Error),
}

/// Writes all products, including those withdrawn or without a price, in one consistent read. Returns their number.
pub async fn export(pool: &Pool, writer: impl Write + Send) -> Result<u64, ExportError> {
    let mut transaction = pool.begin_snapshot().await?;
    let has_restricted = store::has_restricted(&mut transaction).await?;
    let mut chunks = store::copy_products(&mut transaction, has_restricted).await?;
    let (mut writer, mut lines) = (BufWriter::new(writer), 0);
    while let Some(chunk) = chunks.try_next().await? {
        writer.write_all(&chunk)?;
        // The checks of products refuse line breaks, so each line is a row.
        lines += memchr::memchr_iter(b'\n', &chunk).count() as u64;
    }
    writer.flush()?;
    Ok(lines.saturating_sub(1))
}

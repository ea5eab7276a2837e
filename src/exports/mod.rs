//! Exports of orders, shipments and invoices as files for systems that read no API: CSV, or one JSON object a line.
//!
//! Guarantees: an export is streamed, so its memory does not grow with its rows. With a cursor, it has everything that is new
//! or changed since the export that returned the cursor: every order, shipment or invoice with an event after the cursor. The
//! end of an export is fixed before its first row is read; what changes meanwhile is in the next one, too. A reader that fails
//! midway repeats the export with the old cursor and misses nothing.

mod encode;
mod rows;
mod store;

pub use encode::Format;
pub use rows::{InvoiceRow, OrderRow, ShipmentRow};

use crate::db::Pool;
use crate::events;
use crate::orders::Filter;
use bytes::Bytes;
use encode::{Encoder, Row};
use futures_util::{Stream, TryStreamExt};
use sqlx::PgConnection;

/// Why an export stopped.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("`{0}` is not a cursor; use the one that an earlier export returned")]
    BadCursor(String),
    #[error(
        "the changes since cursor `{0}` are no longer known (SPSI_EVENTS_KEPT_FOR); export everything, without a cursor"
    )]
    CursorExpired(i64),
    /// The reader has gone.
    #[error("the rows cannot be written")]
    Write(#[source] std::io::Error),
    #[error("a row cannot be encoded")]
    Encode(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

/// Parses a cursor: the position in the event log before which everything is exported.
pub fn parse_cursor(text: &str) -> Result<i64, ExportError> {
    let position = text.trim().parse().ok().filter(|position| *position >= 0);
    position.ok_or_else(|| ExportError::BadCursor(text.trim().to_owned()))
}

/// What is exported.
#[derive(Debug)]
pub enum Rows {
    /// The lines of orders.
    Orders(Filter),
    /// The lines of shipments.
    Shipments,
    /// The lines of invoices.
    Invoices,
}

/// An export whose extent is fixed.
#[derive(Debug)]
pub struct Export {
    rows: Rows,
    since: Option<i64>,
    /// The cursor of the next export.
    pub next: i64,
}

/// Fixes the extent of an export: everything, or what is new or changed since a cursor.
pub async fn prepare(pool: &Pool, rows: Rows, since: Option<i64>) -> Result<Export, ExportError> {
    let next = events::sequence(pool).await?;
    match since {
        // A cursor of another database: the log has never been that long.
        Some(cursor) if cursor > next => Err(ExportError::BadCursor(cursor.to_string())),
        Some(cursor) if !events::are_kept_after(pool, cursor).await? => Err(ExportError::CursorExpired(cursor)),
        _ => Ok(Export { rows, since, next }),
    }
}

impl Export {
    /// Reads the rows and passes them on in chunks of about 32 KiB. `write` waits while the reader is slow.
    pub async fn run(
        &self,
        connection: &mut PgConnection,
        format: Format,
        write: impl AsyncFnMut(Bytes) -> std::io::Result<()>,
    ) -> Result<(), ExportError> {
        let changes = store::Changes { since: self.since, until: self.next };
        match &self.rows {
            Rows::Orders(filter) => copy(store::orders(connection, changes, filter), format, write).await,
            Rows::Shipments => copy(store::shipments(connection, changes), format, write).await,
            Rows::Invoices => copy(store::invoices(connection, changes), format, write).await,
        }
    }
}

async fn copy<R: Row>(
    mut rows: impl Stream<Item = Result<R, sqlx::Error>> + Unpin,
    format: Format,
    mut write: impl AsyncFnMut(Bytes) -> std::io::Result<()>,
) -> Result<(), ExportError> {
    let mut encoder = Encoder::new::<R>(format)?;
    while let Some(row) = rows.try_next().await? {
        if let Some(chunk) = encoder.push(&row)? {
            write(chunk).await.map_err(ExportError::Write)?;
        }
    }
    write(encoder.finish()?).await.map_err(ExportError::Write)
}

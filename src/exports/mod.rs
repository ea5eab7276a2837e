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
use crate::events::{self, EventError};
use crate::orders::Filter;
use bytes::Bytes;
use encode::{Encoder, Row};
use futures_util::{Stream, TryStreamExt};
use sqlx::PgConnection;
use std::fmt;
use std::str::FromStr;

/// Why an export stopped.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("`{0}` is not a cursor; use the one that an earlier export returned")]
    BadCursor(String),
    #[error(
        "the changes since cursor `{0}` are no longer known (SPSI_EVENTS_KEPT_FOR); export everything, without a cursor"
    )]
    CursorExpired(Cursor),
    /// The reader has gone.
    #[error("the rows cannot be written")]
    Write(#[source] std::io::Error),
    #[error("a row cannot be encoded")]
    Encode(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

/// A position in the event log: everything before it is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor(i64);

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Cursor {
    type Err = ExportError;

    fn from_str(text: &str) -> Result<Self, ExportError> {
        let position = text.trim().parse().ok().filter(|position| *position >= 0);
        position.map(Self).ok_or_else(|| ExportError::BadCursor(text.trim().to_owned()))
    }
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
    since: Option<Cursor>,
    /// The cursor of the next export.
    pub next: Cursor,
}

/// Fixes the extent of an export: everything, or what is new or changed since a cursor.
pub async fn prepare(pool: &Pool, rows: Rows, since: Option<Cursor>) -> Result<Export, ExportError> {
    if let Some(cursor) = since {
        events::list(pool, Some(cursor.0), &events::Filter::default(), 0).await.map_err(|error| match error {
            EventError::CursorExpired(_) => ExportError::CursorExpired(cursor),
            EventError::Database(error) => error.into(),
            EventError::BadCursor(text) | EventError::Unknown(text) => ExportError::BadCursor(text),
        })?;
    }
    let next = Cursor(events::sequence(pool).await?);
    // A cursor of another database: the log has never been that long.
    match since {
        Some(cursor) if cursor.0 > next.0 => Err(ExportError::BadCursor(cursor.to_string())),
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
        let changes = store::Changes { since: self.since.map(|cursor| cursor.0), until: self.next.0 };
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

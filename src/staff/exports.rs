//! `/exports`: orders, shipments and invoices as files, streamed.

use super::problem::{Kind, Problem, Result};
use super::query::Read;
use crate::db::Pool;
use crate::exports::{self, Export, ExportError, Format, Rows};
use crate::orders::Filter;
use actix_web::HttpResponse;
use actix_web::http::header::{self, HeaderName};
use bytes::Bytes;
use futures_util::stream;
use serde::Deserialize;
use sqlx::PgConnection;
use std::io;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};
use utoipa::IntoParams;

const NEXT_CURSOR: HeaderName = HeaderName::from_static("x-next-cursor");
/// Exports of this process at a time. Each keeps a database connection of its own for as long as its reader takes.
const MAX_EXPORTS: usize = 4;
static EXPORTS: Semaphore = Semaphore::const_new(MAX_EXPORTS);
/// Seconds until a refused export may be tried again.
const RETRY_AFTER: u64 = 10;
/// Chunks that wait for a slow reader.
const CHUNKS_AHEAD: usize = 4;

/// The parameters of an export.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ExportParams {
    /// `csv` (a header, then a line for each row) or `jsonl` (a JSON object on each line) [default: csv]
    format: Option<String>,
    /// The `X-Next-Cursor` of an earlier export: only what is new or changed since. Without it, everything
    since: Option<String>,
}

impl From<ExportError> for Problem {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::BadCursor(_) => {
                Self::field(Kind::BadRequest, "since", "must be the X-Next-Cursor of an earlier export")
            }
            ExportError::CursorExpired(cursor) => {
                let text = format!(
                    "The changes since cursor {cursor} are no longer known. Export everything, without `since`."
                );
                Self::new(Kind::CursorExpired, text)
            }
            ExportError::Database(error) => error.into(),
            error @ (ExportError::Write(_) | ExportError::Encode(_)) => Self::fault(error, "an export failed"),
        }
    }
}

/// Export orders
///
/// One row for each order line, with the order's header. The header `X-Next-Cursor` holds the cursor of the next export. Keep
/// it after the last row has arrived: a transfer that breaks off is repeated with the old cursor and misses nothing.
#[utoipa::path(get, path = "/exports/orders", tag = "exports", params(ExportParams),
    responses((status = 200, description = "The rows", content((String = "text/csv"), (String = "application/jsonl")),
        headers(("X-Next-Cursor" = String, description = "Pass it as `since` to the next export")))))]
pub async fn export_orders(read: Read<ExportParams>) -> Result<HttpResponse> {
    export(read, Rows::Orders(Filter::default()), "orders").await
}

/// Export shipments
///
/// One row for each shipment line and batch, with the shipment's header. A shipment has changed if it, or a delivery of it, has
/// an event. `X-Next-Cursor` is that of [orders](#tag/exports).
#[utoipa::path(get, path = "/exports/shipments", tag = "exports", params(ExportParams),
    responses((status = 200, description = "The rows", content((String = "text/csv"), (String = "application/jsonl")),
        headers(("X-Next-Cursor" = String, description = "Pass it as `since` to the next export")))))]
pub async fn export_shipments(read: Read<ExportParams>) -> Result<HttpResponse> {
    export(read, Rows::Shipments, "shipments").await
}

/// Export invoices
///
/// One row for each invoice line as it was sent, with the invoice's header and the state of its delivery. An invoice has changed
/// if its shipment, or a delivery of it, has an event.
#[utoipa::path(get, path = "/exports/invoices", tag = "exports", params(ExportParams),
    responses((status = 200, description = "The rows", content((String = "text/csv"), (String = "application/jsonl")),
        headers(("X-Next-Cursor" = String, description = "Pass it as `since` to the next export")))))]
pub async fn export_invoices(read: Read<ExportParams>) -> Result<HttpResponse> {
    export(read, Rows::Invoices, "invoices").await
}

async fn export(read: Read<ExportParams>, rows: Rows, name: &str) -> Result<HttpResponse> {
    let (format, extension, media_type) = match read.params.format.as_deref() {
        None | Some("csv") => (Format::Csv, "csv", "text/csv; charset=utf-8"),
        Some("jsonl") => (Format::JsonLines, "jsonl", "application/jsonl"),
        Some(_) => return Err(Problem::field(Kind::BadRequest, "format", "must be csv or jsonl")),
    };
    let since = read.params.since.as_deref().map(exports::parse_cursor).transpose()?;
    let permit = EXPORTS.try_acquire().map_err(|_| {
        let text = format!("This server writes {MAX_EXPORTS} exports at a time, and that many are under way.");
        Problem { retry_after: Some(RETRY_AFTER), ..Problem::new(Kind::TooManyRequests, text) }
    })?;
    let pool = &read.staff.pool;
    let export = exports::prepare(pool, rows, since).await?;
    let next = export.next;
    // A reader that goes away leaves the rest of the rows in the connection, which is therefore not used again.
    let connection = pool.detach().await?;
    let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
    actix_web::rt::spawn(send(export, pool.clone(), connection, format, sender, permit));
    let chunks =
        stream::unfold(receiver, |mut receiver| async { receiver.recv().await.map(|chunk| (chunk, receiver)) });
    Ok(HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}.{extension}\"")))
        .insert_header((NEXT_CURSOR, next.to_string()))
        .content_type(media_type)
        .streaming(chunks))
}

/// Sends the chunks of an export. An error ends the transfer without its last chunk, so that the reader notices.
async fn send(
    export: Export,
    pool: Pool,
    mut connection: PgConnection,
    format: Format,
    sender: mpsc::Sender<io::Result<Bytes>>,
    _permit: SemaphorePermit<'static>,
) {
    let write = async |chunk| sender.send(Ok(chunk)).await.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe));
    match pool.run_on(&mut connection, async |it| export.run(it, format, write).await).await {
        Ok(()) => {}
        Err(ExportError::Write(_)) => tracing::debug!("the reader of an export has gone"),
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "an export failed midway");
            let _ = sender.send(Err(io::Error::other("the export failed"))).await;
        }
    }
}

//! Streams a file's rows towards the database: a thread reads and checks them, the caller sends the chunks. Memory holds
//! only a few chunks.

use super::cells::Numbers;
use super::copy::CopyLines;
use super::format::{DecimalMark, FormatOptions};
use super::problems::Problems;
use super::read::{Check, Columns, Table};
use std::io::Read;
use tokio::sync::mpsc;

/// A chunk is sent when it reaches this many bytes.
const CHUNK_BYTES: usize = 128 * 1024;

/// Checks the rows of one kind of file.
pub(super) trait Rows: Send + 'static {
    fn columns(&self) -> Columns;

    /// Checks a row, reports all its errors, and writes its line for COPY.
    fn row(&mut self, check: &mut Check<'_, '_>, lines: &mut CopyLines);

    /// Returns remarks for the user that are not errors.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Lines for COPY, and the rows of the file read so far.
#[derive(Debug)]
pub(super) struct Chunk {
    pub lines: Vec<u8>,
    pub rows: u64,
}

/// The result of reading a file: to its end, or up to an invalid header.
#[derive(Debug)]
pub(super) struct Pumped {
    pub rows: u64,
    pub problems: Problems,
    pub notes: Vec<String>,
}

/// Reads a whole file; blocks the thread. Stops early if the receiver of the chunks is dropped.
pub(super) fn pump<R: Rows>(
    file: &str,
    read: Box<dyn Read + Send>,
    format: &FormatOptions,
    mut rows: R,
    chunks: &mpsc::Sender<Chunk>,
) -> Result<Pumped, csv::Error> {
    let mut pumped = Pumped { rows: 0, problems: Problems::new(file), notes: Vec::new() };
    let Some(mut table) = Table::open(read, rows.columns(), format, &mut pumped.problems)? else { return Ok(pumped) };
    let (mut numbers, mut lines) = (Numbers::new(format.decimal), CopyLines::default());
    loop {
        let row = table.next(&mut pumped.problems)?;
        let is_end = row.is_none();
        if let Some(row) = row {
            rows.row(&mut Check { row: &row, problems: &mut pumped.problems, numbers: &mut numbers }, &mut lines);
            pumped.rows += 1;
        }
        if lines.len() >= CHUNK_BYTES || is_end {
            let chunk = Chunk { lines: lines.take(), rows: pumped.rows };
            if chunks.blocking_send(chunk).is_err() || is_end {
                break;
            }
        }
    }
    let mut notes = table.into_notes();
    if numbers.detected() == Some(DecimalMark::Comma) {
        notes.push("numbers have a decimal comma".to_owned());
    }
    notes.extend(rows.notes());
    pumped.notes = notes.into_iter().map(|note| format!("{file}: {note}")).collect();
    Ok(pumped)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Returns the lines for COPY and the result of a small file.
    pub(crate) fn pump_bytes(bytes: &[u8], rows: impl Rows) -> (String, Pumped) {
        let (sender, mut receiver) = mpsc::channel(16);
        let read = Box::new(std::io::Cursor::new(bytes.to_vec()));
        let pumped = pump("f.csv", read, &FormatOptions::default(), rows, &sender).unwrap();
        let mut lines = Vec::new();
        while let Ok(chunk) = receiver.try_recv() {
            lines.extend(chunk.lines);
        }
        (String::from_utf8(lines).unwrap(), pumped)
    }

    /// Returns `line, column: reason` of each error.
    pub(crate) fn errors_of(pumped: Pumped) -> Vec<String> {
        let mut refusal = super::super::problems::Refusal::default();
        refusal.add(pumped.problems);
        refusal.errors.iter().map(|e| format!("{}, {}: {}", e.line, e.column, e.reason)).collect()
    }
}

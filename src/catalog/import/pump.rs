//! Streams a file's rows towards the database: a thread reads and checks them, the caller sends the chunks. Memory holds
//! only a few chunks.

use super::cells::Numbers;
use super::copy::CopyLines;
use super::format::{DecimalMark, Encoding, FormatOptions};
use super::problems::{HeaderError, Problems};
use super::read::{Columns, ReadError, Row, Table};
use std::io::Read;
use tokio::sync::mpsc;

/// A chunk is sent when it reaches this many bytes.
const CHUNK_BYTES: usize = 128 * 1024;

/// Checks the rows of one kind of file.
pub(super) trait Rows: Send + 'static {
    fn columns(&self) -> Columns;

    /// Checks a row, reports all its errors, and writes its line for COPY.
    fn row(&mut self, row: &Row<'_>, problems: &mut Problems, lines: &mut CopyLines);

    fn numbers(&self) -> &Numbers;

    /// Returns remarks for the user that are not errors.
    fn notes(&self) -> Vec<String>;
}

/// Lines for COPY, and the rows and bytes of the file read so far.
#[derive(Debug)]
pub(super) struct Chunk {
    pub lines: Vec<u8>,
    pub rows: u64,
    pub bytes: u64,
}

/// The result of reading a file: to its end, or up to an invalid header.
#[derive(Debug)]
pub(super) struct Pumped {
    pub rows: u64,
    pub header: Option<HeaderError>,
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
    let mut pumped = Pumped { rows: 0, header: None, problems: Problems::new(file), notes: Vec::new() };
    match pump_rows(file, read, format, &mut rows, chunks, &mut pumped) {
        Ok(()) => Ok(pumped),
        Err(ReadError::Header(header)) => Ok(Pumped { header: Some(header), ..pumped }),
        Err(ReadError::Csv(error)) => Err(error),
    }
}

fn pump_rows<R: Rows>(
    file: &str,
    read: Box<dyn Read + Send>,
    format: &FormatOptions,
    rows: &mut R,
    chunks: &mpsc::Sender<Chunk>,
    pumped: &mut Pumped,
) -> Result<(), ReadError> {
    let mut table = Table::open(file, read, rows.columns(), format)?;
    let mut lines = CopyLines::default();
    loop {
        let has_row = match table.next(&mut pumped.problems)? {
            None => false,
            Some(row) => {
                rows.row(&row, &mut pumped.problems, &mut lines);
                pumped.rows += 1;
                true
            }
        };
        if lines.len() >= CHUNK_BYTES || !has_row {
            let chunk = Chunk { lines: lines.take(), rows: pumped.rows, bytes: table.bytes() };
            if chunks.blocking_send(chunk).is_err() || !has_row {
                break;
            }
        }
    }
    pumped.notes.append(&mut table.notes);
    if table.detected_encoding() == Some(Encoding::Windows1252) {
        pumped.notes.push(format!("{file}: read as Windows-1252"));
    }
    if rows.numbers().detected() == Some(DecimalMark::Comma) {
        pumped.notes.push(format!("{file}: numbers have a decimal comma"));
    }
    pumped.notes.extend(rows.notes().into_iter().map(|note| format!("{file}: {note}")));
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Returns the lines for COPY and the result of a small file.
    pub(crate) fn pump_text(text: &str, rows: impl Rows) -> (String, Pumped) {
        pump_bytes(text.as_bytes(), rows)
    }

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

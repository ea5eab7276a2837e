//! Moves a file's rows towards the database: a thread reads and checks, the caller sends on what is ready. Memory holds a
//! few chunks, however long the file.

use super::cells::Numbers;
use super::copy::CopyLines;
use super::format::{DecimalMark, Encoding, FormatOptions};
use super::problems::{HeaderError, Problems};
use super::read::{Columns, ReadError, Row, Table};
use std::io::Read;
use tokio::sync::mpsc;

/// A chunk is sent when it has grown to so many bytes.
const CHUNK: usize = 128 * 1024;

/// What a kind of file makes of its rows.
pub(super) trait Rows: Send + 'static {
    fn columns(&self) -> Columns;

    /// Checks a row, reports every error in it, and writes its line for COPY.
    fn row(&mut self, row: &Row<'_>, problems: &mut Problems, lines: &mut CopyLines);

    fn numbers(&self) -> &Numbers;

    /// What the person who imports should know, though nothing is wrong.
    fn notes(&self) -> Vec<String>;
}

/// Lines for COPY, and how far the file has been read.
#[derive(Debug)]
pub(super) struct Chunk {
    pub lines: Vec<u8>,
    pub rows: u64,
    pub bytes: u64,
}

/// A file that was read to its end, or whose header did not fit.
#[derive(Debug)]
pub(super) struct Pumped {
    pub rows: u64,
    pub header: Option<HeaderError>,
    pub problems: Problems,
    pub notes: Vec<String>,
}

/// Reads a whole file, on a thread that may block. Stops early when nobody takes the chunks any more.
pub(super) fn pump<R: Rows>(
    file: &str,
    read: Box<dyn Read + Send>,
    format: &FormatOptions,
    mut rows: R,
    chunks: &mpsc::Sender<Chunk>,
) -> Result<Pumped, csv::Error> {
    let mut pumped = Pumped { rows: 0, header: None, problems: Problems::of(file), notes: Vec::new() };
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
        let more = match table.next(&mut pumped.problems)? {
            None => false,
            Some(row) => {
                rows.row(&row, &mut pumped.problems, &mut lines);
                pumped.rows += 1;
                true
            }
        };
        if lines.len() >= CHUNK || !more {
            let chunk = Chunk { lines: lines.take(), rows: pumped.rows, bytes: table.bytes() };
            if chunks.blocking_send(chunk).is_err() || !more {
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

    /// The lines for COPY and what was found, of a small file.
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

    /// `line, column: reason` of each error.
    pub(crate) fn errors_of(pumped: Pumped) -> Vec<String> {
        let mut refusal = super::super::problems::Refusal::default();
        refusal.add(pumped.problems);
        refusal.errors.iter().map(|e| format!("{}, {}: {}", e.line, e.column, e.reason)).collect()
    }
}

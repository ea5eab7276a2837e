//! Encodes rows as CSV, as one JSON object a line, or as one JSON list. Pure.

use super::ExportError;
use bytes::Bytes;
use serde::Serialize;

/// A chunk is passed on when it has this size.
const CHUNK_BYTES: usize = 32 * 1024;

/// A kind of row.
pub trait Row: Serialize {
    /// The columns, which are the names of the fields.
    const COLUMNS: &'static [&'static str];
}

/// The format of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A header, then a line for each row.
    Csv,
    /// A JSON object on each line.
    #[value(name = "jsonl")]
    JsonLines,
    /// One JSON list.
    #[value(skip)]
    Json,
}

/// Collects encoded rows.
pub struct Encoder {
    format: Format,
    csv: csv::Writer<Vec<u8>>,
    json: Vec<u8>,
    is_empty: bool,
}

impl Encoder {
    pub fn new<R: Row>(format: Format) -> Result<Self, ExportError> {
        let mut encoder = Self { format, csv: writer(), json: Vec::new(), is_empty: true };
        match format {
            Format::Csv => encoder.csv.write_record(R::COLUMNS).map_err(failure)?,
            Format::JsonLines => {}
            Format::Json => encoder.json.extend_from_slice(b"["),
        }
        Ok(encoder)
    }

    /// Adds a row. Returns a chunk if there is enough for one.
    pub fn push(&mut self, row: &impl Row) -> Result<Option<Bytes>, ExportError> {
        match self.format {
            Format::Csv => self.csv.serialize(row).map_err(failure)?,
            Format::JsonLines => {
                serde_json::to_writer(&mut self.json, row).map_err(failure)?;
                self.json.push(b'\n');
            }
            Format::Json => {
                self.json.extend_from_slice(if self.is_empty { b"\n" } else { b",\n" });
                serde_json::to_writer(&mut self.json, row).map_err(failure)?;
            }
        }
        self.is_empty = false;
        let is_full = self.json.len().max(self.csv.get_ref().len()) >= CHUNK_BYTES;
        if is_full { self.take().map(Some) } else { Ok(None) }
    }

    /// Returns the rest.
    pub fn finish(mut self) -> Result<Bytes, ExportError> {
        if self.format == Format::Json {
            self.json.extend_from_slice(if self.is_empty { b"]\n" } else { b"\n]\n" });
        }
        self.take()
    }

    fn take(&mut self) -> Result<Bytes, ExportError> {
        let bytes = match self.format {
            Format::Csv => {
                std::mem::replace(&mut self.csv, writer()).into_inner().map_err(|error| failure(error.into_error()))?
            }
            Format::JsonLines | Format::Json => std::mem::take(&mut self.json),
        };
        Ok(bytes.into())
    }
}

fn writer() -> csv::Writer<Vec<u8>> {
    csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new())
}

fn failure(error: impl std::error::Error + Send + Sync + 'static) -> ExportError {
    ExportError::Encode(Box::new(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Item {
        id: i64,
        name: Option<&'static str>,
    }

    impl Row for Item {
        const COLUMNS: &'static [&'static str] = &["id", "name"];
    }

    fn encoded(format: Format, rows: &[Item]) -> (String, usize) {
        let mut encoder = Encoder::new::<Item>(format).unwrap();
        let mut chunks: Vec<Bytes> = rows.iter().filter_map(|row| encoder.push(row).unwrap()).collect();
        chunks.push(encoder.finish().unwrap());
        (String::from_utf8(chunks.concat()).unwrap(), chunks.len())
    }

    #[test]
    fn every_format_is_whole_with_and_without_rows() {
        let rows = [Item { id: 1, name: Some("a,\"b\"") }, Item { id: 2, name: None }];
        assert_eq!(encoded(Format::Csv, &rows).0, "id,name\n1,\"a,\"\"b\"\"\"\n2,\n");
        let lines = "{\"id\":1,\"name\":\"a,\\\"b\\\"\"}\n{\"id\":2,\"name\":null}\n";
        assert_eq!(encoded(Format::JsonLines, &rows).0, lines);
        let list: serde_json::Value = serde_json::from_str(&encoded(Format::Json, &rows).0).unwrap();
        assert_eq!(list[1]["id"], 2);
        assert_eq!(encoded(Format::Csv, &[]).0, "id,name\n");
        assert_eq!(encoded(Format::JsonLines, &[]).0, "");
        assert_eq!(encoded(Format::Json, &[]).0, "[]\n");
    }

    #[test]
    fn many_rows_leave_in_chunks_and_in_order() {
        let rows: Vec<Item> = (0..20_000).map(|id| Item { id, name: Some("x") }).collect();
        for format in [Format::Csv, Format::JsonLines] {
            let (text, chunks) = encoded(format, &rows);
            assert!(chunks > 3, "{chunks}");
            assert!(text.trim_end().ends_with(if format == Format::Csv {
                "19999,x"
            } else {
                "{\"id\":19999,\"name\":\"x\"}"
            }));
            assert_eq!(text.lines().count(), if format == Format::Csv { 20_001 } else { 20_000 });
        }
    }
}

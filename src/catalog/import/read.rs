//! Reads a CSV file as a stream: first delimiter, encoding and header, then one record at a time, so memory does not grow
//! with the file. Line numbers are those of a text editor, for all line ends.

use super::decode::{Decoder, LineEnds};
use super::format::{Encoding, FormatOptions, Mapped, detect_delimiter};
use super::problems::{HeaderError, Problems};
use csv::{ByteRecord, StringRecord};
use std::io::{self, Chain, Cursor, Read};

/// Maximum bytes of the header line.
const MAX_HEADER: usize = 64 * 1024;

/// The columns of one kind of file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Columns {
    /// All columns; [`Row::get`] takes an index into this list.
    pub known: &'static [&'static str],
    /// Columns that the file must have.
    pub required: &'static [&'static str],
    /// If not empty, the file must have at least one of these columns.
    pub one_of: &'static [&'static str],
}

/// The reason why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("{0}")]
    Header(HeaderError),
    #[error(transparent)]
    Csv(#[from] csv::Error),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Csv(error.into())
    }
}

/// Where a row has the value of a column.
#[derive(Debug, PartialEq)]
enum Source {
    Absent,
    /// The index of the cell.
    Cell(usize),
    /// The mapping gives a fixed value.
    Constant(String),
}

/// A file with a valid header.
pub(super) struct Table<R: Read> {
    reader: csv::Reader<Chain<Cursor<Vec<u8>>, LineEnds<R>>>,
    sources: Vec<Source>,
    width: usize,
    decoder: Decoder,
    /// Lines before the header, which the CSV reader does not see.
    skipped_lines: u64,
    columns: Columns,
    pub(super) notes: Vec<String>,
    record: ByteRecord,
    text: StringRecord,
    line: u64,
}

/// One record, decoded and trimmed.
pub(super) struct Row<'a> {
    pub line: u64,
    columns: Columns,
    sources: &'a [Source],
    text: &'a StringRecord,
}

impl<'a> Row<'a> {
    /// Returns the cell of the column with this index in [`Columns::known`]. `None` if the file lacks the column.
    pub(super) fn get(&self, column: usize) -> Option<&'a str> {
        match &self.sources[column] {
            Source::Absent => None,
            Source::Cell(index) => Some(self.text.get(*index).unwrap_or_default().trim()),
            Source::Constant(value) => Some(value),
        }
    }

    pub(super) fn name(&self, column: usize) -> &'static str {
        self.columns.known[column]
    }
}

impl<R: Read> Table<R> {
    /// Reads the header.
    pub(super) fn open(file: &str, inner: R, columns: Columns, format: &FormatOptions) -> Result<Self, ReadError> {
        let mut inner = LineEnds::new(inner);
        let mut head = Vec::new();
        while head.len() < MAX_HEADER && !head.contains(&b'\n') {
            let start = head.len();
            head.resize(start + MAX_HEADER, 0);
            let read = inner.read(&mut head[start..])?;
            head.truncate(start + read);
            if read == 0 {
                break;
            }
        }
        let mut notes = Vec::new();
        let mut encoding = format.encoding;
        if head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff") {
            let other = "the file is UTF-16; save it as UTF-8 (in a spreadsheet: \"CSV UTF-8\")".to_owned();
            return Err(header_error(file, vec![], vec![], vec![other], vec![]));
        }
        if head.starts_with(b"\xef\xbb\xbf") {
            head.drain(..3);
            encoding = Some(Encoding::Utf8);
        }
        // Spreadsheets may declare the delimiter in a line before the header.
        let (mut declared, mut skipped_lines) = (None, 0);
        if head.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"sep=")) && head.get(5) == Some(&b'\n') {
            declared = Some(head[4]);
            head.drain(..6);
            skipped_lines = 1;
        }
        let header_end = head.iter().position(|byte| *byte == b'\n').unwrap_or(head.len());
        let given = format.delimiter.map(|delimiter| delimiter.0);
        let delimiter = given.or(declared).unwrap_or_else(|| detect_delimiter(&head[..header_end]));
        if given.is_none() && delimiter != b',' {
            notes.push(format!("{file}: cells are separated by {:?}", char::from(delimiter)));
        }
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(delimiter)
            .from_reader(Cursor::new(head).chain(inner));
        let mut header = ByteRecord::new();
        reader.read_byte_record(&mut header)?;
        let mut decoder = Decoder::new(encoding);
        let mut text = StringRecord::new();
        let invalid = decoder.decode(&mut header, &mut text);
        let found: Vec<String> = text.iter().map(|name| name.trim().to_owned()).collect();
        let sources = resolve(file, &found, invalid, columns, format, &mut notes)?;
        Ok(Self {
            reader,
            sources,
            width: found.len(),
            decoder,
            skipped_lines,
            columns,
            notes,
            record: header,
            text,
            line: 1,
        })
    }

    /// Returns the next record that is not empty. Reports and skips records with a wrong number of cells.
    pub(super) fn next(&mut self, problems: &mut Problems) -> Result<Option<Row<'_>>, ReadError> {
        loop {
            if !self.reader.read_byte_record(&mut self.record)? {
                return Ok(None);
            }
            if self.record.iter().all(|cell| cell.trim_ascii().is_empty()) {
                continue;
            }
            // The reader's position is behind the line feed that LineEnds guarantees.
            let breaks = self.record.as_slice().iter().filter(|byte| **byte == b'\n').count() as u64;
            let line = (self.reader.position().line() + self.skipped_lines).saturating_sub(1 + breaks);
            // An open quote swallows the last line feed too.
            self.line = line.max(self.line + 1);
            let invalid = self.decoder.decode(&mut self.record, &mut self.text);
            if self.text.len() != self.width {
                let (cells, width) = (self.text.len(), self.width);
                let reason = format!(
                    "has {cells} cells, the header has {width}; put values that contain the delimiter in quotes"
                );
                problems.add(self.line, "", "", reason);
                continue;
            }
            for (index, name) in self.columns.known.iter().enumerate() {
                if let Source::Cell(cell) = self.sources[index]
                    && invalid.contains(&cell)
                {
                    problems.add(self.line, name, &self.text[cell], super::cells::CellError::NotUtf8);
                }
            }
            return Ok(Some(Row { line: self.line, columns: self.columns, sources: &self.sources, text: &self.text }));
        }
    }

    /// Returns the bytes read so far.
    pub(super) fn bytes(&self) -> u64 {
        self.reader.position().byte()
    }

    /// Returns the encoding if the content settled it, not a flag or a byte order mark.
    pub(super) fn detected_encoding(&self) -> Option<Encoding> {
        self.decoder.detected
    }
}

fn header_error(
    file: &str,
    missing: Vec<String>,
    repeated: Vec<String>,
    other: Vec<String>,
    found: Vec<String>,
) -> ReadError {
    ReadError::Header(HeaderError { file: file.to_owned(), missing, repeated, other, found })
}

/// Finds each known column in the header, by its mapped name if it has one, ignoring case.
fn resolve(
    file: &str,
    found: &[String],
    invalid: Vec<usize>,
    columns: Columns,
    format: &FormatOptions,
    notes: &mut Vec<String>,
) -> Result<Vec<Source>, ReadError> {
    let (mut missing, mut repeated, mut other) = (Vec::new(), Vec::new(), Vec::new());
    let mut used = vec![false; found.len()];
    let mut sources = Vec::new();
    for known in columns.known {
        let name = match format.mapping.find(known) {
            Some(Mapped::Constant(value)) => {
                sources.push(Source::Constant(value.clone()));
                continue;
            }
            Some(Mapped::Header(header)) => header,
            None => *known,
        };
        // One mapping serves both files of an import; the other file may have our own names.
        let cells_named = |name: &str| -> Vec<usize> {
            (0..found.len()).filter(|cell| found[*cell].to_lowercase() == name.to_lowercase()).collect()
        };
        let mut cells = cells_named(name);
        if cells.is_empty() {
            cells = cells_named(known);
        }
        if cells.len() > 1 {
            repeated.push(found[cells[0]].clone());
        }
        match cells.first().copied() {
            Some(index) => {
                used[index] = true;
                sources.push(Source::Cell(index));
            }
            None => {
                if columns.required.contains(known) {
                    let mapped = if name == *known { String::new() } else { format!(" (mapped to {name:?})") };
                    missing.push(format!("{known}{mapped}"));
                }
                sources.push(Source::Absent);
            }
        }
    }
    let absent = |name: &&str| {
        columns.known.iter().zip(&sources).any(|(known, source)| known == name && *source == Source::Absent)
    };
    if !columns.one_of.is_empty() && columns.one_of.iter().all(absent) {
        missing.push(columns.one_of.join(" or "));
    }
    if !invalid.is_empty() {
        other.push("the header is not UTF-8; save the file as UTF-8, or set `--encoding`".to_owned());
    }
    if !(missing.is_empty() && repeated.is_empty() && other.is_empty()) {
        let found = found.iter().map(|name| name.chars().take(40).collect()).collect();
        return Err(header_error(file, missing, repeated, other, found));
    }
    let unknown: Vec<_> = found
        .iter()
        .zip(used)
        .filter(|(name, used)| !used && !name.is_empty())
        .map(|(name, _)| name.as_str())
        .collect();
    if !unknown.is_empty() {
        notes.push(format!("{file}: unknown columns are ignored: {}", unknown.join(", ")));
    }
    Ok(sources)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::import::format::Mapping;

    const COLUMNS: Columns = Columns { known: &["code", "name", "type"], required: &["code", "name"], one_of: &[] };

    /// Returns a few bytes at a time, as a pipe may.
    struct Trickle<'a>(&'a [u8]);

    impl Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = buffer.len().min(3);
            self.0.read(&mut buffer[..length])
        }
    }

    type Content = (Vec<(u64, Vec<Option<String>>)>, Vec<String>, Problems);

    fn read_with(bytes: &[u8], format: &FormatOptions) -> Result<Content, ReadError> {
        let mut problems = Problems::new("f");
        let mut table = Table::open("f", Trickle(bytes), COLUMNS, format)?;
        let mut rows = Vec::new();
        while let Some(row) = table.next(&mut problems)? {
            rows.push((row.line, (0..3).map(|column| row.get(column).map(str::to_owned)).collect()));
        }
        Ok((rows, table.notes, problems))
    }

    fn read(bytes: &[u8]) -> Content {
        read_with(bytes, &FormatOptions::default()).unwrap()
    }

    fn names(read: &Content) -> Vec<(u64, &str)> {
        read.0.iter().map(|(line, cells)| (*line, cells[1].as_deref().unwrap())).collect()
    }

    #[test]
    fn lines_are_counted_as_an_editor_counts_them() {
        for ends in ["\n", "\r\n", "\r"] {
            let file = "code,name\n1,a\n\n,\n2,\"b\nb\"\n3,c".replace('\n', ends);
            assert_eq!(names(&read(file.as_bytes())), [(2, "a"), (5, "b\nb"), (7, "c")], "{ends:?}");
        }
    }

    #[test]
    fn a_byte_order_mark_and_a_separator_line_are_not_data() {
        let read = read("\u{feff}sep=;\r\ncode;name\r\n1;é\r\n".as_bytes());
        assert_eq!(names(&read), [(3, "é")]);
        assert_eq!(read.1, ["f: cells are separated by ';'"]);
    }

    #[test]
    fn windows_1252_is_detected_at_the_first_byte_beyond_ascii() {
        assert_eq!(names(&read(b"code,name\n1,a\n2,d\xe9s\n3,\x80\n")), [(2, "a"), (3, "dés"), (4, "€")]);
    }

    #[test]
    fn an_invalid_byte_in_a_utf_8_file_is_an_error() {
        let read = read(b"code,name\n1,\xc3\xa9\n2,d\xe9s\n");
        assert_eq!(read.2.count, 1);
    }

    #[test]
    fn unknown_columns_are_named_and_ignored() {
        let read = read(b"price_note,CODE, Name ,x\np,1,a,b\n");
        assert_eq!(names(&read), [(2, "a")]);
        assert_eq!(read.1, ["f: unknown columns are ignored: price_note, x"]);
    }

    #[test]
    fn all_missing_and_repeated_columns_are_named_at_once() {
        let Err(ReadError::Header(error)) = read_with(b"type,TYPE,x\n", &FormatOptions::default()) else { panic!() };
        assert_eq!(error.missing, ["code", "name"]);
        assert_eq!(error.repeated, ["type"]);
        let Err(ReadError::Header(error)) = read_with(b"", &FormatOptions::default()) else { panic!() };
        assert_eq!(error.missing, ["code", "name"]);
    }

    #[test]
    fn a_mapping_finds_foreign_headers() {
        let mapping = Mapping::parse("code = Artikel\nname = Bezeichnung\ntype := medication").unwrap();
        let format = FormatOptions { mapping, ..Default::default() };
        let read = read_with("Bezeichnung;Artikel\nVerband;1\n".as_bytes(), &format).unwrap();
        assert_eq!(read.0, [(2, vec![Some("1".into()), Some("Verband".into()), Some("medication".into())])]);
    }

    #[test]
    fn a_row_of_the_wrong_width_is_an_error() {
        let read = read(b"code,name\n1,a,b\n2,b\n3\n");
        assert_eq!(names(&read), [(3, "b")]);
        assert_eq!(read.2.count, 2);
    }

    #[test]
    fn utf_16_is_refused_with_advice() {
        assert!(matches!(read_with(b"\xff\xfec\0", &FormatOptions::default()), Err(ReadError::Header(_))));
    }
}

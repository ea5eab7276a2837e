//! Reads a CSV file as a stream: first delimiter, encoding and header, then one record at a time, so memory does not grow
//! with the file. Line numbers are those of a text editor, for all line ends.

use super::cells::{self, CellError, Numbers};
use super::decode::{Decoder, LineEnds};
use super::format::{Encoding, FormatOptions, Mapped, Mapping, detect_delimiter};
use super::problems::Problems;
use csv::{ByteRecord, StringRecord};
use rust_decimal::Decimal;
use std::io::{Chain, Cursor, Read};

/// Bytes at the start of a file in which the header line must end.
const MAX_HEADER: u64 = 64 * 1024;

/// The columns of one kind of file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Columns {
    /// All columns; [`Row::get`] takes an index into this list.
    pub known: &'static [&'static str],
    /// Columns that the file must have.
    pub required: &'static [&'static str],
    /// If not empty, the file must have at least one of these columns.
    pub one_of: &'static [&'static str],
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
pub(crate) struct Table<R: Read> {
    reader: csv::Reader<Chain<Cursor<Vec<u8>>, LineEnds<R>>>,
    sources: Vec<Source>,
    width: usize,
    decoder: Decoder,
    /// Lines before the header, which the CSV reader does not see.
    skipped_lines: u64,
    columns: Columns,
    notes: Vec<String>,
    record: ByteRecord,
    text: StringRecord,
    line: u64,
}

/// One record, decoded and trimmed.
pub(crate) struct Row<'a> {
    pub line: u64,
    columns: Columns,
    sources: &'a [Source],
    text: &'a StringRecord,
}

impl<'a> Row<'a> {
    /// Returns the cell of the column with this index in [`Columns::known`]. `None` if the file lacks the column.
    pub(crate) fn get(&self, column: usize) -> Option<&'a str> {
        match &self.sources[column] {
            Source::Absent => None,
            Source::Cell(index) => Some(self.text.get(*index).unwrap_or_default().trim()),
            Source::Constant(value) => Some(value),
        }
    }
}

impl<R: Read> Table<R> {
    /// Reads the header. If it is invalid, reports that and returns `None`.
    pub(crate) fn open(
        inner: R,
        columns: Columns,
        format: &FormatOptions,
        problems: &mut Problems,
    ) -> Result<Option<Self>, csv::Error> {
        let mut inner = LineEnds::new(inner);
        let mut head = Vec::new();
        inner.by_ref().take(MAX_HEADER).read_to_end(&mut head)?;
        if head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff") {
            problems.add(1, "", "", "the file is UTF-16; save it as UTF-8 (in a spreadsheet: \"CSV UTF-8\")");
            return Ok(None);
        }
        let mut encoding = format.encoding;
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
        let mut notes = Vec::new();
        if given.is_none() && delimiter != b',' {
            notes.push(format!("cells are separated by {:?}", char::from(delimiter)));
        }
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(delimiter)
            .from_reader(Cursor::new(head).chain(inner));
        let (mut record, mut text) = (ByteRecord::new(), StringRecord::new());
        reader.read_byte_record(&mut record)?;
        let mut decoder = Decoder::new(encoding);
        let is_readable = decoder.decode(&record, &mut text).is_empty();
        let found: Vec<String> = text.iter().map(|name| name.trim().to_owned()).collect();
        let Some(sources) = resolve(&found, is_readable, columns, &format.mapping, problems) else { return Ok(None) };
        let is_unknown = |(cell, name): &(usize, &String)| !name.is_empty() && !sources.contains(&Source::Cell(*cell));
        let unknown: Vec<_> = found.iter().enumerate().filter(is_unknown).map(|(_, name)| name.as_str()).collect();
        if !unknown.is_empty() {
            notes.push(format!("unknown columns are ignored: {}", unknown.join(", ")));
        }
        let width = found.len();
        Ok(Some(Self { reader, sources, width, decoder, skipped_lines, columns, notes, record, text, line: 1 }))
    }

    /// Returns the next record that is not empty. Reports and skips records with a wrong number of cells.
    pub(crate) fn next(&mut self, problems: &mut Problems) -> Result<Option<Row<'_>>, csv::Error> {
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
            let invalid = self.decoder.decode(&self.record, &mut self.text);
            if self.text.len() != self.width {
                let (cells, width) = (self.text.len(), self.width);
                let reason = format!(
                    "has {cells} cells, the header has {width}; put values that contain the delimiter in quotes"
                );
                problems.add(self.line, "", "", reason);
                continue;
            }
            for (name, source) in self.columns.known.iter().zip(&self.sources) {
                if let Source::Cell(cell) = source
                    && invalid.contains(cell)
                {
                    problems.add(self.line, name, &self.text[*cell], CellError::NotUtf8);
                }
            }
            return Ok(Some(Row { line: self.line, columns: self.columns, sources: &self.sources, text: &self.text }));
        }
    }

    /// Returns remarks on how the file was read, after its last row.
    pub(super) fn into_notes(mut self) -> Vec<String> {
        if self.decoder.detected == Some(Encoding::Windows1252) {
            self.notes.push("read as Windows-1252".to_owned());
        }
        self.notes
    }
}

/// Finds each known column in the header, by its mapped name if it has one, ignoring case. Reports an invalid header as one
/// error, and then returns `None`.
fn resolve(
    found: &[String],
    is_readable: bool,
    columns: Columns,
    mapping: &Mapping,
    problems: &mut Problems,
) -> Option<Vec<Source>> {
    let cells_named = |name: &str| -> Vec<usize> {
        (0..found.len()).filter(|cell| found[*cell].to_lowercase() == name.to_lowercase()).collect()
    };
    let (mut missing, mut repeated, mut sources) = (Vec::new(), Vec::new(), Vec::new());
    for known in columns.known {
        let name = match mapping.find(known) {
            Some(Mapped::Constant(value)) => {
                sources.push(Source::Constant(value.clone()));
                continue;
            }
            Some(Mapped::Header(header)) => header,
            None => *known,
        };
        // One mapping serves both files of an import; the other file may have our own names.
        let mut cells = cells_named(name);
        if cells.is_empty() {
            cells = cells_named(known);
        }
        if cells.len() > 1 {
            repeated.push(found[cells[0]].as_str());
        }
        if cells.is_empty() && columns.required.contains(known) {
            let mapped = if name == *known { String::new() } else { format!(" (mapped to {name:?})") };
            missing.push(format!("{known}{mapped}"));
        }
        sources.push(cells.first().map_or(Source::Absent, |cell| Source::Cell(*cell)));
    }
    let mut present = columns.known.iter().zip(&sources).filter(|(_, source)| **source != Source::Absent);
    if !columns.one_of.is_empty() && !present.any(|(known, _)| columns.one_of.contains(known)) {
        missing.push(columns.one_of.join(" or "));
    }
    let mut reasons = Vec::new();
    if !missing.is_empty() {
        reasons.push(format!("missing columns: {}", missing.join(", ")));
    }
    if !repeated.is_empty() {
        reasons.push(format!("repeated columns: {}", repeated.join(", ")));
    }
    if !is_readable {
        reasons.push("the header is not UTF-8; save the file as UTF-8, or set `--encoding`".to_owned());
    }
    if reasons.is_empty() {
        return Some(sources);
    }
    let found: Vec<String> = found.iter().map(|name| name.chars().take(40).collect()).collect();
    let header = if found.is_empty() { String::new() } else { format!(" (the header has: {})", found.join(", ")) };
    problems.add(1, "", "", format!("{}{header}", reasons.join("; ")));
    None
}

/// Reads the cells of one row and reports their errors.
pub(crate) struct Check<'a, 'row> {
    pub row: &'a Row<'row>,
    pub problems: &'a mut Problems,
    pub numbers: &'a mut Numbers,
}

impl<'row> Check<'_, 'row> {
    /// Parses a cell. `None` if the file lacks the column, or if the cell is invalid, which is reported.
    pub(crate) fn cell<T>(&mut self, column: usize, read: impl FnOnce(&'row str) -> Result<T, CellError>) -> Option<T> {
        read(self.row.get(column)?).map_err(|reason| self.refuse(column, reason)).ok()
    }

    /// Parses a text that may be empty.
    pub(crate) fn text(&mut self, column: usize) -> Option<&'row str> {
        self.cell(column, |value| cells::text(value, cells::TEXT_CHARACTERS))
    }

    /// Parses a number that may be empty. `None` if the column is absent or the number invalid, `Some(None)` if the cell is
    /// empty.
    pub(super) fn number(
        &mut self,
        column: usize,
        check: impl FnOnce(Decimal) -> Result<Decimal, CellError>,
    ) -> Option<Option<Decimal>> {
        let parsed = match self.row.get(column)? {
            "" => Ok(None),
            value => self.numbers.parse(value, self.row.line).and_then(check).map(Some),
        };
        parsed.map_err(|reason| self.refuse(column, reason)).ok()
    }

    /// Returns true if the file has the column and the cell is not empty.
    pub(crate) fn is_filled(&self, column: usize) -> bool {
        self.row.get(column).is_some_and(|value| !value.is_empty())
    }

    /// Reports an error of a cell.
    pub(crate) fn refuse(&mut self, column: usize, reason: impl std::fmt::Display) {
        let value = self.row.get(column).unwrap_or_default();
        self.problems.add(self.row.line, self.row.columns.known[column], value, reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

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

    fn read(bytes: &[u8]) -> Content {
        let mut problems = Problems::new("f");
        let Some(mut table) = Table::open(Trickle(bytes), COLUMNS, &FormatOptions::default(), &mut problems).unwrap()
        else {
            return (Vec::new(), Vec::new(), problems);
        };
        let mut rows = Vec::new();
        while let Some(row) = table.next(&mut problems).unwrap() {
            rows.push((row.line, (0..3).map(|column| row.get(column).map(str::to_owned)).collect()));
        }
        (rows, table.into_notes(), problems)
    }

    /// Returns the reason why the header is invalid.
    fn refused(bytes: &[u8]) -> String {
        let mut fields = read(bytes).2.into_fields();
        assert_eq!(fields.len(), 1, "{fields:?}");
        fields.remove(0).message
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
        assert_eq!(read.1, ["cells are separated by ';'"]);
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
        assert_eq!(read.1, ["unknown columns are ignored: price_note, x"]);
    }

    #[test]
    fn all_missing_and_repeated_columns_are_named_at_once() {
        let expected = "missing columns: code, name; repeated columns: type (the header has: type, TYPE, x)";
        assert_eq!(refused(b"type,TYPE,x\n"), expected);
        assert_eq!(refused(b""), "missing columns: code, name");
    }

    #[test]
    fn a_row_of_the_wrong_width_is_an_error() {
        let read = read(b"code,name\n1,a,b\n2,b\n3\n");
        assert_eq!(names(&read), [(3, "b")]);
        assert_eq!(read.2.count, 2);
    }

    #[test]
    fn utf_16_is_refused_with_advice() {
        assert!(refused(b"\xff\xfec\0").contains("save it as UTF-8"));
    }
}

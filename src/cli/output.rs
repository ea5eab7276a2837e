//! Data on standard output as a table, JSON or CSV; notes on standard error.
//!
//! A reader that closes the pipe (`spsi doctor | head`) is not a failure: the rest of the output is dropped, and the command
//! ends with the exit code of its work. The standard macros `println!` and `eprintln!` would panic instead.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::Value;
use std::fmt::Display;
use std::io::{self, BufWriter, ErrorKind, Write};

/// The format of lists and records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// Aligned columns for people; times are local.
    #[default]
    Table,
    /// Complete and stable, for programs; times are UTC.
    Json,
    /// Complete, for spreadsheets; times are UTC.
    Csv,
}

impl Output {
    /// Prints rows. `columns` names the keys that the table shows, in order; JSON and CSV show every key.
    pub fn list<T: Serialize>(self, columns: &[&str], rows: &[T]) -> anyhow::Result<()> {
        let values = objects(rows)?;
        write_stdout(|out| match self {
            Self::Json => json(out, rows),
            Self::Csv => csv(out, &values),
            Self::Table => table(out, columns, &values, "", &TimeZone::system()),
        })?;
        if self == Self::Table && rows.is_empty() {
            note("(none)");
        }
        Ok(())
    }

    /// Prints one record: an object in JSON, one line per key in a table.
    pub fn record<T: Serialize>(self, record: &T) -> anyhow::Result<()> {
        let value = serde_json::to_value(record)?;
        write_stdout(|out| match self {
            Self::Json => json(out, record),
            Self::Csv => csv(out, std::slice::from_ref(&value)),
            Self::Table => lines(out, &value, 0, &TimeZone::system()),
        })
    }
}

/// Writes to standard output. A closed pipe is not an error.
pub fn write_stdout(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> anyhow::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    match write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {
            // Drops what is buffered: writing it again when the buffer is dropped would fail again.
            let _ = out.into_parts();
            Ok(())
        }
        result => Ok(result?),
    }
}

/// Prints a text on standard output, with a line break.
pub fn print(text: impl Display) -> anyhow::Result<()> {
    write_stdout(|out| writeln!(out, "{text}"))
}

/// Prints a note for people on standard error. A failure is ignored, because no other channel is left to report it.
pub fn note(text: impl Display) {
    let _ = writeln!(io::stderr(), "{text}");
}

fn objects<T: Serialize>(rows: &[T]) -> anyhow::Result<Vec<Value>> {
    Ok(rows.iter().map(serde_json::to_value).collect::<Result<_, _>>()?)
}

fn json<T: Serialize + ?Sized>(out: &mut dyn Write, value: &T) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)
}

fn csv(out: &mut dyn Write, rows: &[Value]) -> io::Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    let Some(first) = rows.first().and_then(Value::as_object) else { return Ok(()) };
    let keys: Vec<_> = first.keys().collect();
    writer.write_record(&keys)?;
    for row in rows {
        writer.write_record(keys.iter().map(|key| row.get(key.as_str()).map(cell).unwrap_or_default()))?;
    }
    writer.flush()
}

/// Returns a value as a cell for programs: text as it is, null as an empty cell, arrays and objects as JSON.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Returns a value as a cell for people: as [`cell`], with times in their zone.
fn cell_for_people(value: &Value, zone: &TimeZone) -> String {
    match value {
        Value::String(text) => local_time(text, zone).unwrap_or_else(|| text.clone()),
        other => cell(other),
    }
}

/// Returns an RFC 3339 time as `2026-11-25 23:04:05 +01:00`. The offset is that of the zone at that time, so times before
/// and after a daylight saving switch differ in it. Returns `None` if the text is not a time.
fn local_time(text: &str, zone: &TimeZone) -> Option<String> {
    let time: Timestamp = text.parse().ok()?;
    Some(time.to_zoned_datetime(zone.clone()).strftime("%Y-%m-%d %H:%M:%S %:z").to_string())
}

/// Prints a list inside a record as a table with every key of its objects.
fn inner_table(out: &mut dyn Write, items: &[Value], indent: &str, zone: &TimeZone) -> io::Result<()> {
    let mut columns: Vec<&str> = Vec::new();
    for key in items.iter().filter_map(Value::as_object).flat_map(serde_json::Map::keys) {
        if !columns.contains(&key.as_str()) {
            columns.push(key);
        }
    }
    table(out, &columns, items, indent, zone)
}

fn table(out: &mut dyn Write, columns: &[&str], rows: &[Value], indent: &str, zone: &TimeZone) -> io::Result<()> {
    const MAX_WIDTH: usize = 70;
    let text_of = |row: &Value, column: &&str| {
        let text = row.get(column).map(|value| cell_for_people(value, zone)).unwrap_or_default();
        let text = text.replace(['\n', '\r', '\t'], " ");
        if text.chars().count() <= MAX_WIDTH {
            return text;
        }
        text.chars().take(MAX_WIDTH - 1).chain(['…']).collect()
    };
    let cells: Vec<Vec<String>> =
        rows.iter().map(|row| columns.iter().map(|column| text_of(row, column)).collect()).collect();
    let widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(i, column)| cells.iter().map(|row| row[i].chars().count()).chain([column.len()]).max().unwrap_or(0))
        .collect();
    let mut line = |texts: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<_> = texts.zip(&widths).map(|(text, width)| format!("{text:width$}")).collect();
        writeln!(out, "{indent}{}", padded.join("  ").trim_end())
    };
    line(&mut columns.iter().copied())?;
    for row in &cells {
        line(&mut row.iter().map(String::as_str))?;
    }
    Ok(())
}

fn lines(out: &mut dyn Write, value: &Value, depth: usize, zone: &TimeZone) -> io::Result<()> {
    let indent = "  ".repeat(depth);
    let Value::Object(map) = value else { return writeln!(out, "{indent}{}", cell_for_people(value, zone)) };
    let width = map.keys().map(String::len).max().unwrap_or(0);
    for (key, value) in map {
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                writeln!(out, "{indent}{key}:")?;
                lines(out, value, depth + 1, zone)?;
            }
            Value::Array(items) if items.iter().any(Value::is_object) => {
                writeln!(out, "{indent}{key}:")?;
                inner_table(out, items, &format!("{indent}  "), zone)?;
            }
            Value::Array(items) => {
                let items: Vec<_> = items.iter().map(|item| cell_for_people(item, zone)).collect();
                writeln!(out, "{indent}{key:width$}  {}", items.join(", "))?;
            }
            _ => writeln!(out, "{indent}{key:width$}  {}", cell_for_people(value, zone))?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_table_is_aligned_and_cut() {
        let mut out = Vec::new();
        let rows = [json!({"id": 1, "name": "é"}), json!({"id": 22, "name": "x".repeat(99)})];
        table(&mut out, &["id", "name"], &rows, "", &TimeZone::UTC).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().next().unwrap(), "id  name");
        assert_eq!(text.lines().nth(1).unwrap(), "1   é");
        assert!(text.lines().nth(2).unwrap().ends_with('…'));
    }

    #[test]
    fn people_see_local_times_with_the_offset_of_that_day() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let shown = |text| local_time(text, &zone);
        assert_eq!(shown("2026-11-25T22:04:05.999999Z").unwrap(), "2026-11-25 23:04:05 +01:00");
        assert_eq!(shown("2026-07-01T22:04:05Z").unwrap(), "2026-07-02 00:04:05 +02:00");
        for not_a_time in ["", "15000032", "2026-11-25", "2026-11-25T22:04:05", "INV-000001"] {
            assert_eq!(shown(not_a_time), None, "{not_a_time}");
        }
    }

    #[test]
    fn csv_shows_every_key_once() {
        let mut out = Vec::new();
        csv(&mut out, &[json!({"id": 1, "name": "a,b"}), json!({"id": 2, "name": null})]).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "id,name\n1,\"a,b\"\n2,\n");
    }
}

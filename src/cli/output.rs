//! Data on standard output, as a table, JSON or CSV. Logs and hints go to standard error.

use serde::Serialize;
use serde_json::Value;
use std::io::{self, Write};

/// How lists and records are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Table,
    /// Complete and stable, for programs.
    Json,
    /// For spreadsheets.
    Csv,
}

impl Output {
    /// Prints rows. `columns` names the keys that the table shows, in order; JSON and CSV show every key.
    pub fn list<T: Serialize>(self, columns: &[&str], rows: &[T]) -> anyhow::Result<()> {
        let mut out = io::stdout().lock();
        let result = match self {
            Self::Json => {
                serde_json::to_writer_pretty(&mut out, rows).map_err(io::Error::from).and_then(|()| writeln!(out))
            }
            Self::Csv => csv(&mut out, &objects(rows)?),
            Self::Table => table(&mut out, columns, &objects(rows)?),
        };
        ignore_closed_pipe(result)
    }

    /// Prints one record: JSON as an object, otherwise a line for each key.
    pub fn record<T: Serialize>(self, record: &T) -> anyhow::Result<()> {
        let mut out = io::stdout().lock();
        let result = match self {
            Self::Json => {
                serde_json::to_writer_pretty(&mut out, record).map_err(io::Error::from).and_then(|()| writeln!(out))
            }
            Self::Csv => csv(&mut out, &objects(&[record])?),
            Self::Table => lines(&mut out, &serde_json::to_value(record)?, 0),
        };
        ignore_closed_pipe(result)
    }
}

/// `spsi order list | head` is no failure.
fn ignore_closed_pipe(result: io::Result<()>) -> anyhow::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

fn objects<T: Serialize>(rows: &[T]) -> anyhow::Result<Vec<Value>> {
    Ok(rows.iter().map(serde_json::to_value).collect::<Result<_, _>>()?)
}

/// A value as a cell: text bare, nothing as nothing, structures as JSON.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn csv(out: &mut impl Write, rows: &[Value]) -> io::Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    let Some(first) = rows.first().and_then(Value::as_object) else { return Ok(()) };
    let keys: Vec<_> = first.keys().collect();
    writer.write_record(&keys)?;
    for row in rows {
        writer.write_record(keys.iter().map(|key| row.get(key.as_str()).map(cell).unwrap_or_default()))?;
    }
    writer.flush()
}

fn table(out: &mut impl Write, columns: &[&str], rows: &[Value]) -> io::Result<()> {
    aligned(out, columns, rows, "")?;
    if rows.is_empty() {
        eprintln!("(none)");
    }
    Ok(())
}

/// A list inside a record: a table of every key that any of its objects has.
fn rows(out: &mut impl Write, items: &[Value], indent: &str) -> io::Result<()> {
    let mut columns: Vec<&str> = Vec::new();
    for key in items.iter().filter_map(Value::as_object).flat_map(serde_json::Map::keys) {
        if !columns.contains(&key.as_str()) {
            columns.push(key);
        }
    }
    aligned(out, &columns, items, indent)
}

fn aligned(out: &mut impl Write, columns: &[&str], rows: &[Value], indent: &str) -> io::Result<()> {
    const WIDEST: usize = 70;
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            columns
                .iter()
                .map(|column| {
                    let text = row.get(column).map(cell).unwrap_or_default().replace(['\n', '\r', '\t'], " ");
                    if text.chars().count() > WIDEST {
                        text.chars().take(WIDEST - 1).chain(['…']).collect()
                    } else {
                        text
                    }
                })
                .collect()
        })
        .collect();
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

fn lines(out: &mut impl Write, value: &Value, depth: usize) -> io::Result<()> {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(map) => {
            let width = map.keys().map(String::len).max().unwrap_or(0);
            for (key, value) in map {
                match value {
                    Value::Object(inner) if !inner.is_empty() => {
                        writeln!(out, "{indent}{key}:")?;
                        lines(out, value, depth + 1)?;
                    }
                    Value::Array(items) if items.iter().any(Value::is_object) => {
                        writeln!(out, "{indent}{key}:")?;
                        rows(out, items, &format!("{indent}  "))?;
                    }
                    Value::Array(items) => writeln!(
                        out,
                        "{indent}{key:width$}  {}",
                        items.iter().map(cell).collect::<Vec<_>>().join(", ")
                    )?,
                    _ => writeln!(out, "{indent}{key:width$}  {}", cell(value))?,
                }
            }
            Ok(())
        }
        other => writeln!(out, "{indent}{}", cell(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_table_is_aligned_and_cut() {
        let mut out = Vec::new();
        table(&mut out, &["id", "name"], &[json!({"id": 1, "name": "é"}), json!({"id": 22, "name": "x".repeat(99)})])
            .unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().next().unwrap(), "id  name");
        assert_eq!(text.lines().nth(1).unwrap(), "1   é");
        assert!(text.lines().nth(2).unwrap().ends_with('…'));
    }

    #[test]
    fn csv_shows_every_key_once() {
        let mut out = Vec::new();
        csv(&mut out, &[json!({"id": 1, "name": "a,b"}), json!({"id": 2, "name": null})]).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "id,name\n1,\"a,b\"\n2,\n");
    }
}

//! `spsi order|shipment|invoice export`: streams rows to standard output.

use super::Hint;
use super::output::{Output, note};
use crate::app::Context;
use crate::exports::{self, ExportError, Format, Rows, parse_cursor};
use anyhow::Context as _;
use bytes::Bytes;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// What every export takes.
#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    /// Format: a header and a line for each row, or a JSON object on each line [default: csv]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Only what is new or changed since the export that printed this cursor
    #[arg(long, value_name = "CURSOR", value_parser = parse_cursor, conflicts_with = "cursor_file")]
    since_cursor: Option<i64>,
    /// Only what is new or changed since the last export with this file, which keeps the cursor. Without the file, everything
    #[arg(long, value_name = "FILE")]
    cursor_file: Option<PathBuf>,
}

/// Exports rows. The cursor file is replaced after the last row has been written: an export that fails is repeated as a whole.
pub async fn run(context: &Context, output: Output, rows: Rows, arguments: &ExportArgs) -> anyhow::Result<()> {
    let since = match &arguments.cursor_file {
        Some(file) => read_cursor(file)?,
        None => arguments.since_cursor,
    };
    let export = exports::prepare(&context.pool, rows, since).await.map_err(|error| match error {
        ExportError::CursorExpired(_) => {
            Hint::on(error, "delete the cursor file, or leave `--since-cursor` out, to export everything")
        }
        error => error.into(),
    })?;
    let format = arguments.format.unwrap_or(match output {
        Output::Json => Format::Json,
        // A table of thirty columns does not fit a terminal.
        Output::Table | Output::Csv => Format::Csv,
    });
    let mut connection = context.pool.detach().await?;
    let write = async |chunk: Bytes| {
        let mut out = std::io::stdout().lock();
        out.write_all(&chunk).and_then(|()| out.flush())
    };
    match context.pool.run_on(&mut connection, async |it| export.run(it, format, write).await).await {
        // The reader wants no more, which is no error unless it would miss rows.
        Err(ExportError::Write(error)) if error.kind() == ErrorKind::BrokenPipe && arguments.cursor_file.is_none() => {
            return Ok(());
        }
        written => written?,
    }
    if let Some(file) = &arguments.cursor_file {
        write_cursor(file, export.next)?;
    }
    note(format_args!("next cursor: {}", export.next));
    Ok(())
}

/// Reads the cursor of the last export. Returns `None` if there was none.
fn read_cursor(file: &Path) -> anyhow::Result<Option<i64>> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(Some(parse_cursor(&text).with_context(|| format!("the cursor file {}", file.display()))?)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read the cursor file {}", file.display())),
    }
}

/// Replaces the cursor file as a whole: a crash leaves the old cursor or the new one.
fn write_cursor(file: &Path, cursor: i64) -> anyhow::Result<()> {
    let mut name = file.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    let write = || {
        let mut written = std::fs::File::create(&new)?;
        writeln!(written, "{cursor}")?;
        written.sync_all()?;
        std::fs::rename(&new, file)
    };
    write().with_context(|| format!("cannot write the cursor file {}", file.display()))
}

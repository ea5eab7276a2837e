//! Copies the files into the staging tables, and collects the errors of single rows and of rows that contradict others.

use super::format::FormatOptions;
use super::prices::{self, PriceRows};
use super::problems::Refusal;
use super::pump::{Chunk, Pumped, Rows, pump};
use super::rows::ProductRows;
use super::summary::ContractSummary;
use super::{ImportError, ImportKind, ImportOptions, Progress, SourceFile, store};
use sqlx::PgConnection;
use sqlx::postgres::PgCopyIn;
use tokio::sync::mpsc;

pub(super) async fn stage_products(
    connection: &mut PgConnection,
    file: SourceFile,
    rows: ProductRows,
    options: &ImportOptions,
    notes: &mut Vec<String>,
    refusal: &mut Refusal,
    progress: &(dyn Fn(Progress<'_>) + Sync),
) -> Result<u64, ImportError> {
    let name = file.name.clone();
    let copy = store::copy_products(connection).await?;
    let pumped = stage(copy, file, rows, &options.format, progress).await?;
    store::analyze_products(connection).await?;
    let mut problems = pumped.problems;
    for found in store::find_repeated_codes(connection).await? {
        let reason = format!("is already on line {}", found.first_line);
        problems.add(found.line.unsigned_abs(), "code", &found.value, reason);
    }
    if options.kind != ImportKind::Full {
        for found in store::find_unknown_codes(connection).await? {
            problems.add(found.line.unsigned_abs(), "code", &found.value, "is not in the catalogue");
        }
        for found in store::find_prices_without_units(connection).await? {
            let reason = "has no known pack size; import the product with its units_per_outer first";
            problems.add(found.line.unsigned_abs(), "code", &found.value, reason);
        }
    }
    tracing::debug!(file = name, rows = pumped.rows, errors = problems.count, "products staged");
    refusal.headers.extend(pumped.header);
    refusal.add(problems);
    notes.extend(pumped.notes);
    Ok(pumped.rows)
}

pub(super) async fn stage_prices(
    connection: &mut PgConnection,
    file: SourceFile,
    rows: PriceRows,
    options: &ImportOptions,
    notes: &mut Vec<String>,
    refusal: &mut Refusal,
    progress: &(dyn Fn(Progress<'_>) + Sync),
) -> Result<ContractSummary, ImportError> {
    let copy = prices::store::copy_prices(connection).await?;
    let pumped = stage(copy, file, rows, &options.format, progress).await?;
    prices::store::analyze_prices(connection).await?;
    let new_price_lists = prices::store::insert_price_lists(connection).await?;
    let mut problems = pumped.problems;
    for found in prices::store::find_unknown_clinics(connection).await? {
        problems.add(
            found.line.unsigned_abs(),
            "clinic",
            &found.value,
            "is neither the id nor the client id of a clinic",
        );
    }
    // If the products file has an invalid header, its codes are unknown, and an error for each would mislead.
    if refusal.headers.is_empty() {
        for found in prices::store::find_unknown_products(connection).await? {
            problems.add(found.line.unsigned_abs(), "code", &found.value, "is not in the catalogue");
        }
    }
    for found in prices::store::find_repeated_prices(connection).await? {
        let reason = format!("already has a price on line {}", found.first_line);
        problems.add(found.line.unsigned_abs(), "code", &found.value, reason);
    }
    refusal.headers.extend(pumped.header);
    refusal.add(problems);
    notes.extend(pumped.notes);
    Ok(ContractSummary { rows: pumped.rows, new_price_lists, ..Default::default() })
}

/// Copies a file's rows into a staging table.
async fn stage<R: Rows>(
    mut copy: PgCopyIn<&mut PgConnection>,
    file: SourceFile,
    rows: R,
    format: &FormatOptions,
    progress: &(dyn Fn(Progress<'_>) + Sync),
) -> Result<Pumped, ImportError> {
    let SourceFile { name, content } = file;
    let (sender, mut receiver) = mpsc::channel::<Chunk>(4);
    let (thread_name, format) = (name.clone(), format.clone());
    let reading = tokio::task::spawn_blocking(move || pump(&thread_name, content, &format, rows, &sender));
    while let Some(chunk) = receiver.recv().await {
        copy.send(chunk.lines).await?;
        progress(Progress::Reading { file: &name, rows: chunk.rows, bytes: chunk.bytes });
    }
    copy.finish().await?;
    match reading.await {
        Ok(Ok(pumped)) => Ok(pumped),
        Ok(Err(source)) => Err(ImportError::Read { file: name, source }),
        Err(_) => Err(ImportError::Stopped { file: name }),
    }
}

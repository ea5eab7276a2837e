//! Imports a supplier's catalogue and contract prices.
//!
//! Guarantees: one import is one transaction, products and prices together. Of two concurrent imports, the second waits. A
//! file with errors changes nothing, and all errors are reported together. An import that would take more products off
//! sale than the limit fails and asks for `--allow-withdrawals`. Memory does not grow with the file.
//!
//! The import never guesses: a price without a pack size, a number that may have thousands separators or decimals, and a
//! byte that is invalid in the encoding are errors.

mod cells;
mod copy;
mod decode;
mod error;
mod format;
mod prices;
mod problems;
mod pump;
mod read;
mod rows;
#[cfg(test)]
mod rows_tests;
mod stage;
mod store;
mod summary;

pub use error::ImportError;
pub use format::{DecimalMark, Delimiter, Encoding, FormatError, FormatOptions, Mapping};
pub use problems::{HeaderError, LISTED_ERRORS, Refusal, RowError};
pub use rows::{CODE_CHARACTERS, PRODUCT_COLUMNS, TEXT_CHARACTERS};
pub use summary::{ContractSummary, ImportSummary, Movement, Movements};

use crate::values::plain;
use cells::Numbers;
use prices::PriceRows;
use rows::ProductRows;
use rust_decimal::Decimal;
use sqlx::{PgConnection, PgPool};
use stage::{stage_prices, stage_products};
use std::io::Read;
use time::OffsetDateTime;

/// Number of products that the error about too many withdrawals names.
const NAMED_CODES: i64 = 10;

/// A file: its name for errors and the audit record, and its content.
pub struct SourceFile {
    pub name: String,
    pub content: Box<dyn Read + Send>,
}

/// The kind of a products file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ImportKind {
    /// The whole catalogue: products that are not in the file are withdrawn.
    #[default]
    Full,
    /// `code,stock_available`: nothing else changes.
    Stock,
    /// `code,list_price`: nothing else changes.
    Prices,
}

/// The options of an import.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    pub kind: ImportKind,
    /// Ignore the withdrawal limit.
    pub allow_withdrawals: bool,
    /// Maximum share of the products for sale that one import may take off sale, in percent.
    pub withdrawal_limit_percent: Decimal,
    /// Run the whole import, then roll it back: the summary equals that of the real import.
    pub dry_run: bool,
    pub format: FormatOptions,
}

impl Default for ImportOptions {
    fn default() -> Self {
        Self {
            kind: ImportKind::Full,
            allow_withdrawals: false,
            withdrawal_limit_percent: Decimal::TEN,
            dry_run: false,
            format: FormatOptions::default(),
        }
    }
}

/// The progress of an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress<'a> {
    /// Another import is running.
    Waiting,
    /// Rows and bytes of the file read so far.
    Reading {
        file: &'a str,
        rows: u64,
        bytes: u64,
    },
    Comparing,
    Storing,
}

/// Applies the files, or with `dry_run` computes what they would change. `actor` is recorded in the audit log. Holds one
/// connection of the pool until the end.
pub async fn import(
    pool: &PgPool,
    now: OffsetDateTime,
    actor: &str,
    products: Option<SourceFile>,
    prices: Option<SourceFile>,
    options: &ImportOptions,
    progress: &(dyn Fn(Progress<'_>) + Sync),
) -> Result<ImportSummary, ImportError> {
    let names = (products.as_ref().map(|file| file.name.clone()), prices.as_ref().map(|file| file.name.clone()));
    let record_name = match (&names.0, &names.1) {
        (Some(products), Some(prices)) => format!("{products} + {prices}"),
        (Some(name), None) | (None, Some(name)) => name.clone(),
        (None, None) => return Err(ImportError::NoFile),
    };
    check_mapping(&options.format.mapping)?;
    let mut transaction = pool.begin().await?;
    let connection = &mut *transaction;
    if !store::try_lock_imports(connection).await? {
        progress(Progress::Waiting);
        store::lock_imports(connection).await?;
    }
    store::set_work_memory(connection).await?;
    store::empty_staging(connection).await?;

    let mut summary = ImportSummary { file: names.0, prices_file: names.1, ..Default::default() };
    let mut refusal = Refusal::default();
    let with_products = products.is_some();
    let full = with_products && options.kind == ImportKind::Full;
    if let Some(file) = products {
        let rows = ProductRows::new(options.kind, Numbers::new(options.format.decimal));
        summary.rows =
            stage_products(connection, file, rows, options, &mut summary.notes, &mut refusal, progress).await?;
    }
    if let Some(file) = prices {
        let rows = PriceRows::new(Numbers::new(options.format.decimal));
        let contract =
            stage_prices(connection, file, rows, options, &mut summary.notes, &mut refusal, progress).await?;
        summary.contract_prices = Some(contract);
    }
    if !refusal.is_empty() {
        refusal.errors.sort();
        return Err(ImportError::Refused(Box::new(refusal)));
    }

    progress(Progress::Comparing);
    if with_products {
        let lost = compare(connection, full, &mut summary).await?;
        if let Some(error) = check_withdrawals(connection, full, lost, options).await? {
            if !options.dry_run {
                return Err(error);
            }
            summary.needs_allow_withdrawals = true;
            summary.notes.push(error.to_string());
        }
    }
    progress(Progress::Storing);
    if with_products {
        merge_products(connection, full, now, &summary).await?;
    }
    if let Some(contract) = &mut summary.contract_prices {
        merge_prices(connection, contract).await?;
    }
    if options.dry_run {
        summary.state = "dry_run";
        transaction.rollback().await?;
        return Ok(summary);
    }
    summary.state = "applied";
    if summary.changes_anything() {
        store::bump_version(connection).await?;
    }
    let record = serde_json::to_value(&summary).map_err(|error| sqlx::Error::Encode(error.into()))?;
    summary.id = Some(store::insert_import(connection, now, actor, &record_name, &record).await?);
    store::empty_staging(connection).await?;
    transaction.commit().await?;
    Ok(summary)
}

/// Refuses unknown columns in a mapping. A misspelt column would otherwise be ignored silently.
fn check_mapping(mapping: &Mapping) -> Result<(), ImportError> {
    let is_known = |column: &&str| PRODUCT_COLUMNS.contains(column) || prices::COLUMNS.known.contains(column);
    let unknown: Vec<_> = mapping.columns().filter(|column| !is_known(column)).map(str::to_owned).collect();
    if unknown.is_empty() { Ok(()) } else { Err(ImportError::Mapping(unknown)) }
}

/// Fills in the product counts of the summary. Returns how many products would go off sale, and how many are for sale now.
async fn compare(
    connection: &mut PgConnection,
    full: bool,
    summary: &mut ImportSummary,
) -> Result<(u64, u64), sqlx::Error> {
    let compared = store::compare(connection).await?;
    let active = store::count_active(connection).await?;
    // No code is staged twice, so the absent products are the difference.
    let (absent_all, absent_listed) =
        if full { (active.all - compared.named_active, active.listed - compared.named_listed) } else { (0, 0) };
    summary.new = compared.new.unsigned_abs();
    summary.changed = compared.changed.unsigned_abs();
    summary.unchanged = compared.unchanged.unsigned_abs();
    summary.withdrawn = (compared.withdrawn + absent_all).unsigned_abs();
    summary.relisted = compared.relisted.unsigned_abs();
    summary.lost_price = compared.lost_price.unsigned_abs();
    summary.list_prices.raised = compared.raised.unsigned_abs();
    summary.list_prices.lowered = compared.lowered.unsigned_abs();
    if compared.raised + compared.lowered > 0 {
        summary.list_prices.largest = store::find_movements(connection).await?;
    }
    Ok(((compared.lost + absent_listed).unsigned_abs(), active.listed.unsigned_abs()))
}

/// Returns the error of an import that takes more products off sale than the limit.
async fn check_withdrawals(
    connection: &mut PgConnection,
    full: bool,
    (lost, listed): (u64, u64),
    options: &ImportOptions,
) -> Result<Option<ImportError>, sqlx::Error> {
    let limit = options.withdrawal_limit_percent;
    if options.allow_withdrawals || Decimal::from(lost) * Decimal::ONE_HUNDRED <= Decimal::from(listed) * limit {
        return Ok(None);
    }
    let codes = store::find_lost(connection, full, NAMED_CODES).await?;
    Ok(Some(ImportError::TooManyWithdrawals { lost, listed, limit_percent: plain(limit), codes }))
}

async fn merge_products(
    connection: &mut PgConnection,
    full: bool,
    now: OffsetDateTime,
    summary: &ImportSummary,
) -> Result<(), sqlx::Error> {
    if full && summary.withdrawn > 0 {
        store::withdraw_absent(connection, now).await?;
    }
    if summary.changed + summary.withdrawn + summary.relisted > 0 {
        store::update_products(connection, now).await?;
    }
    if summary.new > 0 {
        store::insert_products(connection, now).await?;
    }
    Ok(())
}

async fn merge_prices(connection: &mut PgConnection, contract: &mut ContractSummary) -> Result<(), sqlx::Error> {
    let compared = prices::store::compare(connection).await?;
    contract.new = compared.new.unsigned_abs();
    contract.changed = compared.changed.unsigned_abs();
    contract.unchanged = compared.unchanged.unsigned_abs();
    contract.removed = prices::store::delete_prices(connection).await?;
    prices::store::upsert_prices(connection).await
}

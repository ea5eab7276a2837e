//! Imports a supplier's catalogue and contract prices.
//!
//! Guarantees: one import is one transaction, that of the caller, products and prices together. Of two concurrent imports, the second waits. A
//! file with errors changes nothing, and all errors are reported together. An import that would take more products off
//! sale than the limit fails and asks for `--allow-withdrawals`. Memory does not grow with the file.
//!
//! An import stores what it changes, set based, so that it can be shown before it is applied ([`check`]) and rolled back
//! afterwards (`catalog::imports`).
//!
//! The import never guesses: a price without a pack size, a number that may have thousands separators or decimals, and a
//! byte that is invalid in the encoding are errors.

pub(crate) mod cells;
pub(in crate::catalog) mod changes;
pub(in crate::catalog) mod copy;
mod decode;
mod error;
mod format;
pub(in crate::catalog) mod prices;
pub(crate) mod problems;
mod pump;
pub(crate) mod read;
mod rows;
#[cfg(test)]
mod rows_tests;
mod stage;
pub(in crate::catalog) mod store;
mod summary;

pub use error::ImportError;
pub use format::{DecimalMark, Delimiter, Encoding, FormatError, FormatOptions, Mapping};
pub use problems::{InvalidField, Refusal, RowError};
pub use summary::{ContractSummary, ImportState, ImportSummary, Movement, Movements};

use crate::audit;
use crate::events;
use crate::values::plain;
use rows::PRODUCT_COLUMNS;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::{Connection, PgConnection};
use std::io::Read;
use time::OffsetDateTime;
use utoipa::ToSchema;

/// Number of products that the error about too many withdrawals names.
const NAMED_CODES: i64 = 10;

/// A file: its name for errors and the audit record, and its content.
pub struct SourceFile {
    pub name: String,
    pub content: Box<dyn Read + Send>,
}

/// The kind of a products file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum ImportKind {
    /// The whole catalogue: products that are not in the file are withdrawn.
    #[default]
    #[value(skip)]
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
    /// Rows of the file read so far.
    Reading {
        file: &'a str,
        rows: u64,
    },
    Comparing,
    Storing,
}

/// The products file, the prices file, or both.
pub struct SourceFiles {
    pub products: Option<SourceFile>,
    pub prices: Option<SourceFile>,
}

impl SourceFiles {
    /// Returns the name of the import: those of its files. Fails if there is no file.
    pub(in crate::catalog) fn name(&self) -> Result<String, ImportError> {
        let names: Vec<_> = [&self.products, &self.prices].into_iter().flatten().map(|f| f.name.as_str()).collect();
        if names.is_empty() { Err(ImportError::NoFile) } else { Ok(names.join(" + ")) }
    }
}

/// One run of an import, in the caller's transaction.
pub(in crate::catalog) struct Run<'a> {
    pub now: OffsetDateTime,
    pub actor: &'a str,
    pub options: &'a ImportOptions,
    pub progress: &'a (dyn Fn(Progress<'_>) + Sync),
}

/// Applies the files, or with `dry_run` computes what they would change, in the caller's transaction. `actor` is recorded
/// in the audit log.
pub async fn import(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    actor: &str,
    products: Option<SourceFile>,
    prices: Option<SourceFile>,
    options: &ImportOptions,
    progress: &(dyn Fn(Progress<'_>) + Sync),
) -> Result<ImportSummary, ImportError> {
    let files = SourceFiles { products, prices };
    let name = files.name()?;
    let run = Run { now, actor, options, progress };
    if !store::try_lock_imports(connection).await? {
        progress(Progress::Waiting);
        store::lock_imports(connection).await?;
    }
    if !options.dry_run {
        let id = store::insert_import(connection, now, actor, &name, None).await?;
        return run.apply(connection, id, files).await;
    }
    let mut savepoint = connection.begin().await?;
    let id = store::insert_import(&mut savepoint, now, actor, &name, None).await?;
    let (mut summary, _) = run.merge(&mut savepoint, id, files).await?;
    savepoint.rollback().await?;
    (summary.id, summary.state) = (None, ImportState::DryRun);
    Ok(summary)
}

impl Run<'_> {
    /// Applies the files as the import `id`. The caller holds the import lock.
    pub(in crate::catalog) async fn apply(
        &self,
        connection: &mut PgConnection,
        id: i64,
        files: SourceFiles,
    ) -> Result<ImportSummary, ImportError> {
        let (mut summary, new_products) = self.merge(connection, id, files).await?;
        (summary.id, summary.state) = (Some(id), ImportState::Applied);
        if summary.changes_anything() {
            store::bump_version(connection).await?;
        }
        let record = json!(summary);
        store::set_applied(connection, self.now, id, &record, new_products).await?;
        audit::record(connection, self.now, self.actor, "catalog.import", ("catalog_import", Some(id)), record).await?;
        let (kind, data) = (events::Kind::CatalogImported, json!(summary.event(id)));
        events::record(connection, self.now, kind, ("catalog", 0), None, data).await?;
        store::empty_staging(connection).await?;
        Ok(summary)
    }

    /// Stores what the import `id` would change, and changes nothing else. The caller holds the import lock.
    pub(in crate::catalog) async fn check(
        &self,
        connection: &mut PgConnection,
        id: i64,
        files: SourceFiles,
    ) -> Result<ImportSummary, ImportError> {
        let (mut summary, too_many) = self.prepare(connection, id, files, true).await?;
        if let Some(contract) = &summary.contract_prices {
            prices::store::delete_price_lists(connection, &contract.new_price_lists).await?;
        }
        if let Some(error) = too_many {
            summary.warn_of(&error);
        }
        (summary.id, summary.state) = (Some(id), ImportState::Checked);
        store::set_checked(connection, id, &json!(summary)).await?;
        store::empty_staging(connection).await?;
        Ok(summary)
    }

    /// Stages the files, compares them with the catalogue, and records the difference. `with_new` records the new products too:
    /// an applied import knows them by their ids. Returns an error beside the summary if
    /// more products would go off sale than the limit permits.
    async fn prepare(
        &self,
        connection: &mut PgConnection,
        id: i64,
        files: SourceFiles,
        with_new: bool,
    ) -> Result<(ImportSummary, Option<ImportError>), ImportError> {
        let options = self.options;
        check_mapping(&options.format.mapping)?;
        store::set_work_memory(connection).await?;
        store::empty_staging(connection).await?;
        let mut summary = self.stage(connection, files).await?;
        (self.progress)(Progress::Comparing);
        let full = self.is_full(&summary);
        let mut too_many = None;
        if summary.file.is_some() {
            let lost = compare(connection, full, &mut summary).await?;
            too_many = check_withdrawals(connection, full, lost, options).await?;
            changes::store::insert_changed_products(connection, id).await?;
            if full && summary.withdrawn > 0 {
                changes::store::insert_absent_products(connection, id).await?;
            }
            if with_new && summary.new > 0 {
                changes::store::insert_new_products(connection, id).await?;
            }
        }
        if let Some(contract) = &mut summary.contract_prices {
            changes::store::insert_changed_prices(connection, id, contract).await?;
            contract.removed = changes::store::insert_removed_prices(connection, id).await?;
        }
        Ok((summary, too_many))
    }

    /// Returns true if products that the files lack are withdrawn.
    fn is_full(&self, summary: &ImportSummary) -> bool {
        summary.file.is_some() && self.options.kind == ImportKind::Full
    }

    /// Prepares and merges. Returns the ids of the first and the last new product too.
    async fn merge(
        &self,
        connection: &mut PgConnection,
        id: i64,
        files: SourceFiles,
    ) -> Result<(ImportSummary, Option<(i64, i64)>), ImportError> {
        let (mut summary, too_many) = self.prepare(connection, id, files, false).await?;
        match too_many {
            Some(error) if self.options.dry_run => summary.warn_of(&error),
            Some(error) => return Err(error),
            None => {}
        }
        (self.progress)(Progress::Storing);
        let mut new_products = None;
        if summary.file.is_some() {
            let before = store::last_product_id(connection).await?;
            merge_products(connection, self.is_full(&summary), self.now, &summary).await?;
            if summary.new > 0 {
                new_products = Some((before + 1, store::last_product_id(connection).await?));
            }
        }
        if summary.contract_prices.is_some() {
            prices::store::delete_prices(connection).await?;
            prices::store::upsert_prices(connection).await?;
        }
        Ok((summary, new_products))
    }
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

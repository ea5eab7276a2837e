//! `spsi catalog`: products and prices.

use super::Hint;
use super::output::{Output, note, print};
use crate::app::Context;
use crate::catalog::export::{ExportError, export};
use crate::catalog::import::{
    DecimalMark, Delimiter, Encoding, FormatOptions, ImportKind, ImportOptions, Mapping, Progress, SourceFile, import,
};
use crate::catalog::imports::{self, ImportsError};
use crate::catalog::{price_lists, products};
use crate::db::{self, Page};
use anyhow::{Context as _, anyhow};
use indicatif::{ProgressBar, ProgressStyle};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

#[derive(clap::Subcommand)]
pub enum Command {
    /// Replace the catalogue with a file, and add contract prices from another. An error in any row refuses all files
    #[command(after_help = "Examples:
  spsi catalog import products.csv --prices prices.csv --dry-run
  spsi catalog import products.csv --allow-withdrawals
  spsi catalog import stock.csv --only stock        (code,stock_available)
  spsi catalog import --prices prices.csv           (clinic,code,contract_price)
  spsi catalog import artikel.csv --mapping artikel.map \\
      --delimiter semicolon --encoding windows-1252 --decimal comma

Required columns: code, name, type, category, units_per_outer, unit_of_measure, list_price.
Optional columns: barcode, stock_available, active, related_urls, manufacturer, tax_code, tax_rate,
restricted.
Prices are per outer (the pack that is sold), without tax.
A product without a price is not for sale.
A product that is missing from the file is withdrawn.
Delimiter, encoding and decimal mark are detected unless given.")]
    Import(Import),
    /// List the products
    List {
        /// Only products whose code or name contains this text
        #[arg(long)]
        text: Option<String>,
    },
    /// List the imports, newest first
    Imports,
    /// Undo the last import: products and prices are as before it, and later changes of other products stay
    #[command(after_help = "Only the last applied import can be rolled back; then the one before it.
Stock goes back by the difference that the import made, so shipments since then stay counted.
A product of the import that was ordered in the meantime is withdrawn instead of deleted.")]
    RollBack {
        /// Id of the import, from `spsi catalog imports`
        id: i64,
    },
    /// List the price lists
    PriceLists,
    /// Write the catalogue as a CSV file for `spsi catalog import`
    Export {
        /// File to write [default: standard output]
        file: Option<PathBuf>,
    },
}

#[derive(clap::Args)]
#[command(arg_required_else_help = true)]
pub struct Import {
    /// CSV file with the products
    file: Option<PathBuf>,
    /// CSV file with contract prices: clinic,code,contract_price or price_list,code,contract_price; optional:
    /// valid_from,valid_until
    #[arg(long)]
    prices: Option<PathBuf>,
    /// Show what would change, without changing anything
    #[arg(long)]
    dry_run: bool,
    /// Permit more withdrawals than SPSI_WITHDRAWAL_LIMIT
    #[arg(long)]
    allow_withdrawals: bool,
    /// Update only the stock (columns code,stock_available) or the prices (columns code,list_price)
    #[arg(long, value_enum)]
    only: Option<ImportKind>,
    /// Delimiter: comma, semicolon, tab, pipe or a character [default: detected]
    #[arg(long)]
    delimiter: Option<Delimiter>,
    /// Encoding: utf-8 or windows-1252 [default: detected]
    #[arg(long)]
    encoding: Option<Encoding>,
    /// Decimal mark: point or comma [default: detected]
    #[arg(long)]
    decimal: Option<DecimalMark>,
    /// File that maps columns to the headers of the CSV file, with lines such as `code = Article number`
    #[arg(long)]
    mapping: Option<PathBuf>,
}

pub async fn run(command: Command, context: &Context, output: Output) -> anyhow::Result<()> {
    match command {
        Command::Import(arguments) => run_import(arguments, context, output).await,
        Command::List { text } => {
            let columns = [
                "code",
                "name",
                "category",
                "units_per_outer",
                "list_price",
                "stock_available",
                "stock_reserved",
                "state",
            ];
            let filter = products::ProductFilter { text, ..Default::default() };
            let mut products = products::list(&context.pool, &filter, Page::default()).await?;
            products.sort_by(|one, other| one.code.cmp(&other.code));
            output.list(&columns, &products)
        }
        Command::Imports => {
            let imports = db::in_transaction(&context.pool, async |c| imports::list(c, Page::default()).await).await?;
            let columns =
                ["id", "state", "file", "new", "changed", "withdrawn", "relisted", "created_at", "applied_at", "actor"];
            output.list(&columns, &imports)
        }
        Command::RollBack { id } => run_roll_back(id, context, output).await,
        Command::PriceLists => {
            output.list(&["id", "name", "prices", "clinics"], &price_lists::list(&context.pool).await?)
        }
        Command::Export { file: None } => match export(&context.pool, io::stdout()).await {
            // `spsi catalog export | head` is not a failure.
            Err(ExportError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => Ok(other.map(drop)?),
        },
        Command::Export { file: Some(path) } => {
            let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
            let rows = export(&context.pool, file).await?;
            note(format_args!("{rows} products written to {}", path.display()));
            Ok(())
        }
    }
}

/// Opens a file for an import.
pub fn source(path: &Path) -> anyhow::Result<SourceFile> {
    let content = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(SourceFile { name: path.display().to_string(), content: Box::new(content) })
}

async fn run_import(arguments: Import, context: &Context, output: Output) -> anyhow::Result<()> {
    let mapping = match &arguments.mapping {
        None => Mapping::default(),
        Some(path) => {
            Mapping::parse(&std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?)?
        }
    };
    let options = ImportOptions {
        kind: arguments.only.unwrap_or_default(),
        allow_withdrawals: arguments.allow_withdrawals,
        withdrawal_limit_percent: context.settings.catalog.withdrawal_limit.0,
        dry_run: arguments.dry_run,
        format: FormatOptions {
            delimiter: arguments.delimiter,
            encoding: arguments.encoding,
            decimal: arguments.decimal,
            mapping,
        },
    };
    let products = arguments.file.as_deref().map(source).transpose()?;
    let prices = arguments.prices.as_deref().map(source).transpose()?;
    let bar = ProgressBar::new_spinner();
    bar.set_style(ProgressStyle::with_template("{spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()));
    let show = |progress: Progress<'_>| {
        bar.set_message(match progress {
            Progress::Waiting => "waiting for another import to finish".to_owned(),
            Progress::Reading { file, rows, .. } => format!("{file}: {rows} rows"),
            Progress::Comparing => "comparing with the present catalogue".to_owned(),
            Progress::Storing => "storing".to_owned(),
        });
        bar.tick();
    };
    let (now, actor) = (context.clock.now(), &context.actor);
    let result = db::in_transaction(&context.pool, async |connection| {
        import(connection, now, actor, products, prices, &options, &show).await
    })
    .await;
    bar.finish_and_clear();
    let summary = result.map_err(|error| match error.hint() {
        Some(hint) => Hint::on(error, hint),
        None => error.into(),
    })?;
    match output {
        Output::Table => print(&summary)?,
        _ => output.record(&summary)?,
    }
    if summary.needs_allow_withdrawals {
        return Err(Hint::on(
            anyhow!("this import would be refused: it withdraws more products than SPSI_WITHDRAWAL_LIMIT permits"),
            "check that the file is complete; to withdraw these products, import with `--allow-withdrawals`",
        ));
    }
    Ok(())
}

async fn run_roll_back(id: i64, context: &Context, output: Output) -> anyhow::Result<()> {
    let (now, actor) = (context.clock.now(), &context.actor);
    let result =
        db::in_transaction(&context.pool, async |connection| imports::roll_back(connection, now, actor, id).await)
            .await;
    let record = result.map_err(|error| match error {
        ImportsError::NotFound(_) | ImportsError::State { .. } | ImportsError::NotLast { .. } => {
            Hint::on(error, "`spsi catalog imports` lists the imports and their states")
        }
        error => error.into(),
    })?;
    if let (Output::Table, Some(done)) = (output, record.roll_back) {
        print(format_args!(
            "Import {id} is rolled back: {} products restored, {} deleted, {} withdrawn; {} contract prices restored",
            done.restored, done.deleted, done.withdrawn, done.prices
        ))
    } else {
        output.record(&record)
    }
}

//! `spsi catalog`: what is for sale.

use super::output::Output;
use crate::app::Context;
use crate::catalog;
use crate::catalog::export::{ExportError, export};
use crate::catalog::import::{
    DecimalMark, Delimiter, Encoding, FormatOptions, ImportKind, ImportOptions, Mapping, Progress, SourceFile, import,
};
use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

#[derive(clap::Subcommand)]
pub enum Command {
    /// Replaces the catalogue by a file, and adds contract prices from another; everything or nothing.
    #[command(after_help = "Examples:
  spsi catalog import products.csv --prices prices.csv --dry-run
  spsi catalog import products.csv --allow-withdrawals
  spsi catalog import stock.csv --only stock        (code,stock_available)
  spsi catalog import --prices prices.csv           (clinic,code,contract_price)
  spsi catalog import artikel.csv --delimiter semicolon --encoding windows-1252 --decimal comma --mapping artikel.map

Columns: code,name,type,category,units_per_outer,unit_of_measure,list_price are required, and barcode,stock_available,
active,related_urls,manufacturer,tax_code,tax_rate,restricted may be there. Prices are per outer, without tax; a product
without a price is not for sale. A product that the file lacks is withdrawn. Delimiter, encoding and decimal mark are
detected if not given.")]
    Import(Import),
    /// Lists the products.
    List {
        /// Only products whose code or name holds this text
        #[arg(long)]
        text: Option<String>,
    },
    /// Writes the catalogue as a file that `catalog import` reads.
    Export {
        /// Where to; standard output if there is none
        file: Option<PathBuf>,
    },
}

#[derive(clap::Args)]
#[command(arg_required_else_help = true)]
pub struct Import {
    /// The products
    file: Option<PathBuf>,
    /// Contract prices: clinic,code,contract_price or price_list,code,contract_price, and valid_from,valid_until
    #[arg(long)]
    prices: Option<PathBuf>,
    /// Tells what would change, and changes nothing
    #[arg(long)]
    dry_run: bool,
    /// Withdraw more than the share of products that SPSI_WITHDRAWAL_LIMIT permits
    #[arg(long)]
    allow_withdrawals: bool,
    /// The file holds stock (code,stock_available) or prices (code,list_price) alone
    #[arg(long, value_parser = ["stock", "prices"])]
    only: Option<String>,
    /// comma, semicolon, tab, pipe or a character
    #[arg(long)]
    delimiter: Option<Delimiter>,
    /// utf-8 or windows-1252
    #[arg(long)]
    encoding: Option<Encoding>,
    /// point or comma
    #[arg(long)]
    decimal: Option<DecimalMark>,
    /// A file of lines `column = Header in the file`
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
            output.list(&columns, &catalog::list(&context.pool, text.as_deref()).await?)
        }
        Command::Export { file: None } => match export(&context.pool, io::stdout()).await {
            // `spsi catalog export | head` is no failure.
            Err(ExportError::Write(error)) if is_closed_pipe(&error) => Ok(()),
            other => Ok(other.map(drop)?),
        },
        Command::Export { file: Some(path) } => {
            let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
            let rows = export(&context.pool, io::BufWriter::new(file)).await?;
            eprintln!("{rows} products written to {}", path.display());
            Ok(())
        }
    }
}

fn is_closed_pipe(error: &csv::Error) -> bool {
    matches!(error.kind(), csv::ErrorKind::Io(error) if error.kind() == io::ErrorKind::BrokenPipe)
}

/// Opens a file to be imported.
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
        kind: match arguments.only.as_deref() {
            Some("stock") => ImportKind::Stock,
            Some(_) => ImportKind::Prices,
            None => ImportKind::Full,
        },
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
            Progress::Waiting => "waiting for another import to end".to_owned(),
            Progress::Reading { file, rows, .. } => format!("{file}: {rows} rows"),
            Progress::Comparing => "comparing".to_owned(),
            Progress::Storing => "storing".to_owned(),
        });
        bar.tick();
    };
    let result = import(&context.pool, context.clock.now(), &context.actor, products, prices, &options, &show).await;
    bar.finish_and_clear();
    let summary = result.map_err(|error| match error.hint() {
        Some(hint) => anyhow::Error::new(error).context(crate::app::Hint(hint.to_owned())),
        None => anyhow::Error::new(error),
    })?;
    match output {
        Output::Table => println!("{summary}"),
        _ => output.record(&summary)?,
    }
    if summary.needs_allow_withdrawals {
        let hint = crate::app::Hint(
            "check that the file is complete; if this is meant, import with --allow-withdrawals".into(),
        );
        return Err(anyhow::anyhow!("the import would be refused: it withdraws too many products").context(hint));
    }
    Ok(())
}

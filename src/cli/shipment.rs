//! `spsi shipment`: shipments of ordered goods.

use super::Hint;
use super::export::{self, ExportArgs};
use super::output::{Output, note};
use crate::app::Context;
use crate::db::{Page, in_transaction};
use crate::exports::Rows;
use crate::shipments::{
    self, FieldProblem, ImportError, ImportOptions, InvalidField, NewShipment, Requested, ShipError, Shipment,
    ShipmentFile, parse_day,
};
use crate::values::parse_decimal;
use anyhow::Context as _;
use sqlx::PgConnection;
use std::path::{Path, PathBuf};

#[derive(clap::Subcommand)]
pub enum Command {
    /// Record a shipment of an order: number its invoice, and queue the deliveries to ezyVet
    #[command(after_help = "Examples:
  spsi shipment create SO-3334A                          (everything outstanding)
  spsi shipment create SO-3334A --line 9:20@B1/2028-01-31 --line 9:10@B2 --freight 5.50
  spsi shipment create SO-3334A --price 9:3.95           (another price than ordered)
  spsi shipment create SO-3334A --line 9:1 --dry-run     (shows what would be sent)")]
    Create(Create),
    /// Record the shipments of a CSV file. An error in any row refuses the whole file
    ///
    /// Columns: order,item,quantity,batch,expiry,freight,invoice_number. A file with the same content is refused.
    #[command(after_help = "Examples:
  spsi shipment import shipments.csv --dry-run
  spsi shipment import shipments.csv")]
    Import {
        /// CSV file with the shipments
        file: PathBuf,
        /// Check the file without shipping anything
        #[arg(long)]
        dry_run: bool,
        /// Permit quantities above the outstanding ones
        #[arg(long)]
        allow_excess: bool,
        /// Ship the goods of a file that was imported before once more
        #[arg(long)]
        again: bool,
    },
    /// Write shipments as CSV or JSON lines, one row per line and batch
    #[command(
        after_help = "Examples:\n  spsi shipment export > shipments.csv\n  spsi shipment export --format jsonl --cursor-file shipments.cursor"
    )]
    Export(ExportArgs),
    /// List shipments, newest first
    List {
        /// Only of this order: supplier order number or id
        #[arg(long)]
        order: Option<String>,
    },
    /// Show a shipment with its lines
    Show {
        /// Id of the shipment, or one of its invoice numbers
        id: String,
    },
}

#[derive(clap::Args)]
pub struct Create {
    /// Supplier order number (SO-3334A) or id of the order
    order: String,
    /// Line to ship: ezyVet's id of the order line, number of units, batch, expiry (YYYY-MM-DD); once per batch
    /// [default: everything outstanding]
    #[arg(long = "line", value_name = "ITEM:QTY[@BATCH[/EXPIRY]]", value_parser = parse_line, allow_hyphen_values = true)]
    lines: Vec<Requested>,
    /// Freight, including tax
    #[arg(long, default_value = "0", value_parser = parse_number)]
    freight: rust_decimal::Decimal,
    /// Price per unit without tax for the invoice, instead of the ordered price; repeatable
    #[arg(long = "price", value_name = "ITEM:PRICE", value_parser = parse_price)]
    prices: Vec<(String, rust_decimal::Decimal)>,
    /// Invoice number [default: the next one]
    #[arg(long)]
    invoice_number: Option<String>,
    /// Permit quantities above the outstanding ones
    #[arg(long)]
    allow_excess: bool,
    /// Show what would be shipped and sent, without doing it
    #[arg(long)]
    dry_run: bool,
}

pub async fn run(command: Command, context: &Context, output: Output) -> anyhow::Result<()> {
    let Context { pool, actor, .. } = context;
    let (now, defaults) = (context.clock.now(), &context.settings.site);
    let columns =
        ["id", "state", "order", "clinic", "invoice_number", "freight", "shipped_at", "received_at", "deliveries"];
    match command {
        Command::Create(create) => {
            let new = NewShipment {
                order: create.order,
                lines: create.lines,
                freight: create.freight,
                invoice_number: create.invoice_number,
                allow_excess: create.allow_excess,
                prices: create.prices,
            };
            if create.dry_run {
                let connection = &mut *pool.begin().await?;
                let preview = shipments::preview(connection, defaults, now, actor, &new).await;
                return output.record(&preview.map_err(with_hint)?);
            }
            let ship =
                async |connection: &mut PgConnection| shipments::ship(connection, defaults, now, actor, &new).await;
            output.record(&in_transaction(pool, ship).await.map_err(with_hint)?)
        }
        Command::Import { file, dry_run, allow_excess, again } => {
            let options = ImportOptions { dry_run, allow_excess, again };
            output.list(&columns, &import(context, output, &file, options).await?)
        }
        Command::Export(arguments) => export::run(context, output, Rows::Shipments, &arguments).await,
        Command::List { order } => {
            let filter = shipments::Filter { order, ..Default::default() };
            output.list(&columns, &shipments::list(&mut *pool.begin().await?, &filter, Page::default()).await?)
        }
        Command::Show { id } => output.record(&shipments::find(&mut *pool.begin().await?, &id).await?),
    }
}

/// Imports a file. Prints its wrong rows before it fails.
async fn import(
    context: &Context,
    output: Output,
    path: &Path,
    options: ImportOptions,
) -> anyhow::Result<Vec<Shipment>> {
    let Context { pool, actor, settings, .. } = context;
    let content = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let name = path.to_string_lossy();
    let file = ShipmentFile { name: &name, content: &content };
    let (now, defaults) = (context.clock.now(), &settings.site);
    let import =
        async |connection: &mut PgConnection| shipments::import(connection, defaults, now, actor, file, options).await;
    match in_transaction(pool, import).await {
        Ok(imported) => {
            if imported.dry_run {
                note("(dry run: nothing was shipped)");
            }
            Ok(imported.shipments)
        }
        Err(error) => {
            let hint = match &error {
                ImportError::Rows { errors, .. } => {
                    output.list(&["line", "column", "value", "reason"], errors)?;
                    "correct the rows listed above, then run `spsi shipment import` again"
                }
                ImportError::Repeated { .. } => "add `--again` if its goods left once more",
                _ => return Err(error.into()),
            };
            Err(Hint::on(error, hint))
        }
    }
}

/// Adds a hint if more was requested than is outstanding.
fn with_hint(error: ShipError) -> anyhow::Error {
    let is_excess = |wrong: &InvalidField| matches!(wrong.problem, FieldProblem::Excess { .. });
    match &error {
        ShipError::Invalid(wrong) if wrong.iter().any(is_excess) => {
            Hint::on(error, "add `--allow-excess` to ship more than is outstanding")
        }
        _ => error.into(),
    }
}

fn parse_number(text: &str) -> Result<rust_decimal::Decimal, String> {
    parse_decimal(text).map_err(|error| format!("`{text}` {error}"))
}

/// Parses `9:3.95`.
fn parse_price(text: &str) -> Result<(String, rust_decimal::Decimal), String> {
    let (item, price) =
        text.split_once(':').filter(|(item, _)| !item.is_empty()).ok_or("write ITEM:PRICE, for instance `9:3.95`")?;
    Ok((item.to_owned(), parse_number(price)?))
}

/// Parses `9:20`, `9:20@B1` or `9:20@B1/2028-01-31`. A batch can contain slashes: only a date at the end is an expiry.
fn parse_line(text: &str) -> Result<Requested, String> {
    let (item, rest) = text
        .split_once(':')
        .ok_or("write ITEM:QUANTITY, for instance `9:20`, `9:20@BATCH` or `9:20@BATCH/2028-01-31`")?;
    let (quantity, batch) = rest.split_once('@').map_or((rest, ""), |(quantity, batch)| (quantity, batch));
    let (batch, expiry) = match batch.rsplit_once('/').map(|(batch, day)| (batch, parse_day(day))) {
        Some((batch, Some(day))) => (batch, Some(day)),
        Some((_, None)) if batch.rsplit('/').next().is_some_and(looks_like_a_day) => {
            return Err(format!(
                "the expiry in `{batch}` is not a date; write it as YYYY-MM-DD, for instance 2028-01-31"
            ));
        }
        _ => (batch, None),
    };
    if item.is_empty() {
        return Err("ITEM is missing; `spsi order show` lists ezyVet's ids of the order lines".into());
    }
    Ok(Requested { item: item.to_owned(), quantity: parse_number(quantity)?, batch: batch.to_owned(), expiry })
}

fn looks_like_a_day(text: &str) -> bool {
    text.contains('-') && text.chars().all(|c| c.is_ascii_digit() || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_item_quantity_batch_and_expiry() {
        let read = |text| {
            let line = parse_line(text).unwrap();
            (line.item, line.quantity.to_string(), line.batch, line.expiry.map(|day| day.to_string()))
        };
        let expected = |item: &str, quantity: &str, batch: &str, expiry: Option<&str>| {
            (item.to_owned(), quantity.to_owned(), batch.to_owned(), expiry.map(str::to_owned))
        };
        assert_eq!(read("9:20"), expected("9", "20", "", None));
        assert_eq!(read("9:-1.5@B1"), expected("9", "-1.5", "B1", None));
        assert_eq!(read("9:1@B/1/2028-01-31"), expected("9", "1", "B/1", Some("2028-01-31")));
        assert_eq!(read("9:1@A/B"), expected("9", "1", "A/B", None));
        for bad in ["9", ":1", "9:x", "9:1@B/2028-13-01"] {
            assert!(parse_line(bad).is_err(), "{bad}");
        }
    }
}

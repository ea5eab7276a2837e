//! `spsi order`: purchase orders of clinics, and the decisions of staff on them.

use super::export::{self, ExportArgs};
use super::output::Output;
use crate::app::Context;
use crate::clinics;
use crate::config::Overrides;
use crate::db::{Page, in_transaction};
use crate::exports::Rows;
use crate::orders::{self, Action, CancelledLine, Filter};
use crate::shipments::order_record;
use crate::values::parse_decimal;
use sqlx::PgConnection;

#[derive(clap::Subcommand)]
pub enum Command {
    /// List orders, newest first
    #[command(
        after_help = "Examples:\n  spsi order list --attention\n  spsi order list --state accepted --clinic 'Harbour Vets' --since 2026-01-01\n  spsi order list --text 15000032 --output json\n  spsi order list --product TP1 --output csv"
    )]
    List(Filter),
    /// Show an order with its lines, notes, revisions, shipments, deliveries and audit trail
    #[command(after_help = "Examples:\n  spsi order show SO-3334A\n  spsi order show 17 --output json")]
    Show {
        /// Supplier order number (SO-3334A) or id of the order
        id: String,
    },
    /// Accept a held order
    #[command(after_help = "Example:\n  spsi order accept SO-3334A --reason 'price agreed by telephone'")]
    Accept {
        /// Supplier order number (SO-3334A) or id of the order
        id: String,
        /// Reason, recorded in the audit trail
        #[arg(long)]
        reason: Option<String>,
    },
    /// Decline an order without shipments
    #[command(after_help = "Example:\n  spsi order decline SO-3334A --reason 'discontinued by the manufacturer'")]
    Decline {
        /// Supplier order number (SO-3334A) or id of the order
        id: String,
        /// Reason, shown to the staff of the clinic
        #[arg(long)]
        reason: String,
    },
    /// Put an accepted order on hold. It cannot be shipped until it is accepted again; its stock stays reserved
    #[command(after_help = "Example:\n  spsi order hold SO-3334A --reason 'waiting for the licence'")]
    Hold {
        /// Supplier order number (SO-3334A) or id of the order
        id: String,
        /// Reason, recorded in the audit trail
        #[arg(long)]
        reason: String,
    },
    /// Cancel the outstanding quantity of an order, or a part of it, and release its stock
    #[command(after_help = "Examples:
  spsi order cancel SO-3334A --reason 'clinic has closed'        (everything outstanding)
  spsi order cancel SO-3334A --line 9 --line 10:5 --reason 'discontinued'

The second example cancels all of line 9, and 5 units of line 10.")]
    Cancel {
        /// Supplier order number (SO-3334A) or id of the order
        id: String,
        /// Line to cancel: ezyVet's id of the order line, and a number of units if not all; repeatable
        #[arg(long = "line", value_name = "ITEM[:QTY]", value_parser = cancelled_line)]
        lines: Vec<CancelledLine>,
        /// Reason, recorded in the audit trail
        #[arg(long)]
        reason: String,
    },
    /// List products with more units on order than in stock
    #[command(name = "backorders", after_help = "Example:\n  spsi order backorders --output csv")]
    BackOrders,
    /// Write orders as CSV or JSON lines, one row per order line
    #[command(
        after_help = "Examples:\n  spsi order export --state accepted > orders.csv\n  spsi order export --since 2026-01-31 --output json\n  spsi order export --format jsonl --cursor-file orders.cursor"
    )]
    Export {
        #[command(flatten)]
        filter: Filter,
        #[command(flatten)]
        export: ExportArgs,
    },
    /// List the rules of the order decision, with their effective and default actions
    #[command(
        after_help = "Examples:\n  spsi order rules\n  spsi order rules --clinic 3\n\nChange a rule for the deployment with its variable (SPSI_RULE_...), or for one clinic:\n  spsi clinic set 3 rule_stock_short=decline price_tolerance=2.5"
    )]
    Rules {
        /// Rules of this clinic: id, client id or name
        #[arg(long)]
        clinic: Option<String>,
    },
}

pub async fn run(command: Command, context: &Context, output: Output) -> anyhow::Result<()> {
    let Context { pool, actor, .. } = context;
    let change = async |id: String, action: Action<'_>, reason: Option<String>| {
        let (now, reason) = (context.clock.now(), reason.as_deref());
        let change = async |it: &mut PgConnection| orders::change(it, now, actor, &id, action, reason, None).await;
        output.record(&in_transaction(pool, change).await?)
    };
    match command {
        Command::List(filter) => {
            let columns = [
                "id",
                "supplier_order_number",
                "state",
                "clinic",
                "ezyvet_id",
                "purchase_order_number",
                "lines",
                "total",
                "received_at",
            ];
            output.list(&columns, &orders::list(&mut *pool.begin().await?, &filter, Page::default()).await?)
        }
        Command::Show { id } => output.record(&order_record::show(&mut *pool.begin().await?, &id).await?),
        Command::Accept { id, reason } => change(id, Action::Accept, reason).await,
        Command::Decline { id, reason } => {
            change(id, Action::Decline { defaults: &context.settings.clinic }, Some(reason)).await
        }
        Command::Hold { id, reason } => change(id, Action::Hold, Some(reason)).await,
        Command::Cancel { id, lines, reason } => change(id, Action::Cancel(&lines), Some(reason)).await,
        Command::BackOrders => {
            let columns = ["supplier_code", "name", "on_hand", "reserved", "short", "orders", "since"];
            output.list(&columns, &orders::stock::back_orders(pool).await?)
        }
        Command::Export { filter, export } => export::run(context, output, Rows::Orders(filter), &export).await,
        Command::Rules { clinic } => {
            let overrides = match clinic {
                Some(clinic) => clinics::find(pool, &clinic).await?.settings.0,
                None => Overrides::new(),
            };
            let is_set = |variable: &str| std::env::var_os(variable).is_some();
            let rules = orders::rules::rules(&context.settings.clinic, &overrides, is_set);
            output.list(&["id", "setting", "default", "set_by", "meaning"], &rules)
        }
    }
}

/// Parses `9` or `9:20`.
fn cancelled_line(text: &str) -> Result<CancelledLine, String> {
    let (item, units) = match text.split_once(':') {
        Some((item, units)) => {
            let units = parse_decimal(units).map_err(|error| format!("`{units}` {error}"))?;
            (item, Some(units))
        }
        None => (text, None),
    };
    if item.is_empty() {
        return Err("ITEM is missing; `spsi order show` lists ezyVet's ids of the order lines".into());
    }
    Ok(CancelledLine { item: item.to_owned(), units })
}

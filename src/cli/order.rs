//! `spsi order`: what clinics have ordered, and what the order desk says to it.

use super::output::Output;
use crate::app::Context;
use crate::audit;
use crate::clinics;
use crate::config::Overrides;
use crate::delivery::staff as deliveries;
use crate::orders::{self, CancelledLine, Filter, OrderInFull};
use crate::shipments;
use crate::values::parse_decimal;
use serde::Serialize;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Lists orders, newest first.
    #[command(
        after_help = "Examples:\n  spsi order list --attention\n  spsi order list --state accepted --clinic 'Harbour Vets' --since 2026-01-01\n  spsi order list --text 15000032 --output json\n  spsi order list --product TP1 --output csv      one row per order"
    )]
    List(Filter),
    /// Shows an order with its lines, notes, revisions, shipments, deliveries and what was done to it.
    #[command(after_help = "Examples:\n  spsi order show SO-3334A\n  spsi order show 17 --output json")]
    Show {
        /// Our number or our id
        id: String,
    },
    /// Accepts a held order.
    #[command(after_help = "Example:\n  spsi order accept SO-3334A --reason 'price agreed by telephone'")]
    Accept {
        /// Our number or our id
        id: String,
        /// For the audit trail
        #[arg(long)]
        reason: Option<String>,
    },
    /// Declines an order of which nothing has been shipped.
    #[command(after_help = "Example:\n  spsi order decline SO-3334A --reason 'discontinued by the manufacturer'")]
    Decline {
        /// Our number or our id
        id: String,
        /// In words for the staff of the clinic
        #[arg(long)]
        reason: String,
    },
    /// Keeps an accepted order back; it cannot be shipped until it is accepted again. Its stock stays reserved.
    #[command(after_help = "Example:\n  spsi order hold SO-3334A --reason 'waiting for the licence'")]
    Hold {
        /// Our number or our id
        id: String,
        /// For the audit trail
        #[arg(long)]
        reason: String,
    },
    /// Takes what is outstanding off an order, or some of it; its stock is free again.
    #[command(after_help = "Examples:
  spsi order cancel SO-3334A --reason 'clinic has closed'                    everything outstanding
  spsi order cancel SO-3334A --line 9 --line 10:5 --reason 'discontinued'   line 9, and 5 units of line 10")]
    Cancel {
        /// Our number or our id
        id: String,
        /// ezyVet's order line id, and how many units if not all that are outstanding; may repeat
        #[arg(long = "line", value_name = "ITEM[:QTY]", value_parser = cancelled_line)]
        lines: Vec<CancelledLine>,
        /// For the audit trail
        #[arg(long)]
        reason: String,
    },
    /// Lists products of which more is on order than on hand.
    #[command(name = "backorders", after_help = "Example:\n  spsi order backorders --output csv")]
    BackOrders,
    /// Writes orders as CSV with one row per line, for systems that read files; takes the filters of list.
    #[command(
        after_help = "Examples:\n  spsi order export --state accepted > orders.csv\n  spsi order export --since 2026-01-31 --output json"
    )]
    Export(Filter),
    /// Lists the rules by which orders are decided: what each does now, by default, and where that is set.
    #[command(
        after_help = "Examples:\n  spsi order rules\n  spsi order rules --clinic 3\nA rule is changed by its variable for the deployment, or for a clinic:\n  spsi clinic set 3 rule_stock_short=decline price_tolerance=2.5"
    )]
    Rules {
        /// As they are for this clinic: id, client id or name
        #[arg(long)]
        clinic: Option<String>,
    },
}

/// An order with what became of it.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    order: OrderInFull,
    shipments: Vec<shipments::Shipment>,
    deliveries: Vec<deliveries::Delivery>,
    /// What was done to the order and its shipments, oldest first.
    audit: Vec<audit::Entry>,
}

pub async fn run(command: Command, context: &Context, output: Output) -> anyhow::Result<()> {
    let Context { pool, actor, .. } = context;
    let now = context.clock.now();
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
            output.list(&columns, &orders::list(pool, &filter).await?)
        }
        Command::Show { id } => show(context, output, &id).await,
        Command::Accept { id, reason } => {
            output.record(&orders::accept(pool, now, actor, &id, reason.as_deref()).await?)
        }
        Command::Decline { id, reason } => {
            output.record(&orders::decline(pool, now, actor, &context.settings.clinic, &id, &reason).await?)
        }
        Command::Hold { id, reason } => output.record(&orders::hold(pool, now, actor, &id, &reason).await?),
        Command::Cancel { id, lines, reason } => {
            output.record(&orders::cancel(pool, now, actor, &id, &lines, &reason).await?)
        }
        Command::BackOrders => {
            let columns = ["supplier_code", "name", "on_hand", "reserved", "short", "orders", "since"];
            output.list(&columns, &orders::stock::back_orders(pool).await?)
        }
        Command::Export(filter) => {
            // A table of thirty columns is of no use to anybody.
            let output = if output == Output::Table { Output::Csv } else { output };
            output.list(&[], &orders::export(pool, &filter).await?)
        }
        Command::Rules { clinic } => {
            let overrides = match clinic {
                Some(clinic) => clinics::find(pool, &clinic).await?.settings,
                None => Overrides::new(),
            };
            let is_set = |variable: &str| std::env::var_os(variable).is_some();
            let rules = orders::rules::rules(&context.settings.clinic, &overrides, is_set);
            output.list(&["id", "setting", "default", "set_by", "meaning"], &rules)
        }
    }
}

async fn show(context: &Context, output: Output, id: &str) -> anyhow::Result<()> {
    let pool = &context.pool;
    let order = orders::show(pool, id).await?;
    let number = order.order.supplier_order_number.clone();
    let filter = deliveries::Filter { order: Some(number.clone()), ..Default::default() };
    let (shipments, deliveries) = (shipments::list(pool, Some(&number)).await?, deliveries::list(pool, &filter).await?);
    let mut audit = audit::list(pool, Some(("order", order.order.id.0)), None).await?;
    for shipment in &shipments {
        audit.append(&mut audit::list(pool, Some(("shipment", shipment.id.0)), None).await?);
    }
    audit.sort_by_key(|entry| entry.id);
    output.record(&Shown { order, shipments, deliveries, audit })
}

/// `9` or `9:20`.
fn cancelled_line(text: &str) -> Result<CancelledLine, String> {
    let (item, units) = match text.split_once(':') {
        Some((item, units)) => {
            let units = parse_decimal(units).map_err(|error| format!("`{units}` {error}"))?;
            (item, Some(units))
        }
        None => (text, None),
    };
    if item.is_empty() {
        return Err("the item is ezyVet's order line id; see spsi order show".into());
    }
    Ok(CancelledLine { item: item.to_owned(), units })
}

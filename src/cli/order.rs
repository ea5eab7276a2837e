//! `spsi order`: what clinics have ordered, and what the order desk says to it.

use super::output::Output;
use crate::app::Context;
use crate::orders::{self, Filter};

#[derive(clap::Subcommand)]
pub enum Command {
    /// Lists orders, newest first.
    #[command(
        after_help = "Examples:\n  spsi order list --attention\n  spsi order list --state accepted --clinic 'Harbour Vets'\n  spsi order list --text 15000032 --output json"
    )]
    List(Filter),
    /// Shows an order with its lines, by our number or our id.
    Show { id: String },
    /// Accepts a held order.
    Accept { id: String },
    /// Declines an order of which nothing has been shipped.
    #[command(after_help = "Example:\n  spsi order decline SO-3334A --reason 'discontinued by the manufacturer'")]
    Decline {
        id: String,
        /// In words for the staff of the clinic
        #[arg(long)]
        reason: String,
    },
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
        Command::Show { id } => output.record(&orders::show(pool, &id).await?),
        Command::Accept { id } => output.record(&orders::accept(pool, now, actor, &id).await?),
        Command::Decline { id, reason } => {
            output.record(&orders::decline(pool, now, actor, &context.settings.clinic, &id, &reason).await?)
        }
    }
}

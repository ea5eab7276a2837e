//! `spsi delivery`: what ezyVet gets, and what became of it.

use super::output::Output;
use crate::app::Context;
use crate::delivery::{Worker, staff};
use crate::ids::DeliveryId;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Lists deliveries, newest first.
    #[command(after_help = "Examples:
  spsi delivery list --state attention,unclear         what staff must look at
  spsi delivery list --site harbour --kind supplied --output json")]
    List(List),
    /// Shows a delivery with every call made for it.
    Show { id: DeliveryId },
    /// Sends again: what needs attention, is unclear, waits, was skipped or cancelled. An invoice that was sent before is
    /// looked for first.
    Retry {
        #[arg(required = true)]
        ids: Vec<DeliveryId>,
        /// You have looked in ezyVet, and it is not there
        #[arg(long)]
        yes_resend: bool,
    },
    /// Takes deliveries back that ezyVet does not have.
    Cancel {
        #[arg(required = true)]
        ids: Vec<DeliveryId>,
    },
    /// Delivers what is due now, and ends.
    RunOnce,
}

#[derive(clap::Args)]
pub struct List {
    /// waiting, sending, unclear, delivered, confirmed, skipped, attention, cancelled; several with commas
    #[arg(long, value_delimiter = ',', value_parser = STATES)]
    state: Vec<String>,
    /// receive_invoice or supplied
    #[arg(long, value_parser = ["receive_invoice", "supplied"])]
    kind: Option<String>,
    /// Id or name of a site
    #[arg(long)]
    site: Option<String>,
    /// Id, client id or name of a clinic
    #[arg(long)]
    clinic: Option<String>,
    /// Our number or our id of an order
    #[arg(long)]
    order: Option<String>,
    /// Id of a shipment
    #[arg(long)]
    shipment: Option<i64>,
    #[arg(long)]
    invoice_number: Option<String>,
}

const STATES: [&str; 8] =
    ["waiting", "sending", "unclear", "delivered", "confirmed", "skipped", "attention", "cancelled"];
const COLUMNS: [&str; 9] =
    ["id", "kind", "state", "invoice_number", "shipment", "site", "attempts", "due_at", "last_error"];

pub async fn run(command: Command, context: &Context, output: Output) -> anyhow::Result<()> {
    let Context { pool, actor, clock, .. } = context;
    let now = clock.now();
    match command {
        Command::List(list) => {
            let filter = staff::Filter {
                states: list.state,
                kind: list.kind,
                site: list.site,
                clinic: list.clinic,
                order: list.order,
                shipment: list.shipment,
                invoice_number: list.invoice_number,
            };
            output.list(&COLUMNS, &staff::list(pool, &filter).await?)
        }
        Command::Show { id } => output.record(&staff::show(pool, &context.settings.site, id).await?),
        Command::Retry { ids, yes_resend } => {
            let mut changed = Vec::new();
            for id in ids {
                changed.push(staff::retry(pool, now, actor, id, yes_resend).await?);
            }
            print(output, &changed)
        }
        Command::Cancel { ids } => {
            let mut changed = Vec::new();
            for id in ids {
                changed.push(staff::cancel(pool, now, actor, id).await?);
            }
            print(output, &changed)
        }
        Command::RunOnce => {
            let worker =
                Worker::new(pool.clone(), context.encryption_keys()?.clone(), clock.clone(), &context.settings)?;
            let steps = worker.run_once().await?;
            output.record(&serde_json::json!({ "steps": steps }))
        }
    }
}

fn print(output: Output, changed: &[staff::Delivery]) -> anyhow::Result<()> {
    match changed {
        [one] => output.record(one),
        several => output.list(&COLUMNS, several),
    }
}

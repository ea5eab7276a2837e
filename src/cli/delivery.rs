//! `spsi delivery`: what ezyVet gets, and what became of it.

use super::output::Output;
use crate::app::Context;
use crate::delivery::{Worker, staff};
use crate::ids::DeliveryId;
use crate::shipments;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Lists deliveries, newest first.
    #[command(after_help = "Examples:
  spsi delivery list --state attention,unclear         what staff must look at
  spsi delivery list --counts                          how many in each state
  spsi delivery list --site harbour --kind supplied --output json")]
    List {
        #[command(flatten)]
        which: Which,
        /// How many there are in each state, instead of the rows
        #[arg(long)]
        counts: bool,
    },
    /// Shows a delivery with every call made for it.
    Show { id: DeliveryId },
    /// Sends again: what needs attention, is unclear, waits, was skipped or cancelled. An invoice that was sent before is
    /// looked for first. By ids, or all that a filter finds.
    #[command(after_help = "Examples:
  spsi delivery retry 17 18
  spsi delivery retry --state attention --site harbour   all of them, once the site is mended; asks nothing")]
    Retry {
        ids: Vec<DeliveryId>,
        #[command(flatten)]
        which: Which,
        /// You have looked in ezyVet, and it is not there
        #[arg(long)]
        yes_resend: bool,
    },
    /// Sends an invoice under a new number, where it is known that the old one did not arrive. The old number stays used.
    Reissue {
        id: DeliveryId,
        /// You have looked in ezyVet, its job queue included, and it is not there
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

/// Which deliveries.
#[derive(clap::Args)]
pub struct Which {
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
    /// Invoices that the clinic did not approve for so long that it is no longer asked for
    #[arg(long)]
    stale: bool,
    /// Invoices that ezyVet holds otherwise than we sent them; show tells how
    #[arg(long)]
    differing: bool,
}

const STATES: [&str; 8] =
    ["waiting", "sending", "unclear", "delivered", "confirmed", "skipped", "attention", "cancelled"];
const COLUMNS: [&str; 9] =
    ["id", "kind", "state", "invoice_number", "shipment", "site", "attempts", "due_at", "last_error"];

pub async fn run(command: Command, context: &Context, output: Output) -> anyhow::Result<()> {
    let Context { pool, actor, clock, .. } = context;
    let now = clock.now();
    match command {
        Command::List { which, counts: true } => {
            output.list(&["state", "count", "receive_invoice", "supplied"], &staff::count(pool, &which.into()).await?)
        }
        Command::List { which, counts: false } => output.list(&COLUMNS, &staff::list(pool, &which.into()).await?),
        Command::Show { id } => output.record(&staff::show(pool, &context.settings.site, id).await?),
        Command::Retry { ids, which, yes_resend } if ids.is_empty() => {
            let filter = staff::Filter::from(which);
            if filter == staff::Filter::default() {
                let missing = "give ids, or a filter such as --state attention";
                return Err(
                    clap::Error::raw(clap::error::ErrorKind::MissingRequiredArgument, format!("{missing}\n")).into()
                );
            }
            let bulk = staff::retry_all(pool, now, actor, &filter, yes_resend).await?;
            eprintln!("({} sent again, {} left as they are)", bulk.retried.len(), bulk.left.len());
            bulk.left.iter().for_each(|why| eprintln!("  {why}"));
            output.list(&COLUMNS, &bulk.retried)
        }
        Command::Retry { ids, which: _, yes_resend } => {
            let mut changed = Vec::new();
            for id in ids {
                changed.push(staff::retry(pool, now, actor, id, yes_resend).await?);
            }
            print(output, &changed)
        }
        Command::Reissue { id, yes_resend } => {
            output.record(&shipments::reissue(pool, &context.settings.site, now, actor, id, yes_resend).await?)
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

impl From<Which> for staff::Filter {
    fn from(which: Which) -> Self {
        Self {
            states: which.state,
            kind: which.kind,
            site: which.site,
            clinic: which.clinic,
            order: which.order,
            shipment: which.shipment,
            invoice_number: which.invoice_number,
            stale: which.stale,
            differing: which.differing,
        }
    }
}

fn print(output: Output, changed: &[staff::Delivery]) -> anyhow::Result<()> {
    match changed {
        [one] => output.record(one),
        several => output.list(&COLUMNS, several),
    }
}

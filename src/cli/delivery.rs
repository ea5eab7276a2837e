//! `spsi delivery`: invoices and stock movements on their way to ezyVet.

use super::output::{Output, note};
use crate::app::Context;
use crate::db::{Page, in_transaction};
use crate::delivery::Worker;
use crate::delivery::staff::{self, Delivery, Filter, StaffError};
use crate::ids::DeliveryId;
use crate::shipments;
use sqlx::PgConnection;

#[derive(clap::Subcommand)]
pub enum Command {
    /// List deliveries, newest first
    #[command(after_help = "Examples:
  spsi delivery list --state attention,unclear         (deliveries that need staff)
  spsi delivery list --counts                          (number in each state)
  spsi delivery list --site harbour --kind supplied --output json")]
    List {
        #[command(flatten)]
        filter: Filter,
        /// Show the number of deliveries in each state instead of the deliveries
        #[arg(long)]
        counts: bool,
    },
    /// Show a delivery with every call to ezyVet
    Show {
        /// Id of the delivery
        id: DeliveryId,
    },
    /// Send deliveries again, by id or by filter
    ///
    /// A delivery can be sent again in every state except delivered, confirmed and sending. An invoice that may have arrived
    /// is looked up in ezyVet first.
    #[command(after_help = "Examples:
  spsi delivery retry 17 18
  spsi delivery retry --state attention --site harbour   (all of them, without asking)")]
    Retry {
        /// Ids of the deliveries
        ids: Vec<DeliveryId>,
        #[command(flatten)]
        filter: Filter,
        /// Send even if the delivery may have arrived. Check in ezyVet first that it has not
        #[arg(long)]
        yes_resend: bool,
    },
    /// Send an invoice under a new number. The old number is never used again
    Reissue {
        /// Id of the delivery
        id: DeliveryId,
        /// Confirm that the invoice is neither in ezyVet nor in its job queue
        #[arg(long)]
        yes_resend: bool,
    },
    /// Cancel deliveries that ezyVet does not have
    Cancel {
        /// Ids of the deliveries
        #[arg(required = true)]
        ids: Vec<DeliveryId>,
    },
    /// Send the deliveries that are due now, then exit
    RunOnce,
}

const COLUMNS: [&str; 9] =
    ["id", "kind", "state", "invoice_number", "shipment", "site", "attempts", "due_at", "last_error"];

pub async fn run(command: Command, context: &Context, output: Output) -> anyhow::Result<()> {
    let Context { pool, actor, clock, .. } = context;
    let now = clock.now();
    match command {
        Command::List { filter, counts: true } => output.list(
            &["state", "count", "receive_invoice", "supplied"],
            &staff::count(&mut *pool.begin().await?, &filter).await?,
        ),
        Command::List { filter, counts: false } => {
            output.list(&COLUMNS, &staff::list(&mut *pool.begin().await?, &filter, Page::default()).await?)
        }
        Command::Show { id } => {
            output.record(&staff::show(&mut *pool.begin().await?, &context.settings.site, id).await?)
        }
        Command::Retry { ids, filter, yes_resend } if ids.is_empty() => {
            if filter == Filter::default() {
                let missing = "give the ids of the deliveries, or a filter such as `--state attention`";
                return Err(
                    clap::Error::raw(clap::error::ErrorKind::MissingRequiredArgument, format!("{missing}\n")).into()
                );
            }
            let retry = async |connection: &mut PgConnection| {
                staff::retry_all(connection, now, actor, &filter, yes_resend).await
            };
            let bulk = in_transaction(pool, retry).await?;
            note(format_args!("({} will be sent again, {} unchanged)", bulk.retried.len(), bulk.left.len()));
            bulk.left.iter().for_each(|(_, reason)| note(format_args!("  {reason}")));
            output.list(&COLUMNS, &bulk.retried)
        }
        Command::Retry { ids, filter: _, yes_resend } => {
            let retry = async |connection: &mut PgConnection, id| {
                staff::retry(connection, now, actor, id, yes_resend, None).await
            };
            change_each(context, output, ids, retry).await
        }
        Command::Reissue { id, yes_resend } => {
            let defaults = &context.settings.site;
            let reissue = async |connection: &mut PgConnection| {
                shipments::reissue(connection, defaults, now, actor, id, yes_resend, None).await
            };
            output.record(&in_transaction(pool, reissue).await?)
        }
        Command::Cancel { ids } => {
            let cancel =
                async |connection: &mut PgConnection, id| staff::cancel(connection, now, actor, id, None).await;
            change_each(context, output, ids, cancel).await
        }
        Command::RunOnce => {
            let worker =
                Worker::new(pool.clone(), context.encryption_keys()?.clone(), clock.clone(), &context.settings)?;
            let steps = worker.run_once().await?;
            output.record(&serde_json::json!({ "steps": steps }))
        }
    }
}

/// Changes each delivery in a transaction of its own, and prints the changed ones.
async fn change_each(
    context: &Context,
    output: Output,
    ids: Vec<DeliveryId>,
    change: impl AsyncFn(&mut PgConnection, DeliveryId) -> Result<Delivery, StaffError>,
) -> anyhow::Result<()> {
    let mut changed = Vec::new();
    for id in ids {
        let change = async |connection: &mut PgConnection| change(connection, id).await;
        changed.push(in_transaction(&context.pool, change).await?);
    }
    match changed.as_slice() {
        [one] => output.record(one),
        several => output.list(&COLUMNS, several),
    }
}

//! `spsi audit`: who did what, when, why.

use super::output::Output;
use crate::app::Context;
use crate::audit;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Lists what was done, newest first.
    #[command(after_help = "Example:\n  spsi audit list --subject order 17")]
    List {
        /// Only what was done to one thing: order, clinic, site, shipment or delivery, and its id
        #[arg(long, num_args = 2, value_names = ["KIND", "ID"])]
        subject: Option<Vec<String>>,
        /// At most so many
        #[arg(long)]
        limit: Option<i64>,
    },
}

pub async fn run(command: Command, context: &Context, output: Output) -> anyhow::Result<()> {
    let Command::List { subject, limit } = command;
    let subject = match subject.as_deref() {
        Some([kind, id]) => Some((kind.as_str(), id.parse().map_err(|_| anyhow::anyhow!("`{id}` is not an id"))?)),
        _ => None,
    };
    let entries = audit::list(&context.pool, subject, limit).await?;
    output.list(&["id", "at", "actor", "action", "subject_kind", "subject_id", "detail"], &entries)
}

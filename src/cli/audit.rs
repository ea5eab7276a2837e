//! `spsi audit`: the audit trail.

use super::output::Output;
use crate::app::Context;
use crate::audit;

#[derive(clap::Subcommand)]
pub enum Command {
    /// List the recorded actions, newest first
    #[command(after_help = "Example:\n  spsi audit list --subject order 17")]
    List {
        /// Only actions on one subject: its kind (order, clinic, site, shipment or delivery) and its id
        #[arg(long, num_args = 2, value_names = ["KIND", "ID"])]
        subject: Option<Vec<String>>,
        /// Maximum number of entries
        #[arg(long)]
        limit: Option<i64>,
    },
}

pub async fn run(command: Command, context: &Context, output: Output) -> anyhow::Result<()> {
    let Command::List { subject, limit } = command;
    let subject = match subject.as_deref() {
        Some([kind, id]) => Some((
            kind.as_str(),
            id.parse().map_err(|_| {
                anyhow::anyhow!("`{id}` is not an id; write a whole number, as in `spsi audit list --subject order 17`")
            })?,
        )),
        _ => None,
    };
    let entries = audit::list(&context.pool, subject, limit).await?;
    output.list(&["id", "at", "actor", "action", "subject_kind", "subject_id", "detail"], &entries)
}

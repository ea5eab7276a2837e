//! `spsi audit`: the audit trail.

use super::output::Output;
use crate::app::Context;
use crate::audit;
use crate::clock::{parse_since, parse_until};
use crate::db::Page;
use time::OffsetDateTime;

#[derive(clap::Subcommand)]
pub enum Command {
    /// List the recorded actions, newest first
    #[command(
        after_help = "Examples:\n  spsi audit list --subject order 17\n  spsi audit list --by key:erp --since 2026-01-31"
    )]
    List {
        /// Only actions on one subject: its kind (order, clinic, site, shipment or delivery) and its id
        #[arg(long, num_args = 2, value_names = ["KIND", "ID"])]
        subject: Option<Vec<String>>,
        /// Only actions of this actor, for instance cli:anna@warehouse-1
        #[arg(long = "by", value_name = "ACTOR")]
        by: Option<String>,
        /// Only this action, for instance order.accept
        #[arg(long)]
        action: Option<String>,
        /// Only actions on or after this day or moment: YYYY-MM-DD, or RFC 3339
        #[arg(long, value_name = "WHEN", value_parser = parse_since)]
        since: Option<OffsetDateTime>,
        /// Only actions on or before this day, or before this moment
        #[arg(long, value_name = "WHEN", value_parser = parse_until)]
        until: Option<OffsetDateTime>,
        /// Maximum number of entries
        #[arg(long)]
        limit: Option<i64>,
    },
}

pub async fn run(command: Command, context: &Context, output: Output) -> anyhow::Result<()> {
    let Command::List { subject, by: actor, action, since, until, limit } = command;
    let (subject_kind, subject_id) = match subject.as_deref() {
        Some([kind, id]) => {
            let id = id.parse().map_err(|_| {
                anyhow::anyhow!("`{id}` is not an id; write a whole number, as in `spsi audit list --subject order 17`")
            })?;
            (Some(kind.clone()), Some(id))
        }
        _ => (None, None),
    };
    let filter = audit::Filter { subject_kind, subject_id, actor, action, since, until };
    let entries = audit::list(&context.pool, &filter, Page { limit, before: None }).await?;
    output.list(&["id", "at", "actor", "action", "subject_kind", "subject_id", "detail"], &entries)
}

//! `spsi event`: the event log.

use super::output::Output;
use crate::app::Context;
use crate::events::{self, Kind};

#[derive(clap::Subcommand)]
pub enum Command {
    /// List events in the order in which they are to be processed
    #[command(after_help = "Examples:
  spsi event list --after evt_17 --output json         (everything after the last event that was processed)
  spsi event list --type order.accepted,order.held")]
    List {
        /// Only events after this one: id of an event, such as evt_17
        #[arg(long)]
        after: Option<String>,
        /// Only events of these types, separated by commas
        #[arg(long = "type", value_delimiter = ',')]
        kinds: Vec<Kind>,
        /// Maximum number of events [default: all]
        #[arg(long, value_parser = clap::value_parser!(i64).range(1..))]
        limit: Option<i64>,
    },
    /// Show an event
    Show {
        /// Id of the event, such as evt_17
        id: String,
    },
}

pub async fn run(command: Command, context: &Context, output: Output) -> anyhow::Result<()> {
    let pool = &context.pool;
    match command {
        Command::List { after, kinds, limit } => {
            let position = match after {
                Some(after) => Some(events::find_position(pool, &after).await?),
                None => None,
            };
            let events = events::list(pool, position, &kinds, limit.unwrap_or(i64::MAX)).await?;
            output.list(&["id", "type", "created_at", "data"], &events)
        }
        Command::Show { id } => output.record(&events::find(pool, &id).await?),
    }
}

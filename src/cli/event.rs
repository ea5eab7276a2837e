//! `spsi event`: the event log.

use super::output::Output;
use crate::app::Context;
use crate::events::{self, Filter, Kind};

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

/// How many events are read at a time.
const BATCH: i64 = 10_000;

pub async fn run(command: Command, context: &Context, output: Output) -> anyhow::Result<()> {
    let pool = &context.pool;
    match command {
        Command::List { after, kinds, limit } => {
            let mut position = match after {
                Some(after) => Some(events::find_position(pool, &after).await?),
                None => None,
            };
            let (filter, mut listed) = (Filter { kinds }, Vec::new());
            loop {
                let wanted = limit.map_or(BATCH, |limit| (limit - listed.len() as i64).min(BATCH));
                let found = events::list(pool, position, &filter, wanted).await?;
                let is_last = (found.len() as i64) < BATCH;
                position = found.last().map(|event| event.position).or(position);
                listed.extend(found);
                if is_last || limit == Some(listed.len() as i64) {
                    break;
                }
            }
            output.list(&["id", "type", "created_at", "data"], &listed)
        }
        Command::Show { id } => output.record(&events::find(pool, &id).await?),
    }
}

//! `spsi webhook`: calls that bring events to the supplier's own systems.

use super::output::{Output, note};
use crate::app::Context;
use crate::clock::parse_since;
use crate::config::Span;
use crate::db::{Page, in_transaction};
use crate::webhooks::client::Client;
use crate::webhooks::{self, Change, EndpointError, NewEndpoint, ReplayFrom};
use anyhow::bail;
use time::OffsetDateTime;

#[derive(clap::Args)]
pub struct WebhookArg {
    /// Id of the webhook
    id: i64,
}

#[derive(clap::Subcommand)]
pub enum Command {
    /// Add a webhook and print its signing secret, which is shown only once
    #[command(after_help = "Examples:
  spsi webhook add --url https://erp.example.com/spsi
  spsi webhook add --url https://wms.example.com/in --events order.accepted,order.cancelled --clinic harbour")]
    Add {
        /// URL that receives the events, with https
        #[arg(long)]
        url: String,
        /// Only events of these types, separated by commas [default: all]
        #[arg(long, value_delimiter = ',')]
        events: Vec<String>,
        /// Only events of this clinic: id, client id or name
        #[arg(long)]
        clinic: Option<String>,
        /// Description for people
        #[arg(long, default_value = "")]
        description: String,
    },
    /// List the webhooks
    List,
    /// Show a webhook
    Show(WebhookArg),
    /// Change a webhook
    #[command(after_help = "Examples:
  spsi webhook set 3 state=paused
  spsi webhook set 3 state=active                 (also after the server has disabled it; it catches up)
  spsi webhook set 3 url=https://erp.example.com/v2 events=order.accepted,order.held
  spsi webhook set 3 events= clinic=              (all events again)

Keys: url, description, events, clinic, state (active or paused).")]
    Set {
        /// Id of the webhook
        id: i64,
        /// Fields to change
        #[arg(required = true, value_name = "KEY=VALUE")]
        fields: Vec<String>,
    },
    /// Give a webhook a new signing secret, shown only once. The old one signs beside it for a time
    RotateSecret {
        /// Id of the webhook
        id: i64,
        /// How long the old secret signs, too [default: SPSI_WEBHOOK_SECRET_OVERLAP]
        #[arg(long)]
        overlap: Option<Span>,
    },
    /// Remove a webhook with its waiting events and its attempts
    Remove(WebhookArg),
    /// Send a test message and show the answer
    Test(WebhookArg),
    /// Send events again
    #[command(after_help = "Examples:
  spsi webhook replay 3 --from evt_1200                   (this event and every later one)
  spsi webhook replay 3 --since 2026-11-25T00:00:00Z      (every event from this time on)
  spsi webhook replay 3 --event evt_1200                  (this event only)")]
    #[command(group = clap::ArgGroup::new("start").required(true).args(["from", "since", "event"]))]
    Replay {
        /// Id of the webhook
        id: i64,
        /// Send this event and every later one: id of an event
        #[arg(long)]
        from: Option<String>,
        /// Send every event from this day or moment on: YYYY-MM-DD, or RFC 3339
        #[arg(long, value_name = "WHEN", value_parser = parse_since)]
        since: Option<OffsetDateTime>,
        /// Send only this event: id of an event
        #[arg(long)]
        event: Option<String>,
    },
    /// List the calls to a webhook, newest first
    Attempts {
        /// Id of the webhook
        id: i64,
        /// Maximum number of calls [default: all]
        #[arg(long, value_parser = clap::value_parser!(i64).range(1..))]
        limit: Option<i64>,
    },
}

const COLUMNS: [&str; 7] = ["id", "url", "events", "clinic", "state", "failures", "last_error"];
const ATTEMPT_COLUMNS: [&str; 8] = ["id", "event", "type", "attempt", "started_at", "duration_ms", "status", "error"];

pub async fn run(command: Command, context: &Context, output: Output) -> anyhow::Result<()> {
    let Context { pool, actor, settings, .. } = context;
    let (now, settings) = (context.clock.now(), &settings.webhooks);
    let allow_private = settings.webhook_allow_private;
    match command {
        Command::Add { url, events, clinic, description } => {
            let (keys, new) = (context.encryption_keys()?, NewEndpoint { url, description, events, clinic });
            let add = async |connection: &mut _| webhooks::add(connection, keys, allow_private, now, actor, new).await;
            output.record(&in_transaction(pool, add).await?)
        }
        Command::List => output.list(&COLUMNS, &webhooks::list(&mut *pool.begin().await?, Page::default()).await?),
        Command::Show(WebhookArg { id }) => output.record(&webhooks::find(&mut *pool.begin().await?, id).await?),
        Command::Set { id, fields } => {
            let change = parse_change(&fields)?;
            let set = async |connection: &mut _| webhooks::set(connection, allow_private, now, actor, id, change).await;
            output.record(&in_transaction(pool, set).await?)
        }
        Command::RotateSecret { id, overlap } => {
            let (keys, overlap) = (context.encryption_keys()?, overlap.unwrap_or(settings.webhook_secret_overlap).0);
            let rotate =
                async |connection: &mut _| webhooks::rotate_secret(connection, keys, now, actor, id, overlap).await;
            output.record(&in_transaction(pool, rotate).await?)
        }
        Command::Remove(WebhookArg { id }) => {
            let remove = async |connection: &mut _| webhooks::remove(connection, now, actor, id).await;
            output.record(&in_transaction(pool, remove).await?)
        }
        Command::Test(WebhookArg { id }) => {
            let (client, deadline) = (Client::new(allow_private)?, settings.webhook_timeout.0);
            let attempt = webhooks::test(pool, &client, context.encryption_keys()?, now, deadline, id).await?;
            output.record(&attempt)?;
            match attempt.error {
                None => Ok(()),
                Some(error) => bail!("the test message was not delivered: {error}"),
            }
        }
        Command::Replay { id, from, since, event } => output.record(&replay(context, id, (from, since, event)).await?),
        Command::Attempts { id, limit } => {
            webhooks::find(&mut *pool.begin().await?, id).await?;
            output.list(&ATTEMPT_COLUMNS, &webhooks::list_attempts(pool, id, Page { limit, before: None }).await?)
        }
    }
}

async fn replay(
    context: &Context,
    id: i64,
    start: (Option<String>, Option<OffsetDateTime>, Option<String>),
) -> Result<webhooks::Endpoint, EndpointError> {
    let (pool, actor, now) = (&context.pool, &context.actor, context.clock.now());
    let from = match start {
        (_, _, Some(event)) => {
            let resend = async |connection: &mut _| webhooks::resend(connection, now, actor, id, &event).await;
            return in_transaction(pool, resend).await;
        }
        (Some(event), _, _) => ReplayFrom::Event(event),
        (_, Some(time), _) => ReplayFrom::Time(time),
        (None, None, None) => return webhooks::find(&mut *pool.begin().await?, id).await,
    };
    let Some(position) = from.position(pool).await? else {
        note("(no event since then)");
        return webhooks::find(&mut *pool.begin().await?, id).await;
    };
    let replay = async |connection: &mut _| webhooks::replay(connection, now, actor, id, &from, position).await;
    in_transaction(pool, replay).await
}

fn parse_change(fields: &[String]) -> anyhow::Result<Change> {
    let mut change = Change::default();
    for field in fields {
        let Some((key, value)) = field.split_once('=') else { bail!("`{field}` is not KEY=VALUE") };
        let list = || value.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        match key {
            "url" => change.url = Some(value.to_owned()),
            "description" => change.description = Some(value.to_owned()),
            "events" => change.events = Some(list()),
            "clinic" => change.clinic = Some(Some(value.to_owned()).filter(|value| !value.is_empty())),
            "state" => change.state = Some(value.to_owned()),
            _ => bail!("`{key}` is not a key; use url, description, events, clinic or state"),
        }
    }
    Ok(change)
}

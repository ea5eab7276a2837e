//! `spsi key`: API keys of the supplier's own systems, and the server's own keys for the environment, which are printed and
//! never stored.

use super::output::{Output, note, print};
use crate::app::Context;
use crate::auth::api_keys::{self, Role};
use crate::clinics::sites;
use crate::config::{Settings, Span};
use crate::db::in_transaction;
use crate::secret::KeyRing;
use crate::webhooks;
use anyhow::Context as _;
use serde_json::json;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Issue an API key for /staff/v1. It is shown once
    #[command(
        after_help = "Examples:\n  spsi key add --role admin --name erp\n  spsi key add --role warehouse --name scanner-3 --expires-in 90d\n
Every role can read orders, products, deliveries, clinics and sites. In addition:
  orders      decides about orders
  warehouse   ships, and maps products of a site
  catalogue   changes products and prices, and imports files
  billing     retries, cancels and reissues invoices and deliveries
  admin       everything, also clinics, sites, webhooks and keys"
    )]
    Add {
        /// Role of the key
        #[arg(long, value_enum)]
        role: Role,
        /// Name in lists and in the audit trail
        #[arg(long)]
        name: String,
        /// How long the key is valid [default: until it is revoked]
        #[arg(long, value_name = "DURATION")]
        expires_in: Option<Span>,
    },
    /// List the API keys, newest first
    List,
    /// Revoke an API key. Its next request is refused
    #[command(after_help = "Example:\n  spsi key revoke erp")]
    Revoke {
        /// Id, name or prefix of the key
        id: String,
    },
    /// Generate new keys for a deployment
    #[command(after_help = "Example:\n  spsi key generate >> /etc/spsi.env")]
    Generate,
    /// Add new keys in front of those in the environment. The old keys still decrypt and verify
    #[command(
        after_help = "Set the new values in the environment of every replica, and restart the replicas one by one.
After SPSI_TOKEN_TTL, remove the old token key. After `spsi key reseal`, remove the old encryption key."
    )]
    Rotate,
    /// Encrypt the stored ezyVet credentials and webhook secrets with the first key, so that the old encryption key can be removed
    #[command(
        after_help = "Run it only after every replica has the new keys: a replica without them cannot decrypt the credentials."
    )]
    Reseal,
}

/// Runs a command that needs the database.
pub async fn run_with_database(command: Command, context: &Context, output: Output) -> anyhow::Result<()> {
    let (now, actor) = (context.clock.now(), context.actor.as_str());
    match command {
        Command::Add { role, name, expires_in } => {
            let life = expires_in.map(|span| span.0);
            let issued = in_transaction(&context.pool, async |connection| {
                api_keys::add(connection, now, actor, &name, role, life).await
            });
            let issued = issued.await?;
            output.record(&issued)?;
            note("Store the key now: it is not shown again.");
            Ok(())
        }
        Command::List => {
            let columns = ["id", "name", "role", "state", "prefix", "created_at", "expires_at", "last_used_at"];
            output.list(&columns, &api_keys::list(&context.pool, now).await?)
        }
        Command::Revoke { id } => {
            let revoked =
                in_transaction(&context.pool, async |connection| api_keys::revoke(connection, now, actor, &id).await);
            output.record(&revoked.await?)
        }
        Command::Reseal => {
            let (pool, keys) = (&context.pool, context.encryption_keys()?);
            let resealed = sites::reseal(pool, keys).await? + webhooks::reseal(pool, keys).await?;
            output.record(&json!({ "resealed": resealed }))
        }
        Command::Generate | Command::Rotate => run(command, output),
    }
}

/// Runs a command that needs no database.
pub fn run(command: Command, output: Output) -> anyhow::Result<()> {
    let (encryption, token) = match command {
        Command::Generate => (KeyRing::generate()?, KeyRing::generate()?),
        _ => {
            let settings = Settings::from_environment()?.database;
            let rotate = |keys: Option<KeyRing>, variable: &str| {
                let unset = || format!("{variable} is not set; `spsi key generate` makes the first keys");
                anyhow::Ok(keys.with_context(unset)?.rotated()?)
            };
            (rotate(settings.encryption_keys, "SPSI_ENCRYPTION_KEYS")?, rotate(settings.token_keys, "SPSI_TOKEN_KEYS")?)
        }
    };
    let (encryption, token) = (encryption.expose(), token.expose());
    let (encryption, token) = (encryption.expose(), token.expose());
    match output {
        Output::Table => print(format_args!("SPSI_ENCRYPTION_KEYS={encryption}\nSPSI_TOKEN_KEYS={token}")),
        _ => output.record(&json!({ "SPSI_ENCRYPTION_KEYS": encryption, "SPSI_TOKEN_KEYS": token })),
    }
}

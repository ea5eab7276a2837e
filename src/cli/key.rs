//! `spsi key`: keys for the environment. They are printed, never stored.

use super::output::Output;
use crate::clinics::sites;
use crate::config::Settings;
use crate::secret::{KeyRing, Plain};
use anyhow::Context;
use serde::Serialize;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Makes new keys for a deployment.
    #[command(after_help = "Example:\n  spsi key generate >> /etc/spsi.env")]
    Generate,
    /// Puts new keys in front of those in the environment; the old ones still open what they sealed and signed.
    #[command(
        after_help = "Put the new values in the environment of every replica and restart them one by one. Drop the old token key after
SPSI_TOKEN_TTL."
    )]
    Rotate,
    /// Seals ezyVet's credentials anew under the active key; after that the old encryption key can go.
    #[command(
        after_help = "Run it when every replica has the rotated keys: one that lacks the new key cannot read what it seals."
    )]
    Reseal,
}

#[derive(Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
struct Keys {
    spsi_encryption_keys: String,
    spsi_token_keys: String,
}

pub async fn run(command: Command, output: Output) -> anyhow::Result<()> {
    let (encryption, token) = match command {
        Command::Reseal => return reseal(output).await,
        Command::Generate => (KeyRing::generate()?, KeyRing::generate()?),
        Command::Rotate => {
            let settings = Settings::from_environment()?.database;
            let encryption =
                settings.encryption_keys.context("SPSI_ENCRYPTION_KEYS is not set: there is nothing to rotate")?;
            let token = settings.token_keys.context("SPSI_TOKEN_KEYS is not set: there is nothing to rotate")?;
            (encryption.rotated()?, token.rotated()?)
        }
    };
    let text = |keys: Plain| keys.expose().to_owned();
    let keys = Keys { spsi_encryption_keys: text(encryption.expose()), spsi_token_keys: text(token.expose()) };
    match output {
        Output::Table => {
            println!("SPSI_ENCRYPTION_KEYS={}\nSPSI_TOKEN_KEYS={}", keys.spsi_encryption_keys, keys.spsi_token_keys);
            Ok(())
        }
        _ => output.record(&keys),
    }
}

#[derive(Serialize)]
struct Resealed {
    resealed: u64,
}

async fn reseal(output: Output) -> anyhow::Result<()> {
    let context = super::open().await?;
    let done = sites::reseal(&context.pool, context.encryption_keys()?).await;
    context.close().await?;
    output.record(&Resealed { resealed: done? })
}

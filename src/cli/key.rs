//! `spsi key`: keys for the environment. They are printed and never stored.

use super::output::{Output, print};
use crate::clinics::sites;
use crate::config::Settings;
use crate::secret::{KeyRing, Plain};
use anyhow::Context;
use serde::Serialize;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Generate new keys for a deployment
    #[command(after_help = "Example:\n  spsi key generate >> /etc/spsi.env")]
    Generate,
    /// Add new keys in front of those in the environment. The old keys still decrypt and verify
    #[command(
        after_help = "Set the new values in the environment of every replica, and restart the replicas one by one.
After SPSI_TOKEN_TTL, remove the old token key. After `spsi key reseal`, remove the old encryption key."
    )]
    Rotate,
    /// Encrypt the stored ezyVet credentials with the first key, so that the old encryption key can be removed
    #[command(
        after_help = "Run it only after every replica has the new keys: a replica without them cannot decrypt the credentials."
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
            let encryption = settings
                .encryption_keys
                .context("SPSI_ENCRYPTION_KEYS is not set; `spsi key generate` makes the first keys")?;
            let token =
                settings.token_keys.context("SPSI_TOKEN_KEYS is not set; `spsi key generate` makes the first keys")?;
            (encryption.rotated()?, token.rotated()?)
        }
    };
    let text = |keys: Plain| keys.expose().to_owned();
    let keys = Keys { spsi_encryption_keys: text(encryption.expose()), spsi_token_keys: text(token.expose()) };
    match output {
        Output::Table => print(format_args!(
            "SPSI_ENCRYPTION_KEYS={}\nSPSI_TOKEN_KEYS={}",
            keys.spsi_encryption_keys, keys.spsi_token_keys
        )),
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

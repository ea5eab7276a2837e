//! `spsi key`: keys for the environment. They are printed, never stored.

use super::output::Output;
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
}

#[derive(Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
struct Keys {
    spsi_encryption_keys: String,
    spsi_token_keys: String,
}

pub fn run(command: Command, output: Output) -> anyhow::Result<()> {
    let (encryption, token) = match command {
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

//! `spsi openapi`: the interface as a document.

use crate::http::openapi;
use anyhow::{Context, bail};
use std::path::PathBuf;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Prints the OpenAPI document of the partner half.
    Print,
    /// Fails if a committed document is not the one that this program serves.
    Check {
        #[arg(default_value = "openapi/partner.json")]
        file: PathBuf,
    },
}

pub fn run(command: Command) -> anyhow::Result<()> {
    let text = openapi::partner_text()?;
    match command {
        Command::Print => print!("{text}"),
        Command::Check { file } => {
            let committed =
                std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            if committed != text {
                bail!("{0} is not current; `cargo run -- openapi print > {0}` makes it so", file.display());
            }
            eprintln!("{} is current", file.display());
        }
    }
    Ok(())
}

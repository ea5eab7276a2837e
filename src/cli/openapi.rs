//! `spsi openapi`: the OpenAPI document.

use super::output::{note, write_stdout};
use crate::http::openapi;
use anyhow::{Context, bail};
use std::path::PathBuf;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Print the OpenAPI document of the routes for ezyVet
    Print,
    /// Compare a file with the document of this program; fail if they differ
    Check {
        /// File to compare
        #[arg(default_value = "openapi/partner.json")]
        file: PathBuf,
    },
}

pub fn run(command: Command) -> anyhow::Result<()> {
    let text = openapi::partner_text()?;
    match command {
        Command::Print => write_stdout(|out| out.write_all(text.as_bytes()))?,
        Command::Check { file } => {
            let committed =
                std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            if committed != text {
                bail!("{0} is out of date; run `cargo run -- openapi print > {0}`", file.display());
            }
            note(format_args!("{} is up to date", file.display()));
        }
    }
    Ok(())
}

//! `spsi openapi`: the OpenAPI documents.

use super::output::{note, write_stdout};
use crate::{http, staff};
use anyhow::{Context, bail};
use std::path::PathBuf;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Print the OpenAPI document of the routes for ezyVet, or of the staff API
    Print {
        /// The staff API, /staff/v1
        #[arg(long)]
        staff: bool,
    },
    /// Compare a file with the document of this program; fail if they differ
    Check {
        /// The staff API, /staff/v1
        #[arg(long)]
        staff: bool,
        /// File to compare [default: openapi/partner.json, with --staff openapi/staff.json]
        file: Option<PathBuf>,
    },
}

pub fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Print { staff } => {
            let text = document(staff)?;
            write_stdout(|out| out.write_all(text.as_bytes()))
        }
        Command::Check { staff, file } => {
            let (default, flag) = if staff { ("openapi/staff.json", " --staff") } else { ("openapi/partner.json", "") };
            let file = file.unwrap_or_else(|| default.into());
            let committed =
                std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            if committed != document(staff)? {
                bail!("{0} is out of date; run `cargo run -- openapi print{flag} > {0}`", file.display());
            }
            note(format_args!("{} is up to date", file.display()));
            Ok(())
        }
    }
}

fn document(staff: bool) -> serde_json::Result<String> {
    if staff { staff::openapi::staff_text() } else { http::openapi::partner_text() }
}

//! `spsi demo`: a whole order on this machine.

use crate::config::Settings;
use crate::{demo, telemetry};
use std::path::PathBuf;

/// Play a whole order on this machine: private Postgres, example catalogue, server, worker and a simulated ezyVet
#[derive(clap::Args)]
#[command(after_help = "Examples:
  spsi demo                        (plays the order, prints URLs and credentials, and stays up)
  spsi demo --once                 (exits after the last step: 0 on success, 1 if a step failed)
  spsi demo --products mine.csv    (with your own catalogue)")]
pub struct Demo {
    /// Exit after the last step
    #[arg(long)]
    once: bool,
    /// CSV file with a catalogue that replaces the built-in example
    #[arg(long, value_name = "FILE")]
    products: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

pub async fn run(command: Demo, actor: Option<String>) -> anyhow::Result<()> {
    // The log would interrupt the story, which goes to the same terminal.
    let filter = if std::env::var_os("SPSI_LOG").is_some() { command.settings.log.as_str() } else { "error" };
    telemetry::start_logs(filter, &command.settings.log_format)?;
    let options = demo::Options { once: command.once, products: command.products, actor };
    demo::run(command.settings, options).await
}

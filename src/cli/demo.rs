//! `spsi demo`.

use crate::config::Settings;
use crate::{demo, telemetry};
use std::path::PathBuf;

/// Plays the whole story on this machine: private Postgres, example catalogue, server, worker and a simulated ezyVet.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  spsi demo                        plays the story, prints URLs and credentials, and stays up\n  spsi demo --once                 ends after the story: exit 0, or 1 with the reason\n  spsi demo --products mine.csv    with your own catalogue"
)]
pub struct Demo {
    /// End after the story
    #[arg(long)]
    once: bool,
    /// A catalogue in place of the built-in one
    #[arg(long, value_name = "FILE")]
    products: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

pub async fn run(command: Demo) -> anyhow::Result<()> {
    // The story is told on standard output; the log would talk in between.
    let filter = if std::env::var_os("SPSI_LOG").is_some() { command.settings.log.as_str() } else { "error" };
    telemetry::start_logs(filter, &command.settings.log_format)?;
    demo::run(command.settings, demo::Options { once: command.once, products: command.products }).await
}

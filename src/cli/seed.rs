//! `spsi seed`.

use super::output::Output;
use crate::app::Context;
use crate::seed;
use std::path::PathBuf;

/// Loads an example catalogue, price lists and clinics. May be run again: what is there stays, what changed is updated.
#[derive(clap::Args)]
pub struct Seed {
    /// A folder like `seed/` of the source; the built-in one if there is none
    folder: Option<PathBuf>,
}

pub async fn run(command: Seed, context: &Context, output: Output) -> anyhow::Result<()> {
    let files = seed::Files::open(command.folder.as_deref())?;
    let summary = seed::load(context, files, false).await?;
    if output == Output::Table {
        eprintln!(
            "{} products; prices and stock are examples (seed/README.md). Secrets of new clinics are shown this once:",
            summary.products
        );
    }
    output.list(&["id", "name", "client_id", "client_secret", "price_list"], &summary.clinics)
}

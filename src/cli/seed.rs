//! `spsi seed`: the example data.

use super::output::{Output, note};
use crate::app::Context;
use crate::seed;
use std::path::PathBuf;

/// Load the example catalogue, price lists and clinics
///
/// A second run updates the catalogue and keeps the clinics.
#[derive(clap::Args)]
pub struct Seed {
    /// Folder with products.csv, price_lists.csv, clinics.csv and prices.csv [default: the built-in example]
    folder: Option<PathBuf>,
}

pub async fn run(command: Seed, context: &Context, output: Output) -> anyhow::Result<()> {
    let files = seed::Files::open(command.folder.as_deref())?;
    let summary = seed::load(context, files, false).await?;
    if output == Output::Table {
        let products = summary.products;
        note(format_args!("{products} products loaded; prices and stock are examples (see seed/README.md)"));
        note("client secrets of new clinics are shown only once:");
    }
    output.list(&["id", "name", "client_id", "client_secret", "price_list"], &summary.clinics)
}

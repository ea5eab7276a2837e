//! `spsi invoice`: the invoices of shipments.

use super::export::{self, ExportArgs};
use super::output::Output;
use crate::app::Context;
use crate::exports::Rows;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Write invoices as CSV or JSON lines, one row per invoice line
    #[command(
        after_help = "Examples:\n  spsi invoice export > invoices.csv\n  spsi invoice export --format jsonl --cursor-file invoices.cursor"
    )]
    Export(ExportArgs),
}

pub async fn run(command: Command, context: &Context, output: Output) -> anyhow::Result<()> {
    match command {
        Command::Export(arguments) => export::run(context, output, Rows::Invoices, &arguments).await,
    }
}

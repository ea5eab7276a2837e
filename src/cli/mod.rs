//! The command line: `spsi NOUN VERB`. Data on standard output, logs on standard error; exit 0 good, 1 refused or
//! failed, 2 wrong usage (DESIGN.md 3).

mod clinic;
pub mod output;

use crate::app::Context;
use output::Output;
use std::process::ExitCode;

/// The supplier's side of ezyVet's Standard Product Supplier Integration.
#[derive(clap::Parser)]
#[command(name = "spsi", version, about, max_term_width = 110)]
#[command(
    after_help = "Start here: `spsi demo` plays the whole story on this machine; `spsi doctor` checks your own set-up."
)]
struct Arguments {
    /// How lists and records are printed
    #[arg(long, global = true, value_enum, default_value_t, env = "SPSI_OUTPUT", hide_env_values = true)]
    output: Output,
    #[command(subcommand)]
    noun: Noun,
}

#[derive(clap::Subcommand)]
enum Noun {
    /// Clinics: who may order, at which prices, what they see
    #[command(subcommand)]
    Clinic(clinic::Command),
}

/// Runs the command line and tells how it ended.
pub fn run() -> ExitCode {
    ExitCode::SUCCESS
}

//! The command line: `spsi NOUN VERB`. Data goes to standard output, logs and notes to standard error. The exit code is 0 on
//! success, 1 if the command failed or was refused, 2 on wrong usage (DESIGN.md 3).

#![deny(clippy::print_stdout, clippy::print_stderr)]

mod audit;
mod catalog;
mod clinic;
mod database;
mod delivery;
mod doctor;
mod event;
mod export;
mod invoice;
mod key;
mod openapi;
mod order;
pub mod output;
mod seed;
mod serve;
mod shipment;
mod site;
mod webhook;

use crate::app::{Context, Hint, actor};
use crate::config::Settings;
use crate::{demo, sandbox, telemetry};
use clap::{CommandFactory, FromArgMatches, Parser};
use output::{Output, note};
use std::process::ExitCode;

/// The supplier's side of ezyVet's Standard Product Supplier Integration (SPSI)
#[derive(Parser)]
#[command(name = "spsi", version, about, max_term_width = 110)]
#[command(after_help = "Start with `spsi demo`, which plays a whole order on this machine.
`spsi doctor` checks your own set-up.
Settings come from environment variables; `spsi serve --help` lists them with their defaults.")]
struct Arguments {
    /// Format of lists and records
    #[arg(long, global = true, value_enum, default_value_t, env = "SPSI_OUTPUT", help_heading = "Global options")]
    output: Output,
    /// Name to record in the audit trail [default: your login name and this host]
    #[arg(long, global = true, value_name = "NAME", env = "SPSI_ACTOR", help_heading = "Global options")]
    actor: Option<String>,
    #[command(subcommand)]
    noun: Noun,
}

#[derive(clap::Subcommand)]
enum Noun {
    /// Run the server and the delivery worker
    Serve(Box<serve::Serve>),
    /// Play a whole order on this machine, with a simulated ezyVet
    Demo(Box<demo::Options>),
    /// Database schema: migrate, check, run a command with DATABASE_URL
    #[command(subcommand)]
    Db(database::Command),
    /// Load the example catalogue, price lists and clinics
    Seed(seed::Seed),
    /// Products and prices: import, list, export
    #[command(subcommand)]
    Catalog(catalog::Command),
    /// Clinics that order: credentials, prices, visible products
    #[command(subcommand)]
    Clinic(clinic::Command),
    /// ezyVet sites that receive invoices and stock movements
    #[command(subcommand)]
    Site(site::Command),
    /// Purchase orders: list, accept, decline, cancel
    #[command(subcommand)]
    Order(order::Command),
    /// Shipments of ordered goods
    #[command(subcommand)]
    Shipment(shipment::Command),
    /// Invoices of shipments
    #[command(subcommand)]
    Invoice(invoice::Command),
    /// Invoices and stock movements on their way to ezyVet
    #[command(subcommand)]
    Delivery(delivery::Command),
    /// Events: what happened, for the supplier's own systems
    #[command(subcommand)]
    Event(event::Command),
    /// Webhooks: calls that bring events to the supplier's own systems
    #[command(subcommand)]
    Webhook(webhook::Command),
    /// Audit trail: who did what, when and why
    #[command(subcommand)]
    Audit(audit::Command),
    /// Run a simulated ezyVet site, for trials and tests
    Sandbox(Box<sandbox::Options>),
    /// Show the effective configuration and check the set-up
    Doctor,
    /// OpenAPI document of the HTTP interface
    #[command(subcommand)]
    Openapi(openapi::Command),
    /// API keys of the supplier's systems; keys that encrypt credentials and sign tokens
    #[command(subcommand)]
    Key(key::Command),
}

/// Returns the declared command line. Its help never shows the values of environment variables, because some are secrets.
pub fn command() -> clap::Command {
    let hide_value = |argument: clap::Arg| argument.hide_env_values(true);
    Arguments::command().mut_args(hide_value).mut_subcommands(move |noun| noun.mut_args(hide_value))
}

/// Runs the command line and returns its exit code.
pub fn run() -> ExitCode {
    let arguments = match command().try_get_matches().and_then(|matches| Arguments::from_arg_matches(&matches)) {
        Ok(arguments) => arguments,
        Err(error) => return print_usage(&error),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return print_failure(&error.into()),
    };
    match runtime.block_on(dispatch(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => match error.downcast::<clap::Error>() {
            Ok(usage) => print_usage(&usage),
            Err(error) => print_failure(&error),
        },
    }
}

/// Prints help on standard output, or wrong usage on standard error. A closed pipe is ignored.
fn print_usage(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { 2 } else { 0 })
}

/// Prints the chain of causes, then the hint.
fn print_failure(error: &anyhow::Error) -> ExitCode {
    let hint = error.downcast_ref::<Hint>().map(ToString::to_string);
    let causes = error.chain().map(ToString::to_string).filter(|text| Some(text) != hint.as_ref());
    note(format_args!("error: {}", causes.collect::<Vec<_>>().join(": ")));
    if let Some(hint) = hint {
        note(format_args!("hint: {hint}"));
    }
    ExitCode::FAILURE
}

async fn dispatch(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { output, actor, noun } = arguments;
    match noun {
        Noun::Serve(command) => serve::run(*command).await,
        Noun::Demo(options) => {
            // Any more would interrupt the story, which goes to the same terminal.
            start_logs(&options.settings, "error")?;
            demo::run(*options, actor.as_deref()).await
        }
        Noun::Key(command @ (key::Command::Generate | key::Command::Rotate)) => key::run(command, output),
        Noun::Openapi(command) => openapi::run(command),
        Noun::Doctor => doctor::run(output).await,
        Noun::Sandbox(options) => {
            telemetry::start_logs("info,actix_server=warn", "text")?;
            sandbox::run(*options).await
        }
        Noun::Db(command) => database::run(command, output).await,
        noun => {
            let mut context = open().await?;
            context.actor = actor::command_line(actor.as_deref());
            let done = run_with_database(noun, &context, output).await;
            let closed = context.close().await;
            done.and(closed)
        }
    }
}

/// Only warnings. Those of sqlx are left out, because a first command applies the migrations, and sqlx would report each slow
/// statement of theirs.
const WARNINGS: &str = "warn,sqlx=error";

/// Starts the logs with a filter, unless `SPSI_LOG` names another.
fn start_logs(settings: &Settings, filter: &str) -> anyhow::Result<()> {
    let filter = if std::env::var_os("SPSI_LOG").is_some() { &settings.log } else { filter };
    telemetry::start_logs(filter, &settings.log_format)
}

/// Opens the database with the settings of the environment, and applies missing migrations.
async fn open() -> anyhow::Result<Context> {
    let settings = Settings::from_environment()?;
    start_logs(&settings, WARNINGS)?;
    if settings.database.database_url.is_none() {
        note("(DATABASE_URL is not set: using the private Postgres)");
    }
    Context::open(settings).await
}

async fn run_with_database(noun: Noun, context: &Context, output: Output) -> anyhow::Result<()> {
    match noun {
        Noun::Seed(command) => seed::run(command, context, output).await,
        Noun::Catalog(command) => catalog::run(command, context, output).await,
        Noun::Clinic(command) => clinic::run(command, context, output).await,
        Noun::Site(command) => site::run(command, context, output).await,
        Noun::Order(command) => order::run(command, context, output).await,
        Noun::Shipment(command) => shipment::run(command, context, output).await,
        Noun::Invoice(command) => invoice::run(command, context, output).await,
        Noun::Delivery(command) => delivery::run(command, context, output).await,
        Noun::Event(command) => event::run(command, context, output).await,
        Noun::Webhook(command) => webhook::run(command, context, output).await,
        Noun::Audit(command) => audit::run(command, context, output).await,
        Noun::Key(command) => key::run_with_database(command, context, output).await,
        Noun::Serve(_) | Noun::Demo(_) | Noun::Db(_) | Noun::Openapi(_) | Noun::Doctor | Noun::Sandbox(_) => Ok(()),
    }
}

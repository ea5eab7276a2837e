//! The command line: `spsi NOUN VERB`. Data on standard output, logs on standard error; exit 0 good, 1 refused or
//! failed, 2 wrong usage (DESIGN.md 3).

mod audit;
mod catalog;
mod clinic;
mod database;
mod delivery;
mod demo;
mod doctor;
mod key;
mod openapi;
mod order;
pub mod output;
mod seed;
mod serve;
mod shipment;
mod site;

use crate::app::{Context, Hint};
use crate::config::Settings;
use crate::{sandbox, telemetry};
use clap::{CommandFactory, FromArgMatches, Parser};
use output::Output;
use std::process::ExitCode;

/// The supplier's side of ezyVet's Standard Product Supplier Integration.
#[derive(Parser)]
#[command(name = "spsi", version, about, max_term_width = 110)]
#[command(
    after_help = "Start here: `spsi demo` plays the whole story on this machine; `spsi doctor` checks your own set-up.
Settings come from the environment; `spsi serve --help` lists every one with its default."
)]
struct Arguments {
    /// How lists and records are printed
    #[arg(long, global = true, value_enum, default_value_t, env = "SPSI_OUTPUT")]
    output: Output,
    #[command(subcommand)]
    noun: Noun,
}

#[derive(clap::Subcommand)]
enum Noun {
    /// Serves ezyVet and delivers to it
    Serve(Box<serve::Serve>),
    /// Plays the whole story on this machine
    Demo(Box<demo::Demo>),
    /// The database's schema
    #[command(subcommand)]
    Db(database::Command),
    /// Loads an example catalogue, price lists and clinics
    Seed(seed::Seed),
    /// What is for sale: import, list, export
    #[command(subcommand)]
    Catalog(catalog::Command),
    /// Clinics: who may order, at which prices, what they see
    #[command(subcommand)]
    Clinic(clinic::Command),
    /// Sites: the ezyVet databases that we call
    #[command(subcommand)]
    Site(site::Command),
    /// Purchase orders
    #[command(subcommand)]
    Order(order::Command),
    /// Shipments: goods that leave for a clinic
    #[command(subcommand)]
    Shipment(shipment::Command),
    /// Deliveries: the calls that ezyVet must get
    #[command(subcommand)]
    Delivery(delivery::Command),
    /// Who did what, when, why
    #[command(subcommand)]
    Audit(audit::Command),
    /// Simulates an ezyVet site, for trying and testing
    Sandbox(Box<sandbox::Options>),
    /// Shows the effective configuration, and says what to do about each problem
    Doctor,
    /// The interface as an OpenAPI document
    #[command(subcommand)]
    Openapi(openapi::Command),
    /// Keys for SPSI_ENCRYPTION_KEYS and SPSI_TOKEN_KEYS
    #[command(subcommand)]
    Key(key::Command),
}

/// The declared command line. Its help never shows the values of environment variables, because some are secrets.
fn command() -> clap::Command {
    let hide_value = |argument: clap::Arg| argument.hide_env_values(true);
    Arguments::command().mut_args(hide_value).mut_subcommands(move |noun| noun.mut_args(hide_value))
}

/// Runs the command line and tells how it ended.
pub fn run() -> ExitCode {
    let arguments = match command().try_get_matches().and_then(|matches| Arguments::from_arg_matches(&matches)) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Prints usage to standard error, or help to standard output; nothing is left to be done if that fails.
            let _ = error.print();
            return ExitCode::from(error.exit_code().clamp(0, 2) as u8);
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.into()),
    };
    match runtime.block_on(dispatch(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => match error.downcast::<clap::Error>() {
            Ok(usage) => {
                let _ = usage.print();
                ExitCode::from(2)
            }
            Err(error) => failed(&error),
        },
    }
}

/// The chain of causes, then the hint.
fn failed(error: &anyhow::Error) -> ExitCode {
    let hint = error.downcast_ref::<Hint>().map(ToString::to_string);
    let causes = error.chain().map(ToString::to_string).filter(|text| Some(text) != hint.as_ref());
    eprintln!("error: {}", causes.collect::<Vec<_>>().join(": "));
    if let Some(hint) = hint {
        eprintln!("hint: {hint}");
    }
    ExitCode::FAILURE
}

async fn dispatch(arguments: Arguments) -> anyhow::Result<()> {
    let output = arguments.output;
    match arguments.noun {
        Noun::Serve(command) => serve::run(*command).await,
        Noun::Demo(command) => demo::run(*command).await,
        Noun::Key(command) => key::run(command, output).await,
        Noun::Openapi(command) => openapi::run(command),
        Noun::Doctor => doctor::run(output).await,
        Noun::Sandbox(options) => {
            telemetry::start_logs("info,actix_server=warn", "text")?;
            sandbox::run(*options).await
        }
        Noun::Db(command) => database::run(command, output).await,
        noun => {
            let context = open().await?;
            let done = with_database(noun, &context, output).await;
            let closed = context.close().await;
            done.and(closed)
        }
    }
}

/// The context of a command: settings from the environment, quiet logs.
async fn open() -> anyhow::Result<Context> {
    let settings = Settings::from_environment()?;
    let filter = if std::env::var_os("SPSI_LOG").is_some() { settings.log.as_str() } else { "warn" };
    telemetry::start_logs(filter, &settings.log_format)?;
    if settings.database.database_url.is_none() {
        eprintln!("(no DATABASE_URL: using the private Postgres)");
    }
    Context::open(settings).await
}

async fn with_database(noun: Noun, context: &Context, output: Output) -> anyhow::Result<()> {
    match noun {
        Noun::Seed(command) => seed::run(command, context, output).await,
        Noun::Catalog(command) => catalog::run(command, context, output).await,
        Noun::Clinic(command) => clinic::run(command, context, output).await,
        Noun::Site(command) => site::run(command, context, output).await,
        Noun::Order(command) => order::run(command, context, output).await,
        Noun::Shipment(command) => shipment::run(command, context, output).await,
        Noun::Delivery(command) => delivery::run(command, context, output).await,
        Noun::Audit(command) => audit::run(command, context, output).await,
        Noun::Serve(_)
        | Noun::Demo(_)
        | Noun::Key(_)
        | Noun::Db(_)
        | Noun::Openapi(_)
        | Noun::Doctor
        | Noun::Sandbox(_) => Ok(()),
    }
}

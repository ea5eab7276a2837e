//! `spsi db`: the schema, and a way to the private Postgres.

use super::output::Output;
use crate::app::Context;
use crate::config::Settings;
use crate::{db, telemetry};
use anyhow::{Context as _, bail};
use std::ffi::OsString;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Applies the migrations that are missing.
    Migrate,
    /// Lists the migrations, and whether each is applied.
    Status,
    /// Runs a command with DATABASE_URL set to the database in use, the private Postgres included.
    #[command(after_help = "Example:\n  spsi db run -- sh -c 'psql \"$DATABASE_URL\"'")]
    Run {
        #[arg(required = true, trailing_var_arg = true)]
        command: Vec<OsString>,
    },
}

pub async fn run(command: Command, output: Output) -> anyhow::Result<()> {
    let settings = Settings::from_environment()?;
    telemetry::start_logs("warn", &settings.log_format)?;
    let context = Context::open_unmigrated(settings).await?;
    let done = run_with(command, &context, output).await;
    let closed = context.close().await;
    done.and(closed)
}

async fn run_with(command: Command, context: &Context, output: Output) -> anyhow::Result<()> {
    match command {
        Command::Migrate => {
            db::migrate(&context.pool).await?;
            output.list(&["id", "description", "state"], &db::migrations(&context.pool).await?)
        }
        Command::Status => output.list(&["id", "description", "state"], &db::migrations(&context.pool).await?),
        Command::Run { command } => {
            let url = context.embedded.as_ref().map(|embedded| embedded.url().to_owned());
            let url = url.or_else(|| context.settings.database.database_url.clone()).unwrap_or_default();
            let Some((program, arguments)) = command.split_first() else { bail!("no command") };
            let mut child = tokio::process::Command::new(program);
            let status = child.args(arguments).env("DATABASE_URL", url).status().await;
            let status = status.with_context(|| format!("cannot run {}", program.display()))?;
            if status.success() { Ok(()) } else { bail!("{} ended with {status}", program.display()) }
        }
    }
}

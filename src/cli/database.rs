//! `spsi db`: the schema, and access to the private Postgres.

use super::output::Output;
use crate::app::Context;
use crate::config::Settings;
use crate::db;
use anyhow::{Context as _, bail};
use std::ffi::OsString;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Apply the missing migrations
    Migrate,
    /// List the migrations with their state
    Status,
    /// Run a command with DATABASE_URL set to the database in use. The private Postgres is started for it
    #[command(after_help = "Example:\n  spsi db run -- sh -c 'psql \"$DATABASE_URL\"'")]
    Run {
        /// Program and arguments
        #[arg(required = true, trailing_var_arg = true)]
        command: Vec<OsString>,
    },
}

pub async fn run(command: Command, output: Output) -> anyhow::Result<()> {
    let settings = Settings::from_environment()?;
    super::start_logs(&settings, super::WARNINGS)?;
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
            let Some((program, arguments)) = command.split_first() else {
                bail!("no command to run; write it after `--`")
            };
            let mut child = tokio::process::Command::new(program);
            let status = child.args(arguments).env("DATABASE_URL", url).status().await;
            let status = status.with_context(|| format!("cannot run `{}`", program.display()))?;
            if status.success() { Ok(()) } else { bail!("`{}` failed: {status}", program.display()) }
        }
    }
}

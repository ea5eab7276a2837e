//! `spsi serve`: the server and the delivery worker.

use crate::app::{Context, Hint, Role};
use crate::config::Settings;
use crate::{shutdown, telemetry};
use anyhow::Context as _;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::net::TcpListener;

/// Run the server and the delivery worker until SIGTERM or Ctrl-C
#[derive(clap::Args)]
#[command(
    after_help = "Every setting is a flag and an environment variable. Durations are written 500ms, 30s, 15m, 8h or 90d.
Without DATABASE_URL, the server starts a private Postgres in SPSI_DATA_DIR, for trials only.
Production needs a managed Postgres server, and keys from `spsi key generate`.

Examples:
  spsi serve
  DATABASE_URL=postgres://spsi@db/spsi spsi serve --role api --bind 0.0.0.0:8080"
)]
pub struct Serve {
    /// Work of this process. Health checks are served in every role
    #[arg(long, value_enum, default_value_t, env = "SPSI_ROLE")]
    role: Role,
    #[command(flatten)]
    settings: Settings,
}

pub async fn run(command: Serve) -> anyhow::Result<()> {
    let settings = command.settings;
    telemetry::start_logs(&settings.log, &settings.log_format)?;
    raise_open_files();
    let listener = listen(&settings)?;
    if settings.database.database_url.is_none() {
        tracing::warn!(
            "DATABASE_URL is not set: starting the private Postgres, which is for trials only; production needs a managed server"
        );
    }
    let context = Context::open(settings).await?;
    let (trigger, shutdown) = shutdown::channel();
    tokio::spawn(async move {
        shutdown::signal().await;
        tracing::info!("shutting down");
        trigger.pull();
    });
    let served = context.serve(command.role, listener, shutdown).await;
    let closed = context.close().await;
    served.and(closed)
}

/// Raises the limit of open files as far as the system permits: each connection to a clinic, a webhook or Postgres is one,
/// and many systems start a process with 1,024.
fn raise_open_files() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, highest)| setrlimit(Resource::RLIMIT_NOFILE, highest, highest));
    if let Err(error) = raised {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}

/// Binds the address before anything else starts, so that a second server fails at once.
fn listen(settings: &Settings) -> anyhow::Result<TcpListener> {
    let address = settings.server.bind;
    let listener = TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"));
    listener
        .map_err(|error| Hint::on(error, "choose another address with `--bind` or SPSI_BIND; port 0 takes a free port"))
}

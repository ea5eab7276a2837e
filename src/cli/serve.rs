//! `spsi serve`: the server and the delivery worker.

use crate::app::{Context, Role};
use crate::config::Settings;
use crate::{shutdown, telemetry};
use anyhow::Context as _;
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

/// Binds the address before anything else starts, so that a second server fails at once.
pub fn listen(settings: &Settings) -> anyhow::Result<TcpListener> {
    let address = settings.server.bind;
    let listener = TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"));
    listener.map_err(|error| {
        error.context(crate::app::Hint(
            "choose another address with `--bind` or SPSI_BIND; port 0 takes a free port".into(),
        ))
    })
}

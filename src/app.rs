//! The composition root: builds and connects the parts of the program from its settings.

use crate::auth::Auth;
use crate::catalog::Catalog;
use crate::clinics::cache::ClinicCache;
use crate::clock::Clock;
use crate::config::Settings;
use crate::db::Pool;
use crate::delivery::Worker;
use crate::http::{self, Services};
use crate::orders::hook::OrderHook;
use crate::orders::intake::Intake;
use crate::orders::overdue;
use crate::postgres::{self, Embedded};
use crate::refresh::Refresher;
use crate::secret::KeyRing;
use crate::shutdown::Shutdown;
use crate::staff::Staff;
use crate::webhooks::Dispatcher;
use crate::{db, telemetry, webhooks};
use anyhow::Context as _;
use std::net::TcpListener;

pub mod actor;
mod keys;

/// Advice on an error. The command line prints it after the error as `hint:`.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Hint(String);

impl Hint {
    /// Attaches the advice to an error.
    pub fn on(error: impl Into<anyhow::Error>, advice: impl Into<String>) -> anyhow::Error {
        error.into().context(Self(advice.into()))
    }
}

/// The work of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// Serves requests, and sends deliveries and webhooks.
    #[default]
    All,
    /// Serves requests.
    Api,
    /// Sends deliveries to ezyVet, and webhooks.
    Worker,
}

/// Everything that the commands share.
pub struct Context {
    pub settings: Settings,
    pub pool: Pool,
    keys: keys::Keys,
    pub clock: Clock,
    /// The person or program behind the command, for the audit trail: `cli:anna@warehouse-1`.
    pub actor: String,
    /// The private Postgres, if DATABASE_URL is not set.
    pub embedded: Option<Embedded>,
}

impl Context {
    /// Opens the database, applies missing migrations, and loads the keys. Starts the private Postgres if DATABASE_URL is not
    /// set.
    pub async fn open(settings: Settings) -> anyhow::Result<Self> {
        let context = Self::open_unmigrated(settings).await?;
        db::migrate(&context.pool).await.context("cannot apply the missing migrations")?;
        Ok(context)
    }

    /// Does the same as [`Context::open`], without migrations.
    pub async fn open_unmigrated(settings: Settings) -> anyhow::Result<Self> {
        let settings = settings.checked()?;
        let (url, embedded) = match &settings.database.database_url {
            Some(url) => (url.clone(), None),
            None => {
                let embedded = postgres::start(&embedded_settings(&settings)).await?;
                tracing::info!("no DATABASE_URL: using the private Postgres in {}", embedded.data_dir().display());
                (embedded.url().to_owned(), Some(embedded))
            }
        };
        let pool = Pool::new(&url, &settings.database).context("DATABASE_URL is not a Postgres URL")?;
        let keys = keys::find(&settings.database, embedded.as_ref())?;
        let actor = actor::command_line(None);
        Ok(Self { settings, pool, keys, clock: Clock::System, actor, embedded })
    }

    /// Returns the keys that encrypt ezyVet's credentials. Fails if they are not set.
    pub fn encryption_keys(&self) -> anyhow::Result<&KeyRing> {
        self.keys.encryption()
    }

    /// Closes the connections to the database. Stops the private Postgres if no other process uses it.
    pub async fn close(self) -> anyhow::Result<()> {
        self.pool.close().await;
        if let Some(embedded) = self.embedded {
            embedded.stop().await?;
        }
        Ok(())
    }

    /// Runs the parts of a role. Returns when they have finished after the shutdown began.
    pub async fn serve(&self, role: Role, listener: TcpListener, shutdown: Shutdown) -> anyhow::Result<()> {
        telemetry::metrics();
        let worker = async {
            match role {
                Role::Api => Ok(()),
                Role::All | Role::Worker => self.work(shutdown.clone()).await,
            }
        };
        let metrics = async {
            match self.settings.server.metrics_bind.0 {
                None => Ok(()),
                Some(address) => {
                    let listener = TcpListener::bind(address)
                        .with_context(|| format!("SPSI_METRICS_BIND: cannot listen at {address}"))?;
                    Ok(http::serve_metrics(listener, shutdown.clone()).await?)
                }
            }
        };
        let api = self.serve_requests(role, listener, shutdown.clone());
        tokio::try_join!(api, worker, metrics).map(drop)
    }

    async fn serve_requests(&self, role: Role, listener: TcpListener, shutdown: Shutdown) -> anyhow::Result<()> {
        let clinic_cache = ClinicCache::new(self.pool.clone(), self.settings.clinic.clone());
        let catalog = Catalog::new(self.pool.clone());
        let auth = Auth::new(
            clinic_cache.clone(),
            self.keys.token()?.clone(),
            self.settings.tokens.clone(),
            self.clock.clone(),
        )?;
        let refresher = Refresher {
            pool: self.pool.clone(),
            clinic_cache,
            catalog: catalog.clone(),
            clock: self.clock.clone(),
            interval: self.settings.catalog.refresh.0,
        };
        let encryption_keys = self.encryption_keys().ok().cloned();
        let services = Services {
            settings: self.settings.server.clone(),
            // A worker serves only the health checks and metrics of its operator.
            serves_partner: role != Role::Worker,
            pool: self.pool.clone(),
            clock: self.clock.clone(),
            auth,
            intake: Intake::new(self.pool.clone(), catalog.clone()).with_hook(self.order_hook()?),
            catalog,
            staff: Staff::new(self.pool.clone(), self.clock.clone(), self.settings.clone(), encryption_keys),
        };
        // Load clinics and catalogue before the first request, which would otherwise get a 503.
        if let Err(error) = refresher.refresh().await {
            tracing::error!(error = format!("{error:#}"), "cannot read clinics and catalogue yet");
        }
        tracing::info!("listening on http://{}", listener.local_addr()?);
        let refreshing = tokio::spawn(refresher.run(shutdown.clone()));
        let served = http::serve(services, listener, shutdown).await;
        refreshing.abort();
        Ok(served?)
    }

    /// Sends deliveries and webhooks, and decides overdue orders.
    async fn work(&self, shutdown: Shutdown) -> anyhow::Result<()> {
        let (keys, settings) = (self.encryption_keys()?.clone(), &self.settings);
        let worker = Worker::new(self.pool.clone(), keys.clone(), self.clock.clone(), settings)?;
        let dispatcher = Dispatcher::new(self.pool.clone(), keys, self.clock.clone(), settings)?;
        let (poll, defaults) = (settings.worker.worker_poll.0, settings.clinic.clone());
        let overdue = overdue::run(self.pool.clone(), self.clock.clone(), defaults, poll, shutdown.clone());
        tokio::join!(worker.run(shutdown.clone()), dispatcher.run(shutdown), overdue);
        Ok(())
    }

    fn order_hook(&self) -> anyhow::Result<OrderHook> {
        let allow_private = self.settings.webhooks.webhook_allow_private;
        let client =
            webhooks::client::Client::new(allow_private).context("cannot create the client of the order hook")?;
        Ok(OrderHook::new(&self.settings.order_hook, client, allow_private)?)
    }
}

/// Returns the settings of the private Postgres.
pub fn embedded_settings(settings: &Settings) -> postgres::Settings {
    postgres::Settings {
        data_dir: settings.database.data_dir.clone(),
        bin_dir: settings.database.pg_bin_dir.clone(),
        ..postgres::Settings::default()
    }
}

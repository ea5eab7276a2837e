//! A simulated ezyVet site, both halves: the API that a partner calls, and a clinic that calls the partner.
//!
//! The sandbox shares no code with the product: it has its own wire types (written from SPSI.md), clock and random
//! numbers, so that a mistake of the product cannot cancel out. Never connect a real clinic to it.
//!
//! Dependencies point one way. The parts (`order`, `product`, `job`, `invoice`, `inventory`, `token`, `rate`, `faults`,
//! ...) are plain data and pure functions. [`World`] composes them into a site without HTTP. `routes`, `control`, `page`
//! and `clinic` act on the world, and `http` serves them. [`World::finish`] lists the calls that a correct partner would
//! not have made.

mod call_orders;
mod check;
mod clinic;
pub mod clock;
mod control;
mod event;
mod exchange;
pub mod faults;
mod form;
mod http;
mod inventory;
mod invoice;
mod job;
mod lists;
pub mod options;
mod order;
mod page;
mod product;
pub mod rate;
mod routes;
mod run;
mod separation;
mod state;
mod token;
mod wire;
mod world;

#[cfg(test)]
mod tests;

use std::{
    net::TcpListener,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use tokio::task::JoinHandle;

pub use check::Listed;
pub use clinic::{Clinic, Pull};
pub use event::{Event, EventKind};
pub use exchange::{ClinicError, Exchange, Reply};
pub use faults::Fault;
pub use options::Options;
pub use order::{OrderLine, PurchaseOrder};
pub use run::run;
pub use world::World;

/// The supplier's contact id in orders and invoices.
const SUPPLIER_ID: u64 = 10_006;
/// Creation time of the records that precede the sandbox, in epoch seconds.
const LONG_AGO: i64 = 1_700_000_000;
/// Interval of the heartbeat, which approves due jobs.
const HEARTBEAT: Duration = Duration::from_millis(100);
/// The state file is saved at every fifth heartbeat, if something changed.
const BEATS_PER_SAVE: u64 = 5;

/// The world, shared by the server and the clinic. Do not hold its lock across an await.
pub type SharedWorld = Arc<Mutex<World>>;

/// Locks the world, also after a panic of another holder.
fn lock(world: &SharedWorld) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Clone)]
struct Shared {
    world: SharedWorld,
    clock: clock::Clock,
    clinic: Arc<Mutex<Option<Clinic>>>,
    /// Set by [`Sandbox::stop`]: later calls on open connections are cut and change nothing.
    stopped: Arc<AtomicBool>,
}

impl Shared {
    fn clinic(&self) -> Option<Clinic> {
        self.clinic.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A running sandbox.
pub struct Sandbox {
    /// Base URL with the actual port, such as `http://127.0.0.1:8090`.
    pub url: String,
    shared: Shared,
    server: http::ServerHandle,
    heartbeat: JoinHandle<()>,
}

/// Starts a sandbox on the machine's clock.
///
/// # Errors
/// The address is in use or invalid, the state file is unreadable, or some but not all `--partner...` flags are given.
pub async fn start(options: Options) -> anyhow::Result<Sandbox> {
    start_with_clock(options, clock::Clock::Real).await
}

/// Starts a sandbox on the given clock.
///
/// # Errors
/// See [`start`].
pub async fn start_with_clock(options: Options, clock: clock::Clock) -> anyhow::Result<Sandbox> {
    let world = state::load(options.clone())?;
    let shared = Shared { world: Arc::new(Mutex::new(world)), clock, clinic: Arc::default(), stopped: Arc::default() };
    let listener = TcpListener::bind(&options.bind).with_context(|| {
        format!("the sandbox cannot listen on {}; choose another address with `--bind`", options.bind)
    })?;
    let url = format!("http://{}", listener.local_addr()?);
    let server = http::start(listener, shared.clone())?;
    let heartbeat = tokio::spawn(heartbeat(shared.clone()));
    let sandbox = Sandbox { url, shared, server, heartbeat };
    match (&options.partner, &options.partner_client_id, &options.partner_client_secret) {
        (Some(partner), Some(id), Some(secret)) => drop(sandbox.connect(partner, id, secret)?),
        (None, None, None) => {}
        _ => anyhow::bail!("give all of --partner, --partner-client-id and --partner-client-secret, or none of them"),
    }
    Ok(sandbox)
}

/// Advances the world to the current time, and saves changes at most twice a second.
async fn heartbeat(shared: Shared) {
    let mut saved = 0;
    for beat in 0_u64.. {
        tokio::time::sleep(HEARTBEAT).await;
        let now = shared.clock.now();
        lock(&shared.world).tick(now);
        let version = lock(&shared.world).version;
        if beat % BEATS_PER_SAVE == 0 && version != saved {
            saved = version;
            let world = shared.world.clone();
            let outcome = tokio::task::spawn_blocking(move || state::save(&lock(&world))).await;
            if let Ok(Err(error)) = outcome {
                tracing::error!("{error:#}");
            }
        }
    }
}

impl Sandbox {
    /// Connects the clinic of this site to a partner. The control calls `order`, `resend` and `pull` use it from now on.
    ///
    /// # Errors
    /// The HTTP client cannot be built.
    pub fn connect(&self, partner_url: &str, client_id: &str, client_secret: &str) -> anyhow::Result<Clinic> {
        let clinic =
            Clinic::new(self.shared.world.clone(), self.shared.clock.clone(), partner_url, client_id, client_secret)?;
        *self.shared.clinic.lock().unwrap_or_else(PoisonError::into_inner) = Some(clinic.clone());
        Ok(clinic)
    }

    /// Locks the world. Do not hold the lock across an await.
    pub fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.shared.world)
    }

    /// Returns the current time of the sandbox's clock.
    pub fn now(&self) -> clock::Millis {
        self.shared.clock.now()
    }

    /// Switches on a fault, spelt as for `--fault`; returns its id.
    ///
    /// # Errors
    /// The fault is misspelt.
    pub fn fault(&self, text: &str) -> anyhow::Result<u64> {
        Ok(self.world().faults.add(text.parse().map_err(anyhow::Error::msg)?))
    }

    /// Stops the server and saves the world.
    ///
    /// # Errors
    /// The state file cannot be written.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.shared.stopped.store(true, Ordering::SeqCst);
        self.server.stop(false).await;
        self.heartbeat.abort();
        // Wait until the heartbeat no longer writes; an aborted task always ends with an error.
        let _ = self.heartbeat.await;
        state::save(&lock(&self.shared.world))
    }
}

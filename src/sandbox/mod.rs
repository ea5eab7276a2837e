//! A simulated ezyVet site, both halves: the API that a partner calls, and a clinic that calls the partner.
//!
//! It stands apart from the product: own wire types written from SPSI.md, own clock, own chance under a seed, so that a
//! mistake of ours cannot cancel out. `world` is the site apart from HTTP; faults strike on demand; `World::finish` lists
//! whatever a partner should not have done. It simulates: never point a real clinic at it.

mod about;
pub mod check;
pub mod clinic;
pub mod clock;
pub mod control;
pub mod event;
pub mod exchange;
pub mod faults;
pub mod form;
pub mod http;
pub mod invoice;
pub mod job;
pub mod lists;
pub mod options;
pub mod order;
pub mod page;
pub mod product;
pub mod query;
pub mod rate;
pub mod routes;
pub mod run;
pub mod settings;
pub mod state;
pub mod supplied;
pub mod token;
pub mod wire;
pub mod world;

#[cfg(test)]
mod tests;

use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use tokio::task::JoinHandle;

pub use clinic::{Clinic, OrderReply, Pull};
pub use event::{Event, EventKind};
pub use exchange::{ClinicError, Exchange, Reply};
pub use faults::Fault;
pub use options::Options;
pub use order::{OrderLine, PurchaseOrder};
pub use query::{ArrayStyle, ProductQuery};
pub use run::run;
pub use world::World;

/// The supplier's contact id at the site, as orders and invoices name it.
pub const SUPPLIER_ID: u64 = 10_006;
/// How often time passes by itself, for approvals and for saving.
const HEARTBEAT: Duration = Duration::from_millis(100);

/// The world, shared between its halves. Never held across an await.
pub type SharedWorld = Arc<Mutex<World>>;

/// Locks the world; a panic elsewhere does not take it away.
pub fn lock(world: &SharedWorld) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Clone)]
struct Shared {
    world: SharedWorld,
    clock: clock::Clock,
    clinic: Arc<Mutex<Option<Clinic>>>,
    /// Set when it stops: a connection that outlives the server changes nothing any more.
    stopped: Arc<AtomicBool>,
}

impl Shared {
    fn clinic(&self) -> Option<Clinic> {
        self.clinic.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A running sandbox.
pub struct Sandbox {
    /// Where it listens, such as `http://127.0.0.1:8090`; the real port where 0 was asked for.
    pub url: String,
    /// The world.
    pub world: SharedWorld,
    shared: Shared,
    server: http::Running,
    heartbeat: JoinHandle<()>,
    state: Option<PathBuf>,
}

/// Starts a sandbox on the machine's clock.
///
/// # Errors
/// The address is taken or wrong, the state file is unreadable, the partner's settings are incomplete.
pub async fn start(options: Options) -> anyhow::Result<Sandbox> {
    start_with_clock(options, clock::Clock::Real).await
}

/// Starts a sandbox on a clock of the caller's; with a manual one nothing happens by itself between calls.
///
/// # Errors
/// As [`start`].
pub async fn start_with_clock(options: Options, clock: clock::Clock) -> anyhow::Result<Sandbox> {
    let mut world = state::load(options.state.as_deref(), settings::Settings::from(&options), options.seed)?;
    for fault in &options.faults {
        world.faults.add(fault.clone());
    }
    let shared = Shared { world: Arc::new(Mutex::new(world)), clock, clinic: Arc::default(), stopped: Arc::default() };
    let listener =
        TcpListener::bind(&options.bind).with_context(|| format!("the sandbox cannot listen on {}", options.bind))?;
    let url = url(listener.local_addr()?);
    let server = http::Running::begin(listener, shared.clone())?;
    let heartbeat = tokio::spawn(heartbeat(shared.clone(), options.state.clone()));
    let sandbox = Sandbox { url, world: shared.world.clone(), shared, server, heartbeat, state: options.state.clone() };
    match (&options.partner, &options.partner_client_id, &options.partner_client_secret) {
        (Some(partner), Some(id), Some(secret)) => drop(sandbox.connect(partner, id, secret)?),
        (None, None, None) => {}
        _ => anyhow::bail!("--partner, --partner-client-id and --partner-client-secret belong together"),
    }
    Ok(sandbox)
}

fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}

/// Lets time pass and saves what changed, twice a second at most.
async fn heartbeat(shared: Shared, state: Option<PathBuf>) {
    let mut saved = 0;
    for beat in 0_u64.. {
        tokio::time::sleep(HEARTBEAT).await;
        let text = {
            let mut world = lock(&shared.world);
            world.tick(shared.clock.now());
            let changed = state.is_some() && beat % 5 == 0 && world.version != saved;
            saved = if changed { world.version } else { saved };
            changed.then(|| serde_json::to_string(&*world))
        };
        if let (Some(path), Some(Ok(text))) = (state.clone(), text) {
            let outcome = tokio::task::spawn_blocking(move || state::save(&path, &text)).await;
            if let Ok(Err(error)) = outcome {
                tracing::error!("{error:#}");
            }
        }
    }
}

impl Sandbox {
    /// The clinic of this site at a partner; it also serves the control call `order` from now on.
    ///
    /// # Errors
    /// The HTTP client cannot be built.
    pub fn connect(&self, partner_url: &str, client_id: &str, client_secret: &str) -> anyhow::Result<Clinic> {
        let clinic = Clinic::new(self.world.clone(), self.shared.clock.clone(), partner_url, client_id, client_secret)?;
        *self.shared.clinic.lock().unwrap_or_else(PoisonError::into_inner) = Some(clinic.clone());
        Ok(clinic)
    }

    /// The clinic that was connected last.
    pub fn clinic(&self) -> Option<Clinic> {
        self.shared.clinic()
    }

    /// The world, locked; do not hold it across an await.
    pub fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.world)
    }

    /// Now, by the sandbox's clock.
    pub fn now(&self) -> clock::Millis {
        self.shared.clock.now()
    }

    /// Switches a fault on; the grammar is that of `--fault`.
    ///
    /// # Errors
    /// The text is no fault.
    pub fn fault(&self, text: &str) -> anyhow::Result<u64> {
        Ok(self.world().faults.add(text.parse().map_err(anyhow::Error::msg)?))
    }

    /// Stops listening and saves the world.
    ///
    /// # Errors
    /// The state cannot be written.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.shared.stopped.store(true, Ordering::SeqCst);
        self.server.stop().await;
        self.heartbeat.abort();
        // An aborted task ends with an error by design; what counts is that it writes no more.
        let _ = self.heartbeat.await;
        match &self.state {
            Some(path) => state::save(path, &serde_json::to_string(&*lock(&self.world))?),
            None => Ok(()),
        }
    }
}

//! The embedded default: a private Postgres for trials, demonstrations, development and tests (DESIGN.md section 4).
//!
//! Guarantees: the only access is a Unix socket in a directory that only the server's user can enter. Commits are durable
//! unless a test disables that. Any number of processes share one server, and the last one stops it. File locks count
//! the processes, and the kernel releases them when a process is killed, so a server that outlives its process is found
//! and used again.
//! Refuses: to run as root (it switches to `postgres`, else `nobody`), data of another major version, and data of another
//! user.

mod account;
mod binaries;
mod error;
#[cfg(feature = "fetch-postgres")]
mod fetch;
mod layout;
mod lock;
mod server;
mod store;

pub use error::PostgresError;

use binaries::Binaries;
use layout::Layout;
use server::Server;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Time limit of each step: waiting for another process, `initdb`, and the start.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Settings of the private Postgres.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `SPSI_DATA_DIR`. `None` means `./spsi-data`, or `/var/lib/spsi` if the process is root and the server's user cannot
    /// reach `./spsi-data`.
    pub data_dir: Option<PathBuf>,
    /// `SPSI_PG_BIN_DIR`. `None` means the newest programs on the machine.
    pub bin_dir: Option<PathBuf>,
    /// Commits survive a power failure. False only in tests.
    pub durable: bool,
    /// `max_connections` of the server.
    pub max_connections: u16,
}

impl Default for Settings {
    fn default() -> Self {
        Self { data_dir: None, bin_dir: None, durable: true, max_connections: 200 }
    }
}

/// A running private Postgres. [`Embedded::stop`] and dropping it stop the server if no other process uses it.
#[derive(Debug)]
pub struct Embedded {
    server: Server,
    url: String,
    /// The shared lock that counts this process; `None` after [`Embedded::leave`].
    users: Option<File>,
}

/// Starts the private Postgres, or uses the running one.
///
/// # Errors
/// See [`PostgresError`]; each text says what to do.
pub async fn start(settings: &Settings) -> Result<Embedded, PostgresError> {
    let layout = Layout::prepare(settings)?;
    let url = url(&layout.socket_directory)?;
    let _setup = lock::take(&layout.top.join("postgres.lock"), File::try_lock).await?;
    let binaries = find_binaries(settings, &layout).await?;
    // Waits while another process stops the server.
    let users = Some(lock::take(&layout.top.join("postgres.users"), File::try_lock_shared).await?);
    let embedded = Embedded { server: Server { layout, binaries }, url, users };
    embedded.server.initialise(settings).await?;
    embedded.server.ensure_running(settings).await?;
    store::ensure_database(embedded.socket_dir()).await?;
    Ok(embedded)
}

/// Returns the data directory and creates it with the right permissions if it is missing. Commands that need no database
/// use it too, for the keys.
///
/// # Errors
/// The directory cannot be created, or the server's user cannot reach it.
pub fn data_dir(settings: &Settings) -> Result<PathBuf, PostgresError> {
    Layout::prepare(settings).map(|layout| layout.top)
}

async fn find_binaries(settings: &Settings, layout: &Layout) -> Result<Binaries, PostgresError> {
    match Binaries::find(settings.bin_dir.as_deref(), &layout.account, layout.data_version()) {
        #[cfg(feature = "fetch-postgres")]
        Err(missing @ PostgresError::BinariesMissing { .. }) if settings.bin_dir.is_none() => {
            fetch::find_or_download(layout, missing).await
        }
        found => found,
    }
}

impl Embedded {
    /// Returns `postgres://postgres@localhost/spsi?host=/path/of/the/socket`, percent-encoded.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the directory of the Unix socket.
    pub fn socket_dir(&self) -> &Path {
        &self.server.layout.socket_directory
    }

    /// Returns the absolute data directory, which also holds the keys.
    pub fn data_dir(&self) -> &Path {
        &self.server.layout.top
    }

    /// Stops using the server. The last process stops it and waits until it has ended.
    ///
    /// # Errors
    /// The server could not be stopped.
    pub async fn stop(mut self) -> Result<(), PostgresError> {
        tokio::task::spawn_blocking(move || self.leave()).await.unwrap_or(Ok(()))
    }

    fn leave(&mut self) -> Result<(), PostgresError> {
        let Some(users) = self.users.take() else { return Ok(()) };
        let failed = || PostgresError::file("lock", self.server.layout.top.join("postgres.users"));
        users.unlock().map_err(failed())?;
        // The lock, held until the server has ended, keeps new processes out.
        match users.try_lock() {
            Ok(()) => self.server.stop(),
            Err(TryLockError::WouldBlock) => Ok(()),
            Err(TryLockError::Error(error)) => Err(failed()(error)),
        }
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        if let Err(error) = self.leave() {
            tracing::warn!("the private PostgreSQL server may still be running: {error}");
        }
    }
}

impl std::fmt::Display for Embedded {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (major, minor) = self.server.binaries.version;
        write!(formatter, "private PostgreSQL {major}.{minor} in {}", self.server.layout.cluster.display())
    }
}

/// Returns the URL of the database, as libpq and sqlx decode it: a space is `%20`, because libpq does not decode `+`.
fn url(socket_directory: &Path) -> Result<String, PostgresError> {
    let directory = socket_directory.to_str().ok_or_else(|| PostgresError::Path(socket_directory.to_owned()))?;
    let encoded: String = url::form_urlencoded::byte_serialize(directory.as_bytes()).collect();
    Ok(format!("postgres://postgres@localhost/spsi?host={}", encoded.replace('+', "%20").replace("%2F", "/")))
}

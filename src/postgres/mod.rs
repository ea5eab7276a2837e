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
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Settings of the private Postgres.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `SPSI_DATA_DIR`. `None` means `./spsi-data`, or `/var/lib/spsi` if the process is root and the server's user cannot
    /// reach `./spsi-data`.
    pub data_dir: Option<PathBuf>,
    /// `SPSI_PG_BIN_DIR`. `None` means the newest programs on the machine.
    pub bin_dir: Option<PathBuf>,
    /// The database to create.
    pub database: String,
    /// Commits survive a power failure. False only in tests.
    pub durable: bool,
    /// `max_connections` of the server.
    pub max_connections: u16,
    /// Time limit of each step: waiting for another process, `initdb`, and the start.
    pub start_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            data_dir: None,
            bin_dir: None,
            database: "spsi".to_owned(),
            durable: true,
            max_connections: 200,
            start_timeout: Duration::from_secs(60),
        }
    }
}

/// A running private Postgres. [`Embedded::stop`] and dropping it stop the server if no other process uses it.
#[derive(Debug)]
pub struct Embedded {
    server: Server,
    url: String,
    was_running: bool,
    /// The shared lock that counts this process; `None` after [`Embedded::leave`].
    users: Option<File>,
}

/// Starts the private Postgres, or uses the running one.
///
/// # Errors
/// See [`PostgresError`]; each text says what to do.
pub async fn start(settings: &Settings) -> Result<Embedded, PostgresError> {
    let layout = Layout::prepare(settings)?;
    // Dropping `Embedded` takes the set-up lock, so an early return must release the lock first. Variables are dropped in
    // reverse order of their declaration, hence `embedded` is declared before `setup`.
    let mut embedded;
    let setup = lock::exclusive(&layout.setup_lock(), settings.start_timeout).await?;
    let binaries = find_binaries(settings, &layout).await?;
    let url = url(&layout, &settings.database)?;
    let users = Some(lock::shared(&layout.users_lock())?);
    embedded = Embedded { server: Server { layout, binaries }, url, was_running: false, users };
    embedded.server.initialise(settings).await?;
    embedded.was_running = embedded.server.ensure_running(settings).await?;
    store::ensure_database(embedded.socket_dir(), &settings.database).await?;
    drop(setup);
    tracing::debug!("{embedded}");
    Ok(embedded)
}

/// Stops a server that no process uses; returns false if a process uses it.
///
/// # Errors
/// The server programs or the data directory cannot be used; see [`start`].
pub async fn stop_unused(settings: &Settings) -> Result<bool, PostgresError> {
    let layout = Layout::prepare(settings)?;
    let _setup = lock::exclusive(&layout.setup_lock(), settings.start_timeout).await?;
    if !lock::is_free(&layout.users_lock())? {
        return Ok(false);
    }
    let binaries = find_binaries(settings, &layout).await?;
    let server = Server { layout, binaries };
    tokio::task::spawn_blocking(move || server.stop()).await.unwrap_or(Ok(())).map(|()| true)
}

/// Returns the data directory and creates it with the right permissions if it is missing. Commands that need no database
/// use it too, for the keys.
///
/// # Errors
/// The directory cannot be created, or the server's user cannot reach it.
pub fn data_dir(settings: &Settings) -> Result<PathBuf, PostgresError> {
    Layout::prepare(settings).map(|layout| layout.top)
}

#[cfg(not(feature = "fetch-postgres"))]
async fn find_binaries(settings: &Settings, layout: &Layout) -> Result<Binaries, PostgresError> {
    Binaries::find(settings, &layout.account, layout.data_version())
}

#[cfg(feature = "fetch-postgres")]
async fn find_binaries(settings: &Settings, layout: &Layout) -> Result<Binaries, PostgresError> {
    match Binaries::find(settings, &layout.account, layout.data_version()) {
        Err(missing @ PostgresError::BinariesMissing { .. }) if settings.bin_dir.is_none() => {
            fetch::find_or_download(settings, layout, missing).await
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

    /// Returns whether the server was already running.
    pub fn was_running(&self) -> bool {
        self.was_running
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
        let layout = &self.server.layout;
        // The set-up lock keeps new processes out between the count and the stop.
        let _setup = lock::exclusive_blocking(&layout.setup_lock())?;
        users.unlock().map_err(PostgresError::file("unlock", layout.users_lock()))?;
        if lock::try_exclusive(&users, &layout.users_lock())? { self.server.stop() } else { Ok(()) }
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
        let how = if self.was_running { "already running" } else { "started" };
        write!(formatter, "private PostgreSQL {major}.{minor} in {} ({how})", self.server.layout.cluster.display())
    }
}

fn url(layout: &Layout, database: &str) -> Result<String, PostgresError> {
    let directory = &layout.socket_directory;
    let text = directory.to_str().ok_or_else(|| PostgresError::Path(directory.clone()))?;
    Ok(format!("postgres://postgres@localhost/{}?host={}", percent_encode(database), percent_encode(text)))
}

/// Encodes text as libpq decodes it: a space is `%20`, never `+`.
fn percent_encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'.' | b'_' | b'-' | b'~' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_path_is_percent_encoded_in_the_url() {
        assert_eq!(super::percent_encode("/tmp/a b+é"), "/tmp/a%20b%2B%C3%A9");
    }
}

//! The embedded default: a private Postgres for trying, demonstrations, development and tests (DESIGN.md section 4).
//!
//! Guarantees: reachable only through a Unix socket in a directory that only its own user can enter; durable unless a
//! test asks otherwise; any number of processes share one server, and the last to leave stops it. Users are counted by
//! file locks, which vanish with their process: a server that outlived a killed process is found and used again.
//! Refuses: to run as root (it becomes `postgres`, else `nobody`), data of another major version, another user's data.

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

/// How the private Postgres is to be run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `SPSI_DATA_DIR`; none: `./spsi-data`, or as root `/var/lib/spsi` where that is closed to the server's user.
    pub data_dir: Option<PathBuf>,
    /// `SPSI_PG_BIN_DIR`; none: the newest found on the machine.
    pub bin_dir: Option<PathBuf>,
    /// The database to create.
    pub database: String,
    /// Commits survive a power cut. False only in tests.
    pub durable: bool,
    /// The server's own limit.
    pub max_connections: u16,
    /// For each of: waiting for another process, `initdb`, and the start itself.
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

/// A use of the private Postgres. Leaving it ([`Embedded::stop`], or dropping it) stops the server if nobody else uses it.
#[derive(Debug)]
pub struct Embedded {
    server: Server,
    url: String,
    adopted: bool,
    /// The shared lock by which users are counted; none once left.
    users: Option<File>,
}

/// Starts the private Postgres, or joins one that runs.
///
/// # Errors
/// Each names what to do: see [`PostgresError`].
pub async fn start(settings: &Settings) -> Result<Embedded, PostgresError> {
    let layout = Layout::prepare(settings)?;
    // Declared before the set-up lock, so that an early return lets go of the lock before this leaves, which takes it.
    let mut embedded;
    let setup = lock::exclusive(&layout.setup_lock(), settings.start_timeout).await?;
    let binaries = find_binaries(settings, &layout).await?;
    let url = url(&layout, &settings.database)?;
    let users = Some(lock::shared(&layout.users_lock())?);
    embedded = Embedded { server: Server { layout, binaries }, url, adopted: false, users };
    embedded.server.initialise(settings).await?;
    embedded.adopted = embedded.server.ensure_running(settings).await?;
    store::ensure_database(embedded.socket_dir(), &settings.database).await?;
    drop(setup);
    tracing::debug!("{embedded}");
    Ok(embedded)
}

/// Stops a server that a killed process left behind. True: nobody uses it, and it does not run (any more).
///
/// # Errors
/// As [`start`], where the server programs or the directory cannot be used.
pub async fn stop_unused(settings: &Settings) -> Result<bool, PostgresError> {
    let layout = Layout::prepare(settings)?;
    let _setup = lock::exclusive(&layout.setup_lock(), settings.start_timeout).await?;
    if !lock::is_free(&layout.users_lock())? {
        return Ok(false);
    }
    let binaries = find_binaries(settings, &layout).await?;
    let server = Server { layout, binaries };
    tokio::task::spawn_blocking(move || server.halt()).await.unwrap_or(Ok(())).map(|()| true)
}

/// The data directory that these settings mean, made with the right permissions when it is missing: keys are kept here
/// too, also by commands that need no database.
///
/// # Errors
/// Where it cannot be made, or the server's user could not reach it.
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
            fetch::prebuilt(settings, layout, missing).await
        }
        found => found,
    }
}

impl Embedded {
    /// `postgres://postgres@localhost/spsi?host=/path/of/the/socket`, percent-encoded.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The directory of the Unix socket.
    pub fn socket_dir(&self) -> &Path {
        &self.server.layout.socket_directory
    }

    /// The data directory of spsi as a whole, absolute; keys are kept here too.
    pub fn data_dir(&self) -> &Path {
        &self.server.layout.top
    }

    /// Whether the server was running already.
    pub fn adopted(&self) -> bool {
        self.adopted
    }

    /// Leaves; the last user stops the server and waits until it is gone.
    ///
    /// # Errors
    /// Where the server could not be stopped.
    pub async fn stop(mut self) -> Result<(), PostgresError> {
        tokio::task::spawn_blocking(move || self.leave()).await.unwrap_or(Ok(()))
    }

    fn leave(&mut self) -> Result<(), PostgresError> {
        let Some(users) = self.users.take() else { return Ok(()) };
        let layout = &self.server.layout;
        // No new user can come in between the count and the stop.
        let _setup = lock::exclusive_blocking(&layout.setup_lock())?;
        users.unlock().map_err(PostgresError::file("unlock", layout.users_lock()))?;
        if lock::try_exclusive(&users, &layout.users_lock())? { self.server.halt() } else { Ok(()) }
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        if let Err(error) = self.leave() {
            tracing::warn!("the private PostgreSQL may still run: {error}");
        }
    }
}

impl std::fmt::Display for Embedded {
    /// One line for people.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (major, minor) = self.server.binaries.version;
        let how = if self.adopted { "already running" } else { "started" };
        write!(formatter, "private PostgreSQL {major}.{minor} in {} ({how})", self.server.layout.cluster.display())
    }
}

fn url(layout: &Layout, database: &str) -> Result<String, PostgresError> {
    let directory = &layout.socket_directory;
    let text = directory.to_str().ok_or_else(|| PostgresError::Path(directory.clone()))?;
    Ok(format!("postgres://postgres@localhost/{}?host={}", percent_encode(database), percent_encode(text)))
}

/// As libpq reads it: a space is `%20`, never `+`.
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
    fn a_path_survives_the_url() {
        assert_eq!(super::percent_encode("/tmp/a b+é"), "/tmp/a%20b%2B%C3%A9");
    }
}

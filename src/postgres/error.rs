//! What can go wrong with the private Postgres, each with what to do about it.

use std::path::PathBuf;

/// Why there is no private Postgres.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// No usable server programs on this machine.
    #[error(
        "no PostgreSQL server programs{} found; looked for initdb, pg_ctl and postgres in: {}. Install them with `{install}`, \
         or set SPSI_PG_BIN_DIR to the directory that holds them, or set DATABASE_URL to a server of your own{}",
        .wanted.map(|major| format!(" of version {major}, to which the data belongs")).unwrap_or_default(),
        .searched.join("; "),
        if cfg!(feature = "fetch-postgres") { "" } else { " (this build does not fetch a prebuilt one: cargo feature fetch-postgres)" }
    )]
    BinariesMissing {
        /// Every place, and what was found there.
        searched: Vec<String>,
        /// The major version that existing data needs.
        wanted: Option<u32>,
        /// The install command for this platform.
        install: String,
    },
    /// As root, and neither of the users who could run the server exists.
    #[error(
        "PostgreSQL refuses to run as root, and there is no user `postgres` or `nobody` to run it as; create one, or set DATABASE_URL"
    )]
    NoUnprivilegedUser,
    /// initdb needs a name for the user who runs it.
    #[error("user id {0} has no entry in the user database, which PostgreSQL needs; add one, or set DATABASE_URL")]
    NamelessUser(u32),
    /// The user who runs the server cannot get to the directory.
    #[error(
        "{} cannot be reached by the user `{user}`, who runs PostgreSQL: {} lacks search permission for that user; \
         set SPSI_DATA_DIR to a place such as /var/lib/spsi, or `chmod o+x` that directory",
        .directory.display(), .blocked_by.display()
    )]
    Unreachable {
        /// The data directory.
        directory: PathBuf,
        /// The directory on the way that is closed.
        blocked_by: PathBuf,
        /// Who runs the server.
        user: String,
    },
    /// The cluster is another user's.
    #[error("{} belongs to user id {owner}; run as that user, or set SPSI_DATA_DIR to a directory of your own", .directory.display())]
    NotOurs {
        /// The cluster directory.
        directory: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// A path that PostgreSQL's settings cannot carry.
    #[error("{} is not valid UTF-8, which a database URL needs; set SPSI_DATA_DIR", .0.display())]
    Path(PathBuf),
    /// A file operation failed.
    #[error("cannot {action} {}", .path.display())]
    File {
        /// A verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another process sets the server up or stops it, and does not come to an end.
    #[error("another process holds {} for more than {seconds} s", .path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// How long we waited.
        seconds: u64,
    },
    /// A program of PostgreSQL's failed.
    #[error("{program} failed ({status}); it said: {output}")]
    Program {
        /// Which.
        program: &'static str,
        /// Its exit status, or that it took too long.
        status: String,
        /// The end of its output.
        output: String,
    },
    /// The server did not answer in time.
    #[error("PostgreSQL did not answer within {seconds} s; see {}", .log.display())]
    Timeout {
        /// How long we waited.
        seconds: u64,
        /// The server's log.
        log: PathBuf,
    },
    /// The server answers, but our database could not be made.
    #[error("the private PostgreSQL refused to create its database")]
    Database(#[from] sqlx::Error),
    /// Fetching a prebuilt PostgreSQL failed, after nothing was found on the machine.
    #[error("{missing}. Fetching a prebuilt one failed too: {reason}")]
    Fetch {
        /// What had been looked for.
        missing: String,
        /// Why the download failed.
        reason: String,
    },
}

impl PostgresError {
    pub(super) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
}

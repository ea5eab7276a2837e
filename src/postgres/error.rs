//! Errors of the private Postgres; each text says what to do.

use std::path::PathBuf;

/// Reasons why the private Postgres cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// This machine has no usable server programs.
    #[error(
        "found no usable PostgreSQL server programs{}. Looked for initdb, pg_ctl and postgres in: {searched}{}. Install them with \
         {install}, or set SPSI_PG_BIN_DIR to their directory, or set DATABASE_URL to use another server{}",
        .required_major.map(|major| format!(" of version {major}, which the existing data requires")).unwrap_or_default(),
        .unusable.iter().map(|problem| format!("; {problem}")).collect::<String>(),
        if cfg!(feature = "fetch-postgres") { "" } else { " (this build cannot download PostgreSQL: it lacks the cargo feature `fetch-postgres`)" }
    )]
    BinariesMissing {
        /// The directories and patterns.
        searched: String,
        /// The programs that were found, and why each cannot be used.
        unusable: Vec<String>,
        required_major: Option<u32>,
        /// How to install them on this platform.
        install: String,
    },
    /// The process is root, and neither of the users that could run the server exists.
    #[error(
        "PostgreSQL refuses to run as root, and this machine has neither a user `postgres` nor `nobody`; create one with `useradd --system postgres`, or set DATABASE_URL to use another server"
    )]
    NoUnprivilegedUser,
    /// `initdb` requires a user name.
    #[error(
        "PostgreSQL requires a user name, but user id {0} has none; add the user to /etc/passwd, or set DATABASE_URL to use another server"
    )]
    NamelessUser(u32),
    /// The user that runs the server cannot enter the data directory.
    #[error(
        "PostgreSQL runs as the user `{user}`, who cannot reach the data directory {}: the permissions of {} forbid it; \
         set SPSI_DATA_DIR to a directory such as /var/lib/spsi, or run `chmod o+x {}`",
        .directory.display(), .blocked_by.display(), .blocked_by.display()
    )]
    Unreachable { directory: PathBuf, blocked_by: PathBuf, user: String },
    /// The cluster belongs to another user.
    #[error("{} belongs to user id {owner}; run `spsi` as that user, or set SPSI_DATA_DIR to another directory", .directory.display())]
    ForeignOwner { directory: PathBuf, owner: u32 },
    /// A path that cannot be written into a database URL.
    #[error("the path {} is not valid UTF-8, which a database URL requires; set SPSI_DATA_DIR to another directory", .0.display())]
    Path(PathBuf),
    /// A file operation, named by a verb, failed.
    #[error("cannot {action} {}", .path.display())]
    File { action: &'static str, path: PathBuf, source: std::io::Error },
    /// Another process is starting or stopping the server and does not finish.
    #[error("another `spsi` process has held the lock {} for more than {seconds} s; end it and try again", .path.display())]
    Locked { path: PathBuf, seconds: u64 },
    /// A PostgreSQL program failed.
    #[error("`{program}` failed ({status}). Its output: {output}")]
    Program {
        program: &'static str,
        /// Its exit status, or `took too long`.
        status: String,
        /// The end of its output.
        output: String,
    },
    /// The server did not answer in time.
    #[error("PostgreSQL did not answer within {seconds} s; its log {} says why", .log.display())]
    Timeout { seconds: u64, log: PathBuf },
    /// The server answers, but the database could not be created.
    #[error("cannot create the database on the private PostgreSQL server")]
    Database(#[from] sqlx::Error),
    /// The machine has no usable programs, and downloading them failed.
    #[error("{missing}. Downloading PostgreSQL failed too: {reason}")]
    Fetch { missing: String, reason: String },
}

impl PostgresError {
    pub(super) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
}

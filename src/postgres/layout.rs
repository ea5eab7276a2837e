//! Where things lie, and with whose permissions.
//!
//! ```text
//! spsi-data/               ours; as root 0711, so that the server's user may pass but not look
//!   keys.env               not this module's
//!   postgres.lock          held while one process sets up or stops the server
//!   postgres.users         shared lock of every process that uses the server
//!   postgres.log
//!   postgres/              0700, the server user's; the socket lies here, so permission to enter it is the authentication
//!     data/
//! ```

use super::account::Account;
use super::{PostgresError, Settings};
use std::fs::{DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// Longest path of the socket itself, in bytes; the kernel's own limits are 104 (macOS) and 108 (Linux).
const SOCKET_PATH_LIMIT: usize = 90;
const UNFINISHED: &str = "data.new";
const SOCKET_NAME: &str = ".s.PGSQL.5432";
const DEFAULT_DIRECTORY: &str = "spsi-data";
const ROOT_DIRECTORY: &str = "/var/lib/spsi";
const CREATE_TOP: &str = "create the data directory (SPSI_DATA_DIR chooses another, DATABASE_URL a server of your own)";

#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub account: Account,
    pub top: PathBuf,
    pub cluster: PathBuf,
    pub socket_directory: PathBuf,
}

impl Layout {
    /// Chooses the directories and makes them.
    pub fn prepare(settings: &Settings) -> Result<Self, PostgresError> {
        let (top, account) = choose(settings)?;
        let mode = if account.switched { 0o711 } else { 0o700 };
        if !top.is_dir() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(top.parent().unwrap_or(&top))
                .map_err(PostgresError::file(CREATE_TOP, &top))?;
            make(&top, mode, CREATE_TOP)?;
        }
        let cluster = top.join("postgres");
        make(&cluster, 0o700, "create")?;
        own(&cluster, &account)?;
        // Parents that were made just now may be closed by the process's mask.
        if let Some(blocked_by) = account.blocked(&cluster) {
            return Err(PostgresError::Unreachable { directory: top, blocked_by, user: account.name });
        }
        let socket_directory = socket_directory(&cluster, &account)?;
        if socket_directory.to_str().is_none() {
            return Err(PostgresError::Path(socket_directory));
        }
        Ok(Self { account, top, cluster, socket_directory })
    }

    pub fn data(&self) -> PathBuf {
        self.cluster.join("data")
    }

    /// Where `initdb` works, so that a killed one leaves nothing that looks ready. Each process has its own: the `initdb`
    /// of a killed process may still be writing.
    pub fn unfinished_data(&self) -> PathBuf {
        self.cluster.join(format!("{UNFINISHED}.{}", std::process::id()))
    }

    /// Removes what killed attempts left. The caller holds the set-up lock.
    pub fn remove_unfinished(&self) {
        let entries = std::fs::read_dir(&self.cluster).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(UNFINISHED)) {
            // What cannot be removed is in nobody's way.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }

    pub fn socket_lock(&self) -> PathBuf {
        self.socket_directory.join(format!("{SOCKET_NAME}.lock"))
    }

    pub fn log(&self) -> PathBuf {
        self.top.join("postgres.log")
    }

    pub fn setup_lock(&self) -> PathBuf {
        self.top.join("postgres.lock")
    }

    pub fn users_lock(&self) -> PathBuf {
        self.top.join("postgres.users")
    }

    /// The major version of the data, none before `initdb`.
    pub fn data_version(&self) -> Option<u32> {
        std::fs::read_to_string(self.data().join("PG_VERSION")).ok()?.trim().parse().ok()
    }
}

/// The data directory that these settings mean, absolute, whether or not it exists, and who runs the server there.
pub(super) fn choose(settings: &Settings) -> Result<(PathBuf, Account), PostgresError> {
    let chosen = settings.data_dir.as_deref().unwrap_or(Path::new(DEFAULT_DIRECTORY));
    let top = std::path::absolute(chosen).map_err(PostgresError::file("resolve", chosen))?;
    let account = Account::choose(&top.join("postgres"))?;
    let Some(blocked_by) = account.blocked(&top) else { return Ok((top, account)) };
    if settings.data_dir.is_some() {
        return Err(PostgresError::Unreachable { directory: top, blocked_by, user: account.name });
    }
    let fallback = PathBuf::from(ROOT_DIRECTORY);
    tracing::info!(
        "{} is closed to the user `{}`, who runs PostgreSQL: using {ROOT_DIRECTORY}",
        blocked_by.display(),
        account.name
    );
    let account = Account::choose(&fallback.join("postgres"))?;
    match account.blocked(&fallback) {
        None => Ok((fallback, account)),
        Some(blocked_by) => Err(PostgresError::Unreachable { directory: fallback, blocked_by, user: account.name }),
    }
}

fn make(directory: &Path, mode: u32, action: &'static str) -> Result<(), PostgresError> {
    match DirBuilder::new().mode(mode).create(directory) {
        // The mask of the process may have taken bits away.
        Ok(()) => std::fs::set_permissions(directory, Permissions::from_mode(mode))
            .map_err(PostgresError::file("set the permissions of", directory)),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(PostgresError::file(action, directory)(error)),
    }
}

/// Hands a directory of ours to the server's user. Another user's stays as it is and is refused.
fn own(directory: &Path, account: &Account) -> Result<(), PostgresError> {
    let found = std::fs::symlink_metadata(directory).map_err(PostgresError::file("look at", directory))?;
    match found.uid() {
        owner if owner == account.uid && found.is_dir() => Ok(()),
        0 if account.switched && found.is_dir() => chown(directory, Some(account.uid), Some(account.gid))
            .map_err(PostgresError::file("change the owner of", directory)),
        owner => Err(PostgresError::NotOurs { directory: directory.to_owned(), owner }),
    }
}

/// The cluster directory, or a short one where its path is too long for a socket. The short one is named after the
/// cluster's identity on disk, so that every process finds the same.
fn socket_directory(cluster: &Path, account: &Account) -> Result<PathBuf, PostgresError> {
    let fits = |directory: &Path| directory.as_os_str().len() + 1 + SOCKET_NAME.len() < SOCKET_PATH_LIMIT;
    if fits(cluster) {
        return Ok(cluster.to_owned());
    }
    let found = std::fs::metadata(cluster).map_err(PostgresError::file("look at", cluster))?;
    let name = format!("spsi-{:x}-{:x}", found.dev(), found.ino());
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").filter(|_| !account.switched).map(PathBuf::from);
    let short = runtime
        .filter(|runtime| runtime.is_dir() && fits(&runtime.join(&name)))
        .unwrap_or_else(|| PathBuf::from("/tmp"))
        .join(name);
    make(&short, 0o700, "create")?;
    own(&short, account)?;
    let mode = std::fs::symlink_metadata(&short).map_err(PostgresError::file("look at", &short))?.mode();
    if mode & 0o077 != 0 {
        std::fs::set_permissions(&short, Permissions::from_mode(0o700))
            .map_err(PostgresError::file("set the permissions of", &short))?;
    }
    tracing::info!("{} is too long a path for a socket: the socket is in {}", cluster.display(), short.display());
    Ok(short)
}

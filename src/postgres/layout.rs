//! The files of the private Postgres, their owners and permissions.
//!
//! ```text
//! spsi-data/               owned by the user of spsi, 0700; as root 0711, so that the server's user can pass
//!   keys.env               written by `app/keys.rs`
//!   postgres.lock          exclusive lock of the process that starts or stops the server
//!   postgres.users         shared lock of every process that uses the server
//!   postgres.log
//!   postgres/              owned by the server's user, 0700; holds the socket: only a user that can enter it can connect
//!     data/
//! ```

use super::account::Account;
use super::{PostgresError, Settings};
use std::fs::{DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// The longest path of the socket, in bytes. The limits of the kernels are 104 (macOS) and 108 (Linux).
const SOCKET_PATH_LIMIT: usize = 90;
const UNFINISHED: &str = "data.new";
const SOCKET_NAME: &str = ".s.PGSQL.5432";
const DEFAULT_DIRECTORY: &str = "spsi-data";
const ROOT_DIRECTORY: &str = "/var/lib/spsi";
const CREATE_TOP: &str =
    "create the data directory (set SPSI_DATA_DIR to another directory, or DATABASE_URL to use another server):";

/// The directories of a private Postgres, and the user that runs it.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub account: Account,
    pub top: PathBuf,
    pub cluster: PathBuf,
    pub socket_directory: PathBuf,
}

impl Layout {
    /// Chooses the directories and creates missing ones.
    pub fn prepare(settings: &Settings) -> Result<Self, PostgresError> {
        let (top, account) = choose(settings)?;
        let mode = if account.is_switched { 0o711 } else { 0o700 };
        if !top.is_dir() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(top.parent().unwrap_or(&top))
                .map_err(PostgresError::file(CREATE_TOP, &top))?;
            create_directory(&top, mode, CREATE_TOP)?;
        }
        let cluster = top.join("postgres");
        create_directory(&cluster, 0o700, "create")?;
        take_ownership(&cluster, &account)?;
        // The umask may have closed parents that were created just now.
        if let Some(blocked_by) = account.find_blocking_directory(&cluster) {
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

    /// Returns the directory in which `initdb` works; it is renamed when complete. Each process has its own, because the
    /// `initdb` of a killed process may still be writing.
    pub fn unfinished_data(&self) -> PathBuf {
        self.cluster.join(format!("{UNFINISHED}.{}", std::process::id()))
    }

    /// Removes the directories of killed attempts. The caller holds the set-up lock.
    pub fn remove_unfinished(&self) {
        let entries = std::fs::read_dir(&self.cluster).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(UNFINISHED)) {
            // A directory that cannot be removed does no harm.
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

    /// Returns the major version of the data; `None` before `initdb`.
    pub fn data_version(&self) -> Option<u32> {
        std::fs::read_to_string(self.data().join("PG_VERSION")).ok()?.trim().parse().ok()
    }
}

/// Returns the absolute data directory, which may not exist yet, and the user that runs the server there.
pub(super) fn choose(settings: &Settings) -> Result<(PathBuf, Account), PostgresError> {
    let chosen = settings.data_dir.as_deref().unwrap_or(Path::new(DEFAULT_DIRECTORY));
    let top = std::path::absolute(chosen).map_err(PostgresError::file("resolve", chosen))?;
    let account = Account::choose(&top.join("postgres"))?;
    let Some(blocked_by) = account.find_blocking_directory(&top) else { return Ok((top, account)) };
    if settings.data_dir.is_some() {
        return Err(PostgresError::Unreachable { directory: top, blocked_by, user: account.name });
    }
    let fallback = PathBuf::from(ROOT_DIRECTORY);
    tracing::info!(
        "the user `{1}`, who runs PostgreSQL, cannot enter {0}: using {ROOT_DIRECTORY} as the data directory",
        blocked_by.display(),
        account.name
    );
    let account = Account::choose(&fallback.join("postgres"))?;
    match account.find_blocking_directory(&fallback) {
        None => Ok((fallback, account)),
        Some(blocked_by) => Err(PostgresError::Unreachable { directory: fallback, blocked_by, user: account.name }),
    }
}

fn create_directory(directory: &Path, mode: u32, action: &'static str) -> Result<(), PostgresError> {
    match DirBuilder::new().mode(mode).create(directory) {
        // The umask may have removed permissions.
        Ok(()) => std::fs::set_permissions(directory, Permissions::from_mode(mode))
            .map_err(PostgresError::file("set the permissions of", directory)),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(PostgresError::file(action, directory)(error)),
    }
}

/// Gives a directory of root to the server's user; refuses a directory of any other user.
fn take_ownership(directory: &Path, account: &Account) -> Result<(), PostgresError> {
    let found = std::fs::symlink_metadata(directory)
        .map_err(PostgresError::file("read the owner and permissions of", directory))?;
    match found.uid() {
        owner if owner == account.uid && found.is_dir() => Ok(()),
        0 if account.is_switched && found.is_dir() => chown(directory, Some(account.uid), Some(account.gid))
            .map_err(PostgresError::file("change the owner of", directory)),
        owner => Err(PostgresError::ForeignOwner { directory: directory.to_owned(), owner }),
    }
}

/// Returns the cluster directory, or a shorter one if its path is too long for a socket. The shorter one is named after
/// the device and inode of the cluster, so that every process finds the same one.
fn socket_directory(cluster: &Path, account: &Account) -> Result<PathBuf, PostgresError> {
    let fits = |directory: &Path| directory.as_os_str().len() + 1 + SOCKET_NAME.len() < SOCKET_PATH_LIMIT;
    if fits(cluster) {
        return Ok(cluster.to_owned());
    }
    let found =
        std::fs::metadata(cluster).map_err(PostgresError::file("read the owner and permissions of", cluster))?;
    let name = format!("spsi-{:x}-{:x}", found.dev(), found.ino());
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").filter(|_| !account.is_switched).map(PathBuf::from);
    let short = runtime
        .filter(|runtime| runtime.is_dir() && fits(&runtime.join(&name)))
        .unwrap_or_else(|| PathBuf::from("/tmp"))
        .join(name);
    create_directory(&short, 0o700, "create")?;
    take_ownership(&short, account)?;
    let mode = std::fs::symlink_metadata(&short)
        .map_err(PostgresError::file("read the owner and permissions of", &short))?
        .mode();
    if mode & 0o077 != 0 {
        std::fs::set_permissions(&short, Permissions::from_mode(0o700))
            .map_err(PostgresError::file("set the permissions of", &short))?;
    }
    tracing::info!("the path {} is too long for a socket: the socket is in {}", cluster.display(), short.display());
    Ok(short)
}

//! The files of the private Postgres, their owners and permissions.
//!
//! ```text
//! spsi-data/               owned by the user of spsi, 0700; as root 0711, so that the server's user can pass
//!   keys.env               written by `app/keys.rs`
//!   postgres.lock          exclusive lock of the process that starts the server
//!   postgres.users         shared lock of every process that uses the server; exclusive lock of the one that stops it
//!   postgres.log           output of the last start
//!   postgres/              owned by the server's user, 0700; holds the socket: only a user that can enter it can connect
//!     data/
//! ```

use super::account::Account;
use super::{PostgresError, Settings};
use std::fs::{DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// The longest directory of the socket, in bytes. The kernels limit the path of a socket to 104 (macOS) or 108 (Linux).
const SOCKET_DIRECTORY_LIMIT: usize = 75;
const UNFINISHED: &str = "data.new";
const DEFAULT_DIRECTORY: &str = "spsi-data";
/// The directory for root if the server's user cannot reach [`DEFAULT_DIRECTORY`].
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
        if !top.is_dir() {
            std::fs::create_dir_all(&top).map_err(PostgresError::file(CREATE_TOP, &top))?;
            set_mode(&top, if account.is_switched { 0o711 } else { 0o700 })?;
        }
        let cluster = top.join("postgres");
        create_private_directory(&cluster, &account)?;
        // The umask may have closed parents that were created just now.
        if let Some(blocked_by) = account.find_blocking_directory(&cluster) {
            return Err(PostgresError::Unreachable { directory: top, blocked_by, user: account.name });
        }
        let socket_directory = socket_directory(&cluster, &account)?;
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

    pub fn pid_file(&self) -> PathBuf {
        self.data().join("postmaster.pid")
    }

    pub fn log(&self) -> PathBuf {
        self.top.join("postgres.log")
    }

    /// Returns the major version of the data; `None` before `initdb`.
    pub fn data_version(&self) -> Option<u32> {
        std::fs::read_to_string(self.data().join("PG_VERSION")).ok()?.trim().parse().ok()
    }
}

/// Returns the absolute data directory, which may not exist yet, and the user that runs the server there.
fn choose(settings: &Settings) -> Result<(PathBuf, Account), PostgresError> {
    let choose = |chosen: &Path| {
        let top = std::path::absolute(chosen).map_err(PostgresError::file("resolve", chosen))?;
        let account = Account::choose(&top.join("postgres"))?;
        match account.find_blocking_directory(&top) {
            None => Ok((top, account)),
            Some(blocked_by) => Err(PostgresError::Unreachable { directory: top, blocked_by, user: account.name }),
        }
    };
    match &settings.data_dir {
        Some(chosen) => choose(chosen),
        None => choose(Path::new(DEFAULT_DIRECTORY)).or_else(|error| match error {
            PostgresError::Unreachable { .. } => choose(Path::new(ROOT_DIRECTORY)),
            other => Err(other),
        }),
    }
}

/// Creates a directory that only the server's user can enter. Takes over one of root; refuses one of any other user.
fn create_private_directory(directory: &Path, account: &Account) -> Result<(), PostgresError> {
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(PostgresError::file("create", directory)(error));
        }
        _ => {}
    }
    let found = std::fs::symlink_metadata(directory).map_err(PostgresError::file("read the owner of", directory))?;
    match found.uid() {
        owner if owner == account.uid && found.is_dir() => {}
        0 if account.is_switched && found.is_dir() => chown(directory, Some(account.uid), Some(account.gid))
            .map_err(PostgresError::file("change the owner of", directory))?,
        owner => return Err(PostgresError::ForeignOwner { directory: directory.to_owned(), owner }),
    }
    if found.mode() & 0o077 == 0 { Ok(()) } else { set_mode(directory, 0o700) }
}

fn set_mode(directory: &Path, mode: u32) -> Result<(), PostgresError> {
    let permissions = Permissions::from_mode(mode);
    std::fs::set_permissions(directory, permissions).map_err(PostgresError::file("set the permissions of", directory))
}

/// Returns the cluster directory, or a shorter one if its path is too long for a socket. The shorter one is named after
/// the device and inode of the cluster, so that every process finds the same one.
fn socket_directory(cluster: &Path, account: &Account) -> Result<PathBuf, PostgresError> {
    if cluster.as_os_str().len() <= SOCKET_DIRECTORY_LIMIT {
        return Ok(cluster.to_owned());
    }
    let found = std::fs::metadata(cluster).map_err(PostgresError::file("read the inode of", cluster))?;
    let short = PathBuf::from(format!("/tmp/spsi-{:x}-{:x}", found.dev(), found.ino()));
    create_private_directory(&short, account)?;
    tracing::info!("the path {} is too long for a socket: the socket is in {}", cluster.display(), short.display());
    Ok(short)
}

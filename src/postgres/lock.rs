//! File locks (`flock`): they vanish with their process, however it ends.

use super::PostgresError;
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(20);

fn open(path: &Path) -> Result<File, PostgresError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(PostgresError::file("open", path))
}

/// The only holder, or an error once `deadline` has passed.
pub(super) async fn exclusive(path: &Path, limit: Duration) -> Result<File, PostgresError> {
    let (file, started) = (open(path)?, Instant::now());
    while !try_exclusive(&file, path)? {
        if started.elapsed() > limit {
            return Err(PostgresError::Locked { path: path.to_owned(), seconds: limit.as_secs() });
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(file)
}

/// The only holder; waits as long as it takes.
pub(super) fn exclusive_blocking(path: &Path) -> Result<File, PostgresError> {
    let file = open(path)?;
    file.lock().map_err(PostgresError::file("lock", path))?;
    Ok(file)
}

/// One of several holders.
pub(super) fn shared(path: &Path) -> Result<File, PostgresError> {
    let file = open(path)?;
    file.lock_shared().map_err(PostgresError::file("lock", path))?;
    Ok(file)
}

/// Whether nobody else holds the file.
pub(super) fn try_exclusive(file: &File, path: &Path) -> Result<bool, PostgresError> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(PostgresError::file("lock", path)(error)),
    }
}

/// Whether nobody at all holds the file.
pub(super) fn is_free(path: &Path) -> Result<bool, PostgresError> {
    try_exclusive(&open(path)?, path)
}

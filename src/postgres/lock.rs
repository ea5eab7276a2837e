//! File locks (`flock`). The kernel releases them when their process ends, also after `kill -9`.

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

/// Takes the exclusive lock.
///
/// # Errors
/// Another process holds the lock longer than `timeout`, or a file operation failed.
pub(super) async fn exclusive(path: &Path, timeout: Duration) -> Result<File, PostgresError> {
    let (file, started) = (open(path)?, Instant::now());
    while !try_exclusive(&file, path)? {
        if started.elapsed() > timeout {
            return Err(PostgresError::Locked { path: path.to_owned(), seconds: timeout.as_secs() });
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(file)
}

/// Takes the exclusive lock; blocks without a time limit.
pub(super) fn exclusive_blocking(path: &Path) -> Result<File, PostgresError> {
    let file = open(path)?;
    file.lock().map_err(PostgresError::file("lock", path))?;
    Ok(file)
}

/// Takes a shared lock.
pub(super) fn shared(path: &Path) -> Result<File, PostgresError> {
    let file = open(path)?;
    file.lock_shared().map_err(PostgresError::file("lock", path))?;
    Ok(file)
}

/// Takes the exclusive lock of an open file; returns false if another process holds a lock.
pub(super) fn try_exclusive(file: &File, path: &Path) -> Result<bool, PostgresError> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(PostgresError::file("lock", path)(error)),
    }
}

/// Returns whether no process holds a lock.
pub(super) fn is_free(path: &Path) -> Result<bool, PostgresError> {
    try_exclusive(&open(path)?, path)
}

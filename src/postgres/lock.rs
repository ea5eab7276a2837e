//! File locks (`flock`). The kernel releases them when their process ends, also after `kill -9`.

use super::{PostgresError, TIMEOUT};
use std::fs::{File, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(20);

/// Takes a lock of a file: exclusive with [`File::try_lock`], shared with [`File::try_lock_shared`].
///
/// # Errors
/// Another process holds the lock longer than [`TIMEOUT`], or a file operation failed.
pub(super) async fn take(
    path: &Path,
    try_lock: impl Fn(&File) -> Result<(), TryLockError>,
) -> Result<File, PostgresError> {
    let file = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    let (file, started) = (file.map_err(PostgresError::file("open", path))?, Instant::now());
    loop {
        match try_lock(&file) {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if started.elapsed() < TIMEOUT => tokio::time::sleep(POLL).await,
            Err(TryLockError::WouldBlock) => {
                return Err(PostgresError::Locked { path: path.to_owned(), seconds: TIMEOUT.as_secs() });
            }
            Err(TryLockError::Error(error)) => return Err(PostgresError::file("lock", path)(error)),
        }
    }
}

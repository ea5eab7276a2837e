//! Finds `initdb`, `pg_ctl` and `postgres` on this machine: the newest, or the version that existing data needs.

use super::account::Account;
use super::{PostgresError, Settings};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The oldest major version that the schema and the server options used here are made for.
const OLDEST: u32 = 14;
const PROGRAMS: [&str; 3] = ["initdb", "pg_ctl", "postgres"];

/// Directories of server programs by platform; `*` stands for one whole or partial name.
const PLACES: [&str; 9] = [
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/libexec/postgresql*",
    "/usr/local/pgsql/bin",
    "/opt/homebrew/opt/postgresql*/bin",
    "/usr/local/opt/postgresql*/bin",
    "/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
    "/opt/local/lib/postgresql*/bin",
];

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Binaries {
    /// Major, minor.
    pub version: (u32, u32),
    pub directory: PathBuf,
}

impl Binaries {
    /// `wanted` is the major version of existing data: no other can read it.
    pub fn find(settings: &Settings, account: &Account, wanted: Option<u32>) -> Result<Self, PostgresError> {
        let mut searched = Vec::new();
        let candidates = match &settings.bin_dir {
            Some(directory) => vec![(format!("SPSI_PG_BIN_DIR={}", directory.display()), vec![directory.clone()])],
            None => places(),
        };
        let mut found: Vec<Self> = Vec::new();
        for (place, directories) in candidates {
            let directories: Vec<_> = directories.into_iter().filter_map(|it| programs_in(&it)).collect();
            let mut seen = Vec::new();
            for directory in directories {
                let Some(version) = version(&directory) else { continue };
                let problem = match () {
                    () if version.0 < OLDEST => Some(format!("older than {OLDEST}")),
                    () if wanted.is_some_and(|wanted| wanted != version.0) => Some("another version".to_owned()),
                    () => account
                        .blocked(&directory)
                        .map(|at| format!("closed to `{}` at {}", account.name, at.display())),
                };
                match problem {
                    None => found.push(Self { version, directory }),
                    Some(problem) => {
                        seen.push(format!("{} has {}.{}: {problem}", directory.display(), version.0, version.1))
                    }
                }
            }
            let seen = if seen.is_empty() { "nothing".to_owned() } else { seen.join(", ") };
            searched.push(format!("{place} ({seen})"));
        }
        // The first place wins among equals: PATH is what the user chose.
        found.reverse();
        found.into_iter().max_by_key(|it| it.version).ok_or_else(|| PostgresError::BinariesMissing {
            searched,
            wanted,
            install: install_command(wanted),
        })
    }

    pub fn program(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

fn places() -> Vec<(String, Vec<PathBuf>)> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = vec![(format!("PATH={}", path.display()), std::env::split_paths(&path).collect())];
    places.extend(PLACES.iter().map(|pattern| ((*pattern).to_owned(), expand(pattern))));
    places
}

/// The directories that match a pattern with at most one `*`.
fn expand(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else { return vec![PathBuf::from(pattern)] };
    let (parent, prefix) = before.rsplit_once('/').unwrap_or(("", before));
    let Ok(entries) = std::fs::read_dir(parent) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path().join(after.trim_start_matches('/')))
        .collect()
}

/// The real directory of the programs: some platforms only link `initdb` or `pg_ctl` into the PATH.
fn programs_in(directory: &Path) -> Option<PathBuf> {
    let real = directory.join("pg_ctl").canonicalize().ok()?;
    let real = real.parent()?;
    let complete = |directory: &Path| PROGRAMS.iter().all(|program| directory.join(program).is_file());
    [real, directory].into_iter().find(|it| complete(it)).map(Path::to_owned)
}

fn version(directory: &Path) -> Option<(u32, u32)> {
    let output = Command::new(directory.join("pg_ctl")).arg("--version").stdin(Stdio::null()).output().ok()?;
    parse_version(std::str::from_utf8(&output.stdout).ok()?)
}

/// Reads `pg_ctl (PostgreSQL) 15.20 (Debian 15.20-1)`, also `18beta1` and `17devel`.
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let number = text.split_once("(PostgreSQL) ")?.1.split_whitespace().next()?;
    let digits = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok();
    let (major, minor) = number.split_once('.').unwrap_or((number, "0"));
    Some((digits(major)?, digits(minor).unwrap_or(0)))
}

fn install_command(wanted: Option<u32>) -> String {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    if cfg!(target_os = "macos") { install_on("macos", wanted) } else { install_on(&release, wanted) }
}

/// `release` is the text of /etc/os-release, or `macos`.
fn install_on(release: &str, wanted: Option<u32>) -> String {
    let families: Vec<&str> = release
        .lines()
        .filter_map(|line| line.strip_prefix("ID=").or_else(|| line.strip_prefix("ID_LIKE=")))
        .flat_map(|names| names.trim_matches('"').split_whitespace())
        .collect();
    let is = |names: &[&str]| names.iter().any(|name| families.contains(name));
    let version = wanted.map(|major| major.to_string());
    let suffix = |separator: &str| version.as_ref().map(|version| format!("{separator}{version}")).unwrap_or_default();
    match () {
        () if release == "macos" => format!("brew install postgresql@{}", version.as_deref().unwrap_or("17")),
        () if is(&["debian", "ubuntu"]) => format!("apt-get install postgresql{}", suffix("-")),
        () if is(&["fedora", "rhel", "centos"]) => "dnf install postgresql-server".to_owned(),
        () if is(&["alpine"]) => format!("apk add postgresql{}", version.as_deref().unwrap_or("17")),
        () if is(&["arch"]) => "pacman -S postgresql".to_owned(),
        () if is(&["suse", "opensuse"]) => format!("zypper install postgresql{}-server", suffix("")),
        () => "your package manager's `postgresql` server package".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_pg_ctl_prints() {
        assert_eq!(parse_version("pg_ctl (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)\n"), Some((15, 20)));
        assert_eq!(parse_version("pg_ctl (PostgreSQL) 18beta1"), Some((18, 0)));
        assert_eq!(parse_version("pg_ctl"), None);
    }

    #[test]
    fn the_install_command_fits_the_platform_and_the_data() {
        assert_eq!(install_on("NAME=x\nID=debian\n", None), "apt-get install postgresql");
        assert_eq!(install_on("ID=mint\nID_LIKE=\"ubuntu debian\"\n", Some(15)), "apt-get install postgresql-15");
        assert_eq!(install_on("ID=fedora", None), "dnf install postgresql-server");
        assert_eq!(install_on("ID=alpine", Some(16)), "apk add postgresql16");
        assert_eq!(install_on("ID=arch", None), "pacman -S postgresql");
        assert_eq!(install_on("macos", None), "brew install postgresql@17");
    }
}

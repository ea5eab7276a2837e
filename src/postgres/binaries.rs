//! Finds `initdb`, `pg_ctl` and `postgres` on this machine: the newest version, or the one that existing data requires.

use super::PostgresError;
use super::account::Account;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The oldest supported major version.
const OLDEST_MAJOR: u32 = 14;
const PROGRAMS: [&str; 3] = ["initdb", "pg_ctl", "postgres"];

/// Directories of server programs on the supported platforms; `*` matches a name or the rest of one.
const SEARCH_PATTERNS: [&str; 9] = [
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

/// The install command of each family of platforms.
const INSTALL_COMMANDS: [(&str, &str); 6] = [
    ("macos", "brew install postgresql@17"),
    ("debian", "apt-get install postgresql"),
    ("fedora", "dnf install postgresql-server"),
    ("alpine", "apk add postgresql17"),
    ("arch", "pacman -S postgresql"),
    ("suse", "zypper install postgresql-server"),
];

/// The server programs of one PostgreSQL installation.
#[derive(Debug, Clone)]
pub(super) struct Binaries {
    /// Major and minor version.
    pub version: (u32, u32),
    pub directory: PathBuf,
}

impl Binaries {
    /// Finds the newest usable programs, in `bin_dir` if it is given. `required_major` is the version of existing data, which
    /// no other version reads.
    ///
    /// # Errors
    /// No directory holds usable programs; the error lists the searched directories and the unusable programs.
    pub fn find(bin_dir: Option<&Path>, account: &Account, required_major: Option<u32>) -> Result<Self, PostgresError> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let (searched, directories) = match bin_dir {
            Some(directory) => (format!("SPSI_PG_BIN_DIR={}", directory.display()), vec![directory.to_owned()]),
            None => (
                format!("PATH={}; {}", path.display(), SEARCH_PATTERNS.join("; ")),
                std::env::split_paths(&path).chain(SEARCH_PATTERNS.into_iter().flat_map(expand)).collect(),
            ),
        };
        let (mut usable, mut unusable) = (Vec::new(), Vec::new());
        for directory in directories.iter().filter_map(|directory| programs_in(directory)) {
            let Some(version) = version(&directory) else { continue };
            let problem = match () {
                () if version.0 < OLDEST_MAJOR => Some(format!("too old, {OLDEST_MAJOR} is required")),
                () if required_major.is_some_and(|major| major != version.0) => Some("wrong version".to_owned()),
                () => account
                    .find_blocking_directory(&directory)
                    .map(|blocked_by| format!("the user `{}` cannot enter {}", account.name, blocked_by.display())),
            };
            match problem {
                None => usable.push(Self { version, directory }),
                Some(problem) => {
                    let (major, minor) = version;
                    unusable.push(format!("{} has version {major}.{minor}: {problem}", directory.display()));
                }
            }
        }
        // `max_by_key` returns the last of equals, but PATH, the first place, shall win.
        usable.into_iter().rev().max_by_key(|binaries| binaries.version).ok_or_else(|| PostgresError::BinariesMissing {
            searched,
            unusable,
            required_major,
            install: install_command(),
        })
    }

    pub fn program(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

/// Returns the directories that match a pattern with at most one `*`.
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

/// Returns the directory with all programs. Some platforms only link `initdb` or `pg_ctl` into the PATH, so the target
/// of such a link is searched first.
fn programs_in(directory: &Path) -> Option<PathBuf> {
    let real = directory.join("pg_ctl").canonicalize().ok()?;
    let real = real.parent()?;
    let is_complete = |directory: &Path| PROGRAMS.iter().all(|program| directory.join(program).is_file());
    [real, directory].into_iter().find(|directory| is_complete(directory)).map(Path::to_owned)
}

fn version(directory: &Path) -> Option<(u32, u32)> {
    let output = Command::new(directory.join("pg_ctl")).arg("--version").stdin(Stdio::null()).output().ok()?;
    parse_version(std::str::from_utf8(&output.stdout).ok()?)
}

/// Parses `pg_ctl (PostgreSQL) 15.20 (Debian 15.20-1)`, also `18beta1` and `17devel`.
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let number = text.split_once("(PostgreSQL) ")?.1.split_whitespace().next()?;
    let digits = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok();
    let (major, minor) = number.split_once('.').unwrap_or((number, "0"));
    Some((digits(major)?, digits(minor).unwrap_or(0)))
}

fn install_command() -> String {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let known = install_on(if cfg!(target_os = "macos") { "ID=macos" } else { &release });
    let unknown = "your package manager (the package is usually called `postgresql-server` or `postgresql`)";
    known.map_or_else(|| unknown.to_owned(), |command| format!("`{command}`"))
}

/// Returns the install command for a platform, if it is a known one; `release` is the text of /etc/os-release. A derived
/// platform names its family: `ID_LIKE="ubuntu debian"`.
fn install_on(release: &str) -> Option<&'static str> {
    let mut families = release
        .lines()
        .filter_map(|line| line.strip_prefix("ID=").or_else(|| line.strip_prefix("ID_LIKE=")))
        .flat_map(|names| names.trim_matches('"').split_whitespace());
    families.find_map(|family| INSTALL_COMMANDS.iter().find(|(known, _)| *known == family)).map(|(_, command)| *command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_parsed_from_the_output_of_pg_ctl() {
        assert_eq!(parse_version("pg_ctl (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)\n"), Some((15, 20)));
        assert_eq!(parse_version("pg_ctl (PostgreSQL) 18beta1"), Some((18, 0)));
        assert_eq!(parse_version("pg_ctl"), None);
    }

    #[test]
    fn the_install_command_matches_the_family_of_the_platform() {
        assert_eq!(install_on("NAME=x\nID=debian\n"), Some("apt-get install postgresql"));
        assert_eq!(install_on("ID=mint\nID_LIKE=\"ubuntu debian\"\n"), Some("apt-get install postgresql"));
        assert_eq!(install_on("ID=other\n"), None);
    }
}

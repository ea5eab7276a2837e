//! Runs the PostgreSQL programs: `initdb` once, `pg_ctl` to start and stop the server.

use super::binaries::Binaries;
use super::layout::Layout;
use super::{PostgresError, Settings, TIMEOUT, store};
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const RETRY: Duration = Duration::from_millis(100);
/// Time limit of `pg_ctl`, in seconds.
const PG_CTL_SECONDS: &str = "60";
/// Errors of a start while a server or the children of a killed server still end; they disappear within seconds.
const TRANSIENT_ERRORS: [&str; 2] = ["\" already exists\n", "pre-existing shared memory block"];

/// The server of a data directory, running or not.
#[derive(Debug, Clone)]
pub(super) struct Server {
    pub layout: Layout,
    pub binaries: Binaries,
}

impl Server {
    /// Prepares a program: as the server's user, in a directory that every user can enter, without this process's `PG*`
    /// variables, and in its own process group, so that Ctrl-C does not reach it. The data directory is a variable, because
    /// `pg_ctl` inserts the argument into a shell command with weak quoting.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.binaries.program(program));
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"PG")) {
            command.env_remove(name);
        }
        command.env("LC_ALL", "C").env("PGDATA", self.layout.data()).current_dir("/").process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let account = &self.layout.account;
        if account.is_switched {
            // Changing the user id as root also drops the supplementary groups.
            command.uid(account.uid).gid(account.gid);
        }
        command
    }

    /// Runs a program. Its output replaces the log.
    async fn run(&self, program: &'static str, mut command: Command) -> Result<(), PostgresError> {
        let path = self.layout.log();
        // The server inherits these handles, so they must be files: a pipe would never close.
        let log = File::options().write(true).create(true).truncate(true).mode(0o600).open(&path);
        let log = log.map_err(PostgresError::file("open", &path))?;
        command.stdout(log.try_clone().map_err(PostgresError::file("open", &path))?).stderr(log);
        let child = tokio::process::Command::from(command).kill_on_drop(true).status();
        let status = match tokio::time::timeout(TIMEOUT, child).await {
            Ok(Ok(status)) if status.success() => return Ok(()),
            Ok(Ok(status)) => status.to_string(),
            Ok(Err(error)) => return Err(PostgresError::file("run", self.binaries.program(program))(error)),
            Err(_) => "took too long".to_owned(),
        };
        let output = std::fs::read(&path).map_err(PostgresError::file("read", &path))?;
        let output = String::from_utf8_lossy(&output);
        let lines: Vec<&str> = output.lines().filter(|line| !line.trim().is_empty()).collect();
        let output = lines[lines.len().saturating_sub(20)..].join("\n");
        Err(PostgresError::Program { program, status, output })
    }

    /// Creates the cluster if it is missing. A killed attempt leaves only a directory that the next attempt removes.
    pub async fn initialise(&self, settings: &Settings) -> Result<(), PostgresError> {
        if self.layout.data_version().is_some() {
            return Ok(());
        }
        let (unfinished, data) = (self.layout.unfinished_data(), self.layout.data());
        self.layout.remove_unfinished();
        let mut command = self.command("initdb");
        // The character type `C` would break lower-casing and trigrams beyond ASCII.
        let ctype = if cfg!(target_os = "macos") { "en_US.UTF-8" } else { "C.UTF-8" };
        command.args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-instructions"]);
        command.arg(format!("--lc-ctype={ctype}")).arg("--pgdata").arg(&unfinished);
        if !settings.durable {
            command.arg("--no-sync");
        }
        self.run("initdb", command).await?;
        std::fs::rename(&unfinished, &data).map_err(PostgresError::file("create", &data))
    }

    /// Starts the server unless it runs, and waits until it answers.
    pub async fn ensure_running(&self, settings: &Settings) -> Result<(), PostgresError> {
        let started = Instant::now();
        while !store::is_ready(&self.layout.socket_directory).await {
            if started.elapsed() > TIMEOUT {
                return Err(PostgresError::Timeout { seconds: TIMEOUT.as_secs(), log: self.layout.log() });
            }
            self.remove_stale_locks()?;
            let mut command = self.command("pg_ctl");
            command.args(["start", "-s", "-w", "-t", PG_CTL_SECONDS, "-o"]).arg(self.options(settings));
            match self.run("pg_ctl", command).await {
                Err(PostgresError::Program { output, .. })
                    if TRANSIENT_ERRORS.iter().any(|text| output.contains(text)) =>
                {
                    tokio::time::sleep(RETRY).await;
                }
                launched => launched?,
            }
        }
        Ok(())
    }

    fn options(&self, settings: &Settings) -> String {
        let durable = if settings.durable { "on" } else { "off" };
        let socket = format!("\"{}\"", self.layout.socket_directory.display().to_string().replace('"', "\"\""));
        [
            ("listen_addresses", ""),
            ("unix_socket_directories", &socket),
            ("unix_socket_permissions", "0700"),
            ("port", "5432"),
            ("max_connections", &settings.max_connections.to_string()),
            ("fsync", durable),
            ("full_page_writes", durable),
            ("synchronous_commit", durable),
            ("timezone", "UTC"),
            ("log_timezone", "UTC"),
        ]
        .map(|(name, value)| format!("-c {name}='{}'", value.replace('\'', "'\\''")))
        .join(" ")
    }

    /// Removes a lock file of PostgreSQL if its process id belongs to another program or a zombie. After a crash, another
    /// program may get the id (usual in containers), and PostgreSQL would refuse to start. PostgreSQL finds surviving
    /// children of the old server by their shared memory, without the file.
    fn remove_stale_locks(&self) -> Result<(), PostgresError> {
        for path in [self.layout.pid_file(), self.layout.socket_directory.join(".s.PGSQL.5432.lock")] {
            if process_in(&path).is_some_and(is_surely_not_postgres) {
                std::fs::remove_file(&path).map_err(PostgresError::file("remove", &path))?;
            }
        }
        Ok(())
    }

    /// Stops the server if it runs, and waits until it has ended. Open sessions end; commits are kept.
    pub fn stop(&self) -> Result<(), PostgresError> {
        let pid_file = self.layout.pid_file();
        if !pid_file.exists() {
            return Ok(());
        }
        let mut command = self.command("pg_ctl");
        command.args(["stop", "-s", "-w", "-m", "fast", "-t", PG_CTL_SECONDS]);
        let status = command.status().map_err(PostgresError::file("run", self.binaries.program("pg_ctl")))?;
        // A stale pid file makes pg_ctl fail although no server runs.
        if status.success() || process_in(&pid_file).is_none_or(is_surely_not_postgres) {
            return Ok(());
        }
        let output = "(none; see postgres.log)".to_owned();
        Err(PostgresError::Program { program: "pg_ctl", status: status.to_string(), output })
    }
}

/// Returns the process id in the first line of a lock file of PostgreSQL.
fn process_in(lock_file: &Path) -> Option<u32> {
    std::fs::read_to_string(lock_file).ok()?.lines().next()?.trim().parse().ok()
}

/// Returns true only if /proc proves it. Without /proc, PostgreSQL's own checks decide.
fn is_surely_not_postgres(pid: u32) -> bool {
    if !Path::new("/proc/self/stat").exists() {
        return false;
    }
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        // `pid (name) state ...`
        Ok(stat) => !stat.contains("(postgres)") || stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z")),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}

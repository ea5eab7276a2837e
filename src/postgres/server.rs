//! Runs the PostgreSQL programs: `initdb` once, `pg_ctl` to start and stop the server.

use super::binaries::Binaries;
use super::layout::Layout;
use super::store::{self, Probe};
use super::{PostgresError, Settings};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const RETRY: Duration = Duration::from_millis(100);
const STOP_SECONDS: &str = "60";
/// A larger log is deleted at the next start, in bytes.
const MAX_LOG: u64 = 8 * 1024 * 1024;
/// Errors of a start while children of a killed server still end; they disappear within seconds.
const TRANSIENT_ERRORS: [&str; 2] = ["\" already exists\n", "pre-existing shared memory block"];

/// The server of a data directory, running or not.
#[derive(Debug, Clone)]
pub(super) struct Server {
    pub layout: Layout,
    pub binaries: Binaries,
}

impl Server {
    /// Prepares a program: as the server's user, in a directory that every user can enter, without this process's `PG*`
    /// variables, and in its own process group, so that Ctrl-C does not reach it.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.binaries.program(program));
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"PG")) {
            command.env_remove(name);
        }
        command.env("LC_ALL", "C").current_dir("/").process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.layout.account.apply(&mut command);
        command
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
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = tokio::process::Command::from(command).kill_on_drop(true).output();
        match tokio::time::timeout(settings.start_timeout, child).await {
            Ok(Ok(output)) if output.status.success() => {}
            Ok(Ok(output)) => {
                let text = [output.stdout, output.stderr].concat();
                return Err(program_failed("initdb", output.status.to_string(), &text));
            }
            Ok(Err(error)) => return Err(PostgresError::file("run", self.binaries.program("initdb"))(error)),
            Err(_) => return Err(program_failed("initdb", "took too long".to_owned(), b"")),
        }
        std::fs::rename(&unfinished, &data).map_err(PostgresError::file("create", &data))
    }

    /// Starts the server unless it runs, and waits until it answers; returns whether it was already running.
    pub async fn ensure_running(&self, settings: &Settings) -> Result<bool, PostgresError> {
        let started = Instant::now();
        let mut was_launched = false;
        while started.elapsed() < settings.start_timeout {
            match store::probe(&self.layout.socket_directory).await {
                Probe::Ready => return Ok(!was_launched),
                Probe::Busy => {}
                Probe::Absent => {
                    self.neutralise_stale_locks()?;
                    let left = settings.start_timeout.saturating_sub(started.elapsed());
                    was_launched = match self.launch(settings, left).await {
                        Ok(()) => true,
                        Err(PostgresError::Program { output, .. })
                            if TRANSIENT_ERRORS.iter().any(|text| output.contains(text)) =>
                        {
                            false
                        }
                        Err(error) => return Err(error),
                    };
                    if was_launched {
                        continue;
                    }
                }
            }
            tokio::time::sleep(RETRY).await;
        }
        Err(PostgresError::Timeout { seconds: settings.start_timeout.as_secs(), log: self.layout.log() })
    }

    async fn launch(&self, settings: &Settings, timeout: Duration) -> Result<(), PostgresError> {
        let mut log = self.open_log()?;
        let before = log.seek(SeekFrom::End(0)).map_err(PostgresError::file("read", self.layout.log()))?;
        let output = || log.try_clone().map(Stdio::from).map_err(PostgresError::file("open", self.layout.log()));
        let mut command = self.command("pg_ctl");
        // The server inherits these handles, so they must be files: a pipe would never close. The data directory is an
        // environment variable, because pg_ctl inserts the argument into a shell command with weak quoting.
        command.stdout(output()?).stderr(output()?).env("PGDATA", self.layout.data());
        command
            .args(["start", "-s", "-w", "-t", &timeout.as_secs().max(1).to_string(), "-o"])
            .arg(self.options(settings));
        let child = tokio::process::Command::from(command).kill_on_drop(true).status();
        let status = match tokio::time::timeout(timeout + Duration::from_secs(2), child).await {
            Ok(Ok(status)) if status.success() => return Ok(()),
            Ok(Ok(status)) => status.to_string(),
            Ok(Err(error)) => return Err(PostgresError::file("run", self.binaries.program("pg_ctl"))(error)),
            Err(_) => "took too long".to_owned(),
        };
        let mut text = Vec::new();
        log.seek(SeekFrom::Start(before))
            .and_then(|_| log.read_to_end(&mut text))
            .map_err(PostgresError::file("read", self.layout.log()))?;
        Err(program_failed("pg_ctl start", status, &text))
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

    fn open_log(&self) -> Result<File, PostgresError> {
        let path = self.layout.log();
        let is_full = std::fs::metadata(&path).is_ok_and(|found| found.size() > MAX_LOG);
        if is_full {
            std::fs::remove_file(&path).map_err(PostgresError::file("remove", &path))?;
        }
        OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)
            .map_err(PostgresError::file("open", &path))
    }

    /// Replaces the process id in a lock file of PostgreSQL if it belongs to another program or a zombie. After a crash,
    /// another program may get the id (usual in containers), and PostgreSQL would refuse to start. The new id is one that
    /// no process has. The rest of the file stays: PostgreSQL finds surviving children of the old server by it.
    fn neutralise_stale_locks(&self) -> Result<(), PostgresError> {
        for path in [self.layout.data().join("postmaster.pid"), self.layout.socket_lock()] {
            let Ok(text) = std::fs::read_to_string(&path) else { continue };
            let Some((pid, rest)) = text.split_once('\n') else { continue };
            if pid.trim().parse().is_ok_and(is_surely_not_postgres) {
                self.replace(&path, &format!("{}\n{rest}", i32::MAX))?;
            }
        }
        Ok(())
    }

    /// Replaces a file by renaming a new one. Writing to the old file as root would follow a link of the server's user.
    fn replace(&self, path: &Path, text: &str) -> Result<(), PostgresError> {
        let replacement = path.with_extension("spsi");
        let failed = || PostgresError::file("write", &replacement);
        // This fails if there is no such file, as usual.
        let _ = std::fs::remove_file(&replacement);
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&replacement).map_err(failed())?;
        file.write_all(text.as_bytes()).map_err(failed())?;
        if self.layout.account.is_switched {
            fchown(&file, Some(self.layout.account.uid), Some(self.layout.account.gid)).map_err(failed())?;
        }
        std::fs::rename(&replacement, path).map_err(PostgresError::file("replace", path))
    }

    /// Stops the server if it runs, and waits until it has ended. Open sessions end; commits are kept.
    pub fn stop(&self) -> Result<(), PostgresError> {
        if !self.layout.data().join("postmaster.pid").exists() {
            return Ok(());
        }
        let mut command = self.command("pg_ctl");
        command.env("PGDATA", self.layout.data()).args(["stop", "-s", "-w", "-m", "fast", "-t", STOP_SECONDS]);
        let status = command.status().map_err(PostgresError::file("run", self.binaries.program("pg_ctl")))?;
        // A stale pid file makes pg_ctl fail although no server runs.
        let is_stopped = status.success() || !is_postmaster_alive(&self.layout.data());
        if is_stopped {
            Ok(())
        } else {
            Err(program_failed("pg_ctl stop", status.to_string(), b"(none; see postgres.log)"))
        }
    }
}

fn is_postmaster_alive(data: &Path) -> bool {
    let Ok(text) = std::fs::read_to_string(data.join("postmaster.pid")) else { return false };
    text.lines().next().and_then(|pid| pid.trim().parse().ok()).is_some_and(|pid| !is_surely_not_postgres(pid))
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

fn program_failed(program: &'static str, status: String, output: &[u8]) -> PostgresError {
    let text = String::from_utf8_lossy(output);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let tail = lines[lines.len().saturating_sub(20)..].join("\n");
    PostgresError::Program { program, status, output: tail }
}

//! PgBouncer between the program and Postgres.

use super::until;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use url::Url;

/// A running PgBouncer. It ends with this value, and with this process.
#[derive(Debug)]
pub struct PgBouncer {
    port: u16,
    /// A shell that kills PgBouncer when its standard input ends.
    guard: Child,
}

impl PgBouncer {
    /// Returns the program, if it is installed.
    pub fn program() -> Option<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut directories: Vec<PathBuf> = std::env::split_paths(&path).collect();
        directories.push("/usr/sbin".into());
        directories.into_iter().map(|directory| directory.join("pgbouncer")).find(|program| program.exists())
    }

    /// Starts PgBouncer for every database of `server`. `pool_mode` is `session` or `transaction`.
    pub fn start(program: &Path, server: &Url, pool_mode: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("an address").port();
        let directory = tempfile::tempdir().expect("a directory").keep();
        std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o755)).expect("permissions");
        let configuration = directory.join("pgbouncer.ini");
        // No `ignore_startup_parameters`: the program sends none that PgBouncer refuses by default. The pool is small in
        // transaction mode, so that clients share server connections.
        let pool_size = if pool_mode == "session" { 200 } else { 10 };
        let text = format!(
            "[databases]\n* = {}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = any\npool_mode = {pool_mode}\nmax_client_conn = 800\ndefault_pool_size = {pool_size}\n\
             server_idle_timeout = 5\n",
            keywords(server)
        );
        std::fs::write(&configuration, text).expect("write");
        let mut command = Command::new("sh");
        command.args(["-c", r#""$@" & read -r _; kill -9 $!; rm -r "$0""#]).arg(&directory).arg(program);
        // PgBouncer refuses to run as root. The owner of the server's socket may connect.
        if nix::unistd::Uid::effective().is_root() {
            let owner = socket_directory(server).map(|directory| std::fs::metadata(directory).expect("metadata").uid());
            let user = owner.and_then(|uid| nix::unistd::User::from_uid(uid.into()).expect("the users"));
            command.arg("-u").arg(user.map_or_else(|| "nobody".to_owned(), |user| user.name));
        }
        let guard = command
            .arg("-q")
            .arg(&configuration)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C does not reach it: it ends after this process.
            .process_group(0)
            .spawn()
            .expect("the shell starts");
        until("PgBouncer listens", Duration::from_secs(20), || TcpStream::connect(("127.0.0.1", port)).ok());
        Self { port, guard }
    }

    /// The URL of a database through PgBouncer.
    pub fn url(&self, database: &str) -> Url {
        Url::parse(&format!("postgres://pooled@127.0.0.1:{}/{database}?sslmode=disable", self.port)).expect("a URL")
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

fn socket_directory(server: &Url) -> Option<String> {
    server.query_pairs().find(|(key, host)| key == "host" && host.starts_with('/')).map(|(_, host)| host.into_owned())
}

/// How PgBouncer connects to the server.
fn keywords(server: &Url) -> String {
    let host = socket_directory(server).unwrap_or_else(|| server.host_str().expect("a host").to_owned());
    let password = server.password().map(|password| format!(" password='{password}'")).unwrap_or_default();
    format!("host='{host}' port={} user='{}'{password}", server.port().unwrap_or(5432), server.username())
}

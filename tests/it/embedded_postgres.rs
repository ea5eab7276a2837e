//! The private Postgres: processes share it, it survives a killed process, and the last process stops it.

use crate::support::database::in_own_runtime;
use spsi_partner::postgres::{self, PostgresError, Settings};
use sqlx::{Connection, PgConnection};
use std::fs::Permissions;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

const USER: &str = "SPSI_TEST_USER_PROCESS";

fn directory() -> TempDir {
    tempfile::Builder::new().prefix("spsi-").permissions(Permissions::from_mode(0o755)).tempdir().expect("a directory")
}

fn settings(directory: &Path) -> Settings {
    Settings { data_dir: Some(directory.join("data")), durable: false, max_connections: 20, ..Settings::default() }
}

fn server_process(directory: &Path) -> Option<nix::unistd::Pid> {
    let text = std::fs::read_to_string(directory.join("data/postgres/data/postmaster.pid")).ok()?;
    text.lines().next()?.parse().ok().map(nix::unistd::Pid::from_raw)
}

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.expect("the private server answers")
}

/// Starts a process that uses the server until its standard input ends; returns when it uses the server.
fn user_process(directory: &Path) -> Child {
    let mut child = Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", "embedded_postgres::user", "--ignored", "--nocapture"])
        .env(USER, directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("another process");
    let lines = BufReader::new(child.stdout.as_mut().expect("piped")).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.contains("ready")), "the other process uses the server");
    child
}

#[test]
#[ignore = "not a test: other tests run it in a process of its own"]
fn user() {
    let Some(directory) = std::env::var_os(USER) else { return };
    in_own_runtime(|| async {
        let embedded = postgres::start(&settings(Path::new(&directory))).await.expect("start");
        println!("\nready");
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        embedded.stop().await.expect("stop");
    });
}

#[tokio::test]
async fn data_survives_and_the_last_process_stops_the_server() {
    let directory = directory();
    let settings = settings(directory.path());
    let (one, other) = tokio::join!(postgres::start(&settings), postgres::start(&settings));
    let (one, other) = (one.expect("start"), other.expect("start at the same time"));
    sqlx::raw_sql("create table kept (id int)").execute(&mut connect(one.url()).await).await.expect("create");

    one.stop().await.expect("stop");
    let mut connection = connect(other.url()).await;
    sqlx::raw_sql("select * from kept").execute(&mut connection).await.expect("still there for the other");
    drop(other);
    assert_eq!(server_process(directory.path()), None);

    let again = postgres::start(&settings).await.expect("start again");
    sqlx::raw_sql("select * from kept").execute(&mut connect(again.url()).await).await.expect("data survives");
    again.stop().await.expect("stop");
    assert_eq!(server_process(directory.path()), None);
}

#[tokio::test]
async fn a_server_that_outlived_a_killed_process_is_used_again() {
    let directory = directory();
    let mut user = user_process(directory.path());
    user.kill().expect("kill -9");
    user.wait().expect("wait");
    let survivor = server_process(directory.path()).expect("the server lives on");

    let embedded = postgres::start(&settings(directory.path())).await.expect("start");
    assert_eq!(server_process(directory.path()), Some(survivor));
    embedded.stop().await.expect("stop");
    assert_eq!(server_process(directory.path()), None);
}

#[tokio::test]
async fn a_process_that_uses_the_server_keeps_it_alive() {
    let directory = directory();
    let mut user = user_process(directory.path());
    let embedded = postgres::start(&settings(directory.path())).await.expect("join");
    embedded.stop().await.expect("stop");
    assert!(server_process(directory.path()).is_some());

    drop(user.stdin.take());
    assert!(user.wait().expect("wait").success());
    assert_eq!(server_process(directory.path()), None);
}

#[tokio::test]
async fn a_killed_server_is_started_again() {
    let directory = directory();
    let first = postgres::start(&settings(directory.path())).await.expect("start");
    let killed = server_process(directory.path()).expect("it runs");
    nix::sys::signal::kill(killed, nix::sys::signal::Signal::SIGKILL).expect("kill -9");

    let second = postgres::start(&settings(directory.path())).await.expect("start although its file is still there");
    assert_ne!(server_process(directory.path()), Some(killed));
    connect(second.url()).await.ping().await.expect("ping");
    drop((first, second));
    assert_eq!(server_process(directory.path()), None);
}

#[tokio::test]
async fn a_pid_file_with_the_id_of_another_program_does_not_prevent_the_start() {
    let directory = directory();
    postgres::start(&settings(directory.path())).await.expect("start").stop().await.expect("stop");
    let file = directory.path().join("data/postgres/data/postmaster.pid");
    let owner = std::fs::metadata(file.parent().expect("a parent")).expect("the data").uid();
    let lines = format!("{}\n/nowhere\n1\n5432\n/nowhere\n\n", std::process::id());
    std::fs::write(&file, lines).expect("a stale file");
    std::os::unix::fs::chown(&file, Some(owner), None).expect("the server's");

    let embedded = postgres::start(&settings(directory.path())).await.expect("start");
    connect(embedded.url()).await.ping().await.expect("ping");
    embedded.stop().await.expect("stop");
}

#[tokio::test]
async fn a_killed_initdb_is_repeated() {
    let directory = directory();
    let settings = settings(directory.path());
    let cluster = postgres::data_dir(&settings).expect("the directory").join("postgres");
    std::fs::create_dir(cluster.join("data.new")).expect("what initdb leaves");
    std::fs::write(cluster.join("data.new/PG_VERSION"), "15\n").expect("written early");
    let embedded = postgres::start(&settings).await.expect("start");
    assert!(!cluster.join("data.new").exists());
    embedded.stop().await.expect("stop");
}

#[tokio::test]
async fn a_long_path_and_a_path_with_special_characters_work() {
    let directory = directory();
    let odd = directory.path().join("it's a \"test\" é").join("x".repeat(80));
    std::fs::create_dir_all(&odd).expect("create");
    let embedded = postgres::start(&settings(&odd)).await.expect("start");
    let socket = embedded.socket_dir().to_owned();
    assert!(socket.as_os_str().len() < 75, "{}", socket.display());
    assert_eq!(std::fs::metadata(&socket).expect("the socket's directory").mode() & 0o777, 0o700);
    connect(embedded.url()).await.ping().await.expect("ping");
    embedded.stop().await.expect("stop");
    std::fs::remove_dir(socket).expect("empty after the stop");

    let short = directory.path().join("it's a \"b\"");
    std::fs::create_dir_all(&short).expect("create");
    let embedded = postgres::start(&settings(&short)).await.expect("start");
    assert!(embedded.socket_dir().starts_with(&short));
    connect(embedded.url()).await.ping().await.expect("ping");
    embedded.stop().await.expect("stop");
}

#[tokio::test]
async fn only_the_server_user_can_enter_the_cluster() {
    let directory = directory();
    let settings = settings(directory.path());
    let top = postgres::data_dir(&settings).expect("the directory");
    let (ours, theirs) = (std::fs::metadata(&top).expect("top"), std::fs::metadata(top.join("postgres")).expect("sub"));
    let root = nix::unistd::Uid::effective().is_root();
    assert_eq!(ours.mode() & 0o777, if root { 0o711 } else { 0o700 });
    assert_eq!(ours.uid(), nix::unistd::Uid::effective().as_raw());
    assert_eq!(theirs.mode() & 0o777, 0o700);
    assert_ne!(theirs.uid(), 0, "PostgreSQL refuses root");
}

#[tokio::test]
async fn as_root_a_closed_data_directory_is_refused_and_named() {
    if !nix::unistd::Uid::effective().is_root() {
        return;
    }
    let closed = directory();
    std::fs::set_permissions(closed.path(), Permissions::from_mode(0o700)).expect("close it");
    let error = postgres::start(&settings(closed.path())).await.expect_err("closed");
    assert!(matches!(error, PostgresError::Unreachable { blocked_by, .. } if blocked_by == closed.path()));
}

#[tokio::test]
async fn the_error_for_missing_programs_names_the_searched_directory_and_the_install_command() {
    let directory = directory();
    let settings = Settings { bin_dir: Some(directory.path().to_owned()), ..settings(directory.path()) };
    let error = postgres::start(&settings).await.expect_err("no programs there").to_string();
    for part in ["initdb, pg_ctl and postgres", "SPSI_PG_BIN_DIR", "Install them with", "DATABASE_URL"] {
        assert!(error.contains(part), "{error}");
    }
}

#[tokio::test]
async fn data_of_a_missing_version_is_refused_with_the_version() {
    let directory = directory();
    let settings = settings(directory.path());
    let data = postgres::data_dir(&settings).expect("the directory").join("postgres/data");
    std::fs::create_dir(&data).expect("create");
    std::fs::write(data.join("PG_VERSION"), "9999\n").expect("write");
    let error = postgres::start(&settings).await.expect_err("no such version").to_string();
    assert!(error.contains("of version 9999"), "{error}");
}

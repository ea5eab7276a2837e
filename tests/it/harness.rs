//! Tests of the test support itself.

use crate::support::binary::{listening_on, program};
use crate::support::database::TestDatabase;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

#[tokio::test]
async fn a_test_database_has_all_migrations() {
    let database = TestDatabase::new().await;
    let applied: i64 = sqlx::query_scalar("select count(*) from _sqlx_migrations where success")
        .fetch_one(database.pool())
        .await
        .expect("the migrations' own table");
    assert!(applied >= 6, "{applied}");
}

#[tokio::test]
async fn concurrent_tests_use_separate_databases() {
    let (one, other) = tokio::join!(TestDatabase::new(), TestDatabase::new());
    sqlx::raw_sql("create table only_here (id int)").execute(one.pool()).await.expect("create");
    let exists: bool = sqlx::query_scalar("select to_regclass('only_here') is not null")
        .fetch_one(other.pool())
        .await
        .expect("a query in the other database");
    assert!(!exists);
    assert_ne!(one.url(), other.url());
}

#[tokio::test]
async fn postgres_lower_cases_accented_letters() {
    let database = TestDatabase::new().await;
    let lowered: String = sqlx::query_scalar("select lower('ÉCLAIR')").fetch_one(database.pool()).await.expect("lower");
    assert_eq!(lowered, "éclair");
}

#[test]
fn the_servers_address_is_found_in_plain_and_json_log_lines() {
    let expected = Some("http://127.0.0.1:4711".to_owned());
    assert_eq!(listening_on("INFO listening on http://127.0.0.1:4711"), expected);
    assert_eq!(listening_on(r#"{"message":"listening on http://127.0.0.1:4711","x":1}"#), expected);
    assert_eq!(listening_on("nothing"), None);
}

#[test]
fn a_program_runs_with_exactly_the_environment_directory_and_input_of_the_test() {
    let script = "cat; echo $COLOUR; pwd >&2; env | grep -c DATABASE_URL; exit 3";
    let ended =
        program("/bin/sh", ["-c", script]).env("COLOUR", "green").directory(Path::new("/")).stdin("from stdin\n").run();
    assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.as_str()), (Some(3), "from stdin\ngreen\n0\n", "/\n"));
}

#[test]
fn a_server_is_ready_when_it_logs_its_address_and_stops_on_sigterm() {
    let script = "echo starting >&2; echo listening on http://127.0.0.1:4711 >&2; exec sleep 600";
    let server = program("/bin/sh", ["-c", script]).serve();
    assert_eq!(server.url(), "http://127.0.0.1:4711");
    assert!(server.stderr().starts_with("starting\n"));
    assert_eq!(server.terminate().signal(), Some(15));
}

//! Postgres behind a connection pooler. The whole suite runs through one with `SPSI_TEST_PGBOUNCER` (support/database.rs).

use crate::support::binary::{CommandOutput, spsi};
use crate::support::database::{TestDatabase, in_own_runtime};
use crate::support::pgbouncer::PgBouncer;
use serde_json::Value;
use url::Url;

/// Starts PgBouncer before a database of its own, and returns the connection check of `spsi doctor` for each pooling.
fn doctor(pool_mode: &str) -> Option<[(String, String); 2]> {
    let Some(program) = PgBouncer::program() else {
        eprintln!("skipped: PgBouncer is not installed");
        return None;
    };
    let database = in_own_runtime(TestDatabase::new);
    let server = Url::parse(database.direct_url()).expect("a URL");
    let pgbouncer = PgBouncer::start(&program, &server, pool_mode);
    let url = pgbouncer.url(server.path().trim_start_matches('/'));
    Some(["session", "transaction"].map(|pooling| {
        let doctor = spsi(["doctor", "--output", "json"]).env("DATABASE_URL", url.as_str());
        connection(&doctor.env("SPSI_DB_POOLING", pooling).run())
    }))
}

fn connection(ended: &CommandOutput) -> (String, String) {
    let checks: Vec<Value> = serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
    let check = checks.iter().find(|check| check["id"] == "connection").unwrap_or_else(|| panic!("{checks:?}"));
    let text = |key: &str| check[key].as_str().expect("text").to_owned();
    (text("state"), text("found"))
}

#[test]
fn doctor_recognises_a_pooler_in_session_mode() {
    let Some([session, transaction]) = doctor("session") else { return };
    assert_eq!(session, ("good".to_owned(), "a pooler in session mode; notifications arrive".to_owned()));
    assert_eq!(transaction.0, "warning", "{transaction:?}");
}

#[test]
fn doctor_recognises_a_pooler_in_transaction_mode() {
    let Some(checks) = doctor("transaction") else { return };
    let states = checks.map(|(state, found)| {
        assert!(found.starts_with("a pooler in transaction mode"), "{found}");
        state
    });
    assert_eq!(states, ["problem", "warning"], "it works with SPSI_DB_POOLING=transaction only");
}

#[test]
fn doctor_recognises_a_direct_connection() {
    let database = in_own_runtime(TestDatabase::new);
    let ended = spsi(["doctor", "--output", "json"]).env("DATABASE_URL", database.direct_url()).run();
    let (state, found) = connection(&ended);
    // With SPSI_DB_POOLING=transaction in the environment of the tests, the check advises against it.
    let expected = if std::env::var_os("SPSI_DB_POOLING").is_some() { "no pooler" } else { "no pooler was noticed" };
    assert!(found.starts_with(expected), "{state}: {found}");
}

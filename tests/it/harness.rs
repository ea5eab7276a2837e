//! The harness itself.

use crate::support::binary::{listening_on, spsi};
use crate::support::database::TestDatabase;

#[tokio::test]
async fn the_template_has_the_tables() {
    let database = TestDatabase::new().await;
    let applied: i64 = sqlx::query_scalar("select count(*) from _sqlx_migrations where success")
        .fetch_one(database.pool())
        .await
        .expect("the migrations' own table");
    assert!(applied >= 6, "{applied}");
}

#[tokio::test]
async fn databases_used_at_the_same_time_are_separate() {
    let (one, other) = tokio::join!(TestDatabase::new(), TestDatabase::new());
    sqlx::raw_sql("create table only_here (id int)").execute(one.pool()).await.expect("create");
    let there: bool = sqlx::query_scalar("select to_regclass('only_here') is not null")
        .fetch_one(other.pool())
        .await
        .expect("ask the other");
    assert!(!there);
    assert_ne!(one.url(), other.url());
}

#[tokio::test]
async fn character_types_are_unicode() {
    let database = TestDatabase::new().await;
    let lowered: String = sqlx::query_scalar("select lower('ÉCLAIR')").fetch_one(database.pool()).await.expect("lower");
    assert_eq!(lowered, "éclair");
}

#[test]
fn the_binary_prints_its_help() {
    let ended = spsi(["--help"]).run();
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
}

#[test]
fn the_address_is_found_in_plain_and_json_lines() {
    let expected = Some("http://127.0.0.1:4711".to_owned());
    assert_eq!(listening_on("INFO listening on http://127.0.0.1:4711"), expected);
    assert_eq!(listening_on(r#"{"message":"listening on http://127.0.0.1:4711","x":1}"#), expected);
    assert_eq!(listening_on("nothing"), None);
}

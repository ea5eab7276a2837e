//! Notifications of Postgres wake their listener, and Postgres does not have to keep them.

use crate::support::database::{TestDatabase, is_skipped_without_sessions};
use crate::support::order::documented;
use crate::support::supplier::Supplier;
use spsi_partner::db::{Notifications, Pool};
use std::time::Duration;

async fn arrive(notifications: &Notifications) -> bool {
    tokio::time::timeout(Duration::from_secs(2), notifications.arrived()).await.is_ok()
}

/// Returns whether Postgres waits until the listener reads.
async fn is_listener_blocked(pool: &Pool) -> bool {
    let blocked = "select count(*) from pg_stat_activity
                   where datname = current_database() and query like 'LISTEN%' and wait_event = 'ClientWrite'";
    sqlx::query_scalar::<_, i64>(blocked).fetch_one(pool).await.expect("a count") > 0
}

#[tokio::test]
async fn a_flood_of_notifications_is_read_while_nobody_waits_for_one() {
    if is_skipped_without_sessions() {
        return;
    }
    let database = TestDatabase::new().await;
    let pool = database.pool();
    let notifications = Notifications::listen(pool, "spsi_test");
    assert!(arrive(&notifications).await, "when listening has begun");
    // 20 MB, more than the buffers of a connection hold.
    let flood = "select pg_notify('spsi_test', repeat('x', 1000) || n) from generate_series(1, 20000) n";
    sqlx::raw_sql(flood).execute(pool).await.expect("notified");
    let mut checks = 0;
    while is_listener_blocked(pool).await {
        checks += 1;
        assert!(checks < 100, "Postgres still waits for the listener");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Leaves at most one wake-up, however many notifications there were.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(arrive(&notifications).await);
    assert!(!arrive(&notifications).await);
    sqlx::raw_sql("notify spsi_test").execute(pool).await.expect("notified");
    assert!(arrive(&notifications).await);
}

#[tokio::test]
async fn a_listener_whose_connection_was_cut_listens_again() {
    if is_skipped_without_sessions() {
        return;
    }
    let database = TestDatabase::new().await;
    let pool = database.pool();
    let notifications = Notifications::listen(pool, "spsi_test");
    assert!(arrive(&notifications).await);
    let cut = "select pg_terminate_backend(pid) from pg_stat_activity
               where datname = current_database() and query like 'LISTEN%'";
    sqlx::raw_sql(cut).execute(pool).await.expect("cut");
    assert!(arrive(&notifications).await, "notifications may have been lost");
    let is_listening = "select exists (select from pg_stat_activity
                        where datname = current_database() and query like 'LISTEN%' and state = 'idle')";
    while !sqlx::query_scalar::<_, bool>(is_listening).fetch_one(pool).await.expect("a truth") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    sqlx::raw_sql("notify spsi_test").execute(pool).await.expect("notified");
    assert!(arrive(&notifications).await);
}

#[test]
fn a_server_with_one_connection_in_its_pool_works() {
    let supplier = Supplier::start(&[("SPSI_DB_CONNECTIONS", "1"), ("SPSI_REFRESH", "60s")]);
    let clinic = supplier.clinic();
    supplier.order(&clinic, &documented("1")).expect(200);
    let other = supplier.clinic();
    supplier.order(&other, &documented("2")).expect(200);
    assert_eq!(supplier.request("GET", "/readyz").send().status, 200);
}

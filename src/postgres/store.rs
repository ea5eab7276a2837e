//! The SQL of the private server itself.

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions, Connection, PgConnection};
use std::path::Path;
use std::time::Duration;

/// The SQLSTATE `cannot_connect_now`: starting up, in recovery, or shutting down.
const CANNOT_CONNECT_NOW: &str = "57P03";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

async fn connect(socket_directory: &Path) -> Result<PgConnection, sqlx::Error> {
    PgConnectOptions::new_without_pgpass()
        .host("localhost")
        .socket(socket_directory)
        .port(5432)
        .username("postgres")
        .database("postgres")
        .ssl_mode(PgSslMode::Disable)
        .connect()
        .await
}

/// Returns whether a server accepts connections at the socket, also if it refuses this one because it has too many.
pub(super) async fn is_ready(socket_directory: &Path) -> bool {
    match tokio::time::timeout(CONNECT_TIMEOUT, connect(socket_directory)).await {
        Ok(Err(sqlx::Error::Database(error))) => error.code().as_deref() != Some(CANNOT_CONNECT_NOW),
        connected => connected.is_ok_and(|connection| connection.is_ok()),
    }
}

/// Creates the database `spsi` if it is missing. The caller holds the set-up lock.
pub(super) async fn ensure_database(socket_directory: &Path) -> Result<(), sqlx::Error> {
    let mut connection = connect(socket_directory).await?;
    let exists =
        sqlx::query_scalar!(r#"select exists(select from pg_database where datname = $1) as "exists!""#, "spsi")
            .fetch_one(&mut connection)
            .await?;
    if !exists {
        sqlx::raw_sql("create database spsi").execute(&mut connection).await?;
    }
    connection.close().await
}

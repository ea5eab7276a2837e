//! The SQL of the private server itself.

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};
use std::path::Path;
use std::time::Duration;

/// The SQLSTATE `cannot_connect_now`: starting up, in recovery, or shutting down.
const CANNOT_CONNECT_NOW: &str = "57P03";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The state of the server behind the socket.
#[derive(Debug)]
pub(super) enum Probe {
    /// It answers.
    Ready,
    /// It is starting or stopping.
    Busy,
    /// No server listens.
    Absent,
}

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

/// Connects to the socket to learn the state of the server.
pub(super) async fn probe(socket_directory: &Path) -> Probe {
    match tokio::time::timeout(CONNECT_TIMEOUT, connect(socket_directory)).await {
        Ok(Ok(connection)) => {
            // The connection ends even if closing it cleanly fails.
            let _ = connection.close().await;
            Probe::Ready
        }
        Ok(Err(sqlx::Error::Database(error))) if error.code().as_deref() != Some(CANNOT_CONNECT_NOW) => Probe::Ready,
        Ok(Err(sqlx::Error::Database(_))) | Err(_) => Probe::Busy,
        Ok(Err(_)) => Probe::Absent,
    }
}

/// Creates the database if it is missing. The caller holds the set-up lock.
pub(super) async fn ensure_database(socket_directory: &Path, name: &str) -> Result<(), sqlx::Error> {
    let mut connection = connect(socket_directory).await?;
    let exists = sqlx::query_scalar!(r#"select exists(select from pg_database where datname = $1) as "exists!""#, name)
        .fetch_one(&mut connection)
        .await?;
    if !exists {
        let quoted = name.replace('"', "\"\"");
        sqlx::raw_sql(AssertSqlSafe(format!("create database \"{quoted}\""))).execute(&mut connection).await?;
    }
    connection.close().await
}

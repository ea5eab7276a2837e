//! The few questions asked of the private server itself.

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};
use std::path::Path;
use std::time::Duration;

/// The SQLSTATE `cannot_connect_now`: starting up, in recovery, or shutting down.
const CANNOT_CONNECT_NOW: &str = "57P03";
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// What a knock at the socket tells.
#[derive(Debug)]
pub(super) enum Knock {
    Answers,
    /// There is a server, on its way up or down.
    Busy,
    Silent,
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

pub(super) async fn knock(socket_directory: &Path) -> Knock {
    match tokio::time::timeout(CONNECT_LIMIT, connect(socket_directory)).await {
        Ok(Ok(connection)) => {
            // A connection that cannot be closed cleanly is closed all the same.
            let _ = connection.close().await;
            Knock::Answers
        }
        Ok(Err(sqlx::Error::Database(error))) if error.code().as_deref() != Some(CANNOT_CONNECT_NOW) => Knock::Answers,
        Ok(Err(sqlx::Error::Database(_))) | Err(_) => Knock::Busy,
        Ok(Err(_)) => Knock::Silent,
    }
}

/// Creates the database when it is missing. The caller holds the set-up lock.
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

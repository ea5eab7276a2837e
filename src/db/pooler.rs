//! Finds out what `spsi doctor` must know about the way to Postgres: is there a connection pooler, and what works through it?

use sqlx::postgres::{PgConnectOptions, PgListener, PgPool};
use sqlx::{Connection, PgConnection, Row};
use std::time::Duration;

/// Limit for each answer of the database: the probe holds two connections, which a pooler may not have.
const LIMIT: Duration = Duration::from_secs(5);
/// A pooler usually hands out the server connection that was used last, unless another client takes it first.
const TRIES: usize = 5;

/// The way to Postgres.
#[derive(Debug, PartialEq, Eq)]
pub enum Route {
    /// No pooler was noticed.
    Direct,
    /// A pooler gives each client a server connection of its own for the whole session.
    SessionPooler,
    /// A pooler gives each transaction any server connection.
    TransactionPooler { prepared_statements_work: bool },
}

/// Probes the way with two connections beside the pool.
pub async fn route(pool: &PgPool) -> Result<Route, sqlx::Error> {
    let options = pool.connect_options();
    tokio::time::timeout(LIMIT, probe(&options)).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

async fn probe(options: &PgConnectOptions) -> Result<Route, sqlx::Error> {
    let (mut one, mut two) = (PgConnection::connect_with(options).await?, PgConnection::connect_with(options).await?);
    let (mut servers, mut prepared_statements_work) = (Vec::new(), true);
    for _ in 0..TRIES {
        prepared_statements_work &= runs_prepared_statement(&mut one).await?;
        let server = server_process(&mut one).await?;
        // While `two` is in a transaction, `one` cannot use the same server connection.
        sqlx::raw_sql("begin").execute(&mut two).await?;
        let other = server_process(&mut two).await?;
        prepared_statements_work &= runs_prepared_statement(&mut one).await?;
        sqlx::raw_sql("rollback").execute(&mut two).await?;
        servers.push((server, other));
    }
    // With a session of its own, each connection stays with its server process.
    if servers.iter().any(|pair| *pair != servers[0]) || servers[0].0 == servers[0].1 {
        return Ok(Route::TransactionPooler { prepared_statements_work });
    }
    let _ = (one.close().await, two.close().await);
    for _ in 0..TRIES {
        // Without a pooler, a new connection always has a new server process.
        let mut again = PgConnection::connect_with(options).await?;
        let server = server_process(&mut again).await?;
        if server == servers[0].0 || server == servers[0].1 {
            return Ok(Route::SessionPooler);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(Route::Direct)
}

/// Returns the id of the server process that answers. Uses the simple query protocol, which works through every pooler.
async fn server_process(connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
    sqlx::raw_sql("select pg_backend_pid()").fetch_one(connection).await?.try_get(0)
}

/// Runs the same named statement as the last time. Returns false if the server connection does not have it.
async fn runs_prepared_statement(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    match sqlx::query("select 1").execute(connection).await {
        Ok(_) => Ok(true),
        // Invalid or duplicate statement name.
        Err(sqlx::Error::Database(error)) if ["26000", "42P05"].contains(&&*error.code().unwrap_or_default()) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Sends a notification to a listener of this process. Returns true if the notification arrives.
pub async fn notifications_arrive(pool: &PgPool) -> Result<bool, sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen("spsi_doctor").await?;
    sqlx::query("notify spsi_doctor").execute(pool).await?;
    Ok(tokio::time::timeout(Duration::from_secs(2), listener.recv()).await.is_ok_and(|received| received.is_ok()))
}

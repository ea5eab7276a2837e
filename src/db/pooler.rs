//! Finds out what `spsi doctor` must know about the way to Postgres: is there a connection pooler, and what works through it?

use super::Pool;
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
    TransactionPooler,
}

/// Probes the way with two connections beside the pool.
pub async fn route(pool: &Pool) -> Result<Route, sqlx::Error> {
    tokio::time::timeout(LIMIT, probe(pool)).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

async fn probe(pool: &Pool) -> Result<Route, sqlx::Error> {
    let options = &pool.connect_options();
    let (mut one, mut two) = (PgConnection::connect_with(options).await?, PgConnection::connect_with(options).await?);
    let mut servers = Vec::new();
    for _ in 0..TRIES {
        let server = server_process(&mut one).await?;
        // While `two` is in a transaction, `one` cannot use the same server connection.
        sqlx::raw_sql("begin").execute(&mut two).await?;
        let other = server_process(&mut two).await?;
        sqlx::raw_sql("rollback").execute(&mut two).await?;
        servers.push((server, other));
    }
    // With a session of its own, each connection stays with its server process.
    if servers.iter().any(|pair| *pair != servers[0]) || servers[0].0 == servers[0].1 {
        return Ok(Route::TransactionPooler);
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

/// Sends a notification to a listener of this process. Returns true if the notification arrives.
pub async fn notifications_arrive(pool: &Pool) -> Result<bool, sqlx::Error> {
    let mut listener = pool.listener().await?;
    listener.listen("spsi_doctor").await?;
    sqlx::query("notify spsi_doctor").execute(pool).await?;
    Ok(tokio::time::timeout(Duration::from_secs(2), listener.recv()).await.is_ok_and(|received| received.is_ok()))
}

//! The pool, the migrations, and errors of named constraints.

pub mod row;

use crate::config::DatabaseSettings;
use sqlx::Connection;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use std::str::FromStr;
use std::time::Duration;

/// The schema's history. `spsi db migrate` and every `spsi serve` apply what is missing.
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// "spsi", 1: held alone by an import of the catalogue, and shared by shipments, until the transaction ends.
pub const IMPORT_LOCK: i64 = 0x7370_7369_0001;

/// A connection that was of use so short a time ago is taken to be alive: Postgres takes longer to come back after it went.
pub const UNTESTED: Duration = Duration::from_millis(500);

/// Opens a pool. Connects lazily: whether Postgres answers shows at the first query.
pub fn pool(url: &str, settings: &DatabaseSettings) -> Result<PgPool, sqlx::Error> {
    let options = PgConnectOptions::from_str(url)?.application_name("spsi").options([
        // A connection that is lost in the middle of a transaction must not hold its locks for the two hours that TCP takes.
        ("idle_in_transaction_session_timeout", "60s"),
        ("statement_timeout", "10min"),
        ("timezone", "UTC"),
        // Compiling a plan takes longer than any of our statements; Postgres does it where it overestimates them.
        ("jit", "off"),
    ]);
    Ok(PgPoolOptions::new()
        .max_connections(settings.db_connections)
        .acquire_timeout(settings.db_timeout.0)
        // The pool's own test asks Postgres whenever a connection is taken, which under load costs as much as a query.
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                if meta.idle_for < UNTESTED {
                    return Ok(true);
                }
                Ok(connection.ping().await.is_ok())
            })
        })
        .connect_lazy_with(options))
}

/// Turns the violation of a named constraint into an error of the caller's.
pub trait OnConstraint<T> {
    /// Replaces a violation of `constraint` by what `error` makes; every other error stays.
    fn on_constraint<E: From<sqlx::Error>>(self, constraint: &str, error: impl FnOnce() -> E) -> Result<T, E>;
}

impl<T> OnConstraint<T> for Result<T, sqlx::Error> {
    fn on_constraint<E: From<sqlx::Error>>(self, constraint: &str, error: impl FnOnce() -> E) -> Result<T, E> {
        self.map_err(|cause| match &cause {
            sqlx::Error::Database(database) if database.constraint() == Some(constraint) => error(),
            _ => cause.into(),
        })
    }
}

/// Whether the database was away, rather than unwilling: worth another try later.
pub fn is_outage(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Protocol(_) => true,
        // Class 08 connection, 53 resources, 57 operator intervention (shutdown, start-up), 40 rolled back by the server, 25006 read-only standby.
        sqlx::Error::Database(database) => database.code().is_some_and(|code| {
            ["08", "53", "57", "40"].iter().any(|class| code.starts_with(class)) || code == "25006"
        }),
        _ => false,
    }
}

/// Whether the database answers.
pub async fn ping(pool: &PgPool) -> Result<(), sqlx::Error> {
    sqlx::query_scalar!(r#"select 1 as "one!""#).fetch_one(pool).await.map(drop)
}

/// Applies the migrations that are missing. Of several processes that start at once, one does it and the others wait.
pub async fn migrate(pool: &PgPool) -> Result<(), sqlx::migrate::MigrateError> {
    MIGRATIONS.run(pool).await
}

/// A migration, and whether the database has it.
#[derive(Debug, serde::Serialize)]
pub struct MigrationState {
    pub id: i64,
    pub description: String,
    /// `applied` or `missing`.
    pub state: &'static str,
}

/// Every migration that this program knows.
pub async fn migrations(pool: &PgPool) -> Result<Vec<MigrationState>, sqlx::Error> {
    // The table is the migrator's own, and missing in an empty database: not a checked query.
    let exists: bool = sqlx::query_scalar("select to_regclass('_sqlx_migrations') is not null").fetch_one(pool).await?;
    let applied: Vec<i64> = match exists {
        true => sqlx::query_scalar("select version from _sqlx_migrations where success").fetch_all(pool).await?,
        false => Vec::new(),
    };
    let state = |version| if applied.contains(&version) { "applied" } else { "missing" };
    Ok(MIGRATIONS
        .iter()
        .map(|migration| MigrationState {
            id: migration.version,
            description: migration.description.to_string(),
            state: state(migration.version),
        })
        .collect())
}

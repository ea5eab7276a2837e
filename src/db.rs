//! Connections to Postgres, also through a pooler such as PgBouncer; migrations; errors of named constraints.

mod notifications;
pub mod pooler;
pub mod row;

pub use notifications::Notifications;

use crate::config::{DatabaseSettings, Pooling};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Postgres, Transaction};
use std::str::FromStr;
use std::time::Duration;

/// The schema's history. `spsi db migrate` and every `spsi serve` apply the missing migrations.
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// Advisory lock ("spsi", 1): an import of the catalogue holds it exclusively, shipments share it, until their transaction ends.
pub const IMPORT_LOCK: i64 = 0x7370_7369_0001;
/// Advisory lock ("spsi", 2): held while migrations are applied.
const MIGRATION_LOCK: i64 = 0x7370_7369_0002;

/// A connection is used without a ping if its last use is at most this long ago: a restart of Postgres takes longer.
pub const PING_AFTER: Duration = Duration::from_millis(500);

/// Settings of every session.
const SESSION_SETTINGS: &[(&str, &str)] = &[
    // Releases the locks of a transaction whose client is lost. TCP alone would take two hours to notice the loss.
    ("idle_in_transaction_session_timeout", "60s"),
    ("statement_timeout", "10min"),
    // Compiling a plan takes longer than any statement of this program; Postgres compiles where it overestimates the cost.
    ("jit", "off"),
];

/// The application name of connections through a transaction pooler. [`is_transaction_pooled`] recognises their pool by it,
/// because a pool of sqlx carries no data of this program.
const TRANSACTION_POOLED: &str = "spsi-transaction-pooled";

/// Opens a pool. A connection is made at the first query, so a Postgres that does not respond is no error here.
pub fn pool(url: &str, settings: &DatabaseSettings) -> Result<PgPool, sqlx::Error> {
    let name = match settings.db_pooling {
        Pooling::Session => "spsi",
        Pooling::Transaction => TRANSACTION_POOLED,
    };
    // PgBouncer refuses the startup parameter `extra_float_digits`, which sqlx sends by default.
    let connection = PgConnectOptions::from_str(url)?.application_name(name).extra_float_digits(None);
    let options = PgPoolOptions::new()
        .max_connections(settings.db_connections)
        .acquire_timeout(settings.db_timeout.0)
        // sqlx would ping each time that a connection is taken. Under load, a ping costs as much as a query.
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move { Ok(meta.idle_for < PING_AFTER || connection.ping().await.is_ok()) })
        });
    Ok(connect(options, connection, &[]))
}

/// Opens another pool for the database of `pool`, with further session settings. With [`Pooling::Transaction`], no session
/// settings are made, because the pooler would pass them on to other clients. Use settings for speed, never for correctness.
pub fn pool_with(pool: &PgPool, max_connections: u32, settings: &[(&str, &str)]) -> PgPool {
    let options = pool.options().clone().max_connections(max_connections);
    connect(options, pool.connect_options().as_ref().clone(), settings)
}

/// Creates a pool whose connections run `SET` after connecting: poolers refuse the startup parameter `options`.
fn connect(mut options: PgPoolOptions, connection: PgConnectOptions, settings: &[(&str, &str)]) -> PgPool {
    if !is_transaction_pooled(&connection) {
        let settings = SESSION_SETTINGS.iter().chain(settings);
        let statements: String = settings.map(|(name, value)| format!("set {name} = '{value}';")).collect();
        options = options.after_connect(move |connection, _| {
            let statements = AssertSqlSafe(statements.clone());
            Box::pin(async move { sqlx::raw_sql(statements).execute(connection).await.map(drop) })
        });
    }
    options.connect_lazy_with(connection)
}

fn is_transaction_pooled(connection: &PgConnectOptions) -> bool {
    connection.get_application_name() == Some(TRANSACTION_POOLED)
}

/// Runs `work` in a transaction, and commits if it succeeds. Otherwise nothing that it wrote remains.
pub async fn in_transaction<T, E: From<sqlx::Error>>(
    pool: &PgPool,
    work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, E>,
) -> Result<T, E> {
    let mut transaction = pool.begin().await?;
    let done = work(&mut transaction).await?;
    transaction.commit().await?;
    Ok(done)
}

/// Begins a transaction, or a savepoint, whose statements are planned for their actual arguments. After some executions,
/// Postgres would keep one plan for all arguments of a statement: for a list with optional conditions, that plan reads the
/// whole table.
pub async fn begin_planning_for_arguments(
    connection: &mut PgConnection,
) -> Result<Transaction<'_, Postgres>, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    sqlx::query!("set local plan_cache_mode = force_custom_plan").execute(&mut *transaction).await?;
    Ok(transaction)
}

/// A part of a list, newest row first. The default is the whole list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Maximum number of rows.
    pub limit: Option<i64>,
    /// Only rows with a smaller id: the list goes on after this one, whatever was added meanwhile.
    pub before: Option<i64>,
}

/// Turns the violation of a named constraint into an error of the caller.
pub trait OnConstraint<T> {
    /// Replaces a violation of `constraint` by `error()`, and converts every other error.
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

/// Returns true if the database could not be reached or was shutting down, so that a later retry may succeed. Returns
/// false if the database refused the statement itself.
pub fn is_outage(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::Protocol(_) => true,
        // Class 08 connection, 53 resources, 57 operator intervention (shutdown, start-up), 40 rolled back by the server, 25006 read-only standby.
        sqlx::Error::Database(database) => database.code().is_some_and(|code| {
            ["08", "53", "57", "40"].iter().any(|class| code.starts_with(class)) || code == "25006"
        }),
        _ => false,
    }
}

/// Sends a query to check that the database responds.
pub async fn ping(pool: &PgPool) -> Result<(), sqlx::Error> {
    sqlx::query_scalar!(r#"select 1 as "one!""#).fetch_one(pool).await.map(drop)
}

/// Applies the missing migrations: all of them, or none if one fails. Of several processes that start together, one applies
/// them and the others wait.
pub async fn migrate(pool: &PgPool) -> Result<(), sqlx::migrate::MigrateError> {
    // sqlx locks the session, which a transaction pooler cannot hold. A lock of the transaction works everywhere.
    let mut migrations = sqlx::migrate::Migrator::with_migrations(MIGRATIONS.iter().cloned().collect());
    migrations.set_locking(false);
    let mut transaction = pool.begin().await?;
    sqlx::query!("select pg_advisory_xact_lock($1)", MIGRATION_LOCK).execute(&mut *transaction).await?;
    migrations.run(&mut *transaction).await?;
    Ok(transaction.commit().await?)
}

/// A migration and its state in the database.
#[derive(Debug, serde::Serialize)]
pub struct MigrationState {
    pub id: i64,
    pub description: String,
    /// `applied` or `missing`.
    pub state: &'static str,
}

/// Returns every migration of this program, oldest first.
pub async fn migrations(pool: &PgPool) -> Result<Vec<MigrationState>, sqlx::Error> {
    // These queries are not checked at compile time: sqlx creates the table, so an empty database lacks it.
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

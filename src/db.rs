//! Connections to Postgres, also through a pooler such as PgBouncer; migrations; errors of named constraints.

mod notifications;
mod pool;
pub mod pooler;
pub mod row;

pub use notifications::Notifications;
pub use pool::{PING_AFTER, Pool};

use sqlx::{Connection, PgConnection, Postgres, Transaction};

/// The schema's history. `spsi db migrate` and every `spsi serve` apply the missing migrations.
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// Advisory lock ("spsi", 1): an import of the catalogue holds it exclusively, shipments share it, until their transaction ends.
pub const IMPORT_LOCK: i64 = 0x7370_7369_0001;
/// Advisory lock ("spsi", 2): held while migrations are applied.
const MIGRATION_LOCK: i64 = 0x7370_7369_0002;

/// Runs `work` in a transaction, and commits if it succeeds. Otherwise nothing that it wrote remains.
pub async fn in_transaction<T, E: From<sqlx::Error>>(
    pool: &Pool,
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
pub async fn ping(pool: &Pool) -> Result<(), sqlx::Error> {
    sqlx::query_scalar!(r#"select 1 as "one!""#).fetch_one(pool).await.map(drop)
}

/// Applies the missing migrations: all of them, or none if one fails. Of several processes that start together, one applies
/// them and the others wait.
pub async fn migrate(pool: &Pool) -> Result<(), sqlx::migrate::MigrateError> {
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
pub async fn migrations(pool: &Pool) -> Result<Vec<MigrationState>, sqlx::Error> {
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

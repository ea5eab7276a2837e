//! The pool of connections to Postgres, direct or through a connection pooler.

use crate::config::{DatabaseSettings, Pooling};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use sqlx::postgres::{
    PgConnectOptions, PgListener, PgPool, PgPoolOptions, PgQueryResult, PgRow, PgStatement, PgTransaction, PgTypeInfo,
};
use sqlx::{AssertSqlSafe, Connection, Describe, Either, Execute, Executor, PgConnection, Postgres, SqlStr};
use std::str::FromStr;
use std::time::Duration;

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

/// Connections to Postgres, shared by the tasks of a process.
///
/// A connection pooler in transaction mode may hand every transaction another server connection. With
/// [`Pooling::Transaction`], each statement therefore runs in a transaction, no statement stays prepared after it, and no
/// session settings are made. That is slower, and works through every pooler.
#[derive(Clone, Debug)]
pub struct Pool {
    connections: PgPool,
    pooling: Pooling,
}

impl Pool {
    /// Opens a pool. A connection is made at the first query, so a Postgres that does not respond is no error here.
    pub fn new(url: &str, settings: &DatabaseSettings) -> Result<Self, sqlx::Error> {
        // PgBouncer refuses the startup parameter `extra_float_digits`, which sqlx sends by default.
        let mut connection = PgConnectOptions::from_str(url)?.application_name("spsi").extra_float_digits(None);
        if settings.db_pooling == Pooling::Transaction {
            connection = connection.statement_cache_capacity(0);
        }
        let options = PgPoolOptions::new()
            .max_connections(settings.db_connections)
            .acquire_timeout(settings.db_timeout.0)
            // sqlx would ping each time that a connection is taken. Under load, a ping costs as much as a query.
            .test_before_acquire(false)
            .before_acquire(|connection, meta| {
                Box::pin(async move { Ok(meta.idle_for < PING_AFTER || connection.ping().await.is_ok()) })
            });
        Ok(Self::open(options, connection, settings.db_pooling, &[]))
    }

    /// Opens another pool for the same database, with further session settings. [`Pooling::Transaction`] ignores them,
    /// because the pooler would pass them on to other clients: use them for speed, never for correctness.
    pub fn another(&self, max_connections: u32, settings: &[(&str, &str)]) -> Self {
        let options = self.connections.options().clone().max_connections(max_connections);
        Self::open(options, self.connect_options(), self.pooling, settings)
    }

    /// Opens a pool whose connections run `SET` after connecting: poolers refuse the startup parameter `options`.
    fn open(
        mut options: PgPoolOptions,
        connection: PgConnectOptions,
        pooling: Pooling,
        settings: &[(&str, &str)],
    ) -> Self {
        if pooling == Pooling::Session {
            let settings = SESSION_SETTINGS.iter().chain(settings);
            let statements: String = settings.map(|(name, value)| format!("set {name} = '{value}';")).collect();
            options = options.after_connect(move |connection, _| {
                let statements = AssertSqlSafe(statements.clone());
                Box::pin(async move { sqlx::raw_sql(statements).execute(connection).await.map(drop) })
            });
        }
        Self { connections: options.connect_lazy_with(connection), pooling }
    }

    /// How the pooler before Postgres hands out connections, by the settings.
    pub fn pooling(&self) -> Pooling {
        self.pooling
    }

    /// How the connections are made.
    pub fn connect_options(&self) -> PgConnectOptions {
        self.connections.connect_options().as_ref().clone()
    }

    /// Maximum number of connections.
    pub fn max_connections(&self) -> u32 {
        self.connections.options().get_max_connections()
    }

    /// Maximum wait for a connection.
    pub fn acquire_timeout(&self) -> Duration {
        self.connections.options().get_acquire_timeout()
    }

    /// Begins a transaction. It is rolled back when dropped.
    pub async fn begin(&self) -> Result<PgTransaction<'static>, sqlx::Error> {
        self.connections.begin_with(self.begin_statement()).await
    }

    /// Begins a transaction whose reads all see one state of the database.
    pub async fn begin_snapshot(&self) -> Result<PgTransaction<'static>, sqlx::Error> {
        let statement = match self.pooling {
            Pooling::Session => "begin isolation level repeatable read read only",
            Pooling::Transaction => "begin isolation level repeatable read read only; deallocate all",
        };
        self.connections.begin_with(statement).await
    }

    /// Opens a connection for `LISTEN`, which needs [`Pooling::Session`].
    pub async fn listener(&self) -> Result<PgListener, sqlx::Error> {
        PgListener::connect_with(&self.connections).await
    }

    /// Takes a connection out of the pool for good. Run its statements with [`Pool::run_on`].
    pub async fn detach(&self) -> Result<PgConnection, sqlx::Error> {
        Ok(self.connections.acquire().await?.detach())
    }

    /// Runs the only statement of `work` on a connection of [`Pool::detach`], and commits it.
    pub async fn run_on<T, E: From<sqlx::Error>>(
        &self,
        connection: &mut PgConnection,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, E>,
    ) -> Result<T, E> {
        match self.pooling {
            Pooling::Session => work(connection).await,
            Pooling::Transaction => {
                let mut transaction = connection.begin_with(self.begin_statement()).await?;
                let done = work(&mut transaction).await?;
                transaction.commit().await?;
                Ok(done)
            }
        }
    }

    /// Closes every connection after its current use.
    pub async fn close(&self) {
        self.connections.close().await;
    }

    /// Returns true once [`Pool::close`] was called.
    pub fn is_closed(&self) -> bool {
        self.connections.is_closed()
    }

    fn begin_statement(&self) -> &'static str {
        match self.pooling {
            Pooling::Session => "begin",
            // sqlx gives each statement a name, under which an earlier transaction may have left another one.
            Pooling::Transaction => "begin; deallocate all",
        }
    }
}

/// Runs each statement by itself, in a transaction of its own.
impl<'p> Executor<'p> for &'p Pool {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, sqlx::Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        if self.pooling == Pooling::Session {
            return self.connections.fetch_many(query);
        }
        let results = async move {
            let mut transaction = self.begin().await?;
            let results: Vec<_> = transaction.fetch_many(query).try_collect().await?;
            transaction.commit().await?;
            Ok::<_, sqlx::Error>(stream::iter(results.into_iter().map(Ok)))
        };
        stream::once(results).try_flatten().boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        if self.pooling == Pooling::Session {
            return self.connections.fetch_optional(query);
        }
        Box::pin(async move {
            let mut transaction = self.begin().await?;
            let row = transaction.fetch_optional(query).await?;
            transaction.commit().await?;
            Ok(row)
        })
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, sqlx::Error>>
    where
        'p: 'e,
    {
        self.connections.prepare_with(sql, parameters)
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Postgres>, sqlx::Error>>
    where
        'p: 'e,
    {
        self.connections.describe(sql)
    }
}

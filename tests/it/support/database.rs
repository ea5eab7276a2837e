//! A database for each test: a copy of a template, which is migrated once for each content of `migrations/`.
//!
//! The server is the one in `DATABASE_URL`, or else one private cluster for all test processes of this user. The last test
//! process stops the private cluster in an exit handler. After a kill or Ctrl-C, a watchdog process stops the cluster.
//!
//! `SPSI_TEST_PGBOUNCER=session` puts a PgBouncer in session mode between the tests and the server. With `transaction` it
//! works in transaction mode; the tests need `SPSI_DB_POOLING=transaction` too. `PATH` decides which PgBouncer runs.

use super::pgbouncer::PgBouncer;
use spsi_partner::config::Settings as Configuration;
use spsi_partner::db::{MIGRATIONS, Pool};
use spsi_partner::postgres::{self, Embedded, PostgresError, Settings};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::hash::{BuildHasher, RandomState};
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use url::Url;

/// Advisory lock: shared while a template is copied, exclusive while one is built.
const TEMPLATE_LOCK: i64 = 0x7370_7369;
const WATCHDOG: &str = "SPSI_TEST_WATCHDOG";
const PGBOUNCER: &str = "SPSI_TEST_PGBOUNCER";
static CLUSTER: OnceLock<Cluster> = OnceLock::new();
static PRIVATE: Mutex<Option<(Embedded, Child)>> = Mutex::new(None);

/// A database of one test. It is dropped with this value.
#[derive(Debug)]
pub struct TestDatabase {
    name: String,
    direct_url: String,
    url: String,
    pool: Pool,
}

#[derive(Debug)]
struct Cluster {
    admin: Url,
    template: String,
    pgbouncer: Option<PgBouncer>,
}

impl TestDatabase {
    /// Creates a migrated database without rows.
    pub async fn new() -> Self {
        let cluster = CLUSTER.get_or_init(|| in_own_runtime(Cluster::prepare));
        let name = format!("spsi_test_{}_{:08x}", std::process::id(), RandomState::new().hash_one(0) as u32);
        let mut admin = PgConnection::connect(cluster.admin.as_str()).await.expect("the test server answers");
        sqlx::query("select pg_advisory_lock_shared($1)").bind(TEMPLATE_LOCK).execute(&mut admin).await.expect("lock");
        let create = format!("create database {name} template {}", cluster.template);
        sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut admin).await.expect("copy the template");
        admin.close().await.expect("close");
        let direct_url: String = with_database(&cluster.admin, &name).into();
        let url = cluster.pgbouncer.as_ref().map_or_else(|| direct_url.clone(), |pooler| pooler.url(&name).into());
        let pool = open_pool(&url);
        Self { name, direct_url, url, pool }
    }

    /// For the program under test and its processes.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Without PgBouncer.
    pub fn direct_url(&self) -> &str {
        &self.direct_url
    }

    /// A new connection, without PgBouncer. For code on another runtime than the one that made the pool.
    pub async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.direct_url).await.expect("the copy answers")
    }

    /// For arranging, and for checks of what no command or route shows.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let Some(cluster) = CLUSTER.get() else { return };
        in_own_runtime(|| async {
            let dropped = async {
                let mut admin = PgConnection::connect(cluster.admin.as_str()).await?;
                let drop = format!("drop database if exists {} with (force)", self.name);
                sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut admin).await?;
                admin.close().await
            };
            if let Err(error) = dropped.await {
                eprintln!("{} stays behind: {error}", self.name);
            }
        });
    }
}

impl Cluster {
    async fn prepare() -> Self {
        let given = std::env::var("DATABASE_URL").ok().filter(|url| !url.is_empty());
        let private = given.is_none();
        let admin = match given {
            Some(url) => Url::parse(&url).expect("DATABASE_URL is a URL"),
            None => start_private().await,
        };
        let mut connection = PgConnection::connect(admin.as_str()).await.expect("the test server answers");
        sqlx::query("select pg_advisory_lock($1)").bind(TEMPLATE_LOCK).execute(&mut connection).await.expect("lock");
        if private {
            sweep(&mut connection).await;
        }
        let template = format!("spsi_template_{}", fingerprint());
        if !database_names(&mut connection, &template).await.contains(&template) {
            build(&mut connection, &admin, &template).await;
        }
        connection.close().await.expect("close");
        let mode = std::env::var(PGBOUNCER).ok().filter(|mode| !mode.is_empty());
        let pgbouncer = mode.map(|mode| {
            let program = PgBouncer::program().expect("SPSI_TEST_PGBOUNCER is set, but PgBouncer is not installed");
            PgBouncer::start(&program, &admin, &mode)
        });
        Self { admin, template, pgbouncer }
    }
}

/// Builds the template under another name and renames it, so that a killed run leaves no template that looks complete.
async fn build(connection: &mut PgConnection, admin: &Url, template: &str) {
    let unfinished = format!("{template}_new");
    for statement in
        [format!("drop database if exists {unfinished} with (force)"), format!("create database {unfinished}")]
    {
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *connection).await.expect("an empty database");
    }
    let mut target = PgConnection::connect(with_database(admin, &unfinished).as_str()).await.expect("it answers");
    MIGRATIONS.run(&mut target).await.expect("the migrations apply");
    target.close().await.expect("close");
    let rename = format!("alter database {unfinished} rename to {template}");
    sqlx::raw_sql(AssertSqlSafe(rename)).execute(connection).await.expect("rename");
}

/// Drops the databases of killed test processes.
async fn sweep(connection: &mut PgConnection) {
    for name in database_names(connection, "spsi_test_%").await {
        let process = name.split('_').nth(2).and_then(|id| id.parse().ok()).map(nix::unistd::Pid::from_raw);
        if process.is_some_and(|id| nix::sys::signal::kill(id, None) == Err(nix::errno::Errno::ESRCH)) {
            let drop = format!("drop database if exists {name} with (force)");
            sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut *connection).await.expect("drop");
        }
    }
}

async fn database_names(connection: &mut PgConnection, pattern: &str) -> Vec<String> {
    sqlx::query_scalar("select datname::text from pg_database where datname like $1")
        .bind(pattern)
        .fetch_all(connection)
        .await
        .expect("the names of the databases")
}

/// Returns a digest of `migrations/` in 16 hexadecimal digits.
fn fingerprint() -> String {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    for migration in MIGRATIONS.iter() {
        context.update(&migration.version.to_be_bytes());
        context.update(&migration.checksum);
    }
    context.finish().as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Opens a pool as the program does, by the settings in the environment.
pub fn open_pool(url: &str) -> Pool {
    let settings = Configuration::from_environment().expect("settings");
    Pool::new(url, &settings.database).expect("a URL")
}

/// Whether the tests run with transaction pooling. Says that the calling test is skipped if so: it needs sessions.
pub fn is_skipped_without_sessions() -> bool {
    let is_skipped = std::env::var("SPSI_DB_POOLING").is_ok_and(|pooling| pooling == "transaction");
    if is_skipped {
        eprintln!("skipped: there are no notifications and session settings with SPSI_DB_POOLING=transaction");
    }
    is_skipped
}

fn with_database(url: &Url, name: &str) -> Url {
    let mut url = url.clone();
    url.set_path(name);
    url
}

/// Uses a short path: the path of a Unix socket has at most 107 bytes.
fn private_settings(parent: PathBuf) -> Settings {
    let directory = parent.join(format!("spsi-testpg-{}", nix::unistd::Uid::effective()));
    Settings { data_dir: Some(directory), durable: false, max_connections: 300, ..Settings::default() }
}

async fn start_private() -> Url {
    let mut settings = private_settings(std::env::temp_dir());
    // As root, the server runs as another user, who may have no access to the temporary directory.
    if let Err(PostgresError::Unreachable { .. }) = postgres::data_dir(&settings) {
        settings = private_settings(PathBuf::from("/tmp"));
    }
    let watchdog = spawn_watchdog(&settings);
    let embedded = postgres::start(&settings).await.unwrap_or_else(|error| panic!("{error}: {error:?}"));
    let url = Url::parse(embedded.url()).expect("a URL");
    *PRIVATE.lock().unwrap_or_else(PoisonError::into_inner) = Some((embedded, watchdog));
    #[expect(unsafe_code, reason = "statics are never dropped, and the test harness has no hook for its end")]
    // SAFETY: a plain function with the C calling convention, which does not unwind, for it does not panic.
    unsafe {
        libc::atexit(leave_private);
    }
    url
}

extern "C" fn leave_private() {
    let Some((embedded, mut watchdog)) = PRIVATE.lock().ok().and_then(|mut private| private.take()) else { return };
    drop(embedded);
    let _ = watchdog.kill();
    let _ = watchdog.wait();
}

/// Starts this binary again as the watchdog, in a process group that Ctrl-C does not reach. Its standard input ends with
/// this process.
fn spawn_watchdog(settings: &Settings) -> Child {
    let directory = settings.data_dir.as_ref().expect("a directory");
    Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", "support::database::watchdog", "--ignored", "--quiet"])
        .env(WATCHDOG, directory.parent().expect("a parent"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("the watchdog starts")
}

#[test]
#[ignore = "not a test: the watchdog process, which stops the server after the test process was killed"]
fn watchdog() {
    let Some(parent) = std::env::var_os(WATCHDOG) else { return };
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    let _ = in_own_runtime(|| async { postgres::start(&private_settings(parent.into())).await?.stop().await });
}

/// Runs `work` to its end on a runtime of its own. Works on any thread, also inside another runtime.
pub fn in_own_runtime<T: Send, F: Future<Output = T>>(work: impl FnOnce() -> F + Send) -> T {
    std::thread::scope(|scope| {
        let run = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(work())
        };
        scope.spawn(run).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

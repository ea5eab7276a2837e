//! The environment of all scenarios: a private Postgres with durable settings, databases filled by the product's own
//! commands, and the servers.
//!
//! `spsi catalog import` loads products and prices. Clinics are inserted by SQL, because 200 runs of `spsi clinic add`
//! would take minutes and no scenario measures them. The baselines use a copy of the database that has the indexes they need.

use crate::client::{Connection, post};
use crate::data::{CLINICS, Catalogue, SECRET, price_lists};
use crate::server::Server;
use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use spsi_partner::config;
use spsi_partner::db::Pool;
use spsi_partner::postgres::{self, Embedded, Settings};
use spsi_partner::secret::{Hashed, Plain};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;
use url::Url;

/// Usual settings for a machine of this size, the same for all contenders. The report states them.
const POSTGRES: [(&str, &str); 4] =
    [("shared_buffers", "1GB"), ("effective_cache_size", "4GB"), ("max_wal_size", "8GB"), ("random_page_cost", "1.1")];
const CONNECTIONS: u16 = 300;

/// A private Postgres, and a directory for files and logs. Both are removed at the end.
pub struct Environment {
    /// Declared before `directory`, which holds its files, so that Postgres is dropped first.
    postgres: Embedded,
    directory: tempfile::TempDir,
    /// Environment variables of the product's processes.
    keys: Vec<(String, String)>,
    pub postgres_version: String,
}

/// A catalogue of one size, and the databases that hold it.
pub struct Dataset {
    pub catalogue: Catalogue,
    pub database: String,
    /// The database of the baselines.
    pub copy: String,
}

impl Environment {
    pub async fn set_up(data_dir: Option<&Path>) -> anyhow::Result<Self> {
        let parent = data_dir.map_or_else(std::env::temp_dir, Path::to_path_buf);
        let directory = tempfile::Builder::new().prefix("spsi-speed-").tempdir_in(&parent)?;
        // If this program is root, Postgres runs as another user, who must be able to enter the directory.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
        let settings = Settings {
            data_dir: Some(directory.path().join("postgres")),
            max_connections: CONNECTIONS,
            ..Settings::default()
        };
        let first = postgres::start(&settings).await?;
        let mut connection = PgConnection::connect(first.url()).await?;
        for (name, value) in POSTGRES {
            let statement = format!("alter system set {name} = '{value}'");
            sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await?;
        }
        connection.close().await?;
        first.stop().await?;
        let postgres = postgres::start(&settings).await?;
        let mut connection = PgConnection::connect(postgres.url()).await?;
        let postgres_version = sqlx::query_scalar("show server_version").fetch_one(&mut connection).await?;
        let generated = Command::new(spsi_binary()).args(["key", "generate", "--output", "json"]).output()?;
        let generated: Value = serde_json::from_slice(&generated.stdout).context("spsi key generate")?;
        let keys = ["SPSI_ENCRYPTION_KEYS", "SPSI_TOKEN_KEYS"];
        let keys = keys.map(|name| (name.to_owned(), generated[name].as_str().unwrap_or_default().to_owned()));
        Ok(Self { postgres, directory, keys: keys.into(), postgres_version })
    }

    /// Returns the settings of Postgres for the report.
    pub fn settings() -> String {
        let settings = POSTGRES.map(|(name, value)| format!("{name}={value}"));
        format!("fsync=on, synchronous_commit=on, {}", settings.join(", "))
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Returns the URL of a database of the private Postgres.
    pub fn url(&self, database: &str) -> String {
        let mut url = Url::parse(self.postgres.url()).expect("the embedded Postgres gives a URL");
        url.set_path(database);
        url.into()
    }

    pub fn socket_dir(&self) -> &Path {
        self.postgres.socket_dir()
    }

    pub async fn pool(&self, database: &str) -> anyhow::Result<Pool> {
        Ok(Pool::new(&self.url(database), &config::Settings::from_environment()?.database)?)
    }

    /// Runs statements in the maintenance database, each in a transaction of its own.
    pub async fn administer(&self, statements: &[String]) -> anyhow::Result<()> {
        let mut connection = PgConnection::connect(self.postgres.url()).await?;
        for statement in statements {
            sqlx::raw_sql(AssertSqlSafe(statement.clone()))
                .execute(&mut connection)
                .await
                .context(statement.clone())?;
        }
        Ok(connection.close().await?)
    }

    /// Creates a database with the product's schema.
    pub async fn migrated(&self, database: &str) -> anyhow::Result<()> {
        self.administer(&[format!("create database {database}")]).await?;
        self.run(database, ["db", "migrate"]).map(drop)
    }

    /// Copies a database that has no connections.
    pub async fn copy(&self, database: &str, copy: &str) -> anyhow::Result<()> {
        let faster = if self.postgres_version.starts_with("14") { "" } else { " strategy file_copy" };
        self.administer(&[format!("create database {copy} template {database}{faster}")]).await
    }

    pub async fn drop_database(&self, database: &str) -> anyhow::Result<()> {
        self.administer(&[format!("drop database if exists {database} with (force)")]).await
    }

    /// Returns the command `spsi` with these arguments on a database.
    pub fn command<A: AsRef<OsStr>>(&self, database: &str, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(spsi_binary());
        command.args(arguments).envs(self.variables(database));
        command
    }

    fn variables(&self, database: &str) -> Vec<(String, String)> {
        [self.keys.clone(), vec![("DATABASE_URL".to_owned(), self.url(database))]].concat()
    }

    fn run<A: AsRef<OsStr>>(&self, database: &str, arguments: impl IntoIterator<Item = A>) -> anyhow::Result<Output> {
        let mut command = self.command(database, arguments);
        let output = command.output()?;
        if !output.status.success() {
            bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(output)
    }

    /// Creates a database with this many products, and a copy of it for the baselines.
    pub async fn create_dataset(&self, products: usize) -> anyhow::Result<Dataset> {
        let began = Instant::now();
        let catalogue = Catalogue::new(products)?;
        let (database, copy) = (format!("product_{products}"), format!("baseline_{products}"));
        self.migrated(&database).await?;
        self.add_clinics(&database, &catalogue).await?;
        let (product_file, price_file) = (self.file("products.csv"), self.file("prices.csv"));
        catalogue.write_products(&product_file)?;
        catalogue.write_prices(&price_file)?;
        let arguments = [
            "catalog".as_ref(),
            "import".as_ref(),
            product_file.as_os_str(),
            "--prices".as_ref(),
            price_file.as_os_str(),
        ];
        self.run(&database, arguments)?;
        let mut connection = PgConnection::connect(&self.url(&database)).await?;
        sqlx::raw_sql("vacuum analyze").execute(&mut connection).await?;
        connection.close().await?;
        self.copy(&database, &copy).await?;
        let mut connection = PgConnection::connect(&self.url(&copy)).await?;
        sqlx::raw_sql(include_str!("../stacks/indexes.sql")).execute(&mut connection).await?;
        connection.close().await?;
        eprintln!("{products} products, {CLINICS} clinics: set up in {:.0} s", began.elapsed().as_secs_f64());
        Ok(Dataset { catalogue, database, copy })
    }

    async fn add_clinics(&self, database: &str, catalogue: &Catalogue) -> anyhow::Result<()> {
        let hash = Hashed::of(&Plain::new(SECRET))?;
        let pool = self.pool(database).await?;
        let mut transaction = pool.begin().await?;
        for name in price_lists() {
            sqlx::query("insert into price_list (name) values ($1)").bind(name).execute(&mut *transaction).await?;
        }
        for index in 0..CLINICS {
            let clinic = catalogue.clinic(index);
            sqlx::query(
                "insert into clinic (name, client_id, secret_hash, price_list_id, hidden_categories, hidden_products,
                    restricted_licence, created_at)
                 values ($1, $1, $2, (select id from price_list where name = $3), $4, $5, $6, now())",
            )
            .bind(&clinic.client_id)
            .bind(hash.as_str())
            .bind(clinic.price_list.map(crate::data::list_name))
            .bind(&clinic.hidden_categories)
            .bind(&clinic.hidden_products)
            .bind(clinic.restricted_licence)
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        pool.close().await;
        Ok(())
    }

    /// Starts the product with its default settings but for these. `name` is the name of its log file.
    pub fn serve(&self, name: &str, database: &str, settings: &[(&str, &str)]) -> anyhow::Result<Server> {
        let mut command = self.command(database, ["serve", "--role", "api", "--bind", "127.0.0.1:0"]);
        command.envs(settings.iter().copied());
        Server::start(name, command, self.directory.path())
    }

    /// Starts this program as a baseline.
    pub fn baseline(&self, name: &str, database: &str) -> anyhow::Result<Server> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(name).envs(self.variables(database));
        Server::start(name, command, self.directory.path())
    }

    /// Starts the server of another stack, which reads the same environment variables.
    pub fn stack(&self, name: &str, mut command: Command, database: &str) -> anyhow::Result<Server> {
        command
            .envs(self.variables(database))
            .env("SPEED_SOCKET_DIR", self.socket_dir())
            .env("SPEED_DATABASE", database);
        Server::start(name, command, self.directory.path())
    }

    pub async fn close(self) -> anyhow::Result<()> {
        Ok(self.postgres.stop().await?)
    }
}

/// Returns the path of the product's binary, built for this benchmark.
fn spsi_binary() -> &'static str {
    env!("CARGO_BIN_EXE_spsi")
}

/// Returns the bytes of a clinic's request for a token.
pub fn token_request(client_id: &str) -> Vec<u8> {
    let body = json!({"client_id": client_id, "client_secret": SECRET, "grant_type": "client_credentials"});
    post("/accesstoken", None, &body.to_string())
}

/// Requests a token for each of these clinics.
pub async fn tokens(server: &Server, client_ids: &[String]) -> anyhow::Result<Vec<String>> {
    let mut tokens = Vec::new();
    let mut connections = Vec::new();
    for _ in 0..4 {
        connections.push(Connection::open(server.address).await?);
    }
    for chunk in client_ids.chunks(connections.len()) {
        let asked = chunk.iter().zip(&mut connections).map(async |(client_id, connection)| {
            let (_, answer) = connection.json(&token_request(client_id)).await?;
            answer["access_token"].as_str().map(str::to_owned).context("an answer without a token")
        });
        tokens.extend(futures_util::future::try_join_all(asked).await?);
    }
    Ok(tokens)
}

/// Returns the client ids of the dataset's clinics.
pub fn client_ids(catalogue: &Catalogue) -> Vec<String> {
    (0..CLINICS).map(|index| catalogue.clinic(index).client_id).collect()
}

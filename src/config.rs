//! The configuration. Each setting is declared once; its flag, environment variable, default and help text come from that
//! declaration.
//!
//! [`Settings`] holds the settings of a deployment. A clinic can override [`ClinicSettings`] (`spsi clinic set`), and a
//! site can override [`SiteSettings`] (`spsi site set`).

mod choices;
mod clinic;
mod effective;
mod keys;
mod order_hook;
mod overridable;
mod site;
mod webhooks;

pub use choices::*;
use clap::{Args, Parser};
pub use clinic::ClinicSettings;
pub use effective::effective;
pub use order_hook::OrderHookSettings;
pub use site::SiteSettings;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use validator::{Validate, ValidationError, ValidationErrors, ValidationErrorsKind};
pub use webhooks::WebhookSettings;

/// The overrides of a clinic or a site as its row stores them: key to text.
pub type Overrides = BTreeMap<String, String>;

/// The default of `SPSI_BIND`.
pub const DEFAULT_BIND: &str = "127.0.0.1:8080";

/// How the process is reached, and what it accepts.
#[derive(Clone, Debug, Args, Validate)]
#[command(next_help_heading = "Server")]
pub struct ServerSettings {
    /// Address and port to listen on. Port 0 takes a free port
    #[arg(long, env = "SPSI_BIND", default_value = DEFAULT_BIND)]
    pub bind: SocketAddr,
    /// Additional path that serves the routes for ezyVet, for instance `/spsi`. Set it if a proxy forwards only one path
    #[arg(long, env = "SPSI_BASE_PATH", default_value = "")]
    pub base_path: String,
    /// Public URL of this server, shown in the OpenAPI document and checked by `spsi doctor`
    #[arg(long, env = "SPSI_PUBLIC_URL")]
    pub public_url: Option<String>,
    /// Separate address and port for /metrics. `off` serves /metrics on the main address, where ezyVet could read it too
    #[arg(long, env = "SPSI_METRICS_BIND", default_value = "off")]
    pub metrics_bind: MetricsBind,
    /// Number of threads that serve requests. 0 starts one per core
    #[arg(long, env = "SPSI_HTTP_THREADS", default_value = "0")]
    pub http_threads: usize,
    /// Maximum time for the head of a request to arrive, and again for its body. Raise it if clinics have slow uplinks
    #[validate(custom(function = "not_zero"))]
    #[arg(long, env = "SPSI_READ_TIMEOUT", default_value = "15s")]
    pub read_timeout: Span,
    /// Maximum time that a shutdown waits for requests in flight. Keep it below the kill timeout of your process manager
    #[arg(long, env = "SPSI_SHUTDOWN_TIMEOUT", default_value = "20s")]
    pub shutdown_timeout: Span,
    /// Maximum size of an order's body in bytes. A larger body is answered with 413
    #[validate(range(min = 1024, message = "must be at least 1024"))]
    #[arg(long, env = "SPSI_MAX_BODY_BYTES", default_value = "8388608")]
    pub max_body_bytes: usize,
    /// Maximum number of lines in one order. A longer order is answered with 413
    #[validate(range(min = 1, message = "must be at least 1"))]
    #[arg(long, env = "SPSI_MAX_ORDER_LINES", default_value = "10000")]
    pub max_order_lines: usize,
    /// Maximum number of waiting orders that are stored in one statement and one commit. 1 disables batching
    #[validate(range(min = 1, message = "must be at least 1"))]
    #[arg(long, env = "SPSI_MAX_ORDERS_PER_BATCH", default_value = "16")]
    pub max_orders_per_batch: usize,
    /// IP addresses of the proxies whose X-Forwarded-For header is trusted, separated by commas. Set it behind a proxy, or
    /// failed token requests of all clients are counted as one address
    #[arg(long, env = "SPSI_TRUSTED_PROXIES", value_delimiter = ',')]
    pub trusted_proxies: Vec<std::net::IpAddr>,
}

/// The database and the keys of a deployment. `hide_env_values` marks the secrets.
#[derive(Clone, Debug, Args, Validate)]
#[command(next_help_heading = "Database and keys")]
pub struct DatabaseSettings {
    /// URL of the Postgres database. Without it, a private Postgres is started in the data directory, for trials only
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// Directory of the private Postgres and its keys [default: ./spsi-data]
    #[arg(long, env = "SPSI_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Directory of the programs `initdb` and `postgres` for the private Postgres [default: the newest found]
    #[arg(long, env = "SPSI_PG_BIN_DIR")]
    pub pg_bin_dir: Option<PathBuf>,
    /// Maximum number of connections in the pool of this process. The batch writers of orders open up to the same number in
    /// addition, and three connections listen for notifications, so a process uses at most twice this number and three
    #[validate(range(min = 1, message = "must be at least 1"))]
    #[arg(long, env = "SPSI_DB_CONNECTIONS", default_value = "16")]
    pub db_connections: u32,
    /// Maximum wait for a database connection. After it, a request is answered with 503
    #[validate(custom(function = "not_zero"))]
    #[arg(long, env = "SPSI_DB_TIMEOUT", default_value = "5s")]
    pub db_timeout: Span,
    /// How a connection pooler before Postgres hands out connections: session (also without a pooler) or transaction (polls for
    /// changes, and prepares each statement anew)
    #[arg(long, env = "SPSI_DB_POOLING", default_value = "session")]
    pub db_pooling: Pooling,
    /// Keys that encrypt the stored ezyVet credentials and webhook secrets, as `id:base64[,id:base64...]`; the first one encrypts, all decrypt.
    /// `spsi key generate` makes them
    #[arg(long, env = "SPSI_ENCRYPTION_KEYS", value_parser = keys::Keys, hide_env_values = true)]
    pub encryption_keys: Option<crate::secret::KeyRing>,
    /// Keys that sign the access tokens, as `id:base64[,id:base64...]`; the first one signs, all verify. `spsi key generate`
    /// makes them
    #[arg(long, env = "SPSI_TOKEN_KEYS", value_parser = keys::Keys, hide_env_values = true)]
    pub token_keys: Option<crate::secret::KeyRing>,
}

/// The access tokens that ezyVet requests.
#[derive(Clone, Debug, Args, Validate)]
#[command(next_help_heading = "Access tokens")]
pub struct TokenSettings {
    /// Life of an access token [SPSI.md 5.13]
    #[validate(custom(function = "not_zero"))]
    #[arg(long, env = "SPSI_TOKEN_TTL", default_value = "8h")]
    pub token_ttl: Span,
    /// Number of failed token requests per client id and minute before further ones are answered with 429
    #[validate(range(min = 1, message = "must be at least 1"))]
    #[arg(long, env = "SPSI_TOKEN_TRIES_PER_CLIENT", default_value = "10")]
    pub token_tries_per_client: u32,
    /// Number of failed token requests per IP address and minute before further ones are answered with 429. Raise it if
    /// many clinics share an address
    #[validate(range(min = 1, message = "must be at least 1"))]
    #[arg(long, env = "SPSI_TOKEN_TRIES_PER_ADDRESS", default_value = "60")]
    pub token_tries_per_address: u32,
}

/// The API for the supplier's own systems, `/staff/v1`.
#[derive(Clone, Debug, Args, Validate)]
#[command(next_help_heading = "Staff API")]
pub struct StaffSettings {
    /// Number of requests to /staff/v1 that one API key can make in a minute. More are answered with 429
    #[validate(range(min = 1, message = "must be at least 1"))]
    #[arg(long, env = "SPSI_STAFF_RATE", default_value = "6000")]
    pub staff_rate: u32,
    /// Maximum size of a JSON body in bytes. A larger body is answered with 413
    #[validate(range(min = 1024, message = "must be at least 1024"))]
    #[arg(long, env = "SPSI_STAFF_MAX_BODY_BYTES", default_value = "4194304")]
    pub staff_max_body_bytes: usize,
    /// Maximum size of an uploaded file in bytes. A larger file is answered with 413
    #[validate(range(min = 1024, message = "must be at least 1024"))]
    #[arg(long, env = "SPSI_MAX_UPLOAD_BYTES", default_value = "67108864")]
    pub max_upload_bytes: usize,
    /// Maximum number of rows that a request for a list can ask for with `limit`
    #[validate(range(min = 1, message = "must be at least 1"))]
    #[arg(long, env = "SPSI_STAFF_MAX_PAGE", default_value = "1000")]
    pub staff_max_page: u32,
    /// How long the answer to a write with an Idempotency-Key is kept
    #[validate(custom(function = "not_zero"))]
    #[arg(long, env = "SPSI_IDEMPOTENCY_KEPT_FOR", default_value = "24h")]
    pub idempotency_kept_for: Span,
}

/// The catalogue in memory, and its imports.
#[derive(Clone, Debug, Args, Validate)]
#[command(next_help_heading = "Catalogue")]
pub struct CatalogSettings {
    /// How often a process polls the database for a newer catalogue, changed clinics and moved stock, in case a
    /// notification is lost
    #[validate(custom(function = "not_zero"))]
    #[arg(long, env = "SPSI_REFRESH", default_value = "2s")]
    pub refresh: Span,
    /// Percentage of the active products that an import can withdraw without `--allow-withdrawals`. The limit stops the
    /// import of a truncated file
    #[arg(long, env = "SPSI_WITHDRAWAL_LIMIT", default_value = "10")]
    pub withdrawal_limit: Amount,
}

/// The delivery worker.
#[derive(Clone, Debug, Args, Validate)]
#[command(next_help_heading = "Delivery worker")]
pub struct WorkerSettings {
    /// Life of the lease that a worker holds on a site. Another worker takes over the sites of a killed one after this time
    #[validate(custom(function = "not_zero"))]
    #[arg(long, env = "SPSI_LEASE", default_value = "60s")]
    pub lease: Span,
    /// How often a worker polls the database for due deliveries and webhooks, in case a notification is lost
    #[validate(custom(function = "not_zero"))]
    #[arg(long, env = "SPSI_WORKER_POLL", default_value = "1s")]
    pub worker_poll: Span,
    /// Maximum time for DNS lookup, connection and TLS handshake of a call to ezyVet. A call that fails within it was
    /// certainly not sent, and is retried
    #[validate(custom(function = "not_zero"))]
    #[arg(long, env = "SPSI_CONNECT_TIMEOUT", default_value = "10s")]
    pub connect_timeout: Span,
    /// How long the requests and responses of finished deliveries are kept: a duration or `forever`. The deliveries
    /// themselves are never deleted
    #[arg(long, env = "SPSI_ATTEMPTS_KEPT_FOR", default_value = "365d")]
    pub attempts_kept_for: Retention,
}

/// Every setting of a deployment.
#[derive(Clone, Debug, Args, Validate)]
pub struct Settings {
    #[command(flatten)]
    #[validate(nested)]
    pub server: ServerSettings,
    #[command(flatten)]
    #[validate(nested)]
    pub database: DatabaseSettings,
    #[command(flatten)]
    #[validate(nested)]
    pub tokens: TokenSettings,
    #[command(flatten)]
    #[validate(nested)]
    pub staff: StaffSettings,
    #[command(flatten)]
    #[validate(nested)]
    pub catalog: CatalogSettings,
    #[command(flatten)]
    #[validate(nested)]
    pub worker: WorkerSettings,
    #[command(flatten)]
    #[validate(nested)]
    pub webhooks: WebhookSettings,
    #[command(flatten)]
    #[validate(nested)]
    pub order_hook: OrderHookSettings,
    #[command(flatten)]
    #[validate(nested)]
    pub clinic: ClinicSettings,
    #[command(flatten)]
    #[validate(nested)]
    pub site: SiteSettings,
    /// Filter of the log, for instance `info` or `info,spsi_partner=debug`
    #[arg(long, env = "SPSI_LOG", default_value = "info,sqlx=warn,actix_server=warn,reqwest_retry=error")]
    pub log: String,
    /// Format of the log: `text` for people, or `json` with one object per line
    #[arg(long, env = "SPSI_LOG_FORMAT", default_value = "text", value_parser = ["text", "json"])]
    pub log_format: String,
}

/// Refuses a duration of 0.
fn not_zero(span: &Span) -> Result<(), ValidationError> {
    if span.0.is_zero() {
        Err(ValidationError::new("zero").with_message("must be longer than 0s".into()))
    } else {
        Ok(())
    }
}

/// Returns one sentence for each invalid setting, with its key and variable.
fn describe(errors: &ValidationErrors) -> Vec<String> {
    let mut sentences = Vec::new();
    for (key, kind) in errors.errors() {
        match kind {
            ValidationErrorsKind::Struct(inner) => sentences.extend(describe(inner)),
            ValidationErrorsKind::List(inner) => sentences.extend(inner.values().flat_map(|errors| describe(errors))),
            ValidationErrorsKind::Field(errors) => {
                let messages = errors.iter().filter_map(|error| error.message.as_deref());
                sentences.extend(messages.map(|message| format!("{key} {message} (SPSI_{})", key.to_uppercase())));
            }
        }
    }
    sentences.sort();
    sentences
}

/// Parses the settings from the environment, without flags.
#[derive(Parser)]
#[command(name = "spsi")]
struct Environment {
    #[command(flatten)]
    settings: Settings,
}

impl Settings {
    /// Refuses values that parse but with which nothing would work, such as a lease of 0 seconds.
    pub fn checked(self) -> Result<Self, BadSetting> {
        match self.validate() {
            Ok(()) => Ok(self),
            Err(errors) => Err(BadSetting(describe(&errors).join("; "))),
        }
    }

    /// Reads the settings from the environment alone. Every command except `serve` and `demo` uses these.
    pub fn from_environment() -> Result<Self, clap::Error> {
        Environment::try_parse_from(["spsi"]).map(|environment| environment.settings)
    }
}

#[cfg(test)]
mod tests;

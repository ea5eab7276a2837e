//! The one declared configuration: flags, environment variables and help come from the same lines.
//!
//! Deployment settings are in [`Settings`]; those in [`ClinicSettings`] and [`SiteSettings`] may be overridden per clinic
//! (`spsi clinic set`) and per site (`spsi site set`).

mod choices;
mod keys;
mod overridable;
mod shown;
mod site;
mod worker;

pub use choices::*;
use clap::{Args, Parser};
use overridable::overridable;
pub use shown::secrets_hidden;
pub use site::SiteSettings;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use validator::{Validate, ValidationError, ValidationErrors, ValidationErrorsKind};
pub use worker::WorkerSettings;

/// Overrides as a row keeps them: key to text.
pub type Overrides = BTreeMap<String, String>;

overridable! {
    /// What a clinic may have otherwise than the deployment.
    ClinicSettings {
        /// How a declined order is answered: 422, 400 or 409 with ezyVet's messages, or 200 with status Cancelled [SPSI.md 5.1]
        decline_answer: DeclineAnswer = "SPSI_DECLINE_ANSWER", "422";
        /// What list_price and contract_price in /products are prices of: unit or outer [SPSI.md 5.2]
        price_basis: Basis = "SPSI_PRICE_BASIS", "unit";
        /// contract_price where the clinic has none: list, null or omit [SPSI.md 5.3]
        missing_contract_price: MissingContractPrice = "SPSI_MISSING_CONTRACT_PRICE", "list";
        /// Barcodes as numbers where nothing is lost (auto), or always as strings [SPSI.md 5.4]
        barcode: BarcodeType = "SPSI_BARCODE", "auto";
        /// A known order id with changed content: revise while nothing has shipped, or refuse [SPSI.md 5.11]
        changed_order: ChangedOrder = "SPSI_CHANGED_ORDER", "revise";
        /// How long a withdrawn product stays listed with active 0: a duration, 0s or forever [SPSI.md 5.12]
        withdrawn_for: WithdrawnFor = "SPSI_WITHDRAWN_FOR", "90d";
        /// An order line with a code that we do not have, or that the clinic cannot see: off, note, hold or decline (so for every rule)
        rule_unknown_product: RuleAction = "SPSI_RULE_UNKNOWN_PRODUCT", "decline";
        /// An order line for a withdrawn product
        rule_withdrawn_product: RuleAction = "SPSI_RULE_WITHDRAWN_PRODUCT", "decline";
        /// A restricted product, ordered by a clinic without the licence
        rule_restricted_product: RuleAction = "SPSI_RULE_RESTRICTED_PRODUCT", "decline";
        /// A line whose units_per_outer differs from ours
        rule_pack_size: RuleAction = "SPSI_RULE_PACK_SIZE", "hold";
        /// A line whose quantity is not outers x units_per_outer, or whose total is not quantity x price
        rule_line_arithmetic: RuleAction = "SPSI_RULE_LINE_ARITHMETIC", "decline";
        /// Header totals that are not the sum of the lines
        rule_header_totals: RuleAction = "SPSI_RULE_HEADER_TOTALS", "note";
        /// A price below the clinic's by more than the tolerance
        rule_price_below: RuleAction = "SPSI_RULE_PRICE_BELOW", "hold";
        /// A price above the clinic's by more than the tolerance
        rule_price_above: RuleAction = "SPSI_RULE_PRICE_ABOVE", "note";
        /// By how many percent a price may differ from the clinic's
        price_tolerance: Amount = "SPSI_PRICE_TOLERANCE", "1";
        /// More ordered than is free in stock: note accepts the rest as a back-order, hold leaves it to staff, decline refuses the order
        rule_stock_short: RuleAction = "SPSI_RULE_STOCK_SHORT", "note";
        /// A quantity that is not a whole number of outers
        rule_broken_pack: RuleAction = "SPSI_RULE_BROKEN_PACK", "hold";
        /// An order below the minimum
        rule_minimum_order: RuleAction = "SPSI_RULE_MINIMUM_ORDER", "decline";
        /// The smallest order taken, as its total without tax; 0 for none
        minimum_order: Amount = "SPSI_MINIMUM_ORDER", "0";
        /// An order of a clinic whose account is on hold
        rule_account_on_hold: RuleAction = "SPSI_RULE_ACCOUNT_ON_HOLD", "hold";
        /// A purchase_order_number that the clinic has used before under another id
        rule_repeated_number: RuleAction = "SPSI_RULE_REPEATED_NUMBER", "note";
        /// A shipping_address_id that staff have given no address for (spsi clinic map)
        rule_ship_to_unmapped: RuleAction = "SPSI_RULE_SHIP_TO_UNMAPPED", "note";
        /// Goods going back (a negative order)
        rule_return: RuleAction = "SPSI_RULE_RETURN", "hold";
    }
}

/// Where the data is.
#[derive(Clone, Debug, Args, Validate)]
#[command(next_help_heading = "Database")]
pub struct DatabaseSettings {
    /// Postgres to use; without it, a private one is started under the data directory
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// Where the private Postgres and its keys live [default: ./spsi-data]
    #[arg(long, env = "SPSI_DATA_DIR", hide_env_values = true)]
    pub data_dir: Option<PathBuf>,
    /// Where the binaries of the private Postgres are [default: the newest found on the machine]
    #[arg(long, env = "SPSI_PG_BIN_DIR", hide_env_values = true)]
    pub pg_bin_dir: Option<PathBuf>,
    /// Most connections of this process to Postgres; the threads that take orders have as many again among them
    #[validate(range(min = 1, message = "must be at least 1"))]
    #[arg(long, env = "SPSI_DB_CONNECTIONS", default_value = "16", hide_env_values = true)]
    pub db_connections: u32,
    /// Longest wait for a connection to Postgres
    #[validate(custom(function = "some_time"))]
    #[arg(long, env = "SPSI_DB_TIMEOUT", default_value = "5s", hide_env_values = true)]
    pub db_timeout: Span,
    /// Keys that seal ezyVet's credentials: id:base64[,id:base64...], the first one active (spsi key generate)
    #[arg(long, env = "SPSI_ENCRYPTION_KEYS", value_parser = keys::Keys, hide_env_values = true)]
    pub encryption_keys: Option<crate::secret::KeyRing>,
    /// Keys that sign our tokens: id:base64[,id:base64...], the first one active (spsi key generate)
    #[arg(long, env = "SPSI_TOKEN_KEYS", value_parser = keys::Keys, hide_env_values = true)]
    pub token_keys: Option<crate::secret::KeyRing>,
}

/// How we are reached, and what we put up with.
#[derive(Clone, Debug, Args, Validate)]
#[command(next_help_heading = "Server")]
pub struct ServerSettings {
    /// Address to listen at; port 0 takes a free one
    #[arg(long, env = "SPSI_BIND", default_value = "127.0.0.1:8080", hide_env_values = true)]
    pub bind: SocketAddr,
    /// Serve the partner half under this path too, for instance /spsi
    #[arg(long, env = "SPSI_BASE_PATH", default_value = "", hide_env_values = true)]
    pub base_path: String,
    /// How we are reached from outside, for the OpenAPI document
    #[arg(long, env = "SPSI_PUBLIC_URL", hide_env_values = true)]
    pub public_url: Option<String>,
    /// An address for /metrics alone; off: they are served beside the rest
    #[arg(long, env = "SPSI_METRICS_BIND", default_value = "off", hide_env_values = true)]
    pub metrics_bind: MetricsBind,
    /// Threads that serve requests; 0 for one per core
    #[arg(long, env = "SPSI_HTTP_THREADS", default_value = "0", hide_env_values = true)]
    pub http_threads: usize,
    /// Longest time for a request's head, and again for its body, to arrive
    #[validate(custom(function = "some_time"))]
    #[arg(long, env = "SPSI_READ_TIMEOUT", default_value = "15s", hide_env_values = true)]
    pub read_timeout: Span,
    /// How long a shutdown waits for requests in flight
    #[arg(long, env = "SPSI_SHUTDOWN_TIMEOUT", default_value = "20s", hide_env_values = true)]
    pub shutdown_timeout: Span,
    /// Largest request body, in bytes (413 beyond it)
    #[validate(range(min = 1024, message = "must be at least 1024"))]
    #[arg(long, env = "SPSI_MAX_BODY_BYTES", default_value = "8388608", hide_env_values = true)]
    pub max_body_bytes: usize,
    /// Largest body of a token request, in bytes (413 beyond it)
    #[validate(range(min = 1024, message = "must be at least 1024"))]
    #[arg(long, env = "SPSI_MAX_TOKEN_BODY_BYTES", default_value = "65536", hide_env_values = true)]
    pub max_token_body_bytes: usize,
    /// Most lines of one order (413 beyond it)
    #[validate(range(min = 1, message = "must be at least 1"))]
    #[arg(long, env = "SPSI_MAX_ORDER_LINES", default_value = "10000", hide_env_values = true)]
    pub max_order_lines: usize,
    /// The most orders that share a statement and its commit, of those that wait for the database at once; 1: none.
    #[arg(long, env = "SPSI_ORDERS_TOGETHER", default_value = "16", hide_env_values = true)]
    pub orders_together: usize,
    /// Longest query of /products, in bytes (400 beyond it); no head of more than 128 KiB is read
    #[validate(range(min = 1024, message = "must be at least 1024"))]
    #[arg(long, env = "SPSI_MAX_QUERY_BYTES", default_value = "65536", hide_env_values = true)]
    pub max_query_bytes: usize,
    /// Most values of one filter of /products (400 beyond it)
    #[validate(range(min = 1, message = "must be at least 1"))]
    #[arg(long, env = "SPSI_MAX_FILTER_VALUES", default_value = "1000", hide_env_values = true)]
    pub max_filter_values: usize,
    /// Most characters of one filter value (400 beyond it)
    #[validate(range(min = 1, message = "must be at least 1"))]
    #[arg(long, env = "SPSI_MAX_FILTER_LENGTH", default_value = "1000", hide_env_values = true)]
    pub max_filter_length: usize,
    /// Addresses of proxies whose X-Forwarded-For is believed, comma separated
    #[arg(long, env = "SPSI_TRUSTED_PROXIES", value_delimiter = ',', hide_env_values = true)]
    pub trusted_proxies: Vec<std::net::IpAddr>,
}

/// The tokens that we grant.
#[derive(Clone, Debug, Args, Validate)]
#[command(next_help_heading = "Tokens")]
pub struct TokenSettings {
    /// Life of a token [SPSI.md 5.13]
    #[validate(custom(function = "some_time"))]
    #[arg(long, env = "SPSI_TOKEN_TTL", default_value = "8h", hide_env_values = true)]
    pub token_ttl: Span,
    /// How long a verified client secret is remembered (as a keyed digest, in memory), so that the next token is cheap
    #[arg(long, env = "SPSI_SECRET_MEMORY", default_value = "10m", hide_env_values = true)]
    pub secret_memory: Span,
    /// Tokens whose signature, once found good, is not checked again (100 bytes each; their end and their revocation are
    /// looked at every time)
    #[validate(range(min = 1, message = "must be at least 1"))]
    #[arg(long, env = "SPSI_REMEMBERED_TOKENS", default_value = "10000", hide_env_values = true)]
    pub remembered_tokens: usize,
    /// Failed tries per client id within the window before 429
    #[validate(range(min = 1, message = "must be at least 1"))]
    #[arg(long, env = "SPSI_TOKEN_TRIES_PER_CLIENT", default_value = "10", hide_env_values = true)]
    pub token_tries_per_client: u32,
    /// Failed tries per address within the window before 429
    #[validate(range(min = 1, message = "must be at least 1"))]
    #[arg(long, env = "SPSI_TOKEN_TRIES_PER_ADDRESS", default_value = "60", hide_env_values = true)]
    pub token_tries_per_address: u32,
    /// The window that failed tries are counted in; whoever has used them up waits until it ends
    #[validate(custom(function = "some_time"))]
    #[arg(long, env = "SPSI_TOKEN_TRIES_WINDOW", default_value = "1m", hide_env_values = true)]
    pub token_tries_window: Span,
    /// Secrets that are hashed (argon2id, 19 MiB each) at the same time
    #[validate(range(min = 1, message = "must be at least 1"))]
    #[arg(long, env = "SPSI_HASHING_THREADS", default_value = "2", hide_env_values = true)]
    pub hashing_threads: usize,
}

/// The catalogue in memory, and its imports.
#[derive(Clone, Debug, Args, Validate)]
#[command(next_help_heading = "Catalogue")]
pub struct CatalogSettings {
    /// How often the database is asked for a newer catalogue or changed clinics, should a notification be lost; and for stock that has moved (up to five times as seldom where reading it takes long). Where more than 20,000 orders come between two readings, they are stored one by one
    #[validate(custom(function = "some_time"))]
    #[arg(long, env = "SPSI_REFRESH", default_value = "2s", hide_env_values = true)]
    pub refresh: Span,
    /// Percentage of the active products that an import may withdraw without --allow-withdrawals
    #[arg(long, env = "SPSI_WITHDRAWAL_LIMIT", default_value = "10", hide_env_values = true)]
    pub withdrawal_limit: Amount,
}

/// Everything that can be set for a deployment.
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
    pub catalog: CatalogSettings,
    #[command(flatten)]
    #[validate(nested)]
    pub worker: WorkerSettings,
    #[command(flatten)]
    #[validate(nested)]
    pub clinic: ClinicSettings,
    #[command(flatten)]
    #[validate(nested)]
    pub site: SiteSettings,
    /// What is logged, for instance info or spsi_partner=debug
    #[arg(
        long,
        env = "SPSI_LOG",
        default_value = "info,sqlx=warn,actix_server=warn,reqwest_retry=error",
        hide_env_values = true
    )]
    pub log: String,
    /// Logs as text for people or as json, one object a line
    #[arg(long, env = "SPSI_LOG_FORMAT", default_value = "text", value_parser = ["text", "json"], hide_env_values = true)]
    pub log_format: String,
}

/// A time that does something.
fn some_time(span: &Span) -> Result<(), ValidationError> {
    if span.0.is_zero() {
        Err(ValidationError::new("zero").with_message("must be longer than nothing".into()))
    } else {
        Ok(())
    }
}

/// What is wrong with settings that read, each with its key.
fn told(errors: &ValidationErrors) -> Vec<String> {
    let mut told = Vec::new();
    for (key, kind) in errors.errors() {
        match kind {
            ValidationErrorsKind::Struct(inner) => told.extend(self::told(inner)),
            ValidationErrorsKind::List(inner) => told.extend(inner.values().flat_map(|errors| self::told(errors))),
            ValidationErrorsKind::Field(errors) => {
                let words = errors.iter().filter_map(|error| error.message.as_deref());
                told.extend(words.map(|words| format!("{key} {words} (SPSI_{})", key.to_uppercase())));
            }
        }
    }
    told.sort();
    told
}

impl Settings {
    /// Refuses values that read, and yet would make nothing work.
    pub fn checked(self) -> Result<Self, BadSetting> {
        match self.validate() {
            Ok(()) => Ok(self),
            Err(errors) => Err(BadSetting(told(&errors).join("; "))),
        }
    }

    /// The settings of the environment alone: what every command but `serve` and `demo` runs with.
    pub fn from_environment() -> Result<Self, clap::Error> {
        #[derive(Parser)]
        #[command(name = "spsi")]
        struct Environment {
            #[command(flatten)]
            settings: Settings,
        }
        Environment::try_parse_from(["spsi"]).map(|environment| environment.settings)
    }
}

#[cfg(test)]
mod tests;

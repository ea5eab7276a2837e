//! The sandbox's flags.

use std::path::PathBuf;

use super::{
    clock::{Millis, parse_millis},
    faults::{self, Fault},
    form::MAX_INPUT_VARS,
    rate::Limits,
    wire::Scalars,
};

/// Flags of `spsi sandbox`. The site keeps them and follows them.
#[derive(Clone, clap::Args)]
#[command(about = None, long_about = None)]
pub struct Options {
    /// Address to listen on; port 0 takes a free port
    #[arg(long, default_value = "127.0.0.1:8090", value_name = "ADDRESS:PORT")]
    pub bind: String,
    #[arg(long = "fault", value_name = "FAULT", help = "Inject a fault, such as status:jobqueue=503x2; may be repeated", long_help = faults::HELP)]
    pub faults: Vec<Fault>,
    /// Keep the site's state in this file, so that the next start continues from it
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// Seed of the random numbers; the same seed and the same calls give the same run
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Who approves the jobs on the clinic's job queue
    #[arg(long, value_enum, default_value_t)]
    pub approve: Approve,
    /// Delay of the automatic approval
    #[arg(long, default_value = "2s", value_parser = parse_millis, value_name = "SPAN")]
    pub approve_after: Millis,
    #[command(flatten)]
    pub limits: Limits,
    /// Life of an access token; tokens from /v1/oauth/access_token live half as long again
    #[arg(long, default_value = "8h", value_parser = parse_millis, value_name = "SPAN")]
    pub token_life: Millis,
    /// Answer token requests with this `expires_in`, even if it contradicts the token's life
    #[arg(long, value_name = "SECONDS")]
    pub expires_in_says: Option<i64>,
    /// Separator of the scopes in a token request
    #[arg(long, value_enum, default_value_t)]
    pub scope_separator: ScopeSeparator,
    /// Answer to a token request for the inventory scopes
    #[arg(long, value_enum, default_value_t)]
    pub inventory: InventoryGrant,
    /// Outcome of approving a second job with the same invoice number
    #[arg(long, value_enum, default_value_t)]
    pub duplicate_invoice: DuplicateInvoice,
    /// Approving an invoice also adds its quantities to the stock
    #[arg(long)]
    pub invoice_moves_stock: bool,
    /// Bodies that the job queue accepts
    #[arg(long, value_enum, default_value_t)]
    pub job_encoding: JobEncoding,
    /// Job type that creates a receive invoice; other jobs fail
    #[arg(long, default_value = "ReceiveInvoice", value_name = "NAME")]
    pub job_type: String,
    /// Job action that creates a receive invoice; other jobs fail
    #[arg(long, default_value = "ApiRequest", value_name = "NAME")]
    pub job_action: String,
    /// Endpoint inside a job that creates a receive invoice; other jobs fail
    #[arg(long, default_value = "v2/receiveinvoice", value_name = "PATH")]
    pub job_endpoint: String,
    /// Form fields that a PHP server reads (`max_input_vars`); later fields are dropped silently
    #[arg(long, default_value_t = MAX_INPUT_VARS, value_name = "FIELDS")]
    pub max_input_vars: usize,
    /// JSON type of the numbers in answers
    #[arg(long, value_enum, default_value_t)]
    pub scalars: Scalars,
    /// What the clinic takes `list_price` and `contract_price` to be the price of
    #[arg(long, value_enum, default_value_t)]
    pub price_basis: PriceBasis,
    /// Base URL of the partner's SPSI endpoints, which the clinic of this site calls
    #[arg(long, env = "SPSI_SANDBOX_PARTNER", value_name = "URL")]
    pub partner: Option<String>,
    /// Client id of the clinic at the partner
    #[arg(long, env = "SPSI_SANDBOX_PARTNER_CLIENT_ID", value_name = "ID")]
    pub partner_client_id: Option<String>,
    /// Client secret of the clinic at the partner
    #[arg(long, env = "SPSI_SANDBOX_PARTNER_CLIENT_SECRET", hide_env_values = true, value_name = "SECRET")]
    pub partner_client_secret: Option<String>,
    /// Partner id that token requests must carry
    #[arg(long, default_value = "sandbox-partner", value_name = "ID")]
    pub partner_id: String,
    /// Client id that token requests must carry
    #[arg(long, default_value = "sandbox-client", value_name = "ID")]
    pub client_id: String,
    /// Client secret that token requests must carry
    #[arg(long, default_value = "sandbox-secret", value_name = "SECRET")]
    pub client_secret: String,
    /// Site uid that token requests must carry
    #[arg(long, default_value = "sandbox-site", value_name = "UID")]
    pub site_uid: String,
}

/// Who approves jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Approve {
    /// The sandbox, after --approve-after
    #[default]
    Auto,
    /// You, on the page or with POST /_sandbox/jobs/{id}/approve
    Manual,
}

/// Separator of the scopes in a token request (SPSI.md 5.10).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ScopeSeparator {
    /// `a b`
    #[default]
    Space,
    /// `a,b`
    Comma,
}

/// Answer to a token request for the inventory scopes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum InventoryGrant {
    /// A token with these scopes
    #[default]
    Grant,
    /// A token without these scopes; inventory calls get 403
    Withhold,
    /// 400
    Refuse,
}

/// Outcome of approving a second job with the same invoice number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum DuplicateInvoice {
    /// A second invoice, so that a test can detect it
    #[default]
    Accept,
    /// The second job fails
    Reject,
}

/// Bodies that the job queue accepts (SPSI.md 5.7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum JobEncoding {
    /// Forms and JSON
    #[default]
    Either,
    /// Forms with PHP brackets
    Form,
    /// JSON
    Json,
}

/// What `list_price` and `contract_price` are the price of (SPSI.md 5.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum PriceBasis {
    /// One inner unit
    #[default]
    Unit,
    /// One outer
    Outer,
}

impl Default for Options {
    /// Returns the values of omitted flags; the environment is ignored.
    fn default() -> Self {
        #[derive(clap::Parser)]
        struct Command {
            #[command(flatten)]
            options: Options,
        }
        let Command { options } = clap::Parser::parse_from(["sandbox"]);
        Self { partner: None, partner_client_id: None, partner_client_secret: None, ..options }
    }
}

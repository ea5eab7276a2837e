//! The sandbox's flags.

use std::{fmt, path::PathBuf, time::Duration};

use super::{
    clock::parse_span,
    faults::{self, Fault},
    form::MAX_INPUT_VARS,
    wire::Scalars,
};

/// Flags of `spsi sandbox`.
#[derive(Clone, clap::Args)]
#[command(about = None, long_about = None)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8090", value_name = "ADDRESS:PORT")]
    pub bind: String,
    #[arg(long = "fault", value_name = "FAULT", help = "A fault to inject, such as status:jobqueue=503x2; may be repeated", long_help = faults::HELP)]
    pub faults: Vec<Fault>,
    /// Keep the world in this file, so that a second start goes on where the first ended.
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// Seed of everything that is left to chance; the same seed gives the same run.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Whether staff at the clinic approve jobs by themselves or wait for you (page or control call).
    #[arg(long, value_enum, default_value_t)]
    pub approve: Approve,
    /// How long a job waits for its automatic approval.
    #[arg(long, default_value = "2s", value_parser = parse_span, value_name = "SPAN")]
    pub approve_after: Duration,
    /// Length of a rate window (ezyVet's is a minute).
    #[arg(long, default_value = "60s", value_parser = parse_span, value_name = "SPAN")]
    pub rate_window: Duration,
    /// Calls allowed in a window for one endpoint.
    #[arg(long, default_value_t = 60, value_name = "CALLS")]
    pub rate_per_endpoint: u32,
    /// Calls allowed in a window over all endpoints.
    #[arg(long, default_value_t = 180, value_name = "CALLS")]
    pub rate_per_site: u32,
    /// Run time this many times faster: rate windows, approval and token life shrink by it.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..), value_name = "TIMES")]
    pub time_scale: u32,
    /// Life of a token (half as long again on the older path).
    #[arg(long, default_value = "8h", value_parser = parse_span, value_name = "SPAN")]
    pub token_life: Duration,
    /// What `expires_in` says, where it shall contradict the token's life, as ezyVet's examples do.
    #[arg(long, value_name = "SECONDS")]
    pub expires_in_says: Option<i64>,
    /// How scopes are separated in a token request (SPSI.md 5.10).
    #[arg(long, value_enum, default_value_t)]
    pub scope_separator: ScopeSeparator,
    /// Whether this site grants the inventory scopes, leaves them out, or refuses the whole token request.
    #[arg(long, value_enum, default_value_t)]
    pub inventory: InventoryGrant,
    /// What happens to an invoice number that exists already.
    #[arg(long, value_enum, default_value_t)]
    pub duplicate_invoice: DuplicateInvoice,
    /// Approving an invoice moves stock as well (SPSI.md 5.8).
    #[arg(long)]
    pub invoice_moves_stock: bool,
    /// Whether the job queue takes forms, JSON, or both (SPSI.md 5.7).
    #[arg(long, value_enum, default_value_t)]
    pub job_encoding: JobEncoding,
    /// The job type that creates a receive invoice (SPSI.md 5.7).
    #[arg(long, default_value = "ReceiveInvoice", value_name = "NAME")]
    pub job_type: String,
    /// The job action of an API request (SPSI.md 5.7).
    #[arg(long, default_value = "ApiRequest", value_name = "NAME")]
    pub job_action: String,
    /// The endpoint that a receive invoice job names (SPSI.md 5.7).
    #[arg(long, default_value = "v2/receiveinvoice", value_name = "PATH")]
    pub job_endpoint: String,
    /// Form fields that the PHP reader keeps; the rest is dropped without a word.
    #[arg(long, default_value_t = MAX_INPUT_VARS, value_name = "FIELDS")]
    pub max_input_vars: usize,
    /// How numbers are written in answers.
    #[arg(long, value_enum, default_value_t)]
    pub scalars: Scalars,
    /// How the clinic reads `list_price` and `contract_price` (SPSI.md 5.2).
    #[arg(long, value_enum, default_value_t)]
    pub price_basis: PriceBasis,
    /// The partner that this site's clinic calls: the address of its SPSI endpoints.
    #[arg(long, env = "SPSI_SANDBOX_PARTNER", value_name = "URL")]
    pub partner: Option<String>,
    /// The clinic's client id at the partner.
    #[arg(long, env = "SPSI_SANDBOX_PARTNER_CLIENT_ID", value_name = "ID")]
    pub partner_client_id: Option<String>,
    /// The clinic's client secret at the partner.
    #[arg(long, env = "SPSI_SANDBOX_PARTNER_CLIENT_SECRET", hide_env_values = true, value_name = "SECRET")]
    pub partner_client_secret: Option<String>,
    /// The partner id that this site knows.
    #[arg(long, default_value = "sandbox-partner", value_name = "ID")]
    pub partner_id: String,
    /// The client id that this site knows.
    #[arg(long, default_value = "sandbox-client", value_name = "ID")]
    pub client_id: String,
    /// The client secret that this site knows.
    #[arg(long, default_value = "sandbox-secret", value_name = "SECRET")]
    pub client_secret: String,
    /// This site's uid.
    #[arg(long, default_value = "sandbox-site", value_name = "UID")]
    pub site_uid: String,
}

/// Who approves jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Approve {
    /// By themselves, after a while.
    #[default]
    Auto,
    /// Whoever presses the button.
    Manual,
}

/// How scopes are separated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ScopeSeparator {
    /// `a b`.
    #[default]
    Space,
    /// `a,b`.
    Comma,
    /// Both.
    Either,
}

/// What a site does with inventory scopes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum InventoryGrant {
    /// Grants them.
    #[default]
    Grant,
    /// Issues a token without them; calls get 403.
    Withhold,
    /// Refuses a token request that names them.
    Refuse,
}

/// What happens to a repeated invoice number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum DuplicateInvoice {
    /// A second invoice, so that a double can be seen.
    #[default]
    Accept,
    /// The second job fails.
    Reject,
}

/// Which bodies the job queue takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum JobEncoding {
    /// Forms and JSON.
    #[default]
    Either,
    /// Forms with PHP brackets only.
    Form,
    /// JSON only.
    Json,
}

/// What a price in the catalogue is a price of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum PriceBasis {
    /// Of one inner unit.
    #[default]
    Unit,
    /// Of one outer.
    Outer,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("bind", &self.bind).field("faults", &self.faults).finish_non_exhaustive()
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bind: "127.0.0.1:8090".into(),
            faults: Vec::new(),
            state: None,
            seed: 1,
            approve: Approve::Auto,
            approve_after: Duration::from_secs(2),
            rate_window: Duration::from_secs(60),
            rate_per_endpoint: 60,
            rate_per_site: 180,
            time_scale: 1,
            token_life: Duration::from_secs(8 * 3600),
            expires_in_says: None,
            scope_separator: ScopeSeparator::Space,
            inventory: InventoryGrant::Grant,
            duplicate_invoice: DuplicateInvoice::Accept,
            invoice_moves_stock: false,
            job_encoding: JobEncoding::Either,
            job_type: "ReceiveInvoice".into(),
            job_action: "ApiRequest".into(),
            job_endpoint: "v2/receiveinvoice".into(),
            max_input_vars: MAX_INPUT_VARS,
            scalars: Scalars::Numbers,
            price_basis: PriceBasis::Unit,
            partner: None,
            partner_client_id: None,
            partner_client_secret: None,
            partner_id: "sandbox-partner".into(),
            client_id: "sandbox-client".into(),
            client_secret: "sandbox-secret".into(),
            site_uid: "sandbox-site".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::{super::settings::Settings, *};

    #[derive(Parser)]
    struct Alone {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn flags_left_out_mean_the_defaults_of_the_code() {
        let parsed =
            Alone::try_parse_from(["sandbox"]).map(|alone| alone.options).unwrap_or_else(|error| panic!("{error}"));
        let (parsed, default) = (format!("{:?}", Settings::from(&parsed)), format!("{:?}", Settings::default()));
        assert_eq!(parsed, default);
    }

    #[test]
    fn a_time_scale_shrinks_every_span() {
        let settings = Settings::from(&Options { time_scale: 60, ..Options::default() });
        assert_eq!((settings.limits.window, settings.approve_after, settings.token_life), (1000, Some(33), 480_000));
    }
}

//! What a world lives by, read from the flags; spans are scaled here, once.

use std::{fmt, time::Duration};

use super::{
    clock::{Millis, millis},
    options::{Approve, DuplicateInvoice, InventoryGrant, JobEncoding, Options, PriceBasis, ScopeSeparator},
    rate::Limits,
    wire::Scalars,
};

/// One set of credentials that the site knows.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// `partner_id`.
    pub partner_id: String,
    /// `client_id`.
    pub client_id: String,
    /// `client_secret`.
    pub client_secret: String,
    /// `site_uid`.
    pub site_uid: String,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

/// What the world lives by; spans are already scaled.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The credential sets that the site knows.
    pub credentials: Vec<Credential>,
    /// Waiting time before a job approves itself; none = never.
    pub approve_after: Option<Millis>,
    /// The rate limits.
    pub limits: Limits,
    /// Life of a token.
    pub token_life: Millis,
    /// What `expires_in` says instead of the truth.
    pub expires_in_says: Option<i64>,
    /// See [`ScopeSeparator`].
    pub scope_separator: ScopeSeparator,
    /// See [`InventoryGrant`].
    pub inventory: InventoryGrant,
    /// See [`DuplicateInvoice`].
    pub duplicate_invoice: DuplicateInvoice,
    /// Whether an approved invoice moves stock.
    pub invoice_moves_stock: bool,
    /// See [`JobEncoding`].
    pub job_encoding: JobEncoding,
    /// Type, action and endpoint of a receive invoice job.
    pub job_names: [String; 3],
    /// Form fields that are kept.
    pub max_input_vars: usize,
    /// See [`Scalars`].
    pub scalars: Scalars,
    /// See [`PriceBasis`].
    pub price_basis: PriceBasis,
}

impl From<&Options> for Settings {
    fn from(options: &Options) -> Self {
        let scaled = |span: Duration| millis(span / options.time_scale.max(1)).max(1);
        Self {
            credentials: vec![Credential {
                partner_id: options.partner_id.clone(),
                client_id: options.client_id.clone(),
                client_secret: options.client_secret.clone(),
                site_uid: options.site_uid.clone(),
            }],
            approve_after: (options.approve == Approve::Auto).then(|| scaled(options.approve_after)),
            limits: Limits {
                per_endpoint: options.rate_per_endpoint,
                per_site: options.rate_per_site,
                window: scaled(options.rate_window),
            },
            token_life: scaled(options.token_life),
            expires_in_says: options.expires_in_says,
            scope_separator: options.scope_separator,
            inventory: options.inventory,
            duplicate_invoice: options.duplicate_invoice,
            invoice_moves_stock: options.invoice_moves_stock,
            job_encoding: options.job_encoding,
            job_names: [options.job_type.clone(), options.job_action.clone(), options.job_endpoint.clone()],
            max_input_vars: options.max_input_vars,
            scalars: options.scalars,
            price_basis: options.price_basis,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::from(&Options::default())
    }
}

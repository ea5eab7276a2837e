//! The settings of the order hook, which decides about orders while ezyVet waits.

use super::*;
use crate::secret::Plain;

/// The order hook of the deployment. Clinics use it with `rule_ask=hook`.
#[derive(Clone, Debug, Args, Validate)]
#[command(next_help_heading = "Order hook (`rule_ask=hook`)")]
pub struct OrderHookSettings {
    /// URL that is asked about each order of a clinic with `rule_ask=hook`, while ezyVet waits
    #[arg(long, env = "SPSI_ORDER_HOOK_URL")]
    pub order_hook_url: Option<String>,
    /// Secret that signs the requests to the order hook, as `whsec_` and base64 (Standard Webhooks)
    #[arg(long, env = "SPSI_ORDER_HOOK_SECRET", hide_env_values = true)]
    pub order_hook_secret: Option<Plain>,
    /// Maximum time for the answer of the order hook. ezyVet waits meanwhile
    #[validate(custom(function = "not_zero"))]
    #[arg(long, env = "SPSI_ORDER_HOOK_TIMEOUT", default_value = "2s")]
    pub order_hook_timeout: Span,
    /// Decision if the order hook gives no valid answer in time: `ask` (held until decided by the API, as with
    /// `rule_ask=ask`), `accept`, `hold` or `decline`
    #[arg(long, env = "SPSI_ORDER_HOOK_DEFAULT", default_value = "ask")]
    pub order_hook_default: HookDecision,
    /// Number of consecutive failures after which the circuit breaker stops calls to the order hook
    #[validate(range(min = 1, message = "must be at least 1"))]
    #[arg(long, env = "SPSI_ORDER_HOOK_FAILURES", default_value = "5")]
    pub order_hook_failures: u32,
    /// Time that the circuit breaker stops calls to the order hook. Then one order tries it again
    #[validate(custom(function = "not_zero"))]
    #[arg(long, env = "SPSI_ORDER_HOOK_PAUSE", default_value = "30s")]
    pub order_hook_pause: Span,
}

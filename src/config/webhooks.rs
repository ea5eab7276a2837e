//! The settings of the event log and of webhooks.

use super::{Retention, Span, not_zero};
use clap::{ArgAction, Args};
use std::time::Duration;
use validator::Validate;

/// The event log, and the calls to the supplier's own systems.
#[derive(Clone, Debug, Args, Validate)]
#[command(next_help_heading = "Events and webhooks")]
pub struct WebhookSettings {
    /// How long events are kept: a duration or `forever`. A reader whose cursor is older gets the error `cursor_expired`
    #[arg(long, env = "SPSI_EVENTS_KEPT_FOR", default_value = "400d")]
    pub events_kept_for: Retention,
    /// `true` permits webhooks with `http://` and with private addresses. Set it only where everybody who may add webhooks
    /// may also reach the servers of your network
    #[arg(long, env = "SPSI_WEBHOOK_ALLOW_PRIVATE", default_value = "false", action = ArgAction::Set)]
    pub webhook_allow_private: bool,
    /// Maximum time for the answer of a webhook
    #[validate(custom(function = "not_zero"))]
    #[arg(long, env = "SPSI_WEBHOOK_TIMEOUT", default_value = "15s")]
    pub webhook_timeout: Span,
    /// Waits before the second and each further attempt of a message, separated by commas. After the last attempt, the
    /// message is given up
    #[arg(
        long,
        env = "SPSI_WEBHOOK_RETRIES",
        default_value = "5s,5m,30m,2h,5h,10h,14h,20h,24h",
        value_delimiter = ','
    )]
    pub webhook_retries: Vec<Span>,
    /// Time without any success after which a failing webhook is switched off
    #[validate(custom(function = "not_zero"))]
    #[arg(long, env = "SPSI_WEBHOOK_DISABLE_AFTER", default_value = "5d")]
    pub webhook_disable_after: Span,
    /// Maximum number of concurrent calls of one worker to webhooks. A call that has waited for a second no longer counts
    #[validate(range(min = 1, message = "must be at least 1"))]
    #[arg(long, env = "SPSI_WEBHOOK_CALLS", default_value = "256")]
    pub webhook_calls: usize,
    /// Maximum number of concurrent calls of one worker that have waited for a second, or that go to a webhook which did not
    /// answer in time before
    #[validate(range(min = 1, message = "must be at least 1"))]
    #[arg(long, env = "SPSI_WEBHOOK_SLOW_CALLS", default_value = "1024")]
    pub webhook_slow_calls: usize,
    /// How long the old secret of a webhook signs beside the new one after a rotation
    #[arg(long, env = "SPSI_WEBHOOK_SECRET_OVERLAP", default_value = "24h")]
    pub webhook_secret_overlap: Span,
    /// How long the attempts of webhooks are kept: a duration or `forever`
    #[arg(long, env = "SPSI_WEBHOOK_ATTEMPTS_KEPT_FOR", default_value = "30d")]
    pub webhook_attempts_kept_for: Retention,
}

impl WebhookSettings {
    pub fn waits(&self) -> Vec<Duration> {
        self.webhook_retries.iter().map(|wait| wait.0).collect()
    }
}

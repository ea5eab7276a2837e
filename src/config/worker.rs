//! The settings of the delivery worker.

use super::{KeptFor, Span, some_time};
use clap::Args;
use validator::Validate;

/// The delivery worker.
#[derive(Clone, Debug, Args, Validate)]
#[command(next_help_heading = "Worker")]
pub struct WorkerSettings {
    /// Life of a lease on a site; a killed worker's sites are taken over after it
    #[validate(custom(function = "some_time"))]
    #[arg(long, env = "SPSI_LEASE", default_value = "60s", hide_env_values = true)]
    pub lease: Span,
    /// How often the database is asked for due deliveries, should a notification be lost
    #[validate(custom(function = "some_time"))]
    #[arg(long, env = "SPSI_WORKER_POLL", default_value = "1s", hide_env_values = true)]
    pub worker_poll: Span,
    /// Sites that one worker serves at the same time; with more than these at work, each gets its turn and less than its rate
    #[validate(range(min = 1, message = "must be at least 1"))]
    #[arg(long, env = "SPSI_WORKER_SITES", default_value = "2048", hide_env_values = true)]
    pub worker_sites: usize,
    /// A site is given back after this even if more is due there, so that every site gets its turn
    #[validate(custom(function = "some_time"))]
    #[arg(long, env = "SPSI_LONGEST_HOLD", default_value = "15s", hide_env_values = true)]
    pub longest_hold: Span,
    /// A longer wait for a site's rate budget is not sat out while holding the site
    #[arg(long, env = "SPSI_LONGEST_BUDGET_WAIT", default_value = "5s", hide_env_values = true)]
    pub longest_budget_wait: Span,
    /// Longest time that name lookup, connection and TLS may take together; within it a call was certainly not sent
    #[validate(custom(function = "some_time"))]
    #[arg(long, env = "SPSI_CONNECT_TIMEOUT", default_value = "10s", hide_env_values = true)]
    pub connect_timeout: Span,
    /// How long an idle connection to a site is kept for the next call that reads
    #[arg(long, env = "SPSI_IDLE_CONNECTION", default_value = "10s", hide_env_values = true)]
    pub idle_connection: Span,
    /// How long a worker goes on trying to write down how a call ended while the database is away
    #[arg(long, env = "SPSI_SETTLE_PATIENCE", default_value = "60s", hide_env_values = true)]
    pub settle_patience: Span,
    /// How long a command of staff that calls a site (site test, site separations) waits for the worker to let go of it
    #[arg(long, env = "SPSI_STAFF_WAIT", default_value = "20s", hide_env_values = true)]
    pub staff_wait: Span,
    /// As much of an answer as an attempt keeps, in characters
    #[arg(long, env = "SPSI_KEPT_RESPONSE", default_value = "4000", hide_env_values = true)]
    pub kept_response: usize,
    /// How long the requests and answers of deliveries that are done are kept: a duration or forever; the deliveries themselves are kept for ever
    #[arg(long, env = "SPSI_ATTEMPTS_KEPT_FOR", default_value = "365d", hide_env_values = true)]
    pub attempts_kept_for: KeptFor,
}

//! A leased site: its token, its budget, its circuit breaker, and the calls made to it.
//!
//! Guarantees: a call is begun in the database before it leaves, together with the budget that it uses; every write is
//! fenced by the lease; the token is refreshed here and nowhere else, once per 401.
//!
//! The circuit breaker opens after `SPSI_BREAKER_FAILURES` failed calls in a row: nothing more is begun, and the site is
//! released until the next probe. The probe is a read, so an outage costs no delivery.

mod call;
mod token;

pub(super) use call::{CallResult, Purpose};

use super::budget::{Budget, RateLimits, Reservation};
use super::lease::{AcquiredLease, Lease, SiteState, store as lease_store};
use super::policy::Policy;
use crate::clinics::sites::{Connection, SiteError};
use crate::clock::Clock;
use crate::db::Pool;
use crate::events::{self, Doorbell};
use crate::ezyvet::{Client, Endpoint, Outcome, RateHeaders, Request};
use crate::secret::{KeyRing, random_bytes};
use sqlx::{Postgres, Transaction};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use time::OffsetDateTime;
use token::Tokens;
use tokio::sync::{Mutex, MutexGuard};

/// Longest wait between two probes of a site in trouble. A probe is one read.
const MAX_PROBE_WAIT: Duration = Duration::from_secs(300);
/// Maximum wait for the rate budget while holding the site's lease. A call that must wait longer releases the site.
const MAX_BUDGET_WAIT: Duration = Duration::from_secs(5);

/// Why a step stopped before it settled its delivery.
#[derive(Debug, thiserror::Error)]
pub enum StopReason {
    #[error("the lease on the site was lost")]
    LeaseLost,
    #[error("the site's rate budget is used up until {0}")]
    RateLimited(OffsetDateTime),
    #[error("no token: {0}")]
    NoToken(Outcome),
    #[error("the delivery was changed while the step ran")]
    DeliveryChanged,
    #[error(transparent)]
    Site(#[from] SiteError),
    #[error(transparent)]
    Secret(#[from] crate::secret::SecretError),
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
}

/// What all sessions of a worker share.
#[derive(Clone, Debug)]
pub(super) struct WorkerContext {
    pub pool: Pool,
    pub client: Client,
    pub keys: KeyRing,
    pub clock: Clock,
    /// Life of a lease.
    pub lease: Duration,
    pub doorbell: Doorbell,
}

/// A transaction in which the lease certainly holds.
pub(super) struct FencedTransaction<'a> {
    // Dropped in this order: the lock is free when the connection is.
    pub transaction: Transaction<'static, Postgres>,
    _guard: MutexGuard<'a, ()>,
}

impl FencedTransaction<'_> {
    pub async fn commit(self) -> Result<(), sqlx::Error> {
        self.transaction.commit().await
    }
}

/// A leased site.
pub(super) struct Session {
    pub context: WorkerContext,
    pub site: Connection,
    pub lease: Lease,
    state: Mutex<SiteState>,
    tokens: Mutex<Tokens>,
    lease_lost: AtomicBool,
    staff_waiting: AtomicBool,
    /// The circuit breaker: the site is in trouble, and nothing more is begun.
    circuit_open: AtomicBool,
    /// Settlements of a site lock the row of its lease. A settlement that waits here occupies no connection.
    settlement_lock: Mutex<()>,
    /// Held while uids are looked up.
    pub mapping_lock: Mutex<()>,
}

impl Session {
    pub fn new(context: WorkerContext, site: Connection, acquired: AcquiredLease) -> Self {
        let state = SiteState {
            budget: Budget::restored(acquired.budget, context.clock.now()),
            failures: acquired.failures.unsigned_abs(),
            inventory_absent_since: acquired.inventory_absent_since,
        };
        Self {
            context,
            site,
            lease: Lease { site: acquired.site, token: acquired.token },
            state: Mutex::new(state),
            tokens: Mutex::default(),
            lease_lost: AtomicBool::new(false),
            staff_waiting: AtomicBool::new(false),
            circuit_open: AtomicBool::new(false),
            settlement_lock: Mutex::default(),
            mapping_lock: Mutex::default(),
        }
    }

    /// Returns whether the site must be released: nothing more is begun.
    pub fn is_over(&self) -> bool {
        [&self.lease_lost, &self.staff_waiting, &self.circuit_open].into_iter().any(|flag| flag.load(Ordering::Relaxed))
    }

    pub fn now(&self) -> OffsetDateTime {
        self.context.clock.now()
    }

    /// Returns a number between 0 and 1, which keeps many waits from ending at the same time. Always 1 under a test clock.
    pub fn jitter(&self) -> f64 {
        match self.context.clock {
            Clock::Test(_) => 1.0,
            Clock::System => random_bytes::<2>().map_or(1.0, |bytes| f64::from(u16::from_le_bytes(bytes)) / 65_535.0),
        }
    }

    pub fn policy(&self) -> Policy<'_> {
        Policy(&self.site.settings)
    }

    fn rate_limits(&self) -> RateLimits {
        let settings = &self.site.settings;
        RateLimits {
            per_endpoint: settings.rate_per_endpoint,
            per_site: settings.rate_per_site,
            window: settings.rate_window.0,
        }
    }

    /// Returns since when the site has refused the inventory scopes. Returns `None` if it is time to try them again.
    pub async fn inventory_absent(&self) -> Option<OffsetDateTime> {
        let since = self.state.lock().await.inventory_absent_since;
        since.filter(|since| self.now() < *since + self.site.settings.inventory_recheck.0)
    }

    /// Records whether the site grants the inventory scopes. Stored with the next settlement.
    pub async fn record_inventory_grant(&self, granted: bool) {
        let now = self.now();
        let mut state = self.state.lock().await;
        let recheck = self.site.settings.inventory_recheck.0;
        let since = state.inventory_absent_since.filter(|since| now < *since + recheck);
        state.inventory_absent_since = if granted { None } else { since.or(Some(now)) };
    }

    /// Tests a site in trouble with one read before anything is sent. Leaves the circuit open if the read fails, too.
    pub async fn probe_if_in_trouble(&self) {
        let failures = self.state.lock().await.failures;
        if failures < self.site.settings.breaker_failures {
            return;
        }
        match self.call(None, &Request::probe()).await.map(|result| result.exchange.outcome) {
            Ok(outcome) if !outcome.is_outage() => {
                tracing::info!(site = %self.site.name, "the site answers again");
            }
            failed => {
                if let Ok(outcome) = failed {
                    tracing::warn!(site = %self.site.name, %outcome, "the site is still in trouble");
                    let mut state = self.state.lock().await;
                    // A token that was granted has reset the count.
                    state.failures = state.failures.max(failures + 1);
                }
                self.circuit_open.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Permits a send to an endpoint, or returns when to ask again, because too many sends ended unclear.
    pub async fn permit_send(&self, endpoint: Endpoint) -> Result<(), OffsetDateTime> {
        let trial = self.site.settings.call_timeout.0;
        self.state.lock().await.budget.permit_send(endpoint, self.now(), trial)
    }

    /// Records whether a send ended unclear.
    pub async fn record_send(&self, endpoint: Endpoint, is_unclear: bool) {
        let pause = self.site.settings.unclear_wait.0;
        self.state.lock().await.budget.record_send(endpoint, is_unclear, self.now(), pause);
    }

    /// Extends the lease while calls are under way.
    pub async fn renew(&self) {
        let until = self.now() + self.context.lease;
        match lease_store::renew(&self.context.pool, self.lease, until).await {
            Ok(true) => {}
            Ok(false) => self.lease_lost.store(true, Ordering::Relaxed),
            Err(error) => tracing::warn!(site = %self.site.name, %error, "cannot renew the lease on a site"),
        }
    }

    /// Opens a transaction in which the lease holds, and stores the session's state in it.
    pub async fn begin_fenced(&self) -> Result<FencedTransaction<'_>, StopReason> {
        let guard = self.settlement_lock.lock().await;
        let mut transaction = self.context.pool.begin().await?;
        let now = self.now();
        // Copied under the settlement lock, so that the state stored last is the newest.
        let state = self.state.lock().await.clone();
        let until = now + self.context.lease;
        match lease_store::extend_and_save(&mut transaction, self.lease, until, &state, now).await? {
            Some(staff_waiting) => self.staff_waiting.fetch_or(staff_waiting, Ordering::Relaxed),
            None => {
                self.lease_lost.store(true, Ordering::Relaxed);
                return Err(StopReason::LeaseLost);
            }
        };
        Ok(FencedTransaction { transaction, _guard: guard })
    }

    /// Releases the site. `not_before`: the caller knows that nothing can be sent before.
    pub async fn release(&self, not_before: Option<OffsetDateTime>) -> Result<(), sqlx::Error> {
        let state = self.state.lock().await;
        let next_probe = self.circuit_open.load(Ordering::Relaxed).then(|| {
            let probes = state.failures.saturating_sub(self.site.settings.breaker_failures);
            self.now() + self.policy().backoff(probes, self.jitter()).min(MAX_PROBE_WAIT)
        });
        let now = self.now();
        let mut transaction = self.context.pool.begin().await?;
        let not_before = next_probe.max(not_before);
        lease_store::release(&mut transaction, self.lease, &state, not_before, next_probe.is_some()).await?;
        let is_new_outage =
            next_probe.is_some() && lease_store::begin_outage(&mut transaction, self.site.id, now).await?;
        if is_new_outage {
            events::record_site_unreachable(&mut transaction, now, self.site.id, state.failures as i32).await?;
        }
        transaction.commit().await?;
        if is_new_outage {
            self.context.doorbell.ring();
        }
        Ok(())
    }

    async fn reserve(&self, endpoint: Endpoint) -> Result<Reservation, StopReason> {
        loop {
            let now = self.now();
            let free_at = match self.state.lock().await.budget.reserve(endpoint, now, self.rate_limits()) {
                Ok(reservation) => return Ok(reservation),
                Err(free_at) => free_at,
            };
            let wait = (free_at - now).unsigned_abs();
            if self.lease_lost.load(Ordering::Relaxed) {
                return Err(StopReason::LeaseLost);
            }
            if wait > MAX_BUDGET_WAIT || self.is_over() {
                return Err(StopReason::RateLimited(free_at));
            }
            self.context.clock.sleep(wait).await;
        }
    }

    async fn end_reservation(&self, reservation: Reservation, outcome: &Outcome, headers: RateHeaders) {
        let (now, limits) = (self.now(), self.rate_limits());
        let mut state = self.state.lock().await;
        match outcome {
            Outcome::NeverSent { .. } => state.budget.cancel(reservation),
            Outcome::RateLimited { .. } => state.budget.record_rate_limit(reservation, now, headers, limits),
            _ => state.budget.record_answer(reservation, now, headers, limits),
        }
        state.failures = if outcome.is_outage() { state.failures.saturating_add(1) } else { 0 };
        if state.failures >= self.site.settings.breaker_failures {
            self.circuit_open.store(true, Ordering::Relaxed);
        }
        let endpoint = reservation.endpoint.name();
        metrics::counter!("spsi_ezyvet_calls_total", "endpoint" => endpoint, "outcome" => outcome.name()).increment(1);
    }

    async fn cancel_reservation(&self, reservation: Reservation) {
        self.state.lock().await.budget.cancel(reservation);
    }
}

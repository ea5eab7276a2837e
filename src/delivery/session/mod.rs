//! A held site: its token, its budget, and calls of it that leave a trace.
//!
//! A call is begun in the database before it leaves, with the budget it draws on, and everything written is fenced by the
//! lease. The token is refreshed here and nowhere else, once per 401.

mod token;

use super::attempts::store::{self as attempts, Ended};
use super::budget::{Budget, Permitted, Ticket};
use super::lease::{Lease, Taken, store as lease_store};
use super::policy::Policy;
use super::store::{self, Due};
use crate::clinics::sites::{Connection, SiteError};
use crate::clock::Clock;
use crate::ezyvet::{Client, Endpoint, Exchange, Limits, Outcome, RateHeaders, Request};
use crate::secret::{KeyRing, random_bytes};
use sqlx::{PgConnection, PgPool, Postgres, Transaction};
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use time::OffsetDateTime;
use token::Tokens;
use tokio::sync::{Mutex, MutexGuard};

/// Maximum wait for the rate budget while holding the site's lease. A call that must wait longer releases the site.
const MAX_BUDGET_WAIT: Duration = Duration::from_secs(5);
/// Maximum number of characters of ezyVet's response that an attempt stores.
const MAX_STORED_RESPONSE: usize = 4000;

/// Why a step could not go on.
#[derive(Debug, thiserror::Error)]
pub enum Stop {
    #[error("the lease on the site was lost")]
    Lost,
    #[error("the site's rate budget is spent until {0}")]
    Later(OffsetDateTime),
    #[error("no token: {0}")]
    NoToken(Outcome),
    #[error("the delivery was changed meanwhile")]
    Changed,
    #[error(transparent)]
    Site(#[from] SiteError),
    #[error(transparent)]
    Secret(#[from] crate::secret::SecretError),
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
}

/// What every session shares.
#[derive(Clone, Debug)]
pub(super) struct Parts {
    pub pool: PgPool,
    pub client: Client,
    pub keys: KeyRing,
    pub clock: Clock,
    pub lease: Duration,
}

/// Why a call is made, as attempts are marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Send,
    Look,
    Receipt,
    Map,
}

impl Purpose {
    const fn name(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Look => "look",
            Self::Receipt => "receipt",
            Self::Map => "map",
        }
    }
}

struct SiteState {
    budget: Budget,
    failures: u32,
    inventory_absent_since: Option<OffsetDateTime>,
}

/// A call that was made and not settled yet.
pub(super) struct Made {
    pub exchange: Exchange,
    /// None: made by staff, not for a delivery.
    pub attempt: Option<i64>,
    /// Of the token that it was made with.
    generation: u64,
}

/// A transaction that holds the fence, in its turn.
pub(super) struct Fenced<'a> {
    // Dropped in this order: the turn ends when the connection is free.
    transaction: Transaction<'static, Postgres>,
    _turn: MutexGuard<'a, ()>,
}

impl Fenced<'_> {
    pub async fn commit(self) -> Result<(), sqlx::Error> {
        self.transaction.commit().await
    }
}

impl Deref for Fenced<'_> {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.transaction
    }
}

impl DerefMut for Fenced<'_> {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.transaction
    }
}

/// A held site.
pub(super) struct Session {
    pub parts: Parts,
    pub site: Connection,
    pub lease: Lease,
    state: Mutex<SiteState>,
    tokens: Mutex<Tokens>,
    lost: AtomicBool,
    wanted: AtomicBool,
    /// The site is in trouble: nothing more is begun.
    tripped: AtomicBool,
    /// Settlements of a site lock its state's row, so they take turns: whoever waits here keeps no connection from others.
    turns: Mutex<()>,
    /// Uids are looked up by one step at a time: the others find them stored.
    pub mapping: Mutex<()>,
}

impl Session {
    pub fn new(parts: Parts, site: Connection, taken: Taken) -> Self {
        let state = SiteState {
            budget: Budget::restored(taken.budget, parts.clock.now()),
            failures: taken.failures,
            inventory_absent_since: taken.inventory_absent_since,
        };
        Self {
            parts,
            site,
            lease: taken.lease,
            state: Mutex::new(state),
            tokens: Mutex::default(),
            lost: AtomicBool::new(false),
            wanted: AtomicBool::new(false),
            tripped: AtomicBool::new(false),
            turns: Mutex::default(),
            mapping: Mutex::default(),
        }
    }

    /// Whether nothing more should be begun.
    pub fn is_over(&self) -> bool {
        [&self.lost, &self.wanted, &self.tripped].into_iter().any(|flag| flag.load(Ordering::Relaxed))
    }

    pub fn now(&self) -> OffsetDateTime {
        self.parts.clock.now()
    }

    /// A number between 0 and 1, so that many waits do not end at once. A test clock has no chance in it.
    pub fn jitter(&self) -> f64 {
        match self.parts.clock {
            Clock::Test(_) => 1.0,
            Clock::System => random_bytes::<2>().map_or(1.0, |bytes| f64::from(u16::from_le_bytes(bytes)) / 65_535.0),
        }
    }

    pub fn policy(&self) -> Policy {
        let settings = &self.site.settings;
        Policy {
            retry_base: settings.retry_base.0,
            retry_max: settings.retry_max.0,
            unclear: settings.unclear,
            server_error: settings.server_error,
            unclear_wait: settings.unclear_wait.0,
            receipt_poll: settings.receipt_poll.0,
            receipt_poll_max: settings.receipt_poll_max.0,
            receipt_give_up: settings.receipt_give_up.0,
        }
    }

    fn permitted(&self) -> Permitted {
        let settings = &self.site.settings;
        Permitted {
            per_endpoint: settings.rate_per_endpoint,
            per_site: settings.rate_per_site,
            window: settings.rate_window.0,
        }
    }

    fn limits(&self) -> Limits {
        let settings = &self.site.settings;
        Limits { timeout: settings.call_timeout.0, body_bytes: settings.max_response_bytes as usize }
    }

    /// Since when the site has not granted the inventory scopes, if that was found out a short while ago.
    pub async fn inventory_absent(&self) -> Option<OffsetDateTime> {
        let since = self.state.lock().await.inventory_absent_since;
        since.filter(|since| self.now() < *since + self.site.settings.inventory_recheck.0)
    }

    /// Notes whether the site grants the inventory scopes. Stored with the next settlement.
    pub async fn note_inventory(&self, granted: bool) {
        let now = self.now();
        let mut state = self.state.lock().await;
        let recheck = self.site.settings.inventory_recheck.0;
        let known = state.inventory_absent_since.filter(|since| now < *since + recheck);
        state.inventory_absent_since = if granted { None } else { known.or(Some(now)) };
    }

    /// Extends the lease, from beside the calls.
    pub async fn renew(&self) {
        let until = self.now() + self.parts.lease;
        match lease_store::renew(&self.parts.pool, self.lease, until).await {
            Ok(true) => {}
            Ok(false) => self.lost.store(true, Ordering::Relaxed),
            Err(error) => tracing::warn!(site = %self.site.name, %error, "a lease could not be renewed"),
        }
    }

    /// Opens a transaction that holds the fence. Settlements are made in it.
    pub async fn fenced(&self) -> Result<Fenced<'_>, Stop> {
        let turn = self.turns.lock().await;
        let mut transaction = self.parts.pool.begin().await?;
        let now = self.now();
        // Copied within the turn, so that what is stored last is the newest; the budget goes on being used meanwhile.
        let (budget, failures, inventory_absent_since) = {
            let state = self.state.lock().await;
            (
                serde_json::to_value(&state.budget).unwrap_or_default(),
                state.failures as i32,
                state.inventory_absent_since,
            )
        };
        let kept =
            lease_store::Kept { until: now + self.parts.lease, budget: &budget, failures, inventory_absent_since };
        match lease_store::keep(&mut transaction, self.lease, &kept, now).await? {
            Some(wanted) => self.wanted.fetch_or(wanted, Ordering::Relaxed),
            None => {
                self.lost.store(true, Ordering::Relaxed);
                return Err(Stop::Lost);
            }
        };
        Ok(Fenced { transaction, _turn: turn })
    }

    /// Gives the site back. `not_before`: nothing can be sent before, as far as the caller knows.
    pub async fn release(&self, not_before: Option<OffsetDateTime>) -> Result<(), sqlx::Error> {
        let state = self.state.lock().await;
        let budget = serde_json::to_value(&state.budget).unwrap_or_default();
        let kept = lease_store::Kept {
            until: self.now(),
            budget: &budget,
            failures: state.failures as i32,
            inventory_absent_since: state.inventory_absent_since,
        };
        let probe = self.tripped.load(Ordering::Relaxed).then(|| {
            let failures = state.failures.saturating_sub(self.site.settings.breaker_failures);
            self.now() + self.policy().backoff(failures, self.jitter())
        });
        lease_store::release(&self.parts.pool, self.lease, &kept, probe.max(not_before)).await
    }

    async fn reserve(&self, endpoint: Endpoint) -> Result<Ticket, Stop> {
        loop {
            let now = self.now();
            let free_at = match self.state.lock().await.budget.reserve(endpoint, now, self.permitted()) {
                Ok(ticket) => return Ok(ticket),
                Err(free_at) => free_at,
            };
            let wait = (free_at - now).unsigned_abs();
            if self.lost.load(Ordering::Relaxed) {
                return Err(Stop::Lost);
            }
            if wait > MAX_BUDGET_WAIT || self.is_over() {
                return Err(Stop::Later(free_at));
            }
            self.parts.clock.sleep(wait).await;
        }
    }

    async fn landed(&self, ticket: Ticket, outcome: &Outcome, headers: RateHeaders) {
        let (now, permitted) = (self.now(), self.permitted());
        let mut state = self.state.lock().await;
        match outcome {
            Outcome::NeverSent { .. } => state.budget.never_sent(ticket),
            Outcome::RateLimited { .. } => state.budget.limited(ticket, now, headers, permitted),
            _ => state.budget.answered(ticket, now, headers, permitted),
        }
        state.failures = if outcome.is_outage() { state.failures.saturating_add(1) } else { 0 };
        if state.failures >= self.site.settings.breaker_failures {
            self.tripped.store(true, Ordering::Relaxed);
        }
        metrics::counter!("spsi_ezyvet_calls_total", "endpoint" => ticket_name(ticket), "outcome" => outcome.name())
            .increment(1);
    }

    /// Makes a call for a delivery: begins an attempt, calls, and on a 401 refreshes the token and repeats, once. `due` is
    /// brought up to date with what is stored. The caller settles.
    pub async fn call(&self, due: &mut Due, purpose: Purpose, request: &Request) -> Result<Made, Stop> {
        self.token(None).await?;
        let made = self.attempt(Some((due, purpose)), request).await?;
        if !matches!(made.exchange.outcome, Outcome::Unauthorised { .. }) {
            return Ok(made);
        }
        match self.token(Some(made.generation)).await {
            Ok(_) => {}
            // The 401 stands, and is what is settled.
            Err(Stop::NoToken(_) | Stop::Later(_)) => return Ok(made),
            Err(stop) => return Err(stop),
        }
        if let Err(error) = self.finish(&made).await {
            tracing::warn!(delivery = %due.id, %error, "an attempt's end could not be written down");
        }
        // Where the repetition cannot be begun, the 401 stands too: it is certain that nothing was done.
        Ok(self.attempt(Some((due, purpose)), request).await.unwrap_or(made))
    }

    /// Makes a call for staff, without an attempt.
    pub async fn call_for_staff(&self, request: &Request) -> Result<Exchange, Stop> {
        self.token(None).await?;
        let made = self.attempt(None, request).await?;
        if !matches!(made.exchange.outcome, Outcome::Unauthorised { .. }) {
            return Ok(made.exchange);
        }
        self.token(Some(made.generation)).await?;
        Ok(self.attempt(None, request).await?.exchange)
    }

    async fn attempt(&self, delivery: Option<(&mut Due, Purpose)>, request: &Request) -> Result<Made, Stop> {
        let ticket = self.reserve(request.endpoint).await?;
        let attempt = match self.begin(delivery, request).await {
            Ok(attempt) => attempt,
            Err(stop) => {
                self.state.lock().await.budget.never_sent(ticket);
                return Err(stop);
            }
        };
        let Some((token, generation)) = self.newest_token().await else {
            self.state.lock().await.budget.never_sent(ticket);
            let why = "the site's token was lost or refused meanwhile".to_owned();
            let exchange = Exchange::without_answer(Outcome::NeverSent { why });
            return Ok(Made { exchange, attempt, generation: 0 });
        };
        let exchange = self.parts.client.call(&self.site.base_url, &token, request, self.limits()).await;
        self.landed(ticket, &exchange.outcome, exchange.rate).await;
        Ok(Made { exchange, attempt, generation })
    }

    async fn begin(&self, delivery: Option<(&mut Due, Purpose)>, request: &Request) -> Result<Option<i64>, Stop> {
        let now = self.now();
        let mut transaction = self.fenced().await?;
        let Some((due, purpose)) = delivery else {
            transaction.commit().await?;
            return Ok(None);
        };
        let sends = purpose == Purpose::Send;
        if sends && !store::begin_sending(&mut transaction, due, now).await? {
            return Err(Stop::Changed);
        }
        let text = request.as_curl(&self.site.base_url);
        let attempt = attempts::insert(&mut transaction, due.id, purpose.name(), &text, now).await?;
        if let Err(error) = transaction.commit().await {
            if sends && due.state != "sending" {
                self.take_back(due, attempt).await;
            }
            return Err(error.into());
        }
        if sends {
            due.state = "sending".into();
            due.attempts += 1;
        }
        Ok(Some(attempt))
    }

    /// The database went away just when a call was to be begun: whether that was written down or not, nothing was sent.
    /// Says so as soon as it can, for otherwise the next holder would have to take it for unclear.
    async fn take_back(&self, due: &Due, attempt: i64) {
        let until = self.now() + self.parts.lease;
        while self.now() < until {
            let taken_back = async {
                let mut transaction = self.fenced().await?;
                store::take_back(&mut transaction, due, attempt, self.now()).await?;
                Ok(transaction.commit().await?)
            };
            match taken_back.await {
                Ok(()) | Err(Stop::Lost) => return,
                Err(error) => {
                    tracing::warn!(delivery = %due.id, %error, "a call that was not made is still marked as begun")
                }
            }
            self.parts.clock.sleep(Duration::from_millis(500)).await;
        }
    }

    /// Writes down how a call ended, whoever holds the state by now: it is history.
    pub async fn finish(&self, made: &Made) -> Result<(), Stop> {
        let mut connection = self.parts.pool.acquire().await?;
        Ok(self.finish_in(&mut connection, made).await?)
    }

    /// [`Self::finish`], in the transaction of a settlement.
    pub async fn finish_in(&self, connection: &mut PgConnection, made: &Made) -> Result<(), sqlx::Error> {
        let Some(attempt) = made.attempt else { return Ok(()) };
        let response: String = made.exchange.body.chars().take(MAX_STORED_RESPONSE).collect();
        let detail = made.exchange.outcome.to_string();
        let ended = Ended {
            status: made.exchange.status,
            response: &response,
            outcome: made.exchange.outcome.name(),
            detail: &detail,
        };
        attempts::finish(connection, attempt, &ended, self.now()).await
    }

    async fn forget_token(&self) -> Result<(), Stop> {
        let mut transaction = self.fenced().await?;
        lease_store::forget_token(&mut transaction, self.lease.site).await?;
        Ok(transaction.commit().await?)
    }
}

fn ticket_name(ticket: Ticket) -> &'static str {
    ticket.endpoint().name()
}

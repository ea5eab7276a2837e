//! The delivery worker: leases sites with due deliveries and works through each within its rate budget.
//!
//! One holder per site; every site in a task of its own, so that a backlog at one site delays no other. A database
//! notification wakes the worker; polling covers a lost notification. If a worker is killed, others take its sites when
//! their leases end. On shutdown the worker begins nothing new, settles the calls in flight, and releases its sites.

use super::attempts;
use super::lease::{self, AcquiredLease};
use super::session::{Session, StopReason, WorkerContext};
use super::step::step;
use super::store::{self, ClassLimits, WorkClass};
use crate::clinics::sites::{self, SiteError};
use crate::clock::Clock;
use crate::config::{Settings, SiteSettings, WorkerSettings};
use crate::db::{Notifications, Pool};
use crate::events::Doorbell;
use crate::ezyvet::Client;
use crate::secret::KeyRing;
use crate::shutdown::Shutdown;
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::sync::Arc;
use std::time::{Duration, Instant};
use time::OffsetDateTime;
use tokio::task::JoinSet;

/// How often old attempts are deleted.
const PRUNE_INTERVAL: Duration = Duration::from_secs(3600);
/// Scanning for sites with due work costs time proportional to the backlog. Sleep `REST` times the scan's duration, at most
/// `LONGEST_REST`, so that scanning uses at most a fifth of a core.
const REST: u32 = 4;
const LONGEST_REST: Duration = Duration::from_millis(250);
/// The most sites that one worker delivers to at the same time. Further sites wait.
const MAX_SITES: usize = 2048;
/// The worker releases a site after this time even if more is due there, so that every site is served when more sites have
/// work than [`MAX_SITES`].
const MAX_LEASE_HOLD: Duration = Duration::from_secs(15);
/// How many sites `run_once` leases at a time.
const RUN_ONCE_SITES: usize = 16;

/// Why the worker could not start or continue.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    #[error("cannot create the HTTP client: {0}")]
    Client(#[from] crate::ezyvet::ClientError),
    #[error(transparent)]
    Site(#[from] SiteError),
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
}

/// The worker. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Worker {
    pub(super) context: WorkerContext,
    pub(super) defaults: SiteSettings,
    settings: Arc<WorkerSettings>,
}

/// Until when each [`WorkClass`] is closed, because its rate budget is used up or a step failed.
type ClosedClasses = [Option<OffsetDateTime>; 4];

impl Worker {
    /// Creates a worker. It makes no call before [`Worker::run`] or [`Worker::run_once`].
    pub fn new(pool: Pool, keys: KeyRing, clock: Clock, settings: &Settings) -> Result<Self, WorkerError> {
        let worker = Arc::new(settings.worker.clone());
        let client = Client::new(worker.connect_timeout.0)?;
        let doorbell = Doorbell::new(pool.clone());
        let context = WorkerContext { pool, client, keys, clock, lease: worker.lease.0, doorbell };
        Ok(Self { context, defaults: settings.site.clone(), settings: worker })
    }

    /// Works until the shutdown, then settles the calls in flight. Survives the loss of the database.
    pub async fn run(&self, shutdown: Shutdown) {
        let mut holders: JoinSet<()> = JoinSet::new();
        let new_deliveries = Notifications::listen(&self.context.pool, "spsi_delivery");
        let mut prune_at = self.context.clock.now();
        while !shutdown.has_begun() {
            if self.context.clock.now() >= prune_at {
                prune_at = self.context.clock.now() + PRUNE_INTERVAL;
                let worker = self.clone();
                holders.spawn(async move { worker.prune().await });
            }
            let began = Instant::now();
            let free = MAX_SITES.saturating_sub(holders.len());
            if free > 0 {
                match lease::acquire_due(&self.context.pool, self.context.clock.now(), self.context.lease, free).await {
                    Ok(acquired) => {
                        for acquired in acquired {
                            let (worker, shutdown) = (self.clone(), shutdown.clone());
                            holders.spawn(async move { worker.hold(acquired, shutdown).await });
                        }
                    }
                    Err(error) => tracing::warn!(%error, "cannot lease sites with due deliveries"),
                }
            }
            let rest = (began.elapsed() * REST).min(LONGEST_REST);
            metrics::gauge!("spsi_sites_leased").set(holders.len() as f64);
            tokio::select! {
                () = new_deliveries.arrived() => {}
                () = tokio::time::sleep(self.settings.worker_poll.0) => {}
                Some(_) = holders.join_next() => {}
                () = shutdown.begun() => {}
            }
            tokio::select! {
                () = tokio::time::sleep(rest) => {}
                () = shutdown.begun() => {}
            }
            while holders.try_join_next().is_some() {}
        }
        while holders.join_next().await.is_some() {}
    }

    /// Deletes the attempts of deliveries that are done, once they are older than `SPSI_ATTEMPTS_KEPT_FOR`.
    pub async fn prune(&self) {
        match attempts::prune(&self.context.pool, self.settings.attempts_kept_for, self.context.clock.now()).await {
            Ok(0) => {}
            Ok(deleted) => tracing::info!(deleted, "deleted old attempts"),
            Err(error) => tracing::warn!(%error, "cannot delete old attempts"),
        }
    }

    /// Works through a leased site, renews its lease meanwhile, and releases it.
    async fn hold(&self, acquired: AcquiredLease, shutdown: Shutdown) {
        let session = match self.open_session(acquired).await {
            Ok(session) => session,
            Err(error) => return tracing::error!(%error, "cannot serve a site"),
        };
        let renewals = async {
            loop {
                tokio::time::sleep(self.context.lease / 3).await;
                session.renew().await;
            }
        };
        let not_before = tokio::select! {
            not_before = self.work_through(&session, &shutdown) => not_before,
            () = renewals => None,
        };
        // If the database fails, the lease ends by itself.
        let lease_ends = session.now() + self.context.lease;
        while let Err(error) = session.release(not_before).await {
            tracing::warn!(site = %session.site.name, %error, "cannot release a site yet");
            if shutdown.has_begun() || session.now() >= lease_ends {
                break;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Opens a session on a leased site. If the site's credentials cannot be read, writes the reason to its deliveries and
    /// leaves the site alone until the lease ends.
    pub(super) async fn open_session(&self, acquired: AcquiredLease) -> Result<Session, SiteError> {
        let (pool, id) = (&self.context.pool, acquired.site);
        match sites::connection(pool, &self.context.keys, &self.defaults, id).await {
            Ok(site) => Ok(Session::new(self.context.clone(), site, acquired)),
            Err(error) => {
                store::explain_site(pool, id, &error.to_string(), self.context.clock.now()).await?;
                Err(error)
            }
        }
    }

    /// Works through a site, several steps at once, until nothing is due, the hold ends, or the budget is used up. Returns
    /// before when nothing can be sent.
    async fn work_through(&self, session: &Session, shutdown: &Shutdown) -> Option<OffsetDateTime> {
        let (pool, until) = (&self.context.pool, session.now() + MAX_LEASE_HOLD);
        let calls_at_once = i64::from(session.site.settings.calls_at_once);
        let mut closed: ClosedClasses = [None; 4];
        let (mut running, mut finished) = (FuturesUnordered::new(), Vec::new());
        let mut in_progress: Vec<(i64, WorkClass)> = Vec::new();
        session.probe_if_in_trouble().await;
        loop {
            let now = session.now();
            if !session.is_over() && !shutdown.has_begun() && now < until {
                let mut limits: ClassLimits = [calls_at_once, calls_at_once, 1, 1];
                for (class, limit) in limits.iter_mut().enumerate() {
                    *limit -= in_progress.iter().filter(|(_, other)| *other as usize == class).count() as i64;
                    if closed[class].is_some_and(|until| now < until) {
                        *limit = 0;
                    }
                }
                // Running steps go on meanwhile: they hold connections that this query may wait for.
                let found = {
                    let mut finding = std::pin::pin!(store::find_due(pool, session.site.id, now, limits, &in_progress));
                    loop {
                        tokio::select! {
                            found = &mut finding => break found,
                            Some(done) = running.next(), if !running.is_empty() => finished.push(done),
                        }
                    }
                };
                let due = found.unwrap_or_else(|error| {
                    tracing::warn!(site = %session.site.name, %error, "cannot read due deliveries");
                    Vec::new()
                });
                for due in due {
                    let (id, class) = (due.id.0, due.class());
                    in_progress.push((id, class));
                    running.push(async move { (id, class, step(session, due).await) });
                }
            }
            if finished.is_empty() {
                match tokio::time::timeout(self.settings.worker_poll.0, running.next()).await {
                    Ok(Some(done)) => finished.push(done),
                    Ok(None) => break,
                    Err(_) => {}
                }
            }
            for (id, class, result) in finished.drain(..) {
                in_progress.retain(|(other, _)| *other != id);
                if let Some(until) = closed_until(session, result) {
                    closed[class as usize] = Some(until);
                }
            }
        }
        closed.iter().flatten().min().copied().filter(|at| *at > session.now())
    }

    /// Leases every free site and takes the deliveries that are due as far as possible, one step after the other. Returns
    /// the number of steps. Waits for the rate budget by the clock; a test clock jumps.
    pub async fn run_once(&self) -> Result<u64, WorkerError> {
        let start = self.context.clock.now();
        let mut steps = 0;
        loop {
            let (pool, now) = (&self.context.pool, self.context.clock.now());
            let steps_before = steps;
            for acquired in lease::acquire_due(pool, now, self.context.lease, RUN_ONCE_SITES).await? {
                let session = match self.open_session(acquired).await {
                    Ok(session) => session,
                    Err(error) => {
                        tracing::error!(%error, "cannot serve a site");
                        continue;
                    }
                };
                let (done, not_before) = self.run_through(&session, start).await?;
                session.release(not_before).await?;
                steps += done;
            }
            if steps == steps_before {
                return Ok(steps);
            }
        }
    }

    async fn run_through(
        &self,
        session: &Session,
        start: OffsetDateTime,
    ) -> Result<(u64, Option<OffsetDateTime>), WorkerError> {
        let mut closed: ClosedClasses = [None; 4];
        let mut steps = 0;
        session.probe_if_in_trouble().await;
        loop {
            let limits = closed.map(|until| i64::from(until.is_none()));
            let due = store::find_due(&self.context.pool, session.site.id, start, limits, &[]).await?;
            if due.is_empty() || session.is_over() {
                return Ok((steps, closed.into_iter().flatten().min()));
            }
            for due in due {
                let class = due.class();
                steps += 1;
                closed[class as usize] = closed_until(session, step(session, due).await);
                if session.is_over() {
                    break;
                }
            }
        }
    }
}

/// Logs why a step stopped. Returns until when its class is closed.
fn closed_until(session: &Session, result: Result<(), StopReason>) -> Option<OffsetDateTime> {
    match result {
        Ok(()) | Err(StopReason::DeliveryChanged) => None,
        Err(StopReason::RateLimited(until)) => Some(until),
        Err(reason) => {
            tracing::warn!(site = %session.site.name, error = %reason, "a step stopped");
            // Trying again at once would fail again.
            Some(session.now() + Duration::from_secs(1))
        }
    }
}

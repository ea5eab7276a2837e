//! The delivery worker: takes sites that have something due, and works each through while its budget allows.
//!
//! One holder per site, many sites at once, each in a task of its own: a site with a backlog does not delay another. A new
//! delivery wakes the worker by notification, and a poll stands behind it. Killed anywhere, its sites are taken over when
//! their leases end. On shutdown nothing new is begun, what is in flight is settled, and the sites are given back.

use super::attempts;
use super::lease::{self, Taken};
use super::session::{Parts, Session, Stop};
use super::step::step;
use super::store::{self, Due, Wanted};
use crate::clinics::sites::{self, SiteError};
use crate::clock::Clock;
use crate::config::{Settings, SiteSettings, WorkerSettings};
use crate::ezyvet::Client;
use crate::secret::KeyRing;
use crate::shutdown::Shutdown;
use futures_util::stream::{FuturesUnordered, StreamExt};
use sqlx::PgPool;
use sqlx::postgres::PgListener;
use std::sync::Arc;
use std::time::{Duration, Instant};
use time::OffsetDateTime;
use tokio::task::JoinSet;

/// How often it is seen whether attempts are old enough to go.
const PRUNE_EVERY: Duration = Duration::from_secs(3600);
/// A look for sites that have work goes over all that have, so it is followed by a rest of so many times as long, but not
/// longer than the longest: what ends or comes meanwhile is served by one look.
const REST: u32 = 4;
const LONGEST_REST: Duration = Duration::from_millis(250);
/// The worker releases a site after this time even if more is due there, so that every site gets its turn when more sites
/// have work than `SPSI_WORKER_SITES`.
const MAX_LEASE_HOLD: Duration = Duration::from_secs(15);
/// How long an idle connection to a site stays open for the next call that reads.
const IDLE_CONNECTION: Duration = Duration::from_secs(10);

/// Why the worker, or staff in its place, could not go on.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    #[error("the HTTP client could not be made: {0}")]
    Client(#[from] crate::ezyvet::ClientError),
    #[error(transparent)]
    Site(#[from] SiteError),
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
}

/// The worker. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Worker {
    pub(super) parts: Parts,
    pub(super) defaults: SiteSettings,
    settings: Arc<WorkerSettings>,
}

/// How a hold of a site ended.
#[derive(Debug, Default)]
struct Held {
    steps: u64,
    /// Everything that is left waits for the budget until then.
    not_before: Option<OffsetDateTime>,
}

impl Worker {
    /// A worker that calls nobody yet.
    pub fn new(pool: PgPool, keys: KeyRing, clock: Clock, settings: &Settings) -> Result<Self, WorkerError> {
        let worker = Arc::new(settings.worker.clone());
        let client = Client::new(worker.connect_timeout.0, IDLE_CONNECTION)?;
        let parts = Parts { pool, client, keys, clock, lease: worker.lease.0 };
        Ok(Self { parts, defaults: settings.site.clone(), settings: worker })
    }

    /// Works until the shutdown, then settles what is in flight. Survives the loss of the database.
    pub async fn run(&self, stop: Shutdown) {
        let mut holders: JoinSet<()> = JoinSet::new();
        let (mut listener, mut prune_at) = (None, self.parts.clock.now());
        while !stop.has_begun() {
            if self.parts.clock.now() >= prune_at {
                prune_at = self.parts.clock.now() + PRUNE_EVERY;
                let worker = self.clone();
                holders.spawn(async move { worker.prune().await });
            }
            if listener.is_none() {
                listener = self.listen().await;
            }
            let began = Instant::now();
            let free = self.settings.worker_sites.saturating_sub(holders.len());
            if free > 0 {
                match lease::take_due(&self.parts.pool, self.parts.clock.now(), self.parts.lease, free).await {
                    Ok(taken) => {
                        for taken in taken {
                            let (worker, stop) = (self.clone(), stop.clone());
                            holders.spawn(async move { worker.hold_and_renew(taken, stop).await });
                        }
                    }
                    Err(error) => tracing::warn!(%error, "sites with due deliveries could not be taken"),
                }
            }
            let rest = (began.elapsed() * REST).min(LONGEST_REST);
            metrics::gauge!("spsi_sites_leased").set(holders.len() as f64);
            tokio::select! {
                () = wait(&mut listener) => {}
                () = tokio::time::sleep(self.settings.worker_poll.0) => {}
                Some(_) = holders.join_next() => {}
                () = stop.begun() => {}
            }
            tokio::select! {
                () = tokio::time::sleep(rest) => {}
                () = stop.begun() => {}
            }
            while holders.try_join_next().is_some() {}
        }
        while holders.join_next().await.is_some() {}
    }

    /// Deletes the attempts of deliveries that are done, where they are older than they are kept.
    pub async fn prune(&self) {
        match attempts::prune(&self.parts.pool, self.settings.attempts_kept_for, self.parts.clock.now()).await {
            Ok(0) => {}
            Ok(deleted) => tracing::info!(deleted, "old attempts were deleted"),
            Err(error) => tracing::warn!(%error, "old attempts could not be deleted"),
        }
    }

    async fn listen(&self) -> Option<PgListener> {
        let listening = crate::db::listen(&self.parts.pool, "spsi_delivery").await;
        listening.inspect_err(|error| tracing::warn!(%error, "not notified of new deliveries; polling")).ok().flatten()
    }

    async fn hold_and_renew(&self, taken: Taken, stop: Shutdown) {
        let session = match self.session(taken).await {
            Ok(session) => session,
            Err(error) => return tracing::error!(%error, "a site cannot be served"),
        };
        let renewals = async {
            loop {
                tokio::time::sleep(self.parts.lease / 3).await;
                session.renew().await;
            }
        };
        let held = tokio::select! {
            held = self.hold(&session, &stop) => held,
            () = renewals => Held::default(),
        };
        // While the database is away there is time until the lease ends by itself.
        let lease_ends = session.now() + self.parts.lease;
        while let Err(error) = session.release(held.not_before).await {
            tracing::warn!(site = %session.site.name, %error, "a site could not be given back yet");
            if stop.has_begun() || session.now() >= lease_ends {
                break;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// The session of a lane that was taken. Where the site's credentials cannot be read, its deliveries say so, and it is
    /// left alone until its lease ends.
    pub(super) async fn session(&self, taken: Taken) -> Result<Session, SiteError> {
        let (pool, id) = (&self.parts.pool, taken.lease.site);
        match sites::connection(pool, &self.parts.keys, &self.defaults, id).await {
            Ok(site) => Ok(Session::new(self.parts.clone(), site, taken)),
            Err(error) => {
                store::explain_site(pool, id, &error.to_string(), self.parts.clock.now()).await?;
                Err(error)
            }
        }
    }

    /// Works a site through, several steps at once, until nothing is due, its time is up, or the budget is spent.
    async fn hold(&self, session: &Session, stop: &Shutdown) -> Held {
        let until = session.now() + MAX_LEASE_HOLD;
        let at_once = i64::from(session.site.settings.calls_at_once);
        let mut held = Held::default();
        let mut closed: [Option<OffsetDateTime>; 3] = [None; 3];
        let (mut running, mut finished) = (FuturesUnordered::new(), Vec::new());
        let mut busy: Vec<(i64, usize)> = Vec::new();
        loop {
            let now = session.now();
            let over = session.is_over() || stop.has_begun() || now >= until;
            if !over {
                let mut wanted = [at_once, at_once, 1];
                for (class, room) in wanted.iter_mut().enumerate() {
                    *room -= busy.iter().filter(|(_, other)| *other == class).count() as i64;
                    if closed[class].is_some_and(|until| now < until) {
                        *room = 0;
                    }
                }
                // What runs goes on meanwhile: it holds connections that this look may have to wait for.
                let found = {
                    let mut finding = std::pin::pin!(self.find_due(session, now, wanted, &busy));
                    loop {
                        tokio::select! {
                            found = &mut finding => break found,
                            Some(done) = running.next(), if !running.is_empty() => finished.push(done),
                        }
                    }
                };
                let due = match found {
                    Ok(due) => due,
                    Err(error) => {
                        tracing::warn!(site = %session.site.name, %error, "due deliveries could not be read");
                        Vec::new()
                    }
                };
                for due in due {
                    let (id, class) = (due.id.0, class_of(&due));
                    busy.push((id, class));
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
                busy.retain(|(other, _)| *other != id);
                held.steps += 1;
                if let Some(until) = report(session, result) {
                    closed[class] = Some(until);
                }
            }
        }
        let open = closed.iter().flatten().min().copied();
        held.not_before = open.filter(|at| *at > session.now());
        held
    }

    async fn find_due(
        &self,
        session: &Session,
        now: OffsetDateTime,
        wanted: Wanted,
        busy: &[(i64, usize)],
    ) -> Result<Vec<Due>, sqlx::Error> {
        let busy: Vec<i64> = busy.iter().map(|(id, _)| *id).collect();
        let mut connection = self.parts.pool.acquire().await?;
        store::find_due(&mut connection, session.site.id, now, wanted, &busy).await
    }

    /// Takes every site that nobody holds and works through, one step after the other, what was due when it began and
    /// what that released. Gives the number of steps. Waits for the budget by the clock, which a test clock jumps.
    pub async fn run_once(&self) -> Result<u64, WorkerError> {
        let start = self.parts.clock.now();
        let mut steps = 0;
        loop {
            let taken = lease::take_due(&self.parts.pool, self.parts.clock.now(), self.parts.lease, 16).await?;
            let mut progress = 0;
            for taken in taken {
                let session = match self.session(taken).await {
                    Ok(session) => session,
                    Err(error) => {
                        tracing::error!(%error, "a site cannot be served");
                        continue;
                    }
                };
                let (done, not_before) = self.run_through(&session, start).await?;
                session.release(not_before).await?;
                progress += done;
            }
            if progress == 0 {
                return Ok(steps);
            }
            steps += progress;
        }
    }

    async fn run_through(
        &self,
        session: &Session,
        start: OffsetDateTime,
    ) -> Result<(u64, Option<OffsetDateTime>), WorkerError> {
        let (mut steps, mut closed) = (0, [None; 3]);
        loop {
            let wanted = closed.map(|until: Option<OffsetDateTime>| i64::from(until.is_none()));
            let due = self.find_due(session, start, wanted, &[]).await?;
            if due.is_empty() || session.is_over() {
                return Ok((steps, closed.into_iter().flatten().min()));
            }
            for due in due {
                let class = class_of(&due);
                steps += 1;
                closed[class] = report(session, step(session, due).await);
                if session.is_over() {
                    break;
                }
            }
        }
    }
}

fn class_of(due: &Due) -> usize {
    match (due.state.as_str(), due.kind()) {
        ("delivered", _) => 2,
        (_, super::policy::Kind::Supplied) => 1,
        _ => 0,
    }
}

/// Logs what stopped a step. Gives until when its class is closed.
fn report(session: &Session, result: Result<(), Stop>) -> Option<OffsetDateTime> {
    match result {
        Ok(()) | Err(Stop::Changed) => None,
        Err(Stop::Later(until)) => Some(until),
        Err(stop) => {
            tracing::warn!(site = %session.site.name, error = %stop, "a delivery could not go on");
            // Whatever it is, it is not mended by trying again at once.
            Some(session.now() + Duration::from_secs(1))
        }
    }
}

async fn wait(listener: &mut Option<PgListener>) {
    let Some(listening) = listener else { return std::future::pending().await };
    match listening.recv().await {
        // One look serves all that came together.
        Ok(_) => while listening.next_buffered().is_some() {},
        Err(_) => *listener = None,
    }
}

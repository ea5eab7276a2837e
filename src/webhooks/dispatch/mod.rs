//! The dispatcher: sends messages to endpoints.
//!
//! Guarantee: at least once. A message is claimed with a lease before its call and settled after it, fenced by the lease; no
//! transaction is open during the call. If a process dies, its messages are due again when their leases end. Receivers
//! recognise a repeated message by `webhook-id`.
//!
//! Order: of one subject, an endpoint gets the next message only after the one before is delivered or given up. Other
//! subjects do not wait. An endpoint that fails gets one call at a time, and calls that hang count against a limit of their own
//! ([`in_flight`]), so that neither delays the other endpoints.
//!
//! A notification wakes the dispatcher; polling covers a lost one.

mod in_flight;
mod settle;
mod store;

use super::attempts::NewAttempt;
use super::call::{Message, call};
use super::client::{Client, ClientError};
use super::{attempts, fan_out};
use crate::clock::Clock;
use crate::config::{Settings, WebhookSettings};
use crate::db::{Notifications, Pool};
use crate::events;
use crate::secret::KeyRing;
use crate::shutdown::Shutdown;
use in_flight::{CallClass, InFlight};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{Claim, Claimed};
use tokio::task::{JoinError, JoinSet};

/// The most concurrent calls to one webhook. A webhook that fails gets one call at a time.
const CALLS_PER_ENDPOINT: i64 = 4;
/// A lease lasts as long as a call may, and this much longer for the settlement.
const LEASE_MARGIN: Duration = Duration::from_secs(30);
/// The dispatcher rests as long as its last pass took, at most this time: calls that end meanwhile are settled together.
const LONGEST_REST: Duration = Duration::from_millis(20);
const PRUNE_INTERVAL: Duration = Duration::from_secs(3600);
/// How long a shutdown waits for the calls in flight.
const MAX_DRAIN: Duration = Duration::from_secs(5);
/// How long to wait before a settlement is tried again while the database fails.
const SETTLE_RETRY: Duration = Duration::from_millis(500);

/// Why a dispatcher could not start.
#[derive(Debug, thiserror::Error)]
pub enum DispatchError {
    #[error("cannot create the HTTP client of webhooks: {0}")]
    Client(#[from] ClientError),
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
}

/// Sends messages. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Dispatcher {
    pool: Pool,
    client: Client,
    keys: KeyRing,
    clock: Clock,
    settings: Arc<WebhookSettings>,
    poll: Duration,
}

/// A call that ended.
#[derive(Debug)]
struct Sent {
    lease: i64,
    attempt: NewAttempt,
}

/// The calls of a run of the dispatcher.
struct Calls {
    running: JoinSet<Sent>,
    in_flight: InFlight,
    /// Calls that ended and are not settled yet.
    ended: Vec<Sent>,
    /// The endpoint behind which the next claim of each class continues.
    cursors: [i64; 2],
}

impl Calls {
    fn new(settings: &WebhookSettings) -> Self {
        let in_flight = InFlight::new(settings.webhook_calls, settings.webhook_slow_calls);
        Self { running: JoinSet::new(), in_flight, ended: Vec::new(), cursors: [0; 2] }
    }

    /// Takes over a call that ended. A call that panicked is sent again after its lease.
    fn collect(&mut self, sent: Result<Sent, JoinError>) {
        match sent {
            Ok(sent) => {
                self.in_flight.end(sent.lease);
                self.ended.push(sent);
            }
            Err(error) => tracing::error!(%error, "a call to a webhook panicked"),
        }
    }
}

impl Dispatcher {
    /// Creates a dispatcher. It makes no call before [`Dispatcher::run`] or [`Dispatcher::run_once`].
    pub fn new(pool: Pool, keys: KeyRing, clock: Clock, settings: &Settings) -> Result<Self, DispatchError> {
        let client = Client::new(settings.webhooks.webhook_allow_private)?;
        let poll = settings.worker.worker_poll.0;
        Ok(Self { pool, client, keys, clock, settings: Arc::new(settings.webhooks.clone()), poll })
    }

    /// Sends until the shutdown, then settles the calls in flight. Survives the loss of the database.
    pub async fn run(&self, shutdown: Shutdown) {
        let mut calls = Calls::new(&self.settings);
        let new_events = Notifications::listen(&self.pool, events::CHANNEL);
        let mut prune_at = self.clock.now();
        while !shutdown.has_begun() {
            if self.clock.now() >= prune_at {
                prune_at = self.clock.now() + PRUNE_INTERVAL;
                let dispatcher = self.clone();
                tokio::spawn(async move { dispatcher.prune().await });
            }
            let began = Instant::now();
            let is_behind = match self.pass(&mut calls).await {
                Ok(is_behind) => is_behind,
                Err(error) => {
                    tracing::warn!(%error, "cannot send webhooks");
                    tokio::time::sleep(SETTLE_RETRY).await;
                    false
                }
            };
            let rest = began.elapsed().min(LONGEST_REST);
            metrics::gauge!("spsi_webhook_calls_in_flight").set(calls.running.len() as f64);
            if !is_behind {
                let wait = calls.in_flight.next_release(Instant::now()).unwrap_or(self.poll).min(self.poll);
                tokio::select! {
                    () = new_events.arrived() => {}
                    () = tokio::time::sleep(wait) => {}
                    Some(sent) = calls.running.join_next() => calls.collect(sent),
                    () = shutdown.begun() => break,
                }
            }
            tokio::select! {
                () = tokio::time::sleep(rest) => {}
                () = shutdown.begun() => {}
            }
        }
        // Calls that do not end in time are cut off; their messages are sent again after their leases.
        let drain = async {
            while let Some(sent) = calls.running.join_next().await {
                calls.collect(sent);
            }
        };
        let _ = tokio::time::timeout(MAX_DRAIN, drain).await;
        if let Err(error) = self.settle(&mut calls.ended).await {
            tracing::warn!(%error, "cannot store the outcome of webhooks; they are sent again");
        }
    }

    /// Sends everything that is due now, and settles it. Returns the number of calls.
    pub async fn run_once(&self) -> Result<usize, DispatchError> {
        let (mut calls, mut sent) = (Calls::new(&self.settings), 0);
        loop {
            let is_behind = self.pass(&mut calls).await?;
            if calls.running.is_empty() && !is_behind {
                return Ok(sent);
            }
            while let Some(ended) = calls.running.join_next().await {
                sent += 1;
                calls.collect(ended);
            }
            self.settle(&mut calls.ended).await?;
        }
    }

    /// Settles what has ended, makes messages of new events, and begins the calls that are due. Returns whether more is to be
    /// done at once.
    async fn pass(&self, calls: &mut Calls) -> Result<bool, sqlx::Error> {
        while let Some(sent) = calls.running.try_join_next() {
            calls.collect(sent);
        }
        self.settle(&mut calls.ended).await?;
        let is_behind = fan_out::fan_out(&self.pool, self.clock.now()).await?;
        self.claim(CallClass::Fast, calls).await?;
        self.claim(CallClass::Slow, calls).await?;
        Ok(is_behind)
    }

    /// Claims the due messages of a class and begins their calls, going round the endpoints once, until the class is full.
    async fn claim(&self, class: CallClass, calls: &mut Calls) -> Result<(), sqlx::Error> {
        let Calls { running, in_flight, cursors, .. } = calls;
        let cursor = &mut cursors[class as usize];
        let mut rounds_left = if *cursor == 0 { 1 } else { 2 };
        loop {
            let free = in_flight.free(class, Instant::now());
            if free == 0 {
                return Ok(());
            }
            let now = self.clock.now();
            let claim = Claim {
                after: *cursor,
                busy: in_flight.by_endpoint(Instant::now()),
                per_endpoint: CALLS_PER_ENDPOINT,
                is_slow: class == CallClass::Slow,
                limit: free as i64,
                lease_until: now + self.settings.webhook_timeout.0 + LEASE_MARGIN,
            };
            let mut transaction = self.pool.begin().await?;
            fan_out::store::commit_without_flush(&mut transaction).await?;
            let (claimed, last_visited) = store::claim(&mut transaction, &claim, now).await?;
            transaction.commit().await?;
            let is_full = claimed.len() >= free;
            *cursor = match (last_visited, claimed.last()) {
                (_, Some(last)) if is_full => last.target.endpoint,
                (Some(last), _) => last,
                (None, _) => {
                    rounds_left -= 1;
                    0
                }
            };
            for claimed in claimed {
                in_flight.begin(claimed.lease, claimed.target.endpoint, class, Instant::now());
                let dispatcher = self.clone();
                running.spawn(async move { dispatcher.send(claimed).await });
            }
            if is_full || rounds_left == 0 {
                return Ok(());
            }
        }
    }

    async fn send(&self, claimed: Claimed) -> Sent {
        let Claimed { target, event, attempts, lease } = claimed;
        let id = event.id;
        let message = Message {
            id: id.to_string(),
            event: Some(id),
            event_type: event.kind.clone(),
            // Serialising texts and JSON cannot fail.
            body: serde_json::to_string(&event).unwrap_or_default(),
            attempt: attempts + 1,
        };
        let (now, deadline) = (self.clock.now(), self.settings.webhook_timeout.0);
        let attempt = call(&self.client, &self.keys, &target, message, now, deadline).await;
        let outcome = attempt.outcome.name();
        metrics::counter!("spsi_webhook_attempts_total", "outcome" => outcome).increment(1);
        let age = (self.clock.now() - event.created_at).as_seconds_f64();
        if attempt.outcome == super::policy::Outcome::Delivered && attempts == 0 {
            metrics::histogram!("spsi_webhook_delivery_delay_seconds").record(age.max(0.0));
        }
        Sent { lease, attempt }
    }

    async fn settle(&self, ended: &mut Vec<Sent>) -> Result<(), sqlx::Error> {
        if !ended.is_empty() {
            settle::settle(&self.pool, &self.settings, self.clock.now(), ended).await?;
            ended.clear();
        }
        Ok(())
    }

    async fn prune(&self) {
        let (pool, now, settings) = (&self.pool, self.clock.now(), &self.settings);
        match events::prune(pool, settings.events_kept_for, now).await {
            Ok(0) => {}
            Ok(deleted) => tracing::info!(deleted, "deleted old events"),
            Err(error) => tracing::warn!(%error, "cannot delete old events"),
        }
        match attempts::prune(pool, settings.webhook_attempts_kept_for, now).await {
            Ok(0) => {}
            Ok(deleted) => tracing::info!(deleted, "deleted old attempts of webhooks"),
            Err(error) => tracing::warn!(%error, "cannot delete old attempts of webhooks"),
        }
    }
}

/// Calls under way by endpoint.
type Busy = HashMap<i64, i64>;

//! The order hook: the supplier's system decides about an order while ezyVet waits (`rule_ask=hook`).
//!
//! The request is signed like a webhook (Standard Webhooks) and holds no transaction or lock. Every order gets a decision
//! within `SPSI_ORDER_HOOK_TIMEOUT`: if the call fails, is slow, or its answer is not valid, `SPSI_ORDER_HOOK_DEFAULT`
//! applies. After failures in a row, [`breaker`] spares orders the wait.
//!
//! An order that is stored is never asked about again. Copies of an order that arrive at one process at the same time are
//! asked about once. A request is repeated, with the same `webhook-id`, if the process ended before the order was stored, or
//! if copies arrived at two processes at the same time: receivers that act on a request must recognise its id.

mod answer;
mod breaker;
mod request;

pub use answer::{Consulted, HookFailure};

use super::read::OrderRequest;
use crate::clinics::cache::CachedClinic;
use crate::config::{HookDecision, OrderHookSettings};
use crate::ids::ClinicId;
use crate::webhooks::address::{BadUrl, check_url};
use crate::webhooks::client::{Client, Failure};
use crate::webhooks::signature::{self, BadSecret, SigningSecret};
use breaker::Breaker;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use time::OffsetDateTime;
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;

/// Why the order hook cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum HookSetupError {
    #[error("SPSI_ORDER_HOOK_URL {0}")]
    Url(#[from] BadUrl),
    #[error("SPSI_ORDER_HOOK_URL is set without SPSI_ORDER_HOOK_SECRET; set both")]
    NoSecret,
    #[error("SPSI_ORDER_HOOK_SECRET: {0}")]
    Secret(#[from] BadSecret),
}

/// The order hook of the deployment. Cheap to clone; clones share the breaker.
#[derive(Clone)]
pub struct OrderHook {
    /// `None`: SPSI_ORDER_HOOK_URL is not set, and the default decides.
    target: Option<Arc<Target>>,
    default: HookDecision,
    /// The locks of the orders that are being decided.
    orders: Arc<Mutex<OrderLocks>>,
}

/// The lock of each order, by clinic and ezyVet's id, while somebody holds it or waits for it.
type OrderLocks = HashMap<(ClinicId, String), Weak<tokio::sync::Mutex<()>>>;

/// The supplier's system.
struct Target {
    client: Client,
    url: String,
    secret: SigningSecret,
    timeout: Duration,
    breaker: Mutex<Breaker>,
}

impl OrderHook {
    /// Creates the hook from its settings. `allow_private` permits `http://` and private addresses.
    pub fn new(settings: &OrderHookSettings, client: Client, allow_private: bool) -> Result<Self, HookSetupError> {
        let target = match &settings.order_hook_url {
            None => None,
            Some(url) => {
                let secret = settings.order_hook_secret.as_ref().ok_or(HookSetupError::NoSecret)?;
                let breaker = Breaker::new(settings.order_hook_failures, settings.order_hook_pause.0);
                Some(Arc::new(Target {
                    client,
                    url: check_url(url, allow_private)?.into(),
                    secret: secret.expose().parse()?,
                    timeout: settings.order_hook_timeout.0,
                    breaker: Mutex::new(breaker),
                }))
            }
        };
        Ok(Self { target, default: settings.order_hook_default, orders: Arc::default() })
    }

    /// Creates a hook without a target: the default `ask` decides about every order.
    pub fn disabled() -> Self {
        Self { target: None, default: HookDecision::Ask, orders: Arc::default() }
    }

    /// Waits until no copy of the order is being decided in this process. The copies wait while the guard is held.
    pub(super) async fn lock_order(&self, clinic: ClinicId, ezyvet_id: &str) -> OwnedMutexGuard<()> {
        let order = {
            let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
            orders.retain(|_, order| order.strong_count() > 0);
            let entry = orders.entry((clinic, ezyvet_id.to_owned())).or_default();
            entry.upgrade().unwrap_or_else(|| {
                let order = Arc::default();
                *entry = Arc::downgrade(&order);
                order
            })
        };
        order.lock_owned().await
    }

    /// Asks the supplier's system about an order. Ends within the timeout, and never fails.
    pub(super) async fn consult(&self, now: OffsetDateTime, clinic: &CachedClinic, order: &OrderRequest) -> Consulted {
        let answer = match &self.target {
            None => Err(HookFailure::NotConfigured),
            Some(target) => target.consult(now, clinic, order).await,
        };
        let outcome = answer.as_ref().map_or_else(HookFailure::as_str, |answer| answer.decision.as_str());
        metrics::counter!("spsi_order_hook_calls_total", "outcome" => outcome).increment(1);
        answer.unwrap_or_else(|failure| {
            tracing::warn!(order = order.ezyvet_id, clinic = clinic.row.name, %failure, default = %self.default,
                "the order hook gave no valid answer");
            Consulted::without_answer(&failure, self.default)
        })
    }
}

impl Target {
    async fn consult(
        &self,
        now: OffsetDateTime,
        clinic: &CachedClinic,
        order: &OrderRequest,
    ) -> Result<Consulted, HookFailure> {
        let began = Instant::now();
        if !self.breaker().permit(began) {
            return Err(HookFailure::BreakerOpen);
        }
        let answer = self.call(now, clinic, order).await;
        metrics::histogram!("spsi_order_hook_duration_seconds").record(began.elapsed().as_secs_f64());
        let changed = self.breaker().settle(answer.is_ok(), Instant::now());
        if let Some(is_open) = changed {
            tracing::warn!(is_open, "the circuit breaker of the order hook changed its state");
            metrics::gauge!("spsi_order_hook_breaker_open").set(if is_open { 1.0 } else { 0.0 });
        }
        answer
    }

    async fn call(
        &self,
        now: OffsetDateTime,
        clinic: &CachedClinic,
        order: &OrderRequest,
    ) -> Result<Consulted, HookFailure> {
        let (id, body) = request::order_decide(now, clinic, order);
        let timestamp = now.unix_timestamp();
        let signature = self.secret.sign(&id, timestamp, body.as_bytes());
        let headers =
            [(signature::ID, id), (signature::TIMESTAMP, timestamp.to_string()), (signature::SIGNATURE, signature)];
        match self.client.post(&self.url, &headers, body, self.timeout).await {
            Ok(response) => answer::parse(response.status, response.body.as_bytes(), order),
            Err(Failure::Timeout(_)) => Err(HookFailure::Timeout),
            Err(failure) => Err(HookFailure::Call(failure.to_string())),
        }
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Calls to a leased site. Each call for a delivery is an attempt, begun in the database before it leaves.

use super::{Session, StopReason};
use crate::delivery::attempts::store::{self as attempts, AttemptResult};
use crate::delivery::store::{self, DueDelivery};
use crate::ezyvet::{Exchange, Outcome, Request};
use sqlx::PgExecutor;
use std::time::Duration;

/// Maximum number of characters of ezyVet's answer that an attempt stores.
const MAX_STORED_ANSWER: usize = 4000;

/// Why a call is made, as `delivery_attempt.purpose` spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::delivery) enum Purpose {
    Send,
    FindInvoice,
    CheckApproval,
    MapIds,
}

impl Purpose {
    const fn name(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::FindInvoice => "look",
            Self::CheckApproval => "receipt",
            Self::MapIds => "map",
        }
    }
}

/// A call that was made and is not settled yet.
pub(in crate::delivery) struct CallResult {
    pub exchange: Exchange,
    /// `None`: the call was not made for a delivery.
    attempt: Option<i64>,
    /// Generation of the token that the call was made with.
    token_generation: u64,
}

impl Session {
    /// Makes a call for a delivery and records it as an attempt. Refreshes the token on a 401 and repeats the call, once.
    /// `due` is updated to the stored row. The caller settles.
    pub async fn call(
        &self,
        due: &mut DueDelivery,
        purpose: Purpose,
        request: &Request,
    ) -> Result<CallResult, StopReason> {
        self.token(None).await?;
        let result = self.attempt(Some((due, purpose)), request).await?;
        if !matches!(result.exchange.outcome, Outcome::Unauthorised { .. }) {
            return Ok(result);
        }
        match self.token(Some(result.token_generation)).await {
            Ok(_) => {}
            // The caller settles the 401.
            Err(StopReason::NoToken(_) | StopReason::RateLimited(_)) => return Ok(result),
            Err(reason) => return Err(reason),
        }
        if let Err(error) = self.finish(&result).await {
            tracing::warn!(delivery = %due.id, %error, "cannot store the end of an attempt");
        }
        // If the repetition cannot be begun, the caller settles the 401, too: ezyVet certainly did nothing.
        Ok(self.attempt(Some((due, purpose)), request).await.unwrap_or(result))
    }

    /// Makes a call that belongs to no delivery: for staff, or as a probe.
    pub async fn call_without_delivery(&self, request: &Request) -> Result<Exchange, StopReason> {
        self.token(None).await?;
        let result = self.attempt(None, request).await?;
        if !matches!(result.exchange.outcome, Outcome::Unauthorised { .. }) {
            return Ok(result.exchange);
        }
        self.token(Some(result.token_generation)).await?;
        Ok(self.attempt(None, request).await?.exchange)
    }

    async fn attempt(
        &self,
        delivery: Option<(&mut DueDelivery, Purpose)>,
        request: &Request,
    ) -> Result<CallResult, StopReason> {
        let reservation = self.reserve(request.endpoint).await?;
        let attempt = match self.begin(delivery, request).await {
            Ok(attempt) => attempt,
            Err(reason) => {
                self.cancel_reservation(reservation).await;
                return Err(reason);
            }
        };
        let Some((token, token_generation)) = self.newest_token().await else {
            self.cancel_reservation(reservation).await;
            let why = "the site's token was lost or refused before the call left".to_owned();
            let exchange = Exchange::without_answer(Outcome::NeverSent { why });
            return Ok(CallResult { exchange, attempt, token_generation: 0 });
        };
        let exchange = self.context.client.call(&self.site.base_url, &token, request, self.limits()).await;
        self.end_reservation(reservation, &exchange.outcome, exchange.rate).await;
        Ok(CallResult { exchange, attempt, token_generation })
    }

    async fn begin(
        &self,
        delivery: Option<(&mut DueDelivery, Purpose)>,
        request: &Request,
    ) -> Result<Option<i64>, StopReason> {
        let now = self.now();
        let mut transaction = self.begin_fenced().await?;
        let Some((due, purpose)) = delivery else {
            transaction.commit().await?;
            return Ok(None);
        };
        let sends = purpose == Purpose::Send;
        if sends && !store::begin_sending(&mut transaction, due, now).await? {
            return Err(StopReason::DeliveryChanged);
        }
        let text = request.as_curl(&self.site.base_url);
        let attempt = attempts::insert(&mut transaction, due.id, purpose.name(), &text, now).await?;
        if let Err(error) = transaction.commit().await {
            if sends && due.state != "sending" {
                self.undo_begin(due, attempt).await;
            }
            return Err(error.into());
        }
        if sends {
            due.state = "sending".into();
            due.attempts += 1;
        }
        Ok(Some(attempt))
    }

    /// Marks a call that was begun as not made. The database failed during the commit: whether the commit happened is not
    /// known, and nothing was sent. Otherwise the next holder would treat the delivery as unclear.
    async fn undo_begin(&self, due: &DueDelivery, attempt: i64) {
        let until = self.now() + self.context.lease;
        while self.now() < until {
            let undone = async {
                let mut transaction = self.begin_fenced().await?;
                store::undo_begin_sending(&mut transaction, due, attempt, self.now()).await?;
                Ok(transaction.commit().await?)
            };
            match undone.await {
                Ok(()) | Err(StopReason::LeaseLost) => return,
                Err(error) => {
                    tracing::warn!(delivery = %due.id, %error, "a call that was not made is still stored as begun")
                }
            }
            self.context.clock.sleep(Duration::from_millis(500)).await;
        }
    }

    /// Stores how a call ended, whether or not the lease still holds: attempts are history.
    pub async fn finish(&self, result: &CallResult) -> Result<(), StopReason> {
        Ok(self.finish_in(&self.context.pool, result).await?)
    }

    /// As [`Self::finish`], in the transaction of a settlement.
    pub async fn finish_in(&self, executor: impl PgExecutor<'_>, result: &CallResult) -> Result<(), sqlx::Error> {
        let (Some(attempt), exchange) = (result.attempt, &result.exchange) else { return Ok(()) };
        let response: String = exchange.body.chars().take(MAX_STORED_ANSWER).collect();
        let detail = exchange.outcome.to_string();
        let result = AttemptResult {
            status: exchange.status,
            response: &response,
            outcome: exchange.outcome.name(),
            detail: &detail,
        };
        attempts::finish(executor, attempt, &result, self.now()).await
    }
}

//! Calls to a leased site. Each call for a delivery is an attempt, begun in the database before it leaves.

use super::{Session, StopReason};
use crate::delivery::attempts::store as attempts;
use crate::delivery::store::{self, DueDelivery};
use crate::ezyvet::{Exchange, Outcome, Request};
use sqlx::PgExecutor;
use std::time::Duration;

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
    /// Makes a call. Refreshes the token on a 401 and repeats the call, once. A call for a delivery is recorded as an attempt;
    /// the row of the delivery is updated, and the caller settles it. Other calls are for staff, or probes.
    pub async fn call(
        &self,
        mut delivery: Option<(&mut DueDelivery, Purpose)>,
        request: &Request,
    ) -> Result<CallResult, StopReason> {
        self.token(None).await?;
        let result = self.attempt(delivery.as_mut().map(|(due, purpose)| (&mut **due, *purpose)), request).await?;
        if !matches!(result.exchange.outcome, Outcome::Unauthorised { .. }) {
            return Ok(result);
        }
        let is_settled = delivery.is_some();
        match self.token(Some(result.token_generation)).await {
            Ok(_) => {}
            // The caller settles the 401.
            Err(StopReason::NoToken(_) | StopReason::RateLimited(_)) if is_settled => return Ok(result),
            Err(reason) => return Err(reason),
        }
        if let Err(error) = self.finish(&result).await {
            tracing::warn!(attempt = result.attempt, %error, "cannot store the end of an attempt");
        }
        match self.attempt(delivery, request).await {
            // If the repetition cannot be begun, the caller settles the 401, too: ezyVet certainly did nothing.
            Err(_) if is_settled => Ok(result),
            repeated => repeated,
        }
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
        let exchange = self.context.client.call(&self.site.base_url, &token, request, &self.site.settings).await;
        self.end_reservation(reservation, &exchange.outcome, exchange.rate).await;
        Ok(CallResult { exchange, attempt, token_generation })
    }

    async fn begin(
        &self,
        delivery: Option<(&mut DueDelivery, Purpose)>,
        request: &Request,
    ) -> Result<Option<i64>, StopReason> {
        let now = self.now();
        let mut fenced = self.begin_fenced().await?;
        let Some((due, purpose)) = delivery else {
            fenced.commit().await?;
            return Ok(None);
        };
        let sends = purpose == Purpose::Send;
        if sends && !store::begin_sending(&mut fenced.transaction, due, now).await? {
            return Err(StopReason::DeliveryChanged);
        }
        let text = request.as_curl(&self.site.base_url);
        let attempt = attempts::insert(&mut fenced.transaction, due.id, purpose.name(), &text, now).await?;
        if let Err(error) = fenced.commit().await {
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
                let mut fenced = self.begin_fenced().await?;
                store::undo_begin_sending(&mut fenced.transaction, due, attempt, self.now()).await?;
                Ok(fenced.commit().await?)
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
        let Some(attempt) = result.attempt else { return Ok(()) };
        attempts::finish(executor, attempt, &result.exchange, self.now()).await
    }
}

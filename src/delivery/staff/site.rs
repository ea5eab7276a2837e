//! Calls that staff make to a site, under the same lease, token and budget as the worker.

use super::StaffError;
use crate::config::Span;
use crate::db::Pool;
use crate::delivery::inventory_mapping::store::{self as mapping_store, List};
use crate::delivery::inventory_mapping::{self, MappingError};
use crate::delivery::lease;
use crate::delivery::session::{Session, StopReason};
use crate::delivery::worker::Worker;
use crate::ezyvet::{Outcome, Request, answers::Separation};
use crate::ids::SiteId;
use std::time::Duration;
use time::OffsetDateTime;

/// Wait between two tries to lease a site that a worker holds.
const LEASE_RETRY_INTERVAL: Duration = Duration::from_millis(200);
/// How long `spsi site test` and `spsi site separations` wait for the worker to release the site.
const MAX_LEASE_WAIT: Span = Span::seconds(20);

/// One call of [`Worker::test_site`].
#[derive(Clone, Debug, serde::Serialize, utoipa::ToSchema)]
pub struct Check {
    /// `token`, `separations` or `inventory`.
    pub check: &'static str,
    pub ok: bool,
    pub detail: String,
}

/// The result of [`Worker::test_site`].
#[derive(Clone, Debug, serde::Serialize, utoipa::ToSchema)]
pub struct SiteCheck {
    #[schema(value_type = i64)]
    pub id: SiteId,
    pub site: String,
    /// Invoices can be delivered. The inventory scopes may be missing: `supplied` is then skipped.
    pub ok: bool,
    pub checks: Vec<Check>,
}

/// The separations of a site, as they were last read from ezyVet.
#[derive(Clone, Debug)]
pub struct StoredSeparations {
    pub separations: Vec<Separation>,
    /// `None`: they were never read, or staff have requested a new reading.
    pub read_at: Option<OffsetDateTime>,
}

/// Returns the stored separations of a site, without a call to ezyVet.
pub async fn stored_separations(pool: &Pool, site: SiteId) -> Result<StoredSeparations, StaffError> {
    let separations = mapping_store::list_separations(pool, site).await?;
    Ok(StoredSeparations { separations, read_at: mapping_store::find_read_at(pool, site, List::Separations).await? })
}

impl Worker {
    /// Calls the site: token (the stored one, if any), separations, inventory.
    pub async fn test_site(&self, id: SiteId) -> Result<SiteCheck, StaffError> {
        let session = self.lease_for_staff(id).await?;
        let checks = test(&session).await;
        session.release(None).await?;
        let checks = checks?;
        let ok = checks.iter().all(|check| check.ok || check.check == "inventory");
        Ok(SiteCheck { id, site: session.site.name.clone(), ok, checks })
    }

    /// Reads a site's separations and stores them.
    pub async fn separations(&self, id: SiteId) -> Result<Vec<Separation>, StaffError> {
        let session = self.lease_for_staff(id).await?;
        let read = inventory_mapping::read_separations(&session, None).await;
        session.release(None).await?;
        read.map_err(|error| match error {
            MappingError::Stopped(reason) => reason.into(),
            MappingError::CallFailed(_, outcome) => StaffError::Call(outcome.to_string()),
            MappingError::Unmapped(reason) | MappingError::WaitForList { reason, .. } => StaffError::Call(reason),
        })
    }

    async fn lease_for_staff(&self, id: SiteId) -> Result<Session, StaffError> {
        let until = self.context.clock.now() + MAX_LEASE_WAIT.0;
        loop {
            let (now, lease) = (self.context.clock.now(), self.context.lease);
            if let Some(acquired) = lease::acquire_for_staff(&self.context.pool, id, now, lease).await? {
                return Ok(self.open_session(acquired).await?);
            }
            if now >= until {
                return Err(StaffError::SiteBusy(MAX_LEASE_WAIT));
            }
            self.context.clock.sleep(LEASE_RETRY_INTERVAL).await;
        }
    }
}

async fn test(session: &Session) -> Result<Vec<Check>, StaffError> {
    let outcome_of = |called: Result<Outcome, StopReason>| match called {
        Ok(outcome) | Err(StopReason::NoToken(outcome)) => Ok(outcome),
        Err(reason) => Err(reason),
    };
    let check = |check, done: &str, outcome: Outcome| {
        let ok = outcome == Outcome::Done;
        Check { check, ok, detail: if ok { done.to_owned() } else { outcome.to_string() } }
    };
    let token = outcome_of(session.token(None).await.map(|_| Outcome::Done))?;
    let mut checks = vec![check("token", "granted", token)];
    let calls = [("separations", Request::separations(1)), ("inventory", Request::inventory_products(1))];
    if !checks[0].ok {
        return Ok(checks);
    }
    for (name, request) in calls {
        let outcome = outcome_of(session.call(None, &request).await.map(|result| result.exchange.outcome))?;
        if name == "inventory" && matches!(outcome, Outcome::Done | Outcome::Forbidden { .. }) {
            session.record_inventory_grant(outcome == Outcome::Done).await;
        }
        checks.push(check(name, "answered", outcome));
    }
    Ok(checks)
}

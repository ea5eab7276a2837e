//! Calls that staff make: through the same lease, token and budget as the worker's.

use super::StaffError;
use crate::config::Span;
use crate::delivery::lease;
use crate::delivery::map::{self, NotMapped};
use crate::delivery::session::{Session, Stop};
use crate::delivery::worker::Worker;
use crate::ezyvet::{Outcome, Request, answers::Separation};
use crate::ids::SiteId;
use std::time::Duration;

/// How long between two tries to take a site that the worker holds.
const BETWEEN_TRIES: Duration = Duration::from_millis(200);
/// How long `spsi site test` and `spsi site separations` wait for the worker to release the site.
const MAX_LEASE_WAIT: Span = Span::seconds(20);

/// One thing that was tried.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Check {
    /// `token`, `separations` or `inventory`.
    pub check: &'static str,
    pub ok: bool,
    pub detail: String,
}

/// Whether a site can be called.
#[derive(Clone, Debug, serde::Serialize)]
pub struct SiteCheck {
    pub id: SiteId,
    pub site: String,
    /// Invoices can be delivered. The inventory system may be missing: then `supplied` is skipped.
    pub ok: bool,
    pub checks: Vec<Check>,
}

impl Worker {
    /// Tries the token, the separations and the inventory system. Uses the stored token if there is one.
    pub async fn test_site(&self, id: SiteId) -> Result<SiteCheck, StaffError> {
        let session = self.hold_for_staff(id).await?;
        let checks = test(&session).await;
        session.release(None).await?;
        let checks = checks?;
        let ok = checks.iter().all(|check| check.ok || check.check == "inventory");
        Ok(SiteCheck { id, site: session.site.name.clone(), ok, checks })
    }

    /// Reads a site's separations afresh and keeps them.
    pub async fn separations(&self, id: SiteId) -> Result<Vec<Separation>, StaffError> {
        let session = self.hold_for_staff(id).await?;
        let read = map::read_separations(&session, None).await;
        session.release(None).await?;
        read.map_err(|error| match error {
            NotMapped::Stop(stop) => stop.into(),
            NotMapped::Call(_, outcome) => StaffError::Call(outcome.to_string()),
            NotMapped::Unknown(why) => StaffError::Call(why),
        })
    }

    async fn hold_for_staff(&self, id: SiteId) -> Result<Session, StaffError> {
        let until = self.parts.clock.now() + MAX_LEASE_WAIT.0;
        loop {
            let (now, lease) = (self.parts.clock.now(), self.parts.lease);
            if let Some(taken) = lease::take_one(&self.parts.pool, id, now, lease).await? {
                return Ok(self.session(taken).await?);
            }
            if now >= until {
                return Err(StaffError::SiteBusy(MAX_LEASE_WAIT));
            }
            self.parts.clock.sleep(BETWEEN_TRIES).await;
        }
    }
}

async fn test(session: &Session) -> Result<Vec<Check>, StaffError> {
    let mut checks = Vec::new();
    let token = match session.token(None).await {
        Ok(_) => Check { check: "token", ok: true, detail: "granted".into() },
        Err(Stop::NoToken(outcome)) => Check { check: "token", ok: false, detail: outcome.to_string() },
        Err(stop) => return Err(stop.into()),
    };
    let granted = token.ok;
    checks.push(token);
    if granted {
        let calls = [("separations", Request::separations(1)), ("inventory", Request::inventory_products(1))];
        for (check, request) in calls {
            let outcome = match session.call_for_staff(&request).await {
                Ok(exchange) => exchange.outcome,
                Err(Stop::NoToken(outcome)) => outcome,
                Err(stop) => return Err(stop.into()),
            };
            if check == "inventory" && matches!(outcome, Outcome::Done | Outcome::Forbidden { .. }) {
                session.note_inventory(outcome == Outcome::Done).await;
            }
            let ok = outcome == Outcome::Done;
            checks.push(Check { check, ok, detail: if ok { "answered".into() } else { outcome.to_string() } });
        }
    }
    Ok(checks)
}

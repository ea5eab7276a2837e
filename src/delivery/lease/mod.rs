//! Leases on sites: the right to call a site, held by one worker or one staff command at a time (DESIGN.md 2.5).
//!
//! A lease has a token and an end. Every write of a holder is fenced: the write succeeds only while `site_lease` still
//! carries the holder's token. If a holder dies, another takes the site when the lease ends, and treats a call that was
//! being sent as unclear.

pub(super) mod store;

use super::budget::Budget;
use crate::db::Pool;
use crate::ids::SiteId;
use std::time::Duration;
use time::OffsetDateTime;

/// How long the worker leaves a site to a staff command that found the site leased.
const STAFF_REQUEST_LIFE: Duration = Duration::from_secs(10);

/// A lease that its holder may use until it ends or is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    pub site: SiteId,
    pub token: i64,
}

/// The row of an acquired lease, with what the holder before stored in it.
#[derive(Debug)]
pub struct AcquiredLease {
    pub site: SiteId,
    pub token: i64,
    pub budget: serde_json::Value,
    pub failures: i32,
    pub inventory_absent_since: Option<OffsetDateTime>,
}

/// What a holder stores in the row of its lease.
#[derive(Clone, Debug)]
pub(super) struct SiteState {
    pub budget: Budget,
    /// Failed calls in a row.
    pub failures: u32,
    pub inventory_absent_since: Option<OffsetDateTime>,
}

/// Acquires up to `max_sites` sites that nobody holds and that have due work, those served longest ago first.
pub async fn acquire_due(
    pool: &Pool,
    now: OffsetDateTime,
    lease: Duration,
    max_sites: usize,
) -> Result<Vec<AcquiredLease>, sqlx::Error> {
    let mut transaction = pool.begin().await?;
    let acquired = store::acquire_due(&mut transaction, now, now + lease, max_sites as i64).await?;
    let sites: Vec<i64> = acquired.iter().map(|acquired| acquired.site.0).collect();
    store::mark_orphans_unclear(&mut transaction, &sites, now).await?;
    transaction.commit().await?;
    Ok(acquired)
}

/// Acquires one site for a staff command, whether or not work is due. Returns `None` if another holds the site; the
/// worker is then asked to release the site.
pub async fn acquire_for_staff(
    pool: &Pool,
    site: SiteId,
    now: OffsetDateTime,
    lease: Duration,
) -> Result<Option<AcquiredLease>, sqlx::Error> {
    let mut transaction = pool.begin().await?;
    let acquired = store::acquire_for_staff(&mut transaction, site, now, now + lease).await?;
    if acquired.is_some() {
        store::mark_orphans_unclear(&mut transaction, &[site.0], now).await?;
    } else {
        store::request_for_staff(&mut transaction, site, now + STAFF_REQUEST_LIFE).await?;
    }
    transaction.commit().await?;
    Ok(acquired)
}

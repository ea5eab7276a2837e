//! The right to call a site. One holder at a time: a lease with a token and an end (DESIGN.md 2.5).
//!
//! Whatever a holder writes is fenced: it counts only while the lane still carries the holder's token. A holder that dies
//! leaves the lane to the next one when the lease ends; what it was sending is then unclear.

pub(super) mod store;

use crate::ids::SiteId;
use sqlx::PgPool;
use std::time::Duration;
use time::OffsetDateTime;

/// A held lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    pub site: SiteId,
    pub token: i64,
}

/// A lane as it was when taken.
#[derive(Debug)]
pub struct Taken {
    pub lease: Lease,
    pub budget: serde_json::Value,
    pub failures: u32,
    pub inventory_absent_since: Option<OffsetDateTime>,
}

/// Takes up to `most` lanes that nobody holds and that have something due, those served longest ago first.
pub async fn take_due(
    pool: &PgPool,
    now: OffsetDateTime,
    lease: Duration,
    most: usize,
) -> Result<Vec<Taken>, sqlx::Error> {
    let mut transaction = pool.begin().await?;
    let taken = store::take_due(&mut transaction, now, now + lease, most as i64).await?;
    let sites: Vec<i64> = taken.iter().map(|taken| taken.lease.site.0).collect();
    store::orphans_are_unclear(&mut transaction, &sites, now).await?;
    transaction.commit().await?;
    Ok(taken)
}

/// Takes one lane for staff, whatever is due on it. None: somebody holds it; the worker is asked to let go.
pub async fn take_one(
    pool: &PgPool,
    site: SiteId,
    now: OffsetDateTime,
    lease: Duration,
) -> Result<Option<Taken>, sqlx::Error> {
    let mut transaction = pool.begin().await?;
    let taken = store::take_one(&mut transaction, site, now, now + lease).await?;
    if taken.is_some() {
        store::orphans_are_unclear(&mut transaction, &[site.0], now).await?;
    } else {
        store::want(&mut transaction, site, now + Duration::from_secs(10)).await?;
    }
    transaction.commit().await?;
    Ok(taken)
}

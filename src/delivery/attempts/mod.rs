//! Attempts: every call that was made for a delivery, with its request and its answer.
//!
//! Staff read attempts when a delivery fails. Attempts take most of the disk space of deliveries, so those of deliveries
//! that are done are deleted after `SPSI_ATTEMPTS_KEPT_FOR`. The deliveries themselves are never deleted.

pub(super) mod store;

use crate::config::Retention;
use crate::db::Pool;
use time::{Duration, OffsetDateTime};

/// Deletes attempts of deliveries that are done and that are older than `kept_for`. Returns how many it deleted.
pub(super) async fn prune(pool: &Pool, kept_for: Retention, now: OffsetDateTime) -> Result<u64, sqlx::Error> {
    let Retention::Time(span) = kept_for else { return Ok(0) };
    // A span that reaches before the first representable time keeps everything.
    let before = Duration::try_from(span.0).ok().and_then(|span| now.checked_sub(span));
    let Some(before) = before else { return Ok(0) };
    let (mut after, mut deleted) = (Some(0), 0);
    while let Some(position) = after {
        let pruned = store::prune(pool, position, before).await?;
        (after, deleted) = (pruned.next, deleted + pruned.deleted);
    }
    Ok(deleted)
}

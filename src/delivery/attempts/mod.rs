//! Attempts: every call that was made for a delivery, with its request and its answer.
//!
//! They are what staff look at when something goes wrong, and are most of what deliveries take up on disk: those of
//! deliveries that are done go after a time. The deliveries themselves stay for ever.

pub(super) mod store;

use crate::config::Retention;
use sqlx::PgPool;
use time::{Duration, OffsetDateTime};

/// Deletes the attempts of deliveries that are done, where they are older than they are kept. Gives their number.
pub(super) async fn prune(pool: &PgPool, kept_for: Retention, now: OffsetDateTime) -> Result<u64, sqlx::Error> {
    let Retention::Time(span) = kept_for else { return Ok(0) };
    // A time before all time: nothing is so old.
    let before = Duration::try_from(span.0).ok().and_then(|span| now.checked_sub(span));
    let Some(before) = before else { return Ok(0) };
    let (mut after, mut deleted) = (Some(0), 0);
    while let Some(position) = after {
        let pruned = store::prune(pool, position, before).await?;
        (after, deleted) = (pruned.next, deleted + pruned.deleted);
    }
    Ok(deleted)
}

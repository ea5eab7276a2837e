//! Turns events into messages: one for each endpoint that wants the event.
//!
//! Guarantees: every endpoint gets every event that it wants, in a message of its own, exactly one. A message that must wait
//! for an earlier one of its subject is not due before. Fan-out, replays and changes of endpoints exclude settlements by a
//! lock, so that no message waits for another that has just been finished.
//!
//! An endpoint that follows the log gets its messages with all others. One that is new, was switched off, or replays, catches
//! up by itself, a batch at a time, and then follows.

pub(super) mod store;

use crate::db::Pool;
use crate::events;
use time::OffsetDateTime;

/// How many messages for endpoints of all clinics one transaction inserts at most, as far as one event allows.
const MAX_MESSAGES: i64 = 10_000;
/// How many events one transaction takes at most.
const MAX_EVENTS: i64 = 1_000;
/// How many endpoints catch up in one pass.
const MAX_BEHIND: i64 = 100;

/// Makes the messages of new events, and lets endpoints that are behind catch up by a batch each. Returns whether more is to
/// be done.
pub async fn fan_out(pool: &Pool, now: OffsetDateTime) -> Result<bool, sqlx::Error> {
    let last = events::sequence(pool).await?;
    let mut is_behind = false;
    if last > store::fanned_out_through(pool).await? {
        let mut transaction = pool.begin().await?;
        store::commit_without_flush(&mut transaction).await?;
        // A statement of its own: the next one sees everything that was settled before the lock was free.
        store::lock(&mut transaction).await?;
        let followers = store::count_followers_of_all_clinics(&mut transaction).await?;
        let limit = (MAX_MESSAGES / followers.max(1)).clamp(1, MAX_EVENTS);
        is_behind = store::fan_out(&mut transaction, now, limit).await? == limit;
        transaction.commit().await?;
    }
    for endpoint in store::list_behind(pool, MAX_BEHIND).await? {
        let mut transaction = pool.begin().await?;
        store::commit_without_flush(&mut transaction).await?;
        store::lock(&mut transaction).await?;
        is_behind |= store::catch_up(&mut transaction, endpoint, now, MAX_EVENTS).await?;
        transaction.commit().await?;
    }
    Ok(is_behind)
}

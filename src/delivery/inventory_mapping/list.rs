//! The two lists that uids come from, and how old a list may be.

use super::MappingError;
use super::store::{self, List};
use crate::delivery::session::{Purpose, Session};
use crate::delivery::store::DueDelivery;
use crate::ezyvet::answers::{self, Separation};
use crate::ezyvet::{Outcome, Page, Request};
use std::time::Duration;
use time::OffsetDateTime;

/// Maximum number of pages, of 200 items each, that are read of one list: a site that repeats a page cannot use up the whole
/// rate budget.
const MAX_LIST_PAGES: u32 = 500;

/// The age of a stored list, compared with what needs the list to decide that an id has no uid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::delivery) enum ListAge {
    /// Read recently enough, at this time.
    Current(OffsetDateTime),
    /// Too old or never read: read it now.
    Expired,
    /// Too old to decide, and too young to be read again before `until`.
    TooYoung { read_at: OffsetDateTime, until: OffsetDateTime },
}

impl ListAge {
    fn of(read_at: Option<OffsetDateTime>, needed_since: OffsetDateTime, life: Duration, now: OffsetDateTime) -> Self {
        match read_at {
            Some(read_at) if read_at >= needed_since => Self::Current(read_at),
            Some(read_at) if now < read_at + life => Self::TooYoung { read_at, until: read_at + life },
            _ => Self::Expired,
        }
    }
}

/// Compares a stored list with what the delivery needs: a list that was read after the delivery was created and after its
/// uids were discarded. A delivery that is checked again needs a list that is younger than `SPSI_INVENTORY_RECHECK`.
pub(super) async fn age(session: &Session, due: &DueDelivery, list: List) -> Result<ListAge, sqlx::Error> {
    let (settings, now) = (&session.site.settings, session.now());
    let read_at = store::find_read_at(&session.context.pool, session.site.id, list).await?;
    let mut needed_since = due.history.remapped_at.map_or(due.created_at, |at| at.max(due.created_at));
    if due.state == "attention" {
        needed_since = needed_since.max(now - settings.inventory_recheck.0 + Duration::from_micros(1));
    }
    Ok(ListAge::of(read_at, needed_since, settings.inventory_list_life.0, now))
}

/// Reads and stores the site's separations, for a delivery or for staff.
pub(in crate::delivery) async fn read_separations(
    session: &Session,
    due: Option<&mut DueDelivery>,
) -> Result<Vec<Separation>, MappingError> {
    let read_at = session.now();
    let all = read_pages(session, due, Request::separations, answers::separations).await?;
    store::save_separations(&session.context.pool, session.site.id, &all, read_at).await?;
    Ok(all)
}

/// Reads and stores the site's inventory products. Returns when the reading began.
pub(super) async fn read_inventory_products(
    session: &Session,
    due: &mut DueDelivery,
) -> Result<OffsetDateTime, MappingError> {
    let read_at = session.now();
    let all = read_pages(session, Some(due), Request::inventory_products, answers::inventory_products).await?;
    store::save_inventory_products(&session.context.pool, session.site.id, &all, read_at).await?;
    Ok(read_at)
}

async fn read_pages<T: PartialEq>(
    session: &Session,
    mut due: Option<&mut DueDelivery>,
    request: fn(u32) -> Request,
    parse: fn(&str) -> Option<Page<T>>,
) -> Result<Vec<T>, MappingError> {
    let mut all = Vec::new();
    for page in 1..=MAX_LIST_PAGES {
        let request = request(page);
        let body = read(session, due.as_deref_mut(), &request).await?;
        let unreadable = || Outcome::Unclear { why: "the answer is not a list".into() };
        let answer = parse(&body).ok_or_else(|| MappingError::CallFailed(request.endpoint, unreadable()))?;
        let (is_last, before) = (is_last(page, &answer), all.len());
        all.extend(answer.items);
        // A site that ignores `page` sends the first page again and again.
        if is_last || before > 0 && all[before..].first() == all.first() {
            break;
        }
    }
    Ok(all)
}

/// By the site's own count of pages if it gives one. Otherwise a page with fewer items than the largest limit is the last.
fn is_last<T>(page: u32, answer: &Page<T>) -> bool {
    answer.size == 0 || answer.pages.map_or(answer.size < 200, |pages| u64::from(page) >= pages)
}

/// Makes a call that reads, for a delivery or for staff, and returns the body of the answer.
pub(super) async fn read(
    session: &Session,
    due: Option<&mut DueDelivery>,
    request: &Request,
) -> Result<String, MappingError> {
    let result = session.call(due.map(|due| (due, Purpose::MapIds)), request).await?;
    session.finish(&result).await?;
    match result.exchange.outcome {
        Outcome::Done => Ok(result.exchange.body),
        other => Err(MappingError::CallFailed(request.endpoint, other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn a_list_decides_only_if_it_is_newer_than_what_needs_it_and_is_not_read_twice_in_its_life() {
        let (read_at, life) = (datetime!(2026-11-21 12:00 UTC), Duration::from_secs(600));
        let age = |needed: i64, now: i64| {
            let at = |seconds| read_at + time::Duration::seconds(seconds);
            ListAge::of(Some(read_at), at(needed), life, at(now))
        };
        assert_eq!(age(0, 9_999), ListAge::Current(read_at));
        assert_eq!(age(1, 599), ListAge::TooYoung { read_at, until: read_at + life });
        assert_eq!(age(1, 600), ListAge::Expired);
        assert_eq!(ListAge::of(None, read_at, life, read_at), ListAge::Expired);
    }
}

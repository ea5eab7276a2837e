//! The event log: cursors, order, retention.

use crate::support::database::TestDatabase;
use spsi_partner::config::{Retention, Span};
use spsi_partner::db::Pool;
use spsi_partner::events::{self, EventError, Kind};
use spsi_partner::webhooks;
use sqlx::PgConnection;
use std::time::Duration;
use time::OffsetDateTime;
use time::macros::datetime;

const NOW: OffsetDateTime = datetime!(2026-11-26 12:00 UTC);

async fn record(connection: &mut PgConnection, at: OffsetDateTime, number: i64) {
    let kind = if number % 2 == 0 { Kind::SiteUnreachable } else { Kind::CatalogImported };
    let data = serde_json::json!({ "id": number });
    events::record(connection, at, kind, ("site", number), None, data).await.expect("recorded");
}

async fn record_now(pool: &Pool, at: OffsetDateTime, number: i64) {
    let mut transaction = pool.begin().await.expect("begun");
    record(&mut transaction, at, number).await;
    transaction.commit().await.expect("committed");
}

async fn read(pool: &Pool, after: Option<i64>) -> (Vec<i64>, Option<i64>) {
    let events = events::list(pool, after, &[], 1_000).await.expect("listed");
    let numbers = events.iter().map(|event| event.data["id"].as_i64().expect("a number")).collect();
    (numbers, events.last().map(|event| event.position).or(after))
}

#[tokio::test]
async fn a_cursor_misses_no_event_of_a_transaction_that_commits_late() {
    let database = TestDatabase::new().await;
    let pool = database.pool();
    let mut late = pool.begin().await.expect("begun");
    record(&mut late, NOW, 1).await;
    record_now(pool, NOW, 2).await;
    let (seen, cursor) = read(pool, None).await;
    assert_eq!(seen, [2], "the first event has a lower id and is not committed yet");
    late.commit().await.expect("committed");
    assert_eq!(read(pool, cursor).await.0, [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_misses_no_event_of_many_concurrent_writers() {
    const WRITERS: i64 = 8;
    const EACH: i64 = 40;
    let database = TestDatabase::new().await;
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let pool = database.pool().clone();
            tokio::spawn(async move {
                for number in 0..EACH {
                    let mut transaction = pool.begin().await.expect("begun");
                    record(&mut transaction, NOW, writer * 1_000 + number).await;
                    tokio::time::sleep(Duration::from_millis((number * 7 + writer * 3) as u64 % 11)).await;
                    transaction.commit().await.expect("committed");
                }
            })
        })
        .collect();
    let (mut seen, mut cursor) = (Vec::new(), None);
    while seen.len() < (WRITERS * EACH) as usize {
        let (more, next) = read(database.pool(), cursor).await;
        seen.extend(more);
        cursor = next;
        if writers.iter().all(|writer| writer.is_finished()) && read(database.pool(), cursor).await.0.is_empty() {
            break;
        }
    }
    for writer in 0..WRITERS {
        let own: Vec<_> =
            seen.iter().filter(|number| **number / 1_000 == writer).map(|number| number % 1_000).collect();
        assert_eq!(own, (0..EACH).collect::<Vec<_>>(), "writer {writer}: each event once, in its order");
    }
}

#[tokio::test]
async fn a_reader_of_some_types_passes_over_the_others_and_a_page_continues_behind_the_last() {
    let database = TestDatabase::new().await;
    let pool = database.pool();
    for number in 1..=10 {
        record_now(pool, NOW, number).await;
    }
    let kinds = [Kind::SiteUnreachable];
    let page = events::list(pool, None, &kinds, 3).await.expect("listed");
    let numbers = |page: &[events::Event]| page.iter().map(|event| event.data["id"].as_i64()).collect::<Vec<_>>();
    assert_eq!(numbers(&page), [Some(2), Some(4), Some(6)]);
    let cursor = events::find_position(pool, &page[2].id.to_string()).await.expect("a position");
    let page = events::list(pool, Some(cursor), &kinds, 3).await.expect("listed");
    assert_eq!(numbers(&page), [Some(8), Some(10)]);
    for bad in ["evt_999", "evt_0", "evt_", "x", "-1"] {
        let error = events::find_position(pool, bad).await.expect_err(bad);
        assert!(matches!(error, EventError::Unknown(_) | EventError::BadCursor(_)), "{bad}: {error}");
    }
}

#[tokio::test]
async fn a_cursor_behind_which_events_were_deleted_is_refused() {
    let database = TestDatabase::new().await;
    let pool = database.pool();
    for number in 0..20 {
        let at = NOW + Duration::from_secs(3600 * number as u64);
        record_now(pool, at, number).await;
    }
    let all = events::list(pool, None, &[], 100).await.expect("listed");
    let kept_for = Retention::Time(Span(Duration::from_secs(3600 * 10)));
    let now = NOW + Duration::from_secs(3600 * 20);
    assert_eq!(events::prune(pool, Retention::Forever, now).await.expect("pruned"), 0);
    assert_eq!(events::prune(pool, kept_for, now).await.expect("pruned"), 10);
    let old = all[5].position;
    let refused = events::list(pool, Some(old), &[], 100).await;
    assert!(matches!(refused, Err(EventError::CursorExpired(_))), "{refused:?}");
    let refused = events::find_position(pool, &all[5].id.to_string()).await;
    assert!(matches!(refused, Err(EventError::CursorExpired(_))), "{refused:?}");
    // The last deleted event is the last one that nobody missed.
    let page = events::list(pool, Some(all[9].position), &[], 100).await.expect("listed");
    assert_eq!(page, all[10..]);
    let since = events::find_since(pool, NOW + Duration::from_secs(3600 * 15)).await.expect("found");
    assert_eq!(since, Some(all[15].position));
    assert_eq!(events::find_since(pool, now).await.expect("found"), None);
    record_now(pool, now, 21).await;
    let page = events::list(pool, Some(all[19].position), &[], 100).await.expect("listed");
    assert_eq!(page.len(), 1);
}

#[tokio::test]
async fn removing_a_webhook_reads_only_what_waits_for_it() {
    let database = TestDatabase::new().await;
    sqlx::raw_sql(
        "insert into event (position, kind, subject_kind, subject_id, created_at, data)
         select n, 'order.accepted', 'order', n, now(), '{}' from generate_series(1, 3000) n;
         insert into webhook_endpoint (id, url, secret, created_at, changed_at)
         values (1, 'https://one.example', '', now(), now()), (2, 'https://two.example', '', now(), now());
         insert into webhook_message (event_id, endpoint_id, position, subject_kind, subject_id, state, due_at)
         select id, e, position, 'order', subject_id, case when id > 2990 then 'waiting' else 'delivered' end,
             case when id > 2990 then now() end
         from event, (values (1), (2)) as endpoint (e);
         analyze webhook_message",
    )
    .execute(database.pool())
    .await
    .expect("messages");
    let mut transaction = database.pool().begin().await.expect("begun");
    let read = "select coalesce(seq_tup_read + idx_tup_fetch, 0) from pg_stat_xact_user_tables
                where relname = 'webhook_message'";
    let count = async |connection: &mut PgConnection| {
        sqlx::query_scalar::<_, i64>(read).fetch_one(connection).await.expect("a count")
    };
    let before = count(&mut transaction).await;
    webhooks::remove(&mut transaction, NOW, "test", 1).await.expect("removed");
    assert!(count(&mut transaction).await - before < 100, "the finished messages were searched");
    let waiting = "select count(*) from webhook_message where endpoint_id = $1 and state = 'waiting'";
    for (endpoint, expected) in [(1_i64, 0_i64), (2, 10)] {
        let left: i64 = sqlx::query_scalar(waiting).bind(endpoint).fetch_one(&mut *transaction).await.expect("a count");
        assert_eq!(left, expected, "{endpoint}");
    }
}

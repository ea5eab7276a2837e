//! Fair scheduling of large response bodies. The bodies of one thread are written round robin: each produces some pieces in
//! its time slice, and other requests run between two slices. A short request thus waits for at most one piece, however many
//! clinics pull the whole catalogue.

use bytes::Bytes;
use futures_util::stream::{Stream, unfold};
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::yield_now;

thread_local! {
    /// The time slice of this thread: one body holds it, the others queue in order of arrival. Bodies do not change threads.
    static TIME_SLICE: Arc<Semaphore> = Arc::new(Semaphore::new(1));
}

/// Creates a body that shares its thread fairly with other bodies and other requests. It produces up to `pieces_per_slice`
/// pieces in a time slice.
pub fn fair_body(
    pieces: impl Iterator<Item = Bytes>,
    pieces_per_slice: usize,
) -> impl Stream<Item = Result<Bytes, Infallible>> {
    unfold((pieces, 0), move |(mut pieces, left_in_slice)| async move {
        if left_in_slice > 0 {
            return Some((Ok(pieces.next()?), (pieces, left_in_slice - 1)));
        }
        // Held for the first piece only, so that the next body may start at once: this body is polled again only when its
        // client has read enough.
        let _permit = TIME_SLICE.with(Arc::clone).acquire_owned().await;
        // tokio polls the operating system for new requests only when no task is ready, or after dozens of tasks.
        // `yield_now` polls first, and puts this body behind the requests that have arrived.
        yield_now().await;
        Some((Ok(pieces.next()?), (pieces, pieces_per_slice.saturating_sub(1))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt;
    use std::cell::RefCell;
    use std::rc::Rc;
    use tokio::task::{LocalSet, spawn_local};

    type Log = Rc<RefCell<Vec<String>>>;

    fn body(name: &'static str, pieces: usize, log: &Log) -> impl Stream<Item = Result<Bytes, Infallible>> + use<> {
        let log = Rc::clone(log);
        let pieces = (0..pieces).map(move |piece| {
            log.borrow_mut().push(format!("{name}{piece}"));
            Bytes::from_static(b"x")
        });
        fair_body(pieces, 1)
    }

    #[tokio::test]
    async fn other_tasks_run_between_the_pieces_of_large_bodies() {
        let log = Log::default();
        LocalSet::new()
            .run_until(async {
                let bodies = ["a", "b", "c"].map(|name| spawn_local(body(name, 3, &log).count()));
                let search = spawn_local({
                    let log = Rc::clone(&log);
                    async move {
                        for _ in 0..3 {
                            log.borrow_mut().push("search".into());
                            yield_now().await;
                        }
                    }
                });
                for body in bodies {
                    assert_eq!(body.await.unwrap(), 3);
                }
                search.await.unwrap();
            })
            .await;
        let log = log.borrow();
        let searches = log.iter().enumerate().filter(|(_, entry)| *entry == "search");
        for (search, (position, _)) in searches.enumerate() {
            // Although three bodies write, at most about one piece precedes each search.
            assert!(position <= 2 * search + 1, "{log:?}");
        }
        assert_eq!(log.iter().filter(|entry| *entry != "search").count(), 9);
        assert_eq!(log.iter().filter(|entry| entry.ends_with('0')).count(), 3);
    }

    #[tokio::test]
    async fn a_body_that_is_dropped_or_not_polled_does_not_block_others() {
        let log = Log::default();
        LocalSet::new()
            .run_until(async {
                let mut slow = Box::pin(body("slow", 5, &log));
                assert!(slow.next().await.is_some());
                // Each is dropped while it has the time slice or waits for it.
                for _ in 0..2 {
                    let mut dropped = Box::pin(body("dropped", 5, &log));
                    assert!(futures_util::poll!(dropped.next()).is_pending());
                    drop(dropped);
                }
                let done = tokio::time::timeout(std::time::Duration::from_secs(5), body("done", 20, &log).count());
                assert_eq!(done.await.unwrap(), 20);
                assert_eq!(slow.count().await, 4);
            })
            .await;
    }
}

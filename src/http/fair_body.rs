//! Fair scheduling of large response bodies. The bodies of one thread are written round robin: each produces some pieces in
//! its time slice, and other requests run between two slices. A short request thus waits for at most one piece, however many
//! clinics pull the whole catalogue.

use bytes::Bytes;
use futures_util::Stream;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

/// The queue of the bodies of one thread.
#[derive(Default)]
struct Scheduler {
    last_id: u64,
    /// The body that has the time slice.
    running: Option<u64>,
    waiting: VecDeque<(u64, Waker)>,
}

thread_local! {
    static SCHEDULER: RefCell<Scheduler> = RefCell::default();
}

impl Scheduler {
    fn new_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Returns true if this body has the time slice. Otherwise queues the body.
    fn is_scheduled(&mut self, id: u64, waker: &Waker) -> bool {
        if self.running == Some(id) {
            return true;
        }
        match self.waiting.iter_mut().find(|(waiting, _)| *waiting == id) {
            Some((_, old)) => old.clone_from(waker),
            None => self.waiting.push_back((id, waker.clone())),
        }
        // A single body queues too: its waker puts it behind the tasks of this thread that are ready to run.
        if self.running.is_none() {
            self.start_next();
        }
        false
    }

    fn start_next(&mut self) {
        self.running = self.waiting.pop_front().map(|(id, waker)| {
            waker.wake();
            id
        });
    }

    /// Ends the time slice of this body, if it has it.
    fn end_slice(&mut self, id: u64) {
        if self.running == Some(id) {
            self.start_next();
        }
    }
}

/// A body that shares its thread fairly with other bodies and other requests.
pub struct FairBody<I> {
    pieces: I,
    pieces_per_slice: usize,
    pieces_this_slice: usize,
    /// The id in the scheduler of the thread that polls this body. Bodies do not change threads.
    id: Option<u64>,
    /// The thread has looked for new requests since the time slice began.
    has_yielded: bool,
}

impl<I> FairBody<I> {
    /// Creates a body that produces up to `pieces_per_slice` pieces in a time slice.
    pub fn new(pieces: I, pieces_per_slice: usize) -> Self {
        let pieces_per_slice = pieces_per_slice.max(1);
        Self { pieces, pieces_per_slice, pieces_this_slice: 0, id: None, has_yielded: false }
    }
}

impl<I: Iterator<Item = Bytes> + Unpin> Stream for FairBody<I> {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let id = *this.id.get_or_insert_with(|| SCHEDULER.with_borrow_mut(Scheduler::new_id));
        if this.pieces_this_slice == 0 {
            if !SCHEDULER.with_borrow_mut(|scheduler| scheduler.is_scheduled(id, context.waker())) {
                return Poll::Pending;
            }
            if !this.has_yielded {
                this.has_yielded = true;
                // tokio polls the operating system for new requests only when no task is ready, or after dozens of tasks.
                // `yield_now` polls first, and puts this body behind the requests that have arrived.
                let mut pause = pin!(tokio::task::yield_now());
                if pause.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
            }
        }
        this.has_yielded = false;
        let piece = this.pieces.next();
        this.pieces_this_slice += 1;
        if this.pieces_this_slice == this.pieces_per_slice || piece.is_none() {
            this.pieces_this_slice = 0;
        }
        // The next body may start at once: this body is polled again only when its client has read enough.
        SCHEDULER.with_borrow_mut(|scheduler| scheduler.end_slice(id));
        Poll::Ready(piece.map(Ok))
    }
}

impl<I> Drop for FairBody<I> {
    fn drop(&mut self) {
        // The scheduler is gone if the thread is ending.
        let _ = SCHEDULER.try_with(|scheduler| {
            let (Ok(mut scheduler), Some(id)) = (scheduler.try_borrow_mut(), self.id) else { return };
            scheduler.waiting.retain(|(waiting, _)| *waiting != id);
            scheduler.end_slice(id);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt;
    use std::rc::Rc;
    use tokio::task::{LocalSet, spawn_local, yield_now};

    type Log = Rc<RefCell<Vec<String>>>;

    fn body(name: &'static str, pieces: usize, log: &Log) -> FairBody<impl Iterator<Item = Bytes> + Unpin + use<>> {
        let log = Rc::clone(log);
        let pieces = (0..pieces).map(move |piece| {
            log.borrow_mut().push(format!("{name}{piece}"));
            Bytes::from_static(b"x")
        });
        FairBody::new(pieces, 1)
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

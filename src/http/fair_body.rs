//! Large bodies take turns: of all that one thread is writing, one piece at a time, so that a short request never waits for
//! more than the piece that is being made, however many clinics are pulling the whole catalogue.

use bytes::Bytes;
use futures_util::Stream;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

/// The bodies of one thread.
#[derive(Default)]
struct Turns {
    last_id: u64,
    /// Whose turn it is.
    granted: Option<u64>,
    waiting: VecDeque<(u64, Waker)>,
}

thread_local! {
    static TURNS: RefCell<Turns> = RefCell::default();
}

impl Turns {
    fn grant_next(&mut self) {
        self.granted = self.waiting.pop_front().map(|(id, waker)| {
            waker.wake();
            id
        });
    }
}

/// A body of pieces that takes turns with others of its thread, and lets other requests run after every turn.
pub struct FairBody<I> {
    pieces: I,
    /// Pieces of one turn.
    at_once: usize,
    given: usize,
    /// By which its thread knows it. Bodies stay on the thread that polls them.
    id: Option<u64>,
    /// The thread has looked for other requests since the turn was granted.
    looked: bool,
}

impl<I> FairBody<I> {
    /// `at_once` pieces are one turn.
    pub fn new(pieces: I, at_once: usize) -> Self {
        Self { pieces, at_once: at_once.max(1), given: 0, id: None, looked: false }
    }
}

impl<I: Iterator<Item = Bytes> + Unpin> Stream for FairBody<I> {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let has_turn = this.given > 0
            || TURNS.with_borrow_mut(|turns| {
                let id = *this.id.get_or_insert_with(|| {
                    turns.last_id += 1;
                    turns.last_id
                });
                if turns.granted == Some(id) {
                    return true;
                }
                // Queues also where nobody else does: what is ready to run on this thread goes first.
                match turns.waiting.iter_mut().find(|(waiting, _)| *waiting == id) {
                    Some((_, waker)) => waker.clone_from(context.waker()),
                    None => turns.waiting.push_back((id, context.waker().clone())),
                }
                if turns.granted.is_none() {
                    turns.grant_next();
                }
                false
            });
        if !has_turn {
            return Poll::Pending;
        }
        if this.given == 0 && !this.looked {
            this.looked = true;
            // A thread asks the system for requests that have come only when it has nothing to run, or after dozens of
            // tasks: this has it ask first, and puts us behind what it finds.
            let mut pause = pin!(tokio::task::yield_now());
            if pause.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
        }
        this.looked = false;
        let piece = this.pieces.next();
        this.given += 1;
        if this.given == this.at_once || piece.is_none() {
            this.given = 0;
        }
        // Passed on at once: whether this body is asked for more is up to how fast its client reads.
        TURNS.with_borrow_mut(|turns| {
            if turns.granted == this.id {
                turns.grant_next();
            }
        });
        Poll::Ready(piece.map(Ok))
    }
}

impl<I> Drop for FairBody<I> {
    fn drop(&mut self) {
        // A thread that ends has forgotten its turns.
        let _ = TURNS.try_with(|turns| {
            let (Ok(mut turns), Some(id)) = (turns.try_borrow_mut(), self.id) else { return };
            turns.waiting.retain(|(waiting, _)| *waiting != id);
            if turns.granted == Some(id) {
                turns.grant_next();
            }
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
    async fn bodies_take_turns_and_others_run_in_between() {
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
        let searches = log.iter().enumerate().filter(|(_, what)| *what == "search");
        for (search, (at, _)) in searches.enumerate() {
            // Three bodies write, yet at most a piece or so comes before each search.
            assert!(at <= 2 * search + 1, "{log:?}");
        }
        assert_eq!(log.iter().filter(|what| *what != "search").count(), 9);
        assert_eq!(log.iter().filter(|what| what.ends_with('0')).count(), 3);
    }

    #[tokio::test]
    async fn a_body_that_nobody_reads_or_that_is_dropped_holds_nobody_up() {
        let log = Log::default();
        LocalSet::new()
            .run_until(async {
                let mut slow = Box::pin(body("slow", 5, &log));
                assert!(slow.next().await.is_some());
                // Queued, and then never polled again; and dropped with the turn in hand.
                for _ in 0..2 {
                    let mut gone = Box::pin(body("gone", 5, &log));
                    assert!(futures_util::poll!(gone.next()).is_pending());
                    drop(gone);
                }
                let done = tokio::time::timeout(std::time::Duration::from_secs(5), body("done", 20, &log).count());
                assert_eq!(done.await.unwrap(), 20);
                assert_eq!(slow.count().await, 4);
            })
            .await;
    }
}

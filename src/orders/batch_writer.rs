//! Group commit for orders: orders that arrive while a statement is in flight share the next one, and with it one round
//! trip, one commit and one wait for the disk. An order that arrives alone is stored alone, immediately.
//!
//! `cargo bench --bench speed -- --only g` measures orders with and without batches (docs/benchmarks.md).

use super::store::{self, NewOrder};
use crate::db::{PING_AFTER, Pool};
use crate::events::Doorbell;
use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use sqlx::{Connection, PgConnection};
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};

/// How long one statement in flight may keep the next one waiting. A statement that waits for a lock or for a slow disk
/// must not delay the orders behind it for longer.
const MAX_BATCH_DELAY: Duration = Duration::from_millis(20);
/// A batch that holds this many order lines takes no further order, which bounds the size of a statement.
const MAX_BATCH_LINES: usize = 1_000;

/// The id of the transaction that stored the order; `None` if it was not stored ([`store::insert`]).
type Stored = Result<Option<i64>, sqlx::Error>;

/// Stores orders in batches. Cheap to clone; clones share one queue.
#[derive(Clone)]
pub(super) struct BatchWriter(Arc<Shared>);

struct Shared {
    pool: Pool,
    max_orders: usize,
    doorbell: Doorbell,
    /// Into the queue of the writer's task, which starts with the first order, on the thread that brings it.
    queue: OnceLock<UnboundedSender<Pending>>,
}

struct Pending {
    order: NewOrder,
    responder: oneshot::Sender<Stored>,
}

/// A connection between two statements. The writer keeps its connections out of the pool, which would test each one with
/// a round trip whenever it comes back.
struct Idle {
    connection: PgConnection,
    since: Instant,
}

impl BatchWriter {
    /// Writes to the database of `pool` over up to `connections` connections of its own, up to `max_orders` orders in a
    /// statement; 1 disables batches.
    ///
    /// Use a writer on one thread only: its connections are served by the event loop of the thread that opened them, and
    /// a response that crosses threads costs a switch.
    pub fn new(pool: &Pool, connections: u32, max_orders: usize) -> Self {
        // A plan is kept for the life of a connection. One made while the tables were empty would scan them for ever, so
        // rows are always looked up by key; and `unnest` of an unknown number of orders would be planned anew every time.
        let plans = [("enable_seqscan", "off"), ("plan_cache_mode", "force_generic_plan")];
        let doorbell = Doorbell::new(pool.clone());
        let pool = pool.another(connections.max(1), &plans);
        Self(Arc::new(Shared { pool, max_orders: max_orders.max(1), doorbell, queue: OnceLock::new() }))
    }

    /// Stores the order, perhaps together with others. Stores it also if the caller stops waiting.
    pub async fn store(&self, order: NewOrder) -> Stored {
        let queue = self.0.queue.get_or_init(|| {
            let (sender, queue) = unbounded_channel();
            let Shared { pool, max_orders, doorbell, .. } = &*self.0;
            tokio::spawn(write_batches(pool.clone(), *max_orders, doorbell.clone(), queue));
            sender
        });
        let (responder, response) = oneshot::channel();
        // The response fails too if the task has ended.
        let _ = queue.send(Pending { order, responder });
        // A sender that is dropped without a response means a panic, which is logged.
        response.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
    }
}

/// Writes batches until every [`BatchWriter`] of the queue is gone.
async fn write_batches(pool: Pool, max_orders: usize, doorbell: Doorbell, mut queue: UnboundedReceiver<Pending>) {
    let max_in_flight = usize::try_from(pool.max_connections()).unwrap_or(1);
    let usual_in_flight = if max_orders == 1 { max_in_flight } else { 1 };
    let mut in_flight = FuturesUnordered::new();
    let mut idle: Vec<Idle> = Vec::new();
    let mut is_open = true;
    let mut is_overdue = false;
    let mut overdue_at = Instant::now();
    while is_open || !in_flight.is_empty() {
        let limit = if is_overdue { max_in_flight } else { usual_in_flight };
        tokio::select! {
            biased;
            Some(flushed) = in_flight.next(), if !in_flight.is_empty() => {
                is_overdue = false;
                doorbell.ring();
                match flushed {
                    Ok(connection) => idle.extend(connection),
                    // The orders behind the batch would only wait as long for the same error.
                    Err(error) => std::iter::from_fn(|| queue.try_recv().ok()).for_each(|pending| fail(pending.responder, &error)),
                }
            }
            first = queue.recv(), if is_open && in_flight.len() < limit => match first {
                None => is_open = false,
                Some(first) => {
                    let batch = gather(first, &mut queue, max_orders);
                    let flush = AssertUnwindSafe(flush(&pool, idle.pop(), batch)).catch_unwind();
                    in_flight.push(flush.map(|flushed| flushed.unwrap_or(Ok(None))));
                    (is_overdue, overdue_at) = (false, Instant::now() + MAX_BATCH_DELAY);
                }
            },
            () = sleep_until(overdue_at), if is_open && !is_overdue && !in_flight.is_empty() => is_overdue = true,
        }
    }
}

/// Takes what waits behind `first`, as far as it fits into one batch. Orders are sorted so that two statements with the
/// same orders wait for each other in one direction only.
fn gather(first: Pending, queue: &mut UnboundedReceiver<Pending>, max_orders: usize) -> Vec<Pending> {
    let mut lines = first.order.order.lines.len();
    let mut batch = vec![first];
    while batch.len() < max_orders
        && lines < MAX_BATCH_LINES
        && let Ok(next) = queue.try_recv()
    {
        lines += next.order.order.lines.len();
        batch.push(next);
    }
    batch.sort_by(|one, other| one.order.key().cmp(&other.order.key()));
    batch
}

/// Stores a batch and responds to each order. Returns the connection if it can be used again, and an error if there was no
/// connection to be had.
async fn flush(pool: &Pool, idle: Option<Idle>, batch: Vec<Pending>) -> Result<Option<Idle>, sqlx::Error> {
    let (orders, responders): (Vec<_>, Vec<_>) = batch.into_iter().map(|it| (it.order, it.responder)).unzip();
    let mut connection = match live_connection(pool, idle).await {
        Ok(connection) => connection,
        Err(error) => {
            responders.into_iter().for_each(|responder| fail(responder, &error));
            return Err(error);
        }
    };
    metrics::counter!("spsi_order_batches_total").increment(1);
    // A response fails if its receiver has gone; the order is stored all the same.
    let is_sound = match pool.run_on(&mut connection, async |it| store::insert(it, &orders).await).await {
        Ok(stored) => {
            responders.into_iter().zip(stored).for_each(|(responder, stored)| drop(responder.send(Ok(stored))));
            true
        }
        // Postgres refuses one of the orders, or chose this statement to end a deadlock. Nothing is stored: one by one.
        Err(sqlx::Error::Database(_)) if orders.len() > 1 => {
            for (order, responder) in orders.iter().zip(responders) {
                drop(responder.send(pool.run_on(&mut connection, async |it| store::insert_one(it, order).await).await));
            }
            false
        }
        Err(error) => {
            let mut responders = responders.into_iter();
            let first = responders.next();
            responders.for_each(|responder| fail(responder, &error));
            first.map(|first| first.send(Err(error)));
            false
        }
    };
    let is_sound = is_sound || connection.ping().await.is_ok();
    Ok(is_sound.then(|| Idle { connection, since: Instant::now() }))
}

/// Returns the idle connection if it still works, else a new one.
async fn live_connection(pool: &Pool, idle: Option<Idle>) -> Result<PgConnection, sqlx::Error> {
    if let Some(Idle { mut connection, since }) = idle {
        let limit = pool.acquire_timeout();
        if since.elapsed() < PING_AFTER || matches!(timeout(limit, connection.ping()).await, Ok(Ok(()))) {
            return Ok(connection);
        }
    }
    pool.detach().await
}

/// Responds with an error of the same kind: an outage, or not.
fn fail(responder: oneshot::Sender<Stored>, error: &sqlx::Error) {
    let same = if crate::db::is_outage(error) {
        sqlx::Error::Io(io::Error::other(error.to_string()))
    } else {
        sqlx::Error::InvalidArgument(error.to_string())
    };
    let _ = responder.send(Err(same));
}

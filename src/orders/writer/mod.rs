//! Orders that wait to be stored share a statement: one round trip, one commit and one wait for the disk for all that came
//! while the statement before was on its way. An order that comes alone is stored alone, at once.

pub(super) mod store;

use crate::db::UNTESTED;
use sqlx::{Connection, PgConnection, PgPool};
use std::collections::HashSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use store::NewOrder;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// Statements of one writer that are usually on their way at once: what comes meanwhile is gathered. More share the wait
/// for the disk less.
const STATEMENTS: usize = 1;
/// An order that has waited so long is not kept waiting for them, which wait themselves: for a lock, or for a slow disk.
const PATIENCE: Duration = Duration::from_millis(20);
/// Lines that the orders of a statement may have together: a longer order goes alone.
const LINES: usize = 1_000;

/// Whether the order was stored, and if so by which transaction.
type Stored = Result<Option<i64>, sqlx::Error>;

/// Stores orders. Cheap to clone; clones share what waits.
#[derive(Clone)]
pub(super) struct Writer(Arc<Shared>);

struct Shared {
    /// Opens connections, and has none: those of a pool ask Postgres whether they live each time they are given back.
    pool: PgPool,
    /// Orders that may share a statement.
    together: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// In the order of arrival.
    waiting: Vec<Waiting>,
    /// Statements on their way.
    writing: usize,
    /// At most [`STATEMENTS`] connections at hand, with when they were last of use.
    kept: Vec<(Instant, PgConnection)>,
}

struct Waiting {
    order: NewOrder,
    done: oneshot::Sender<Stored>,
}

impl Writer {
    /// With up to so many connections of its own to the pool's database, for up to so many orders in a statement. To be used
    /// in one thread: a connection is served by the event loop that it was opened in, and an answer that another thread
    /// waits for costs a change of threads.
    pub fn new(pool: &PgPool, connections: u32, together: usize) -> Self {
        let options = pool.options().clone().max_connections(connections.max(1));
        // Rows are looked up by key, always. A plan is kept for the life of a connection, and one that was made while there
        // were no orders yet would read through all of them.
        let by_key = pool.connect_options().as_ref().clone().options([("enable_seqscan", "off")]);
        let pool = options.connect_lazy_with(by_key);
        Self(Arc::new(Shared { pool, together: together.max(1), state: Mutex::default() }))
    }

    /// Stores the order by [`store::insert`], maybe with others. It is stored also if nobody waits for the result any more.
    pub async fn store(&self, order: NewOrder) -> Stored {
        let (done, mut stored) = oneshot::channel();
        self.state().waiting.push(Waiting { order, done });
        self.begin(STATEMENTS);
        loop {
            match timeout(PATIENCE, &mut stored).await {
                // The one who was to say it is gone: a panic, which has been logged.
                Ok(said) => return said.unwrap_or(Err(sqlx::Error::WorkerCrashed)),
                Err(_) => {
                    self.begin(usize::try_from(self.0.pool.options().get_max_connections()).unwrap_or(usize::MAX))
                }
            }
        }
    }

    /// Sends what waits on its way, if fewer statements than that are.
    fn begin(&self, most: usize) {
        let mut state = self.state();
        if !state.waiting.is_empty() && state.writing < most {
            state.writing += 1;
            drop(state);
            let turn = Turn { writer: self.clone(), over: false };
            tokio::spawn(turn.write());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection that lives.
    async fn connection(&self) -> Result<PgConnection, sqlx::Error> {
        let kept = self.state().kept.pop();
        if let Some((since, mut connection)) = kept {
            let limit = self.0.pool.options().get_acquire_timeout();
            if since.elapsed() < UNTESTED || matches!(timeout(limit, connection.ping()).await, Ok(Ok(()))) {
                return Ok(connection);
            }
        }
        Ok(self.0.pool.acquire().await?.detach())
    }

    fn keep(&self, connection: PgConnection) {
        let mut state = self.state();
        if state.kept.len() < STATEMENTS {
            state.kept.push((Instant::now(), connection));
        }
    }
}

/// The right to have a statement on its way; given back when it ends.
struct Turn {
    writer: Writer,
    over: bool,
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.over {
            self.writer.state().writing -= 1;
        }
    }
}

impl Turn {
    /// Stores what waits until nothing does.
    async fn write(mut self) {
        let mut connection = None;
        while let Some(batch) = self.next() {
            let mut held = match connection.take() {
                Some(connection) => connection,
                None => match self.writer.connection().await {
                    Ok(connection) => connection,
                    Err(error) => {
                        // None of those who came meanwhile would fare better.
                        let others = std::mem::take(&mut self.writer.state().waiting);
                        fail(batch.into_iter().chain(others).map(|waiting| waiting.done), error);
                        continue;
                    }
                },
            };
            let (orders, told): (Vec<_>, Vec<_>) = batch.into_iter().map(|it| (it.order, it.done)).unzip();
            metrics::counter!("spsi_order_statements_total").increment(1);
            if put(&mut held, &orders, told).await {
                connection = Some(held);
            }
        }
        if let Some(connection) = connection {
            self.writer.keep(connection);
        }
    }

    /// What is to be stored next; nothing, and the turn is over, when nothing waits.
    fn next(&mut self) -> Option<Vec<Waiting>> {
        let mut state = self.writer.state();
        let mut batch = take(&mut state.waiting, self.writer.0.together);
        if batch.is_empty() {
            state.writing -= 1;
            drop(state);
            self.over = true;
            return None;
        }
        drop(state);
        batch.sort_by(|one, other| key(&one.order).cmp(&key(&other.order)));
        Some(batch)
    }
}

/// In ascending order of it, two statements with the same orders do not wait for each other in a circle.
fn key(order: &NewOrder) -> (i64, &str) {
    (order.clinic.0, &order.order.ezyvet_id)
}

/// Takes up to so many that can share a statement, the longest waiting first.
fn take(waiting: &mut Vec<Waiting>, most: usize) -> Vec<Waiting> {
    let (mut ids, mut numbers, mut lines) = (HashSet::new(), HashSet::new(), 0);
    let fits = |Waiting { order: new, .. }: &Waiting| {
        let (clinic, number) = (new.clinic.0, &new.order.purchase_order_number);
        let together = ids.len() < most && (lines + new.order.lines.len() <= LINES || ids.is_empty());
        let alone = together
            && ids.insert((clinic, new.order.ezyvet_id.clone()))
            && (number.is_empty() || numbers.insert((clinic, number.clone())));
        lines += if alone { new.order.lines.len() } else { 0 };
        alone
    };
    let (batch, left) = std::mem::take(waiting).into_iter().partition(fits);
    *waiting = left;
    batch
}

/// Stores the orders and tells each what became of it. Says whether the connection is still of use.
async fn put(connection: &mut PgConnection, orders: &[NewOrder], told: Vec<oneshot::Sender<Stored>>) -> bool {
    // Those who wait no longer have gone away; their orders are stored all the same.
    match store::insert(connection, orders).await {
        Ok(stored) => {
            for (done, stored) in told.into_iter().zip(stored) {
                let _ = done.send(Ok(stored));
            }
            return true;
        }
        Err(sqlx::Error::Database(_)) if orders.len() > 1 => {
            // Postgres refuses one of them, or met another statement: nothing is stored, and each goes alone.
            for (order, done) in orders.iter().zip(told) {
                let stored = store::insert(connection, std::slice::from_ref(order)).await;
                let _ = done.send(stored.map(|stored| stored.into_iter().next().flatten()));
            }
        }
        Err(error) => fail(told, error),
    }
    connection.ping().await.is_ok()
}

/// Tells all of them the same.
fn fail(told: impl IntoIterator<Item = oneshot::Sender<Stored>>, error: sqlx::Error) {
    let mut told = told.into_iter();
    let first = told.next();
    for done in told {
        let same = if crate::db::is_outage(&error) {
            sqlx::Error::Io(io::Error::other(error.to_string()))
        } else {
            sqlx::Error::Protocol(error.to_string())
        };
        let _ = done.send(Err(same));
    }
    if let Some(done) = first {
        let _ = done.send(Err(error));
    }
}

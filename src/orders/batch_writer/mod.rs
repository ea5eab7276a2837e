//! Orders that wait to be stored share a statement: one round trip, one commit and one wait for the disk for all that came
//! while the statement before was on its way. An order that comes alone is stored alone, at once.

pub(super) mod store;

use crate::db::UNTESTED;
use sqlx::{Connection, PgConnection, PgPool};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use store::NewOrder;
use tokio::sync::mpsc::error::SendError;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
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
pub(super) struct BatchWriter(Arc<Shared>);

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
    /// To the task that takes the turns that do not overlap others. It stays, and so does its connection: to begin a task
    /// costs more than to wake one.
    resident: Option<UnboundedSender<Turn>>,
    /// Whether somebody looks after those who wait for long.
    is_watched: bool,
}

struct Waiting {
    order: NewOrder,
    since: Instant,
    done: oneshot::Sender<Stored>,
}

/// A connection, with when it was last of use.
type Kept = Option<(Instant, PgConnection)>;

impl BatchWriter {
    /// With up to so many connections of its own to the pool's database, for up to so many orders in a statement. To be used
    /// in one thread: a connection is served by the event loop that it was opened in, and an answer that another thread
    /// waits for costs a change of threads.
    pub fn new(pool: &PgPool, connections: u32, together: usize) -> Self {
        let options = pool.options().clone().max_connections(connections.max(1));
        // Rows are looked up by key, always. A plan is kept for the life of a connection, and one that was made while there
        // were no orders yet would read through all of them. And it is made once: for one that knows how many orders there are,
        // Postgres would take the trouble again with each statement, because it expects more of them otherwise.
        let plans = [("enable_seqscan", "off"), ("plan_cache_mode", "force_generic_plan")];
        let pool = options.connect_lazy_with(pool.connect_options().as_ref().clone().options(plans));
        Self(Arc::new(Shared { pool, together: together.max(1), state: Mutex::default() }))
    }

    /// Stores the order by [`store::insert`], maybe with others. It is stored also if nobody waits for the result any more.
    pub async fn store(&self, order: NewOrder) -> Stored {
        let (done, stored) = oneshot::channel();
        if !self.queue(Waiting { order, since: Instant::now(), done }) {
            tokio::spawn(self.clone().watch());
        }
        self.begin(STATEMENTS);
        // The one who was to say it is gone: a panic, which has been logged.
        stored.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
    }

    /// Says whether somebody looks after it, should it have to wait: otherwise the caller is to.
    fn queue(&self, waiting: Waiting) -> bool {
        let mut state = self.state();
        state.waiting.push(waiting);
        state.writing < STATEMENTS || std::mem::replace(&mut state.is_watched, true)
    }

    /// Sees to it that those who have waited for [`PATIENCE`] are on their way, until nobody waits.
    async fn watch(self) {
        let most = usize::try_from(self.0.pool.options().get_max_connections()).unwrap_or(usize::MAX);
        loop {
            tokio::time::sleep(PATIENCE).await;
            let mut state = self.state();
            if state.waiting.is_empty() {
                state.is_watched = false;
                return;
            }
            let overdue = state.waiting.iter().filter(|waiting| waiting.since.elapsed() >= PATIENCE).count();
            drop(state);
            (0..overdue.div_ceil(self.0.together)).for_each(|_| self.begin(most));
        }
    }

    /// Sends what waits on its way, if fewer statements than that are.
    fn begin(&self, most: usize) {
        let mut state = self.state();
        if state.waiting.is_empty() || state.writing >= most {
            return;
        }
        state.writing += 1;
        let turn = Turn { writer: self.clone(), over: false };
        if state.writing > 1 {
            drop(state);
            tokio::spawn(async { drop(turn.write(None).await) });
            return;
        }
        let left = match &state.resident {
            Some(resident) => resident.send(turn).err().map(|SendError(turn)| turn),
            None => Some(turn),
        };
        if let Some(turn) = left {
            let (resident, turns) = unbounded_channel();
            state.resident = Some(resident);
            // A task that a runtime refuses, because it ends, gives its turn back, for which it needs the state.
            drop(state);
            tokio::spawn(reside(turn, turns));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection that lives.
    async fn connection(&self, kept: Kept) -> Result<PgConnection, sqlx::Error> {
        if let Some((since, mut connection)) = kept {
            let limit = self.0.pool.options().get_acquire_timeout();
            if since.elapsed() < UNTESTED || matches!(timeout(limit, connection.ping()).await, Ok(Ok(()))) {
                return Ok(connection);
            }
        }
        Ok(self.0.pool.acquire().await?.detach())
    }
}

/// Takes one turn after the other, over one connection, until the writer is gone.
async fn reside(first: Turn, mut turns: UnboundedReceiver<Turn>) {
    let mut kept = first.write(None).await;
    while let Some(turn) = turns.recv().await {
        kept = turn.write(kept).await;
    }
}

/// The right to have a statement on its way; given back when it ends.
struct Turn {
    writer: BatchWriter,
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
    /// Stores what waits until nothing does. Gives the connection back, if it is still of use.
    async fn write(mut self, mut kept: Kept) -> Kept {
        while let Some(batch) = self.next() {
            let mut connection = match self.writer.connection(kept.take()).await {
                Ok(connection) => connection,
                Err(error) => {
                    // None of those who came meanwhile would fare better.
                    let others = std::mem::take(&mut self.writer.state().waiting);
                    fail(batch.into_iter().chain(others).map(|waiting| waiting.done), error);
                    continue;
                }
            };
            let (orders, told): (Vec<_>, Vec<_>) = batch.into_iter().map(|it| (it.order, it.done)).unzip();
            metrics::counter!("spsi_order_statements_total").increment(1);
            if put(&mut connection, &orders, told).await {
                kept = Some((Instant::now(), connection));
            }
        }
        kept
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
    let mut lines = 0;
    let fits = |waiting: &&Waiting| {
        lines += waiting.order.order.lines.len();
        lines <= LINES
    };
    // An order that is longer goes alone.
    let count = waiting.iter().take(most).take_while(fits).count().max(1).min(waiting.len());
    waiting.drain(..count).collect()
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

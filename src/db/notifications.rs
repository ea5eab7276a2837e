//! Notifications of Postgres (`LISTEN`), which wake a task that otherwise polls.

use super::Pool;
use crate::config::Pooling;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// How long to wait before listening again after a failure.
const RETRY: Duration = Duration::from_secs(1);

/// Listens on one channel until dropped.
///
/// A task of its own reads every notification when it arrives, because Postgres keeps unread notifications, without limit,
/// for all listeners. It uses one connection beyond those of the pool. Notifications of a lost connection are lost, and with
/// [`Pooling::Transaction`] none arrives: callers poll as well.
#[derive(Debug)]
pub struct Notifications {
    arrived: Arc<Notify>,
    reader: JoinHandle<()>,
}

impl Notifications {
    /// Starts to listen. Call on a tokio runtime.
    pub fn listen(pool: &Pool, channel: &'static str) -> Self {
        let arrived = Arc::<Notify>::default();
        let reader = tokio::spawn(read(pool.clone(), channel, arrived.clone()));
        Self { arrived, reader }
    }

    /// Returns when a notification has arrived since the last call: once, however many have. Also returns when the
    /// connection was made anew, because notifications may have been lost.
    pub async fn arrived(&self) {
        self.arrived.notified().await;
    }
}

impl Drop for Notifications {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn read(pool: Pool, channel: &'static str, arrived: Arc<Notify>) {
    if pool.pooling() == Pooling::Transaction {
        return;
    }
    let listening = pool.another(1, &[]);
    while !pool.is_closed() {
        let Err(error) = forward(&listening, channel, &arrived).await;
        tracing::warn!(%error, channel, "cannot listen for notifications; polling instead");
        tokio::time::sleep(RETRY).await;
    }
}

async fn forward(pool: &Pool, channel: &str, arrived: &Notify) -> Result<Infallible, sqlx::Error> {
    let mut listener = pool.listener().await?;
    listener.listen(channel).await?;
    loop {
        arrived.notify_one();
        // Returns without a notification if the connection was lost, after it has connected anew.
        listener.try_recv().await?;
    }
}

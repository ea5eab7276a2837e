//! Wakes the webhook dispatchers after commits that recorded events.
//!
//! Postgres commits transactions that notify one after another. Frequent writers (the batches of orders, the delivery
//! worker) therefore ring this doorbell after their commit: one notification, from a connection of its own, covers all
//! commits of the last milliseconds. A notification that is lost with its process costs a poll interval, not an event.

use super::store;
use crate::db::Pool;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The notification channel of new events.
pub const CHANNEL: &str = "spsi_events";
/// Commits within this time share a notification.
const MAX_DELAY: Duration = Duration::from_millis(5);

/// Cheap to clone; clones share the notification.
#[derive(Clone, Debug)]
pub struct Doorbell {
    pool: Pool,
    is_ringing: Arc<AtomicBool>,
}

impl Doorbell {
    pub fn new(pool: Pool) -> Self {
        Self { pool, is_ringing: Arc::default() }
    }

    /// Notifies the dispatchers soon. Call after the commit, on a tokio runtime.
    pub fn ring(&self) {
        if self.is_ringing.swap(true, Ordering::AcqRel) {
            return;
        }
        let Self { pool, is_ringing } = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(MAX_DELAY).await;
            // A commit from here on rings again.
            is_ringing.store(false, Ordering::Release);
            if let Err(error) = store::notify(&pool).await {
                tracing::debug!(%error, "cannot notify of new events; dispatchers poll");
            }
        });
    }
}

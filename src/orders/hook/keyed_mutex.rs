//! A mutex for each key, which exists while somebody holds it or waits for it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::OwnedMutexGuard;

/// Mutexes by key. Waiters of one key get it in the order of their calls.
#[derive(Debug)]
pub struct KeyedMutex<K: Eq + Hash>(Mutex<HashMap<K, Arc<tokio::sync::Mutex<()>>>>);

/// The lock of a key. Dropping it passes the lock on.
#[derive(Debug)]
pub struct KeyGuard<K: Eq + Hash> {
    owner: Arc<KeyedMutex<K>>,
    key: K,
    guard: Option<OwnedMutexGuard<()>>,
}

impl<K: Eq + Hash> Default for KeyedMutex<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash + Clone> KeyedMutex<K> {
    /// Waits for the lock of a key.
    pub async fn lock(self: &Arc<Self>, key: K) -> KeyGuard<K> {
        let mutex = Arc::clone(self.mutexes().entry(key.clone()).or_default());
        // Made before the wait, so that a caller who stops waiting leaves no entry behind.
        let mut guard = KeyGuard { owner: Arc::clone(self), key, guard: None };
        guard.guard = Some(mutex.lock_owned().await);
        guard
    }
}

impl<K: Eq + Hash> KeyedMutex<K> {
    fn mutexes(&self) -> std::sync::MutexGuard<'_, HashMap<K, Arc<tokio::sync::Mutex<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash> Drop for KeyGuard<K> {
    fn drop(&mut self) {
        let mut mutexes = self.owner.mutexes();
        self.guard = None;
        // Holders and waiters have a clone each; the last one removes the entry.
        if mutexes.get(&self.key).is_some_and(|mutex| Arc::strong_count(mutex) == 1) {
            mutexes.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[tokio::test]
    async fn a_key_has_one_holder_and_no_entry_afterwards() {
        let locks = Arc::new(KeyedMutex::default());
        let first = locks.lock("a").await;
        assert!(locks.lock("a").now_or_never().is_none(), "it is held");
        let other = locks.lock("b").await;
        let mut second = Box::pin(locks.lock("a"));
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        let second = second.await;
        drop((second, other));
        assert!(locks.mutexes().is_empty());
    }
}

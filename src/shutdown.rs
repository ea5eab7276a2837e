//! Graceful shutdown: SIGTERM or Ctrl-C becomes one event that every part of the process can wait for.

use tokio::signal::unix::{self, SignalKind};
use tokio::sync::watch;

/// The receiver of the shutdown event. Each part of the process holds a clone.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<bool>);

/// The sender of the shutdown event. Dropping it begins the shutdown too.
#[derive(Debug)]
pub struct ShutdownTrigger(watch::Sender<bool>);

/// Creates a trigger and its receiver.
pub fn channel() -> (ShutdownTrigger, Shutdown) {
    let (sender, receiver) = watch::channel(false);
    (ShutdownTrigger(sender), Shutdown(receiver))
}

impl ShutdownTrigger {
    /// Begins the shutdown.
    pub fn pull(&self) {
        self.0.send_replace(true);
    }
}

impl Shutdown {
    /// Returns whether the shutdown has begun.
    pub fn has_begun(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }

    /// Waits until the shutdown begins.
    pub async fn begun(&self) {
        // An error means that the trigger was dropped, which begins the shutdown too.
        let _ = self.0.clone().wait_for(|begun| *begun).await;
    }
}

/// Waits for SIGTERM or Ctrl-C.
pub async fn signal() {
    let terminated = async {
        match unix::signal(SignalKind::terminate()) {
            Ok(mut terminate) => terminate.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = terminated => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

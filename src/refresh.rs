//! Keeps the clinics and the catalogue in memory up to date. A notification from Postgres triggers a refresh at once; a
//! refresh at an interval finds changes whose notification was lost. While Postgres is unreachable, memory stays as it is.

use crate::catalog::Catalog;
use crate::clinics::cache::ClinicCache;
use crate::clock::Clock;
use crate::db::{Notifications, Pool};
use crate::shutdown::Shutdown;
use std::time::{Duration, Instant};

/// The pause after a refresh is at least this many times as long as the refresh took. Under a flood of orders, stock is
/// thus read less often, which leaves the database to the orders.
const PAUSE_PER_REFRESH: u32 = 9;
/// The pause is at most this many intervals long.
const MAX_INTERVALS: u32 = 5;

/// Refreshes what this process holds in memory.
#[derive(Clone)]
pub struct Refresher {
    pub pool: Pool,
    pub clinic_cache: ClinicCache,
    pub catalog: Catalog,
    pub clock: Clock,
    pub interval: Duration,
}

impl Refresher {
    /// Reads the changes since the last refresh.
    pub async fn refresh(&self) -> anyhow::Result<()> {
        if self.clinic_cache.refresh().await? {
            self.catalog.forget_clinics();
        }
        self.catalog.refresh(self.clock.now()).await?;
        Ok(())
    }

    /// Refreshes until the shutdown begins.
    pub async fn run(self, shutdown: Shutdown) {
        let changes = Notifications::listen(&self.pool, "spsi_data");
        let mut is_failing = false;
        while !shutdown.has_begun() {
            let began = Instant::now();
            let refreshed = self.refresh().await;
            let duration = began.elapsed();
            match &refreshed {
                Ok(()) if is_failing => tracing::info!("clinics and catalogue are up to date again"),
                Err(error) if !is_failing => {
                    let error = format!("{error:#}");
                    tracing::error!(error, "cannot read clinics and catalogue; serving the last state in memory");
                }
                _ => {}
            }
            is_failing = refreshed.is_err();
            metrics::gauge!("spsi_refresh_failing").set(if is_failing { 1.0 } else { 0.0 });
            let pause = if is_failing { self.interval } else { self.pause_after(duration) };
            tokio::select! {
                () = shutdown.begun() => return,
                () = tokio::time::sleep(pause) => {}
                () = changes.arrived() => {}
            }
        }
    }

    fn pause_after(&self, refresh: Duration) -> Duration {
        let longest = self.interval.saturating_mul(MAX_INTERVALS);
        refresh.saturating_mul(PAUSE_PER_REFRESH).clamp(self.interval, longest)
    }
}

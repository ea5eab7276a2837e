//! Keeps what is in memory up to date: clinics and catalogue are read again when Postgres tells of a change, and asked
//! for at an interval should a notification be lost. While Postgres is away, what is in memory stays.

use crate::catalog::Catalog;
use crate::clinics::cache::ClinicCache;
use crate::clock::Clock;
use crate::shutdown::Shutdown;
use sqlx::PgPool;
use sqlx::postgres::PgListener;
use std::time::{Duration, Instant};

/// What keeps up waits so many times as long as it worked: under a flood of orders, stock is read less often instead of
/// taking the database from them.
const IDLE_SHARE: u32 = 9;
/// But never longer than so many intervals.
const MOST_INTERVALS: u32 = 5;

/// Everything that is kept in memory.
#[derive(Clone)]
pub struct Refresher {
    pub pool: PgPool,
    pub clinic_cache: ClinicCache,
    pub catalog: Catalog,
    pub clock: Clock,
    pub interval: Duration,
}

impl Refresher {
    /// Reads what has changed, once.
    pub async fn refresh(&self) -> anyhow::Result<()> {
        if self.clinic_cache.changed().await? {
            self.catalog.forget_clinics();
        }
        self.catalog.refresh(self.clock.now()).await?;
        Ok(())
    }

    /// Keeps up until the shutdown begins.
    pub async fn run(self, shutdown: Shutdown) {
        let mut listener = None;
        let mut was_away = false;
        while !shutdown.has_begun() {
            let began = Instant::now();
            match self.refresh().await {
                Ok(()) if was_away => {
                    tracing::info!("clinics and catalogue are up to date again");
                    was_away = false;
                }
                Ok(()) => {}
                Err(error) => {
                    if !was_away {
                        tracing::error!(
                            error = format!("{error:#}"),
                            "clinics and catalogue cannot be read; what is in memory stays"
                        );
                    }
                    was_away = true;
                }
            }
            let busy = if was_away { Duration::ZERO } else { began.elapsed() };
            let pause =
                busy.saturating_mul(IDLE_SHARE).clamp(self.interval, self.interval.saturating_mul(MOST_INTERVALS));
            metrics::gauge!("spsi_refresh_failing").set(if was_away { 1.0 } else { 0.0 });
            if listener.is_none() && !was_away {
                listener = self.listen().await;
            }
            tokio::select! {
                () = shutdown.begun() => return,
                () = tokio::time::sleep(pause) => {}
                heard = heard(&mut listener) => if !heard { listener = None },
            }
        }
    }

    async fn listen(&self) -> Option<PgListener> {
        let mut listener = PgListener::connect_with(&self.pool).await.ok()?;
        listener.listen("spsi_data").await.ok()?;
        Some(listener)
    }
}

/// Waits for a notification; for ever without a listener. False when the listener is lost.
async fn heard(listener: &mut Option<PgListener>) -> bool {
    match listener {
        Some(listener) => listener.try_recv().await.is_ok_and(|notification| notification.is_some()),
        None => std::future::pending().await,
    }
}

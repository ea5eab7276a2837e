//! Applies the defaults of orders about which nobody decided in time.
//!
//! Each order is decided in a transaction of its own, under the order's row lock, with its audit entry: a killed worker leaves
//! the order to the next one, and of several workers one decides. A decision by staff that commits first wins. The task looks
//! for deadlines every `SPSI_WORKER_POLL`.

mod store;

use super::{Action, OrderError, change};
use crate::audit;
use crate::clock::{Clock, rfc3339};
use crate::config::{AskDefault, ClinicSettings};
use crate::db::Pool;
use crate::events;
use crate::shutdown::Shutdown;
use serde_json::json;
use sqlx::PgConnection;
use std::time::Duration;
use store::Overdue;
use time::OffsetDateTime;

/// The actor in audit entries for what follows without anybody's action.
const ACTOR: &str = "spsi";
const REASON: &str = "no decision was made in time";

/// Applies defaults when they are due, until the shutdown begins.
pub async fn run(pool: Pool, clock: Clock, defaults: ClinicSettings, poll: Duration, shutdown: Shutdown) {
    while !shutdown.has_begun() {
        match apply_next(&pool, clock.now(), &defaults).await {
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) => {
                let error = format!("{:#}", anyhow::Error::from(error));
                tracing::warn!(error, "cannot apply the defaults of overdue orders");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(poll) => {}
            () = shutdown.begun() => {}
        }
    }
}

/// Applies one default. Returns false if none is due.
async fn apply_next(pool: &Pool, now: OffsetDateTime, defaults: &ClinicSettings) -> Result<bool, OrderError> {
    let mut transaction = pool.begin().await?;
    let Some(overdue) = store::lock_overdue(&mut transaction, now).await? else { return Ok(false) };
    let default = apply(&mut transaction, now, defaults, &overdue).await?;
    transaction.commit().await?;
    metrics::counter!("spsi_orders_overdue_total", "default" => default.as_str()).increment(1);
    tracing::info!(order = overdue.number, default = default.as_str(), "nobody decided about an order in time");
    Ok(true)
}

async fn apply(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    defaults: &ClinicSettings,
    overdue: &Overdue,
) -> Result<AskDefault, OrderError> {
    let Overdue { id, number, default, decide_by } = overdue;
    let default = default.parse().unwrap_or(AskDefault::Hold);
    match default {
        AskDefault::Hold => {
            store::clear_deadline(connection, now, *id).await?;
            let detail = json!({"was": "held", "reason": REASON, "decide_by": rfc3339(*decide_by)});
            audit::record(connection, now, ACTOR, "order.hold", ("order", Some(id.0)), detail).await?;
            events::record_order(connection, now, events::Kind::OrderHeld, *id, Some(REASON)).await?;
        }
        AskDefault::Accept => {
            change(connection, now, ACTOR, number, Action::Accept, Some(REASON), None).await?;
        }
        AskDefault::Decline => {
            let reason = "The supplier did not confirm the order in time";
            change(connection, now, ACTOR, number, Action::Decline { defaults }, Some(reason), None).await?;
        }
    }
    Ok(default)
}

//! Stores what became of calls: of their messages, and of their endpoints.

use super::Sent;
use super::store::{self, Health, Settled};
use crate::audit;
use crate::config::WebhookSettings;
use crate::db::Pool;
use crate::secret::random_bytes;
use crate::webhooks::policy::{Next, Outcome, decide};
use crate::webhooks::{attempts, fan_out};
use serde_json::json;
use sqlx::PgConnection;
use std::collections::BTreeMap;
use time::OffsetDateTime;

/// The actor in audit entries for what the dispatcher decides.
const ACTOR: &str = "server:webhooks";

/// Returns a random number between 0 and 1, which keeps many waits from ending at the same time.
fn jitter() -> f64 {
    random_bytes::<1>().map_or(1.0, |[byte]| f64::from(byte) / 255.0)
}

/// Settles calls in one transaction, in the order in which they ended.
pub(super) async fn settle(
    pool: &Pool,
    settings: &WebhookSettings,
    now: OffsetDateTime,
    sent: &[Sent],
) -> Result<(), sqlx::Error> {
    let waits = settings.waits();
    let messages: Vec<Settled> = sent
        .iter()
        .filter_map(|sent| {
            let attempt = &sent.attempt;
            let next = decide(attempt.outcome, attempt.attempt, &waits, now, jitter());
            let (state, due_at) = match next {
                Next::Delivered => ("delivered", None),
                Next::RetryAt(at) => ("waiting", Some(at)),
                Next::GiveUp => ("failed", None),
            };
            let event = attempt.event?;
            Some(Settled { event, endpoint: attempt.endpoint, lease: sent.lease, state, due_at })
        })
        .collect();
    let mut health: BTreeMap<i64, Health> = BTreeMap::new();
    for Sent { attempt, .. } in sent {
        health.entry(attempt.endpoint).or_default().add(attempt);
    }
    let gone: Vec<i64> =
        sent.iter().filter(|sent| sent.attempt.outcome == Outcome::Gone).map(|sent| sent.attempt.endpoint).collect();
    let attempts: Vec<_> = sent.iter().map(|sent| &sent.attempt).collect();
    let mut transaction = pool.begin().await?;
    fan_out::store::commit_without_flush(&mut transaction).await?;
    // A statement of its own: the next one sees every message that was made before the lock was free.
    fan_out::store::lock_shared(&mut transaction).await?;
    let given_up = store::settle(&mut transaction, &messages, now).await?;
    attempts::store::insert(&mut *transaction, &attempts).await?;
    let recovered = store::note_health(&mut transaction, &health, now).await?;
    fan_out::store::hurry(&mut transaction, &recovered, now).await?;
    let endpoints: Vec<i64> = health.keys().copied().collect();
    disable(&mut transaction, settings, &endpoints, &gone, now).await?;
    transaction.commit().await?;
    metrics::counter!("spsi_webhook_messages_given_up_total").increment(given_up);
    Ok(())
}

/// Switches off endpoints that want no more messages or have failed for too long.
async fn disable(
    connection: &mut PgConnection,
    settings: &WebhookSettings,
    endpoints: &[i64],
    gone: &[i64],
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    let failing_before = now - settings.webhook_disable_after.0;
    for (id, reason) in store::disable(connection, endpoints, gone, failing_before, now).await? {
        tracing::warn!(webhook = id, reason, "switched off a webhook");
        let detail = json!({ "reason": reason });
        audit::record(connection, now, ACTOR, "webhook.disable", ("webhook", Some(id)), detail).await?;
    }
    Ok(())
}

//! `/webhooks`: where events are sent.

use super::body::{Nothing, duration};
use super::clinics::Rotation;
use super::page::{List, PageParams};
use super::patch::present;
use super::problem::{FieldError, Kind, Problem, Result};
use super::query::{Id, NoParams, Read, parse_id};
use super::write::{Answer, Write, version_of};
use crate::webhooks::client::Client;
use crate::webhooks::{self, Attempt, Change, Endpoint, EndpointError, EndpointWithSecret, NewEndpoint, ReplayFrom};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use time::OffsetDateTime;
use utoipa::ToSchema;
use validator::Validate;

impl From<EndpointError> for Problem {
    fn from(error: EndpointError) -> Self {
        match error {
            EndpointError::Unknown(id) => Self::not_found("webhook", id),
            EndpointError::Invalid(errors) => {
                Self::invalid(errors.into_iter().map(|error| FieldError::new(error.field, error.message)).collect())
            }
            EndpointError::Event(error) => error.into(),
            EndpointError::Secret(error) => error.into(),
            EndpointError::Database(error) => error.into(),
        }
    }
}

/// A webhook to add.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct NewWebhook {
    /// Receives the events. `https`, at a public address.
    #[schema(min_length = 1, max_length = 2000, example = "https://erp.example.com/spsi")]
    url: String,
    /// For people.
    #[serde(default)]
    #[schema(max_length = 500)]
    description: String,
    /// Types of events to send. Absent or empty: all.
    #[serde(default)]
    #[schema(example = json!(["order.accepted", "order.cancelled"]))]
    events: Vec<String>,
    /// Only events of this clinic: id, client id or name. Absent or null: all events.
    clinic: Option<String>,
}

/// Changes of a webhook. An absent field stays as it is.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct WebhookChange {
    #[schema(min_length = 1, max_length = 2000)]
    url: Option<String>,
    #[schema(max_length = 500)]
    description: Option<String>,
    /// Types of events to send. Empty: all.
    events: Option<Vec<String>>,
    /// Only events of this clinic: id, client id or name. Null: all events.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    clinic: Option<Option<String>>,
    /// `active`, also for a webhook that the server has disabled; or `paused`.
    #[schema(example = "active")]
    state: Option<String>,
}

/// Which events to send again: exactly one of the three.
#[derive(Clone, Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct Replay {
    /// This event and every later one.
    #[schema(example = "evt_17")]
    from: Option<String>,
    /// Every event recorded at or after this time.
    #[serde(default, with = "time::serde::rfc3339::option")]
    since: Option<OffsetDateTime>,
    /// Only this event.
    #[schema(example = "evt_17")]
    event: Option<String>,
}

/// What staff edit of a webhook; its version for `ETag`.
#[derive(Serialize)]
struct Editable<'a>(&'a str, &'a str, &'a [String], Option<i64>, &'a str, OffsetDateTime);

fn version(endpoint: &Endpoint) -> String {
    let Endpoint { url, description, events, clinic_id, state, changed_at, .. } = endpoint;
    version_of(&Editable(url, description, events, *clinic_id, state, *changed_at))
}

/// List webhooks
///
/// Newest first. Secrets are not shown.
#[utoipa::path(get, path = "/webhooks", tag = "webhooks", params(PageParams),
    responses((status = 200, description = "Webhooks", body = List<Endpoint>)))]
pub async fn list_webhooks(read: Read<NoParams, PageParams>) -> Result<Answer> {
    let page = read.page.before()?;
    let data = webhooks::list(&mut *read.staff.pool.begin().await?, page).await?;
    read.page.answer(data, |webhook| webhook.id)
}

/// Show a webhook
#[utoipa::path(get, path = "/webhooks/{id}", tag = "webhooks", params(("id" = String, Path)),
    responses((status = 200, description = "The webhook, with its version in `ETag`", body = Endpoint)))]
pub async fn show_webhook(read: Read, id: Id) -> Result<Answer> {
    let webhook = webhooks::find(&mut *read.staff.pool.begin().await?, parse_id("webhook", &id)?).await?;
    Answer::versioned(&webhook, &version(&webhook))
}

/// Add a webhook
///
/// It gets the events that are recorded from now on. The answer shows the signing secret, once.
#[utoipa::path(post, path = "/webhooks", tag = "webhooks", request_body = NewWebhook,
    responses((status = 201, description = "The new webhook", body = EndpointWithSecret)))]
pub async fn add_webhook(connection: &mut PgConnection, write: Write<NewWebhook>) -> Result<Answer> {
    let keys = write.staff.encryption_keys()?;
    let NewWebhook { url, description, events, clinic } = write.content;
    let new = NewEndpoint { url, description, events, clinic };
    let allow_private = write.staff.settings.webhooks.webhook_allow_private;
    let added = webhooks::add(connection, keys, allow_private, write.now, &write.actor, new).await?;
    Ok(Answer::created(&format!("/webhooks/{}", added.endpoint.id), &added)?.with_version(&version(&added.endpoint)))
}

/// Change a webhook
///
/// A webhook that is paused or disabled loses nothing: when it is `active` again, it gets the events since then.
#[utoipa::path(patch, path = "/webhooks/{id}", tag = "webhooks", params(("id" = String, Path)), request_body = WebhookChange,
    responses((status = 200, description = "The changed webhook", body = Endpoint)))]
pub async fn change_webhook(connection: &mut PgConnection, write: Write<WebhookChange>, id: Id) -> Result<Answer> {
    let id = parse_id("webhook", &id)?;
    webhooks::lock(connection).await?;
    write.check_version(&version(&webhooks::find(connection, id).await?))?;
    let WebhookChange { url, description, events, clinic, state } = write.content;
    let change = Change { url, description, events, clinic, state };
    let allow_private = write.staff.settings.webhooks.webhook_allow_private;
    let changed = webhooks::set(connection, allow_private, write.now, &write.actor, id, change).await?;
    Answer::versioned(&changed, &version(&changed))
}

/// Remove a webhook
///
/// Its waiting messages and its attempts are removed, too. The events stay in the log.
#[utoipa::path(delete, path = "/webhooks/{id}", tag = "webhooks", params(("id" = String, Path)),
    request_body = Nothing, responses((status = 204, description = "Removed")))]
pub async fn remove_webhook(connection: &mut PgConnection, write: Write, id: Id) -> Result<Answer> {
    let id = parse_id("webhook", &id)?;
    webhooks::lock(connection).await?;
    write.check_version(&version(&webhooks::find(connection, id).await?))?;
    webhooks::remove(connection, write.now, &write.actor, id).await?;
    Ok(Answer::no_content())
}

/// Rotate the secret of a webhook
///
/// The answer shows the new secret, once. Messages carry a signature of the old secret, too, during the overlap.
#[utoipa::path(post, path = "/webhooks/{id}/rotate-secret", tag = "webhooks", params(("id" = String, Path)),
    request_body = Rotation, responses((status = 200, description = "The webhook", body = EndpointWithSecret)))]
pub async fn rotate_webhook_secret(connection: &mut PgConnection, write: Write<Rotation>, id: Id) -> Result<Answer> {
    let keys = write.staff.encryption_keys()?;
    let overlap = duration("overlap", write.content.overlap.as_deref())?;
    let overlap = overlap.unwrap_or(write.staff.settings.webhooks.webhook_secret_overlap.0);
    let id = parse_id("webhook", &id)?;
    Answer::ok(&webhooks::rotate_secret(connection, keys, write.now, &write.actor, id, overlap).await?)
}

/// Send a test message
///
/// A signed message of the type `webhook.test`, whatever the state of the webhook. The answer is the attempt; see its `outcome`.
/// An `Idempotency-Key` has no effect: a repeated request sends another message.
#[utoipa::path(post, path = "/webhooks/{id}/test", tag = "webhooks", params(("id" = String, Path)), request_body = Nothing,
    responses((status = 200, description = "The attempt", body = Attempt)))]
pub async fn test_webhook(write: Write, id: Id) -> Result<Answer> {
    let (staff, settings) = (&write.staff, &write.staff.settings.webhooks);
    let client = Client::new(settings.webhook_allow_private)
        .map_err(|error| Problem::fault(error, "the HTTP client of webhooks cannot be made"))?;
    let (keys, deadline) = (staff.encryption_keys()?, settings.webhook_timeout.0);
    let attempt = webhooks::test(&staff.pool, &client, keys, write.now, deadline, parse_id("webhook", &id)?).await?;
    Answer::ok(&attempt)
}

/// Send events again
///
/// Exactly one of `from`, `since` and `event`. Events that the webhook got already are sent again, under the same ids.
#[utoipa::path(post, path = "/webhooks/{id}/replay", tag = "webhooks", params(("id" = String, Path)), request_body = Replay,
    responses((status = 200, description = "The webhook; the messages follow", body = Endpoint)))]
pub async fn replay_webhook(write: Write<Replay>, id: Id) -> Result<Answer> {
    let id = parse_id("webhook", &id)?;
    let Replay { from, since, event } = write.content.clone();
    let from = match (from, since, event) {
        (None, None, Some(event)) => {
            return write
                .run(async |connection, write| {
                    Answer::ok(&webhooks::resend(connection, write.now, &write.actor, id, &event).await?)
                })
                .await;
        }
        (Some(from), None, None) => ReplayFrom::Event(from),
        (None, Some(since), None) => ReplayFrom::Time(since),
        _ => return Err(Problem::field(Kind::Invalid, "(body)", "give exactly one of from, since and event")),
    };
    // Found before the transaction: the sequencer needs one of its own.
    let position = from.position(&write.staff.pool).await?;
    write
        .run(async |connection, write| {
            Answer::ok(&match position {
                Some(start) => webhooks::replay(connection, write.now, &write.actor, id, &from, start).await?,
                None => webhooks::find(connection, id).await?,
            })
        })
        .await
}

/// List the calls to a webhook
///
/// Newest first, with the beginning of each answer. Kept for SPSI_WEBHOOK_ATTEMPTS_KEPT_FOR.
#[utoipa::path(get, path = "/webhooks/{id}/attempts", tag = "webhooks", params(("id" = String, Path), PageParams),
    responses((status = 200, description = "Attempts", body = List<Attempt>)))]
pub async fn list_webhook_attempts(read: Read<NoParams, PageParams>, id: Id) -> Result<Answer> {
    let (pool, id) = (&read.staff.pool, parse_id("webhook", &id)?);
    webhooks::find(&mut *pool.begin().await?, id).await?;
    let data = webhooks::list_attempts(pool, id, read.page.before()?).await?;
    read.page.answer(data, |attempt| attempt.id)
}

//! `/webhooks`: where events are sent.

use super::body::Nothing;
use super::page::{List, PageParams};
use super::problem::{FieldError, Kind, Problem};
use super::query::Read;
use super::write::{Answer, Json, Write, version_of};
use crate::config::Span;
use crate::webhooks::client::Client;
use crate::webhooks::{self, Attempt, Change, Endpoint, EndpointError, EndpointWithSecret, NewEndpoint, ReplayFrom};
use actix_web::{HttpResponse, web};
use serde::{Deserialize, Deserializer, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
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
            EndpointError::Secret(error) => {
                tracing::error!(%error, "the secret of a webhook cannot be sealed or opened");
                Self::internal()
            }
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
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    clinic: Option<Option<String>>,
    /// `active`, also for a webhook that the server has disabled; or `paused`.
    #[schema(example = "active")]
    state: Option<String>,
}

/// Reads a field that is there, so that null differs from an absent field.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// A rotation of the secret.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// How long the old secret signs beside the new one [default: SPSI_WEBHOOK_SECRET_OVERLAP]
    #[schema(example = "24h")]
    overlap: Option<String>,
}

/// Which events to send again: exactly one of the three.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct Replay {
    /// This event and every later one.
    #[schema(example = "evt_17")]
    from: Option<String>,
    /// Every event recorded at or after this time.
    #[schema(format = DateTime)]
    since: Option<String>,
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

fn parse_id(text: &str) -> Result<i64, Problem> {
    text.parse().map_err(|_| Problem::not_found("webhook", text))
}

/// List webhooks
///
/// Newest first. Secrets are not shown.
#[utoipa::path(get, path = "/webhooks", tag = "webhooks", params(PageParams),
    responses((status = 200, description = "Webhooks", body = List<Endpoint>)))]
pub async fn list_webhooks(read: Read<super::query::NoParams, PageParams>) -> Result<HttpResponse, Problem> {
    let page = read.page.page(&read.staff.settings)?;
    let data = webhooks::list(&mut *read.staff.pool.acquire().await?, page).await?;
    read.page.respond(&read.staff.settings, data, |webhook| webhook.id)
}

/// Show a webhook
#[utoipa::path(get, path = "/webhooks/{id}", tag = "webhooks", params(("id" = String, Path)),
    responses((status = 200, description = "The webhook, with its version in `ETag`", body = Endpoint)))]
pub async fn show_webhook(read: Read, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    let webhook = webhooks::find(&mut *read.staff.pool.acquire().await?, parse_id(&id)?).await?;
    Ok(HttpResponse::Ok().insert_header(("etag", format!("\"{}\"", version(&webhook)))).json(webhook))
}

/// Add a webhook
///
/// It gets the events that are recorded from now on. The answer shows the signing secret, once.
#[utoipa::path(post, path = "/webhooks", tag = "webhooks", request_body = NewWebhook,
    responses((status = 201, description = "The new webhook", body = EndpointWithSecret)))]
pub async fn add_webhook(write: Write<Json<NewWebhook>>) -> Result<HttpResponse, Problem> {
    write
        .run(async |connection, write| {
            let keys = write.staff.encryption_keys()?;
            let Json(NewWebhook { url, description, events, clinic }) = write.content;
            let new = NewEndpoint { url, description, events, clinic };
            let (allow_private, actor) = (write.staff.settings.webhooks.webhook_allow_private, write.caller.actor());
            let added = webhooks::add(connection, keys, allow_private, write.now, &actor, new).await?;
            Ok(Answer::created(&format!("/webhooks/{}", added.endpoint.id), &added)?
                .with_version(&version(&added.endpoint)))
        })
        .await
}

/// Change a webhook
///
/// A webhook that is paused or disabled loses nothing: when it is `active` again, it gets the events since then.
#[utoipa::path(patch, path = "/webhooks/{id}", tag = "webhooks", params(("id" = String, Path)), request_body = WebhookChange,
    responses((status = 200, description = "The changed webhook", body = Endpoint)))]
pub async fn change_webhook(write: Write<Json<WebhookChange>>, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    write
        .run(async |connection, write| {
            let id = parse_id(&id)?;
            webhooks::lock(connection).await.map_err(Problem::from)?;
            write.check_version(&version(&webhooks::find(connection, id).await?))?;
            let Json(WebhookChange { url, description, events, clinic, state }) = write.content;
            let change = Change { url, description, events, clinic, state };
            let (allow_private, actor) = (write.staff.settings.webhooks.webhook_allow_private, write.caller.actor());
            let changed = webhooks::set(connection, allow_private, write.now, &actor, id, change).await?;
            Ok(Answer::ok(&changed)?.with_version(&version(&changed)))
        })
        .await
}

/// Remove a webhook
///
/// Its waiting messages and its attempts are removed, too. The events stay in the log.
#[utoipa::path(delete, path = "/webhooks/{id}", tag = "webhooks", params(("id" = String, Path)),
    responses((status = 204, description = "Removed")))]
pub async fn remove_webhook(write: Write<Json<Nothing>>, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    write
        .run(async |connection, write| {
            let id = parse_id(&id)?;
            webhooks::lock(connection).await.map_err(Problem::from)?;
            write.check_version(&version(&webhooks::find(connection, id).await?))?;
            webhooks::remove(connection, write.now, &write.caller.actor(), id).await?;
            Ok(Answer::no_content())
        })
        .await
}

/// Rotate the secret of a webhook
///
/// The answer shows the new secret, once. Messages carry a signature of the old secret, too, during the overlap.
#[utoipa::path(post, path = "/webhooks/{id}/rotate-secret", tag = "webhooks", params(("id" = String, Path)),
    request_body = Rotation, responses((status = 200, description = "The webhook", body = EndpointWithSecret)))]
pub async fn rotate_webhook_secret(
    write: Write<Json<Rotation>>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    write
        .run(async |connection, write| {
            let keys = write.staff.encryption_keys()?;
            let overlap = write.content.0.overlap.as_deref().map(str::parse::<Span>).transpose();
            let overlap = overlap.map_err(|error| Problem::field(Kind::Invalid, "overlap", error.to_string()))?;
            let overlap = overlap.unwrap_or(write.staff.settings.webhooks.webhook_secret_overlap).0;
            let (id, actor) = (parse_id(&id)?, write.caller.actor());
            Answer::ok(&webhooks::rotate_secret(connection, keys, write.now, &actor, id, overlap).await?)
        })
        .await
}

/// Send a test message
///
/// A signed message of the type `webhook.test`, whatever the state of the webhook. The answer is the attempt; see its `outcome`.
/// An `Idempotency-Key` has no effect: a repeated request sends another message.
#[utoipa::path(post, path = "/webhooks/{id}/test", tag = "webhooks", params(("id" = String, Path)), request_body = Nothing,
    responses((status = 200, description = "The attempt", body = Attempt)))]
pub async fn test_webhook(write: Write<Json<Nothing>>, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    let (staff, settings) = (&write.staff, &write.staff.settings.webhooks);
    let client = Client::new(settings.webhook_allow_private).map_err(|error| {
        tracing::error!(%error, "cannot create the HTTP client of webhooks");
        Problem::internal()
    })?;
    let (keys, deadline) = (staff.encryption_keys()?, settings.webhook_timeout.0);
    let attempt = webhooks::test(&staff.pool, &client, keys, write.now, deadline, parse_id(&id)?).await?;
    Ok(HttpResponse::Ok().json(attempt))
}

/// Send events again
///
/// Exactly one of `from`, `since` and `event`. Events that the webhook got already are sent again, under the same ids.
#[utoipa::path(post, path = "/webhooks/{id}/replay", tag = "webhooks", params(("id" = String, Path)), request_body = Replay,
    responses((status = 200, description = "The webhook; the messages follow", body = Endpoint)))]
pub async fn replay_webhook(write: Write<Json<Replay>>, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    // Positions are found before the transaction: the sequencer needs one of its own.
    let start = Start::find(&write).await?;
    write
        .run(async |connection, write| {
            let (id, actor) = (parse_id(&id)?, write.caller.actor());
            let webhook = match start {
                Start::Event(event) => webhooks::resend(connection, write.now, &actor, id, &event).await?,
                Start::From(from, position) => {
                    webhooks::replay(connection, write.now, &actor, id, &from, position).await?
                }
                Start::Nothing => webhooks::find(connection, id).await?,
            };
            Answer::ok(&webhook)
        })
        .await
}

/// Where a replay starts.
enum Start {
    Event(String),
    From(ReplayFrom, i64),
    /// There is no event since then.
    Nothing,
}

impl Start {
    async fn find(write: &Write<Json<Replay>>) -> Result<Self, Problem> {
        let Json(Replay { from, since, event }) = &write.content;
        let from = match (from, since, event) {
            (None, None, Some(event)) => return Ok(Self::Event(event.clone())),
            (Some(from), None, None) => ReplayFrom::Event(from.clone()),
            (None, Some(since), None) => {
                let time = OffsetDateTime::parse(since, &Rfc3339);
                let text = "must be a time like 2027-01-31T08:00:00Z";
                ReplayFrom::Time(time.map_err(|_| Problem::field(Kind::Invalid, "since", text))?)
            }
            _ => {
                let text = "give exactly one of from, since and event";
                return Err(Problem::field(Kind::Invalid, "(body)", text));
            }
        };
        let position = from.position(&write.staff.pool).await?;
        Ok(position.map_or(Self::Nothing, |position| Self::From(from, position)))
    }
}

/// List the calls to a webhook
///
/// Newest first, with the beginning of each answer. Kept for SPSI_WEBHOOK_ATTEMPTS_KEPT_FOR.
#[utoipa::path(get, path = "/webhooks/{id}/attempts", tag = "webhooks", params(("id" = String, Path), PageParams),
    responses((status = 200, description = "Attempts", body = List<Attempt>)))]
pub async fn list_webhook_attempts(
    read: Read<super::query::NoParams, PageParams>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let (pool, id) = (&read.staff.pool, parse_id(&id)?);
    webhooks::find(&mut *pool.acquire().await?, id).await?;
    let data = webhooks::list_attempts(pool, id, read.page.page(&read.staff.settings)?).await?;
    read.page.respond(&read.staff.settings, data, |attempt| attempt.id)
}

//! Endpoints: where events are sent, with which secret. The use cases of staff; all but [`test`] run in the caller's
//! transaction.
//!
//! Guarantees: every change is recorded in the audit. A secret is stored sealed and shown once. A paused or switched-off
//! endpoint loses nothing: when it is active again, it catches up from where it stopped.

mod replay;
mod store;

pub use replay::{ReplayFrom, replay, resend};

use super::address::{BadUrl, check_url};
use super::attempts::{self, Attempt};
use super::call::{Message, Target, call, secret_owner};
use super::client::Client;
use super::fan_out;
use super::signature::SigningSecret;
use crate::audit;
use crate::db::{Page, Pool};
use crate::events::{EventError, Kind};
use crate::secret::{KeyRing, SecretError, random_text};
use serde::Serialize;
use serde_json::json;
use sqlx::PgConnection;
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use utoipa::ToSchema;

/// The type of the message that [`test`] sends.
pub const TEST_TYPE: &str = "webhook.test";
const MAX_DESCRIPTION: usize = 500;

/// Why a command about an endpoint was refused.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    #[error("there is no webhook {0}; `spsi webhook list` shows all webhooks")]
    Unknown(i64),
    /// Every field that is wrong.
    #[error("{}", describe(.0))]
    Invalid(Vec<FieldError>),
    #[error(transparent)]
    Event(#[from] EventError),
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
}

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    pub field: &'static str,
    pub message: String,
}

fn describe(errors: &[FieldError]) -> String {
    let errors: Vec<_> = errors.iter().map(|error| format!("{}: {}", error.field, error.message)).collect();
    errors.join("; ")
}

/// An endpoint.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Webhook)]
pub struct Endpoint {
    pub id: i64,
    pub url: String,
    pub description: String,
    /// Types of events that are sent. Empty: all
    pub events: Vec<String>,
    /// Name of the clinic whose events are sent. `null`: all events
    pub clinic: Option<String>,
    pub clinic_id: Option<i64>,
    /// `active`, `paused` by staff, or `disabled` by the server
    pub state: String,
    /// Why the server switched it off
    pub disabled_reason: Option<String>,
    /// Failed calls in a row
    pub failures: i32,
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub failing_since: Option<OffsetDateTime>,
    pub last_error: Option<String>,
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_delivered_at: Option<OffsetDateTime>,
    /// Until when the secret before the last rotation signs, too
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub previous_secret_until: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub changed_at: OffsetDateTime,
}

/// An endpoint with its new secret, which is shown only now.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = WebhookWithSecret)]
pub struct EndpointWithSecret {
    #[serde(flatten)]
    pub endpoint: Endpoint,
    /// Verify the signatures with it
    #[schema(example = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]
    pub secret: String,
}

/// An endpoint to add.
#[derive(Clone, Debug, Default)]
pub struct NewEndpoint {
    pub url: String,
    pub description: String,
    /// Types of events. Empty: all.
    pub events: Vec<String>,
    /// Id, client id or name.
    pub clinic: Option<String>,
}

/// Changes of an endpoint. `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct Change {
    pub url: Option<String>,
    pub description: Option<String>,
    pub events: Option<Vec<String>>,
    /// `Some(None)`: events of all clinics.
    pub clinic: Option<Option<String>>,
    /// `active` or `paused`.
    pub state: Option<String>,
}

/// Checks every field, and reports all errors together. Writes the URL in its normal form. Returns the change of the clinic.
async fn check(
    connection: &mut PgConnection,
    change: &mut Change,
    allow_private: bool,
) -> Result<Option<Option<i64>>, EndpointError> {
    let (mut errors, mut clinic) = (Vec::new(), None);
    let mut wrong = |field, message: String| errors.push(FieldError { field, message });
    match change.url.as_ref().map(|url| check_url(url, allow_private)) {
        Some(Ok(url)) => change.url = Some(url.into()),
        Some(Err(BadUrl::Private(address))) => {
            wrong("url", format!("{} (SPSI_WEBHOOK_ALLOW_PRIVATE=true permits it)", BadUrl::Private(address)));
        }
        Some(Err(error)) => wrong("url", error.to_string()),
        None => {}
    }
    if change.description.as_ref().is_some_and(|text| text.chars().count() > MAX_DESCRIPTION || text.contains('\0')) {
        wrong("description", format!("must be at most {MAX_DESCRIPTION} characters long"));
    }
    for unknown in change.events.iter().flatten().filter_map(|name| name.parse::<Kind>().err()) {
        wrong("events", unknown.to_string());
    }
    if let Some(state) = change.state.as_ref().filter(|state| !["active", "paused"].contains(&state.as_str())) {
        wrong("state", format!("`{state}` is not valid; use `active` or `paused`"));
    }
    match &change.clinic {
        Some(Some(which)) => match store::find_clinic(connection, which).await? {
            Some(id) => clinic = Some(Some(id)),
            None => wrong("clinic", format!("there is no clinic `{which}`")),
        },
        Some(None) => clinic = Some(None),
        None => {}
    }
    if errors.is_empty() { Ok(clinic) } else { Err(EndpointError::Invalid(errors)) }
}

/// Adds an endpoint in the caller's transaction. It gets the events that are recorded from now on.
pub async fn add(
    connection: &mut PgConnection,
    keys: &KeyRing,
    allow_private: bool,
    now: OffsetDateTime,
    actor: &str,
    new: NewEndpoint,
) -> Result<EndpointWithSecret, EndpointError> {
    let mut new = Change {
        url: Some(new.url),
        description: Some(new.description),
        events: Some(new.events),
        clinic: Some(new.clinic),
        state: None,
    };
    let clinic = check(connection, &mut new, allow_private).await?.flatten();
    let secret = SigningSecret::generate()?;
    let id = store::next_id(connection).await?;
    let sealed = keys.seal(secret.expose().as_bytes(), &secret_owner(id))?;
    let start = crate::events::sequence_in(connection).await?;
    store::insert(connection, id, (&new, clinic), &sealed, start, now).await?;
    let endpoint = find(connection, id).await?;
    let detail = json!({"url": endpoint.url, "events": endpoint.events, "clinic": endpoint.clinic_id});
    audit::record(connection, now, actor, "webhook.add", ("webhook", Some(id)), detail).await?;
    Ok(EndpointWithSecret { endpoint, secret: secret.expose().to_owned() })
}

/// Returns endpoints, newest first.
pub async fn list(connection: &mut PgConnection, page: Page) -> Result<Vec<Endpoint>, EndpointError> {
    Ok(store::list(connection, None, page).await?)
}

/// Returns one endpoint.
pub async fn find(connection: &mut PgConnection, id: i64) -> Result<Endpoint, EndpointError> {
    let found = store::list(connection, Some(id), Page::default()).await?.pop();
    found.ok_or(EndpointError::Unknown(id))
}

/// Keeps every other change, and the dispatcher's, from the endpoints until the end of the caller's transaction.
pub async fn lock(connection: &mut PgConnection) -> Result<(), EndpointError> {
    Ok(fan_out::store::lock(connection).await?)
}

/// Changes an endpoint in the caller's transaction. A disabled one that becomes active gets a new chance.
pub async fn set(
    connection: &mut PgConnection,
    allow_private: bool,
    now: OffsetDateTime,
    actor: &str,
    id: i64,
    mut change: Change,
) -> Result<Endpoint, EndpointError> {
    // Before the row's lock: a settlement locks in this order, too.
    fan_out::store::lock(connection).await?;
    let before = find(connection, id).await?;
    let clinic = check(connection, &mut change, allow_private).await?;
    store::update(connection, id, &change, clinic, now).await?;
    if change.state.as_deref() == Some("active") && before.state != "active" {
        fan_out::store::hurry(connection, &[id], now).await?;
    }
    let after = find(connection, id).await?;
    let detail = json!({"was": shown(&before), "is": shown(&after)});
    audit::record(connection, now, actor, "webhook.set", ("webhook", Some(id)), detail).await?;
    Ok(after)
}

/// What the audit shows of an endpoint.
fn shown(endpoint: &Endpoint) -> serde_json::Value {
    json!({"url": endpoint.url, "description": endpoint.description, "events": endpoint.events,
        "clinic": endpoint.clinic_id, "state": endpoint.state})
}

/// Replaces the secret in the caller's transaction. The old one signs beside the new one for `overlap`.
pub async fn rotate_secret(
    connection: &mut PgConnection,
    keys: &KeyRing,
    now: OffsetDateTime,
    actor: &str,
    id: i64,
    overlap: Duration,
) -> Result<EndpointWithSecret, EndpointError> {
    let secret = SigningSecret::generate()?;
    let sealed = keys.seal(secret.expose().as_bytes(), &secret_owner(id))?;
    let until = now + overlap;
    if !store::replace_secret(connection, id, &sealed, until, now).await? {
        return Err(EndpointError::Unknown(id));
    }
    let detail = json!({"previous_secret_until": until.format(&Rfc3339).unwrap_or_default()});
    audit::record(connection, now, actor, "webhook.rotate_secret", ("webhook", Some(id)), detail).await?;
    Ok(EndpointWithSecret { endpoint: find(connection, id).await?, secret: secret.expose().to_owned() })
}

/// Removes an endpoint with its waiting messages and its attempts, in the caller's transaction. Returns what it was.
pub async fn remove(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    actor: &str,
    id: i64,
) -> Result<Endpoint, EndpointError> {
    fan_out::store::lock(connection).await?;
    let endpoint = find(connection, id).await?;
    store::delete(connection, id).await?;
    audit::record(connection, now, actor, "webhook.remove", ("webhook", Some(id)), shown(&endpoint)).await?;
    Ok(endpoint)
}

/// Sends a message of the type `webhook.test`, whatever the endpoint's state, and returns the attempt. Changes nothing else.
pub async fn test(
    pool: &Pool,
    client: &Client,
    keys: &KeyRing,
    now: OffsetDateTime,
    deadline: Duration,
    id: i64,
) -> Result<Attempt, EndpointError> {
    let target: Target = store::find_target(pool, id).await?.ok_or(EndpointError::Unknown(id))?;
    let message_id = format!("evt_test_{}", random_text::<16>()?);
    let created_at = now.format(&Rfc3339).unwrap_or_default();
    let body = json!({"id": message_id, "type": TEST_TYPE, "created_at": created_at,
        "data": {"version": 1, "webhook": id}});
    let message =
        Message { id: message_id, event: None, event_type: TEST_TYPE.to_owned(), body: body.to_string(), attempt: 1 };
    let made = call(client, keys, &target, message, now, deadline).await;
    let stored = attempts::store::insert(pool, &[&made]).await?;
    let newest = Page { limit: Some(1), before: stored.first().map(|attempt| attempt + 1) };
    attempts::list(pool, id, newest).await?.pop().ok_or(EndpointError::Unknown(id))
}

/// Seals the stored secrets with the active key. Returns how many were sealed with another.
pub async fn reseal(pool: &Pool, keys: &KeyRing) -> Result<u64, EndpointError> {
    let mut resealed = 0;
    for (id, secret, previous) in store::list_secrets(pool).await? {
        let owner = secret_owner(id);
        let again = |sealed: &Vec<u8>| -> Result<Vec<u8>, SecretError> {
            keys.seal(keys.open(sealed, &owner)?.expose().as_bytes(), &owner)
        };
        if keys.is_stale(&secret) || previous.as_ref().is_some_and(|previous| keys.is_stale(previous)) {
            let new = (again(&secret)?, previous.as_ref().map(again).transpose()?);
            resealed += store::reseal(pool, id, &secret, &new.0, new.1.as_deref()).await?;
        }
    }
    Ok(resealed)
}

//! One signed call to an endpoint.

use super::attempts::{NewAttempt, stored_answer};
use super::client::Client;
use super::policy::Outcome;
use super::signature::{self, SigningSecret};
use crate::events::EventId;
use crate::secret::{KeyRing, SecretError};
use std::time::{Duration, Instant};
use time::OffsetDateTime;

/// Where a message goes, as stored.
#[derive(Clone, Debug)]
pub struct Target {
    pub endpoint: i64,
    pub url: String,
    /// Sealed.
    pub secret: Vec<u8>,
    /// Sealed, with the time until which it signs.
    pub previous_secret: Option<(Vec<u8>, OffsetDateTime)>,
}

/// What is sent.
#[derive(Clone, Debug)]
pub struct Message {
    /// The value of the header `webhook-id`.
    pub id: String,
    /// `None` for a test.
    pub event: Option<EventId>,
    pub event_type: String,
    pub body: String,
    /// Counted from 1.
    pub attempt: u32,
}

impl Target {
    /// Opens the secrets that sign now, the newest first.
    fn secrets(&self, keys: &KeyRing, now: OffsetDateTime) -> Result<Vec<SigningSecret>, SecretError> {
        let previous = self.previous_secret.iter().filter(|(_, until)| *until > now).map(|(sealed, _)| sealed);
        let sealed = std::iter::once(&self.secret).chain(previous);
        let owner = secret_owner(self.endpoint);
        sealed.map(|sealed| keys.open(sealed, &owner)?.expose().parse().map_err(|_| SecretError::Forged)).collect()
    }
}

/// The owner that a sealed secret is bound to.
pub fn secret_owner(endpoint: i64) -> String {
    format!("webhook:{endpoint}")
}

/// Calls the endpoint. Never fails: what went wrong is part of the attempt.
pub async fn call(
    client: &Client,
    keys: &KeyRing,
    target: &Target,
    message: Message,
    now: OffsetDateTime,
    deadline: Duration,
) -> NewAttempt {
    let began = Instant::now();
    let Message { id, event, event_type, body, attempt } = message;
    let mut new = NewAttempt {
        endpoint: target.endpoint,
        event,
        event_type,
        attempt,
        started_at: now,
        duration_ms: 0,
        outcome: Outcome::Failed,
        status: None,
        error: None,
        response: None,
    };
    let secrets = match target.secrets(keys, now) {
        Ok(secrets) => secrets,
        Err(error) => return NewAttempt { error: Some(format!("cannot open the secret: {error}")), ..new },
    };
    let headers = signature::headers(&secrets, &id, now.unix_timestamp(), body.as_bytes());
    let result = client.post(&target.url, &headers, body, deadline).await;
    new.duration_ms = i32::try_from(began.elapsed().as_millis()).unwrap_or(i32::MAX);
    new.outcome = Outcome::of(&result);
    match result {
        Ok(answer) => {
            new.error = (new.outcome != Outcome::Delivered).then(|| format!("answered {}", answer.status));
            new.status = Some(answer.status);
            new.response = Some(stored_answer(&answer.body));
        }
        Err(failure) => new.error = Some(failure.to_string()),
    }
    new
}

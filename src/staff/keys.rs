//! `/keys`: the API keys themselves.

use super::body::{Nothing, duration};
use super::page::{List, PageParams};
use super::problem::{Kind, Problem, Result};
use super::query::{Id, NoParams, Read};
use super::write::{Answer, Write};
use crate::auth::api_keys::{self, ApiKey, IssuedKey, KeyError, Role};
use serde::Deserialize;
use sqlx::PgConnection;
use utoipa::ToSchema;
use validator::Validate;

impl From<KeyError> for Problem {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::NotFound(which) => Self::not_found("key", which),
            KeyError::NameTaken(name) => {
                Self::field(Kind::Conflict, "name", format!("a key has the name `{name}` already"))
            }
            KeyError::BadName => Self::field(Kind::Invalid, "name", error.to_string()),
            KeyError::Revoked(which) => Self::new(Kind::Conflict, format!("Key `{which}` is revoked already.")),
            KeyError::ExpiryPassed => Self::field(Kind::Invalid, "expires_in", error.to_string()),
            KeyError::Secret(error) => error.into(),
            KeyError::Database(error) => error.into(),
        }
    }
}

/// A key to issue.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    /// Names the key in lists and in the audit trail.
    #[schema(min_length = 1, max_length = 100, example = "erp")]
    name: String,
    role: Role,
    /// How long the key is valid, such as `90d`. Absent or null: until it is revoked.
    #[schema(example = "365d")]
    expires_in: Option<String>,
}

/// List keys
///
/// Newest first, with the time of their last use. Secrets are not shown.
#[utoipa::path(get, path = "/keys", tag = "keys", params(PageParams),
    responses((status = 200, description = "The keys", body = List<ApiKey>)))]
pub async fn list_keys(read: Read<NoParams, PageParams>) -> Result<Answer> {
    let data = api_keys::list(&read.staff.pool, read.staff.clock.now()).await?;
    Answer::ok(&read.page.split(data, |key| -key.id)?)
}

/// Add a key
///
/// The answer shows the key, once: it is stored as a hash.
#[utoipa::path(post, path = "/keys", tag = "keys", request_body = NewKey,
    responses((status = 201, description = "The new key", body = IssuedKey)))]
pub async fn add_key(connection: &mut PgConnection, write: Write<NewKey>) -> Result<Answer> {
    let NewKey { name, role, expires_in } = write.content;
    let life = duration("expires_in", expires_in.as_deref())?;
    let issued = api_keys::add(connection, write.now, &write.actor, &name, role, life).await?;
    let path = format!("/keys/{}", issued.row.id);
    Answer::created(&path, &issued)
}

/// Revoke a key
///
/// The next request with this key is refused, on every replica. `id`: the id, the name or the prefix of the key.
#[utoipa::path(post, path = "/keys/{id}/revoke", tag = "keys", params(("id" = String, Path)), request_body = Nothing,
    responses((status = 200, description = "The revoked key", body = ApiKey)))]
pub async fn revoke_key(connection: &mut PgConnection, write: Write, id: Id) -> Result<Answer> {
    Answer::ok(&api_keys::revoke(connection, write.now, &write.actor, &id).await?)
}

//! `/keys`: the API keys themselves.

use super::page::{List, PageParams};
use super::problem::{Kind, Problem};
use super::query::{NoParams, Read};
use super::write::{Answer, Json, Write};
use crate::auth::api_keys::{self, ApiKey, KeyError, Role};
use crate::config::Span;
use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
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
            KeyError::Secret(error) => {
                tracing::error!(%error, "a key cannot be issued");
                Self::internal()
            }
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

/// A new key. This answer is the only one that shows it.
#[derive(Debug, Serialize, ToSchema)]
pub struct IssuedKey {
    #[serde(flatten)]
    row: ApiKey,
    /// Send it as `Authorization: Bearer <key>`.
    #[schema(example = "spsi_orders_k3v9x2m7_...")]
    key: String,
}

/// List keys
///
/// Newest first, with the time of their last use. Secrets are not shown.
#[utoipa::path(get, path = "/keys", tag = "keys", params(PageParams),
    responses((status = 200, description = "The keys", body = List<ApiKey>)))]
pub async fn list_keys(read: Read<NoParams, PageParams>) -> Result<HttpResponse, Problem> {
    let data = api_keys::list(&read.staff.pool, read.staff.clock.now()).await?;
    Ok(HttpResponse::Ok().json(read.page.split(&read.staff.settings, data, |key| -key.id)?))
}

/// Add a key
///
/// The answer shows the key, once: it is stored as a hash.
#[utoipa::path(post, path = "/keys", tag = "keys", request_body = NewKey,
    responses((status = 201, description = "The new key", body = IssuedKey)))]
pub async fn add_key(write: Write<Json<NewKey>>) -> Result<HttpResponse, Problem> {
    write
        .run(async |connection, write| {
            let Json(new) = write.content;
            let life = new.expires_in.map(|text| text.parse::<Span>()).transpose();
            let life = life.map_err(|error| Problem::field(Kind::Invalid, "expires_in", error.to_string()))?;
            let (actor, life) = (write.caller.actor(), life.map(|life| life.0));
            let issued = api_keys::add(connection, write.now, &actor, &new.name, new.role, life).await?;
            let path = format!("/keys/{}", issued.row.id);
            Answer::created(&path, &IssuedKey { row: issued.row, key: issued.key.expose().to_owned() })
        })
        .await
}

/// Revoke a key
///
/// The next request with this key is refused, on every replica. `id`: the id, the name or the prefix of the key.
#[utoipa::path(post, path = "/keys/{id}/revoke", tag = "keys", params(("id" = String, Path)), request_body = super::body::Nothing,
    responses((status = 200, description = "The revoked key", body = ApiKey)))]
pub async fn revoke_key(
    write: Write<Json<super::body::Nothing>>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    write
        .run(async |connection, write| {
            Answer::ok(&api_keys::revoke(connection, write.now, &write.caller.actor(), &id).await?)
        })
        .await
}

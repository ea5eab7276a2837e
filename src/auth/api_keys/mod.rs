//! API keys of the supplier's own systems (`/staff/v1`): issued once in the clear, stored as hashes, found by their public
//! part, with a role, an expiry and the time of the last use.
//!
//! A key is `spsi_<role>_<public id>_<secret>`. Secret scanners recognise the prefix. A revoked or expired key is refused
//! from the next request on, on every replica, because each request reads the key's row.

mod store;

use crate::audit;
use crate::db::{OnConstraint, Pool};
use crate::secret::{Plain, SecretError, random_text};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::PgConnection;
use std::fmt;
use std::time::Duration;
use time::OffsetDateTime;
use utoipa::ToSchema;

/// The time of the last use is stored at most this often.
const LAST_USE_RESOLUTION: Duration = Duration::from_secs(60);
const MAX_NAME_CHARACTERS: usize = 100;

/// What a key may do. Every role may read everything except keys and audit; a role may also write its own part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads.
    Viewer,
    /// Decides about orders.
    Orders,
    /// Ships orders, and maps products of a site.
    Warehouse,
    /// Changes products, prices and price lists, and imports files.
    Catalogue,
    /// Retries, cancels and reissues invoices and deliveries.
    Billing,
    /// Does everything, also for clinics, sites, webhooks and keys.
    Admin,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 6] =
        [Self::Viewer, Self::Orders, Self::Warehouse, Self::Catalogue, Self::Billing, Self::Admin];

    /// The name in keys, JSON and SQL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Orders => "orders",
            Self::Warehouse => "warehouse",
            Self::Catalogue => "catalogue",
            Self::Billing => "billing",
            Self::Admin => "admin",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }

    /// Whether a key of this role may call an operation that needs the role `needed`.
    pub fn may(self, needed: Self) -> bool {
        self == Self::Admin || self == needed || needed == Self::Viewer
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a key cannot be issued, revoked or used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("there is no key `{0}`; `spsi key list` shows all keys")]
    NotFound(String),
    #[error("a key has the name `{0}` already; choose another name, or revoke that key first")]
    NameTaken(String),
    #[error("a key's name must have 1 to 100 characters, must not be a number, and must not have control characters")]
    BadName,
    #[error("key `{0}` is revoked already")]
    Revoked(String),
    #[error("the expiry must be in the future")]
    ExpiryPassed,
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
}

/// A key, as staff see it: without its secret.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = ApiKey)]
pub struct ApiKey {
    pub id: i64,
    /// Names the key in lists and in the audit trail: `key:<name>`.
    pub name: String,
    #[schema(value_type = Role)]
    pub role: String,
    /// `active`, `expired` or `revoked`.
    pub state: String,
    /// The beginning of the key, by which it is recognised.
    #[schema(example = "spsi_orders_k3v9x2m7")]
    pub prefix: String,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// Null: never.
    #[serde(with = "time::serde::rfc3339::option")]
    pub expires_at: Option<OffsetDateTime>,
    /// To the minute. Null: not used yet.
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_used_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub revoked_at: Option<OffsetDateTime>,
}

/// A new key. This answer is the only one that shows it.
#[derive(Debug, Serialize, ToSchema)]
pub struct IssuedKey {
    #[serde(flatten)]
    pub row: ApiKey,
    /// Send it as `Authorization: Bearer <key>`.
    #[serde(serialize_with = "Plain::serialize_exposed")]
    #[schema(value_type = String, example = "spsi_orders_k3v9x2m7_...")]
    pub key: Plain,
}

/// The key behind a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub key_id: i64,
    pub name: String,
    pub role: Role,
}

impl Caller {
    /// The actor in audit entries.
    pub fn actor(&self) -> String {
        format!("key:{}", self.name)
    }
}

/// Issues a key, in the caller's transaction. `life`: `None` never expires.
pub async fn add(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    actor: &str,
    name: &str,
    role: Role,
    life: Option<Duration>,
) -> Result<IssuedKey, KeyError> {
    let name = name.trim();
    let is_number = name.chars().all(|c| c.is_ascii_digit());
    if is_number || name.chars().count() > MAX_NAME_CHARACTERS || name.chars().any(char::is_control) {
        return Err(KeyError::BadName);
    }
    let expires_at = match life {
        Some(life) => {
            Some(now.checked_add(time::Duration::try_from(life).unwrap_or_default()).ok_or(KeyError::ExpiryPassed)?)
        }
        None => None,
    };
    let (public_id, secret) = (random_text::<8>()?, random_text::<32>()?);
    let id = store::insert(connection, &public_id, name, role, &hash(&secret), now, expires_at)
        .await
        .on_constraint("api_key_name_key", || KeyError::NameTaken(name.to_owned()))?;
    let detail = json!({ "name": name, "role": role, "expires_at": expires_at.map(|at| at.to_string()) });
    audit::record(connection, now, actor, "key.add", ("key", Some(id)), detail).await?;
    let row = store::find(connection, now, &id.to_string()).await?.ok_or(sqlx::Error::RowNotFound)?;
    let key = Plain::new(format!("{}_{secret}", row.prefix));
    Ok(IssuedKey { row, key })
}

/// Returns every key, newest first, revoked ones too.
pub async fn list(pool: &Pool, now: OffsetDateTime) -> Result<Vec<ApiKey>, KeyError> {
    Ok(store::list(pool, now).await?)
}

/// Revokes a key by id, name or prefix, in the caller's transaction. Its next request is refused.
pub async fn revoke(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    actor: &str,
    which: &str,
) -> Result<ApiKey, KeyError> {
    let key = store::find(connection, now, which).await?.ok_or_else(|| KeyError::NotFound(which.to_owned()))?;
    if !store::revoke(connection, key.id, now).await? {
        return Err(KeyError::Revoked(which.to_owned()));
    }
    audit::record(connection, now, actor, "key.revoke", ("key", Some(key.id)), json!({ "name": key.name })).await?;
    Ok(store::find(connection, now, &key.id.to_string()).await?.ok_or(sqlx::Error::RowNotFound)?)
}

/// Returns the caller behind a key, or `None` if the key is malformed, unknown, expired or revoked.
pub async fn authenticate(pool: &Pool, now: OffsetDateTime, key: &str) -> Result<Option<Caller>, sqlx::Error> {
    let Some((role, public_id, secret)) = split(key) else { return Ok(None) };
    let Some(found) = store::find_live(pool, public_id, now).await? else { return Ok(None) };
    let is_right = verify_slices_are_equal(&found.secret_hash, &hash(secret)).is_ok();
    if !is_right || found.role != role.as_str() {
        return Ok(None);
    }
    if found.last_used_at.is_none_or(|last| now - last >= LAST_USE_RESOLUTION) {
        store::touch(pool, found.id, now).await?;
    }
    Ok(Some(Caller { key_id: found.id, name: found.name, role }))
}

/// Splits a key into role, public id and secret.
fn split(key: &str) -> Option<(Role, &str, &str)> {
    let mut parts = key.strip_prefix("spsi_")?.splitn(3, '_');
    Some((Role::parse(parts.next()?)?, parts.next()?, parts.next()?))
}

fn hash(secret: &str) -> Vec<u8> {
    digest(&SHA256, secret.as_bytes()).as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_splits_into_its_parts() {
        assert_eq!(split("spsi_orders_abc_secret"), Some((Role::Orders, "abc", "secret")));
        for bad in ["", "spsi_", "spsi_orders", "spsi_orders_abc", "spsi_root_abc_secret", "sk_orders_abc_secret"] {
            assert_eq!(split(bad), None, "{bad}");
        }
    }

    #[test]
    fn every_role_reads_and_only_admin_does_everything() {
        for role in Role::ALL {
            assert!(role.may(Role::Viewer));
            assert!(Role::Admin.may(role));
            assert_eq!(role.may(Role::Admin), role == Role::Admin);
            assert_eq!(Role::parse(role.as_str()), Some(role));
        }
        assert!(!Role::Orders.may(Role::Warehouse));
    }
}

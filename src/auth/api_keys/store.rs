//! SQL of API keys.

use super::{ApiKey, Role};
use crate::db::Pool;
use sqlx::{PgConnection, PgExecutor};
use time::OffsetDateTime;

pub(super) async fn insert(
    connection: &mut PgConnection,
    public_id: &str,
    name: &str,
    role: Role,
    secret_hash: &[u8],
    now: OffsetDateTime,
    expires_at: Option<OffsetDateTime>,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        "insert into api_key (public_id, name, role, secret_hash, created_at, expires_at)
         values ($1, $2, $3, $4, $5, $6) returning id",
        public_id,
        name,
        role.as_str(),
        secret_hash,
        now,
        expires_at
    )
    .fetch_one(connection)
    .await
}

/// Returns every key, newest first.
pub(super) async fn list(executor: impl PgExecutor<'_>, now: OffsetDateTime) -> Result<Vec<ApiKey>, sqlx::Error> {
    sqlx::query_as!(
        ApiKey,
        r#"select id, name, role,
                  case when revoked_at is not null then 'revoked' when expires_at <= $1 then 'expired' else 'active' end as "state!",
                  'spsi_' || role || '_' || public_id as "prefix!", created_at, expires_at, last_used_at, revoked_at
           from api_key order by id desc"#,
        now
    )
    .fetch_all(executor)
    .await
}

/// Finds a key by id, name or prefix. Of keys with one name, the one that is not revoked comes first, then the newest.
pub(super) async fn find(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    which: &str,
) -> Result<Option<ApiKey>, sqlx::Error> {
    let keys = list(connection, now).await?.into_iter();
    let matching = keys.filter(|key| key.id.to_string() == which || key.name == which || key.prefix == which);
    Ok(matching.min_by_key(|key| key.revoked_at.is_some()))
}

/// Revokes a key. Returns false if it was revoked before.
pub(super) async fn revoke(connection: &mut PgConnection, id: i64, now: OffsetDateTime) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!("update api_key set revoked_at = $2 where id = $1 and revoked_at is null", id, now)
        .execute(connection)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// A key that is neither expired nor revoked.
pub(super) struct LiveKey {
    pub id: i64,
    pub name: String,
    pub role: String,
    pub secret_hash: Vec<u8>,
    pub last_used_at: Option<OffsetDateTime>,
}

pub(super) async fn find_live(
    pool: &Pool,
    public_id: &str,
    now: OffsetDateTime,
) -> Result<Option<LiveKey>, sqlx::Error> {
    sqlx::query_as!(
        LiveKey,
        "select id, name, role, secret_hash, last_used_at from api_key
         where public_id = $1 and revoked_at is null and (expires_at is null or expires_at > $2)",
        public_id,
        now
    )
    .fetch_optional(pool)
    .await
}

pub(super) async fn touch(pool: &Pool, id: i64, now: OffsetDateTime) -> Result<(), sqlx::Error> {
    sqlx::query!("update api_key set last_used_at = greatest(last_used_at, $2) where id = $1", id, now)
        .execute(pool)
        .await
        .map(drop)
}

//! SQL of stored answers to writes with an `Idempotency-Key`.

use super::answer::Answer;
use sqlx::PgConnection;
use sqlx::types::Json;
use time::OffsetDateTime;

/// Expired answers that one write deletes.
const PURGED_PER_WRITE: i64 = 100;

/// An `Idempotency-Key` of an API key, and the request that it stands for.
pub(super) struct Idempotency {
    pub api_key: i64,
    pub key: String,
    pub fingerprint: Vec<u8>,
}

/// Claims a key for this transaction. Waits for another transaction that has claimed it. Returns false if the key has an
/// answer that was stored after `oldest`.
pub(super) async fn claim(
    connection: &mut PgConnection,
    idempotency: &Idempotency,
    now: OffsetDateTime,
    oldest: OffsetDateTime,
) -> Result<bool, sqlx::Error> {
    let claimed = sqlx::query!(
        "insert into idempotent_answer as stored (api_key_id, idempotency_key, fingerprint, created_at)
         values ($1, $2, $3, $4)
         on conflict (api_key_id, idempotency_key) do update
         set fingerprint = excluded.fingerprint, created_at = excluded.created_at, status = null, headers = '[]', body = null
         where stored.created_at <= $5",
        idempotency.api_key,
        idempotency.key,
        idempotency.fingerprint,
        now,
        oldest
    )
    .execute(connection)
    .await?;
    Ok(claimed.rows_affected() == 1)
}

/// A stored answer. The body is sealed.
pub(super) struct StoredAnswer {
    pub fingerprint: Vec<u8>,
    pub status: i16,
    pub headers: Json<Vec<(String, String)>>,
    pub body: Option<Vec<u8>>,
}

pub(super) async fn find(
    connection: &mut PgConnection,
    idempotency: &Idempotency,
) -> Result<StoredAnswer, sqlx::Error> {
    sqlx::query_as!(
        StoredAnswer,
        r#"select fingerprint, status as "status!", headers as "headers: Json<Vec<(String, String)>>", body
           from idempotent_answer where api_key_id = $1 and idempotency_key = $2"#,
        idempotency.api_key,
        idempotency.key
    )
    .fetch_one(connection)
    .await
}

/// Stores the answer of a claimed key.
pub(super) async fn keep(
    connection: &mut PgConnection,
    idempotency: &Idempotency,
    answer: &Answer,
    sealed_body: Option<&[u8]>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update idempotent_answer set status = $3, headers = $4, body = $5
         where api_key_id = $1 and idempotency_key = $2",
        idempotency.api_key,
        idempotency.key,
        answer.status.as_u16() as i16,
        Json(&answer.headers) as _,
        sealed_body
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Deletes some answers that are older than `oldest`, except those that another transaction has locked.
pub(super) async fn purge(connection: &mut PgConnection, oldest: OffsetDateTime) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "delete from idempotent_answer where (api_key_id, idempotency_key) in (
             select api_key_id, idempotency_key from idempotent_answer where created_at <= $1
             order by created_at limit $2 for update skip locked)",
        oldest,
        PURGED_PER_WRITE
    )
    .execute(connection)
    .await
    .map(drop)
}

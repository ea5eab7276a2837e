//! Rows of `audit_entry`.

use serde::Serialize;
use serde_json::Value;
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;

/// One deed.
#[derive(Debug, Serialize)]
pub struct Entry {
    pub id: i64,
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// `cli:<user>`, `ezyvet:<clinic>`, `worker`.
    pub actor: String,
    /// Noun and verb, for instance `order.accept`.
    pub action: String,
    pub subject_kind: String,
    pub subject_id: Option<i64>,
    pub detail: Value,
}

/// Records a deed in the caller's transaction, so that there is no deed without a record and no record without a deed.
pub async fn record(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    actor: &str,
    action: &str,
    subject: (&str, Option<i64>),
    detail: Value,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into audit_entry (at, actor, action, subject_kind, subject_id, detail) values ($1, $2, $3, $4, $5, $6)",
        now,
        actor,
        action,
        subject.0,
        subject.1,
        detail
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Deeds, newest first, of one subject or of all.
pub async fn list(pool: &PgPool, subject: Option<(&str, i64)>, limit: Option<i64>) -> Result<Vec<Entry>, sqlx::Error> {
    sqlx::query_as!(
        Entry,
        "select id, at, actor, action, subject_kind, subject_id, detail from audit_entry
         where $1::text is null or (subject_kind = $1 and subject_id = $2)
         order by id desc limit $3",
        subject.map(|(kind, _)| kind),
        subject.map(|(_, id)| id),
        limit
    )
    .fetch_all(pool)
    .await
}

//! SQL of audit entries.

use serde::Serialize;
use serde_json::Value;
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;

/// One change.
#[derive(Debug, Serialize)]
pub struct Entry {
    pub id: i64,
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// `cli:<login>@<host>`, `ezyvet:<client id>`, or the name given with `--actor`.
    pub actor: String,
    /// Noun and verb, for instance `order.accept`.
    pub action: String,
    pub subject_kind: String,
    pub subject_id: Option<i64>,
    pub detail: Value,
}

/// Records a change in the caller's transaction, so that neither the change nor its entry exists without the other.
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

/// Returns entries, newest first, of one subject or of all.
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

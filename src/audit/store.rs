//! SQL of audit entries.

use crate::db::Page;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::{PgConnection, PgExecutor};
use time::OffsetDateTime;

/// One change.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Entry {
    pub id: i64,
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// `cli:<login>@<host>`, `key:<name of the API key>`, `ezyvet:<client id>`, or `cli:` and the name given with `--actor`.
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

/// Selects entries. An empty filter selects all.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// Only entries about this kind of subject, such as `order`, `clinic` or `site`
    pub subject_kind: Option<String>,
    /// Only entries about the subject with this id
    pub subject_id: Option<i64>,
    /// Only entries of this actor, such as `key:erp`
    pub actor: Option<String>,
    /// Only this action, such as `order.accept`
    pub action: Option<String>,
    /// Only entries on or after this day or moment: YYYY-MM-DD, or RFC 3339
    #[serde(default, deserialize_with = "crate::clock::read_since")]
    #[param(value_type = Option<String>)]
    pub since: Option<OffsetDateTime>,
    /// Only entries on or before this day, or before this moment
    #[serde(default, deserialize_with = "crate::clock::read_until")]
    #[param(value_type = Option<String>)]
    pub until: Option<OffsetDateTime>,
}

/// Returns the entries that pass the filter, newest first.
pub async fn list(executor: impl PgExecutor<'_>, filter: &Filter, page: Page) -> Result<Vec<Entry>, sqlx::Error> {
    sqlx::query_as!(
        Entry,
        "select id, at, actor, action, subject_kind, subject_id, detail from audit_entry
         where ($1::text is null or subject_kind = $1) and ($2::bigint is null or subject_id = $2)
           and ($3::text is null or actor = $3) and ($4::text is null or action = $4)
           and ($5::timestamptz is null or at >= $5) and ($6::timestamptz is null or at < $6)
           and ($7::bigint is null or id < $7)
         order by id desc limit $8",
        filter.subject_kind.as_deref(),
        filter.subject_id,
        filter.actor.as_deref(),
        filter.action.as_deref(),
        filter.since,
        filter.until,
        page.before,
        page.limit
    )
    .fetch_all(executor)
    .await
}

/// Returns all entries of one subject, newest first.
pub async fn list_of_subject(executor: impl PgExecutor<'_>, kind: &str, id: i64) -> Result<Vec<Entry>, sqlx::Error> {
    sqlx::query_as!(
        Entry,
        "select id, at, actor, action, subject_kind, subject_id, detail from audit_entry
         where subject_kind = $1 and subject_id = $2 order by id desc",
        kind,
        id
    )
    .fetch_all(executor)
    .await
}

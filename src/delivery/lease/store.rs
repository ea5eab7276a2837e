//! SQL of the lanes and the stored tokens.

use super::{Lease, Taken};
use crate::ids::SiteId;
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;

struct Row {
    site_id: i64,
    token: i64,
    budget: serde_json::Value,
    failures: i32,
    inventory_absent_since: Option<OffsetDateTime>,
}

impl From<Row> for Taken {
    fn from(row: Row) -> Self {
        Self {
            lease: Lease { site: SiteId(row.site_id), token: row.token },
            budget: row.budget,
            failures: row.failures.unsigned_abs(),
            inventory_absent_since: row.inventory_absent_since,
        }
    }
}

/// `for no key update` does not clash with the foreign keys of an open enqueue; `skip locked` keeps workers apart.
pub(in crate::delivery) async fn take_due(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    until: OffsetDateTime,
    most: i64,
) -> Result<Vec<Taken>, sqlx::Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"with free as (
               select l.site_id from site_lease l
               where (l.lease_until is null or l.lease_until <= $1) and (l.not_before is null or l.not_before <= $1)
                 and (l.staff_request_until is null or l.staff_request_until <= $1)
                 and exists (select from site s where s.id = l.site_id and s.state = 'active')
                 and (exists (select from delivery d where d.site_id = l.site_id and d.kind = 'receive_invoice'
                              and d.state in ('waiting', 'unclear') and d.due_at <= $1)
                   or exists (select from delivery d where d.site_id = l.site_id and d.kind = 'supplied'
                              and d.state in ('waiting', 'unclear') and d.due_at <= $1)
                   or exists (select from delivery d where d.site_id = l.site_id and d.kind = 'receive_invoice'
                              and d.state = 'delivered' and d.due_at <= $1)
                   or exists (select from delivery d where d.site_id = l.site_id and d.state = 'sending'))
               order by l.lease_token nulls first
               limit $3
               for no key update of l skip locked)
           update site_lease l set lease_token = nextval('lease_token_seq'), lease_until = $2, staff_request_until = null
           from free where l.site_id = free.site_id
           returning l.site_id, l.lease_token as "token!", l.budget, l.failures, l.inventory_absent_since"#,
        now,
        until,
        most
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(Taken::from).collect())
}

pub(in crate::delivery) async fn take_one(
    connection: &mut PgConnection,
    site: SiteId,
    now: OffsetDateTime,
    until: OffsetDateTime,
) -> Result<Option<Taken>, sqlx::Error> {
    let row = sqlx::query_as!(
        Row,
        r#"update site_lease set lease_token = nextval('lease_token_seq'), lease_until = $3, staff_request_until = null
           where site_id = $1 and (lease_until is null or lease_until <= $2)
           returning site_id, lease_token as "token!", budget, failures, inventory_absent_since"#,
        site.0,
        now,
        until
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(Taken::from))
}

pub(in crate::delivery) async fn want(
    connection: &mut PgConnection,
    site: SiteId,
    until: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    sqlx::query!("update site_lease set staff_request_until = $2 where site_id = $1", site.0, until)
        .execute(connection)
        .await
        .map(drop)
}

/// What a dead holder was sending: an attempt was begun and never finished, so nobody knows.
pub(in crate::delivery) async fn orphans_are_unclear(
    connection: &mut PgConnection,
    sites: &[i64],
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "with orphan as (
             update delivery set state = 'unclear', looks = 0, changed_at = $2::timestamptz,
                    due_at = case kind when 'receive_invoice' then $2::timestamptz end,
                    last_error = 'it is unclear whether ezyVet got it: the worker stopped before the answer came'
             where site_id = any($1) and state = 'sending')
         update delivery_attempt a set finished_at = $2::timestamptz, outcome = 'unclear',
                detail = 'the worker stopped before the answer came'
         from delivery d where a.delivery_id = d.id and a.finished_at is null and d.site_id = any($1)",
        sites,
        now
    )
    .execute(connection)
    .await
    .map(drop)
}

/// What a holder keeps in its lane.
pub(in crate::delivery) struct Kept<'a> {
    pub until: OffsetDateTime,
    pub budget: &'a serde_json::Value,
    pub failures: i32,
    pub inventory_absent_since: Option<OffsetDateTime>,
}

/// The fence: extends the lease and stores what the holder knows, and locks the lane until the end of the transaction.
/// None: the lease is another's by now. Otherwise whether staff want the lane.
pub(in crate::delivery) async fn keep(
    connection: &mut PgConnection,
    lease: Lease,
    kept: &Kept<'_>,
    now: OffsetDateTime,
) -> Result<Option<bool>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"update site_lease set lease_until = $3, budget = $4, failures = $5, inventory_absent_since = $6
           where site_id = $1 and lease_token = $2 and lease_until is not null
           returning coalesce(staff_request_until > $7, false) as "wanted!""#,
        lease.site.0,
        lease.token,
        kept.until,
        kept.budget,
        kept.failures,
        kept.inventory_absent_since,
        now
    )
    .fetch_optional(connection)
    .await
}

/// Extends the lease. False: it is another's by now.
pub(in crate::delivery) async fn renew(
    pool: &PgPool,
    lease: Lease,
    until: OffsetDateTime,
) -> Result<bool, sqlx::Error> {
    let renewed = sqlx::query!(
        "update site_lease set lease_until = $3 where site_id = $1 and lease_token = $2 and lease_until is not null",
        lease.site.0,
        lease.token,
        until
    )
    .execute(pool)
    .await?;
    Ok(renewed.rows_affected() == 1)
}

/// Gives the lane back. `not_before`: nothing can be sent before.
pub(in crate::delivery) async fn release(
    pool: &PgPool,
    lease: Lease,
    kept: &Kept<'_>,
    not_before: Option<OffsetDateTime>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update site_lease set lease_until = null, budget = $3, failures = $4, inventory_absent_since = $5, not_before = $6
         where site_id = $1 and lease_token = $2 and lease_until is not null",
        lease.site.0,
        lease.token,
        kept.budget,
        kept.failures,
        kept.inventory_absent_since,
        not_before
    )
    .execute(pool)
    .await
    .map(drop)
}

/// The stored token, sealed, and its end.
pub(in crate::delivery) async fn find_token(
    pool: &PgPool,
    site: SiteId,
) -> Result<Option<(Vec<u8>, OffsetDateTime)>, sqlx::Error> {
    let row = sqlx::query!("select token, expires_at from site_token where site_id = $1", site.0)
        .fetch_optional(pool)
        .await?;
    Ok(row.map(|row| (row.token, row.expires_at)))
}

/// Forgets the token that is about to be replaced; in a transaction that holds the fence.
pub(in crate::delivery) async fn forget_token(connection: &mut PgConnection, site: SiteId) -> Result<(), sqlx::Error> {
    sqlx::query!("delete from site_token where site_id = $1", site.0).execute(connection).await.map(drop)
}

/// Keeps a new token, if the lease still holds.
pub(in crate::delivery) async fn store_token(
    pool: &PgPool,
    lease: Lease,
    sealed: &[u8],
    expires_at: OffsetDateTime,
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into site_token (site_id, token, expires_at, obtained_at)
         select site_id, $3, $4, $5 from site_lease where site_id = $1 and lease_token = $2 and lease_until is not null
         on conflict (site_id) do update
         set token = excluded.token, expires_at = excluded.expires_at, obtained_at = excluded.obtained_at",
        lease.site.0,
        lease.token,
        sealed,
        expires_at,
        now
    )
    .execute(pool)
    .await
    .map(drop)
}

//! SQL of `site_lease` and `site_token`.

use super::{AcquiredLease, Lease, SiteState};
use crate::db::Pool;
use crate::events;
use crate::ids::{DeliveryId, SiteId};
use sqlx::PgConnection;
use sqlx::types::Json;
use time::OffsetDateTime;

/// `for no key update` does not wait for the foreign key checks of an open enqueue. `skip locked` lets several workers
/// acquire different sites at the same time.
pub(in crate::delivery) async fn acquire_due(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    until: OffsetDateTime,
    max_sites: i64,
) -> Result<Vec<AcquiredLease>, sqlx::Error> {
    sqlx::query_as!(
        AcquiredLease,
        r#"with free as (
               select l.site_id from site_lease l
               where (l.lease_until is null or l.lease_until <= $1) and (l.not_before is null or l.not_before <= $1)
                 and (l.staff_request_until is null or l.staff_request_until <= $1)
                 and exists (select from site s where s.id = l.site_id and s.state = 'active')
                 and (exists (select from delivery d where d.site_id = l.site_id and d.kind = 'receive_invoice'
                              and d.state in ('waiting', 'unclear') and d.due_at <= $1)
                   or exists (select from delivery d where d.site_id = l.site_id and d.kind = 'supplied'
                              and d.state in ('waiting', 'unclear') and d.due_at <= $1)
                   or exists (select from delivery d where d.site_id = l.site_id and d.kind = 'supplied'
                              and d.state = 'attention' and d.due_at <= $1)
                   or exists (select from delivery d where d.site_id = l.site_id and d.kind = 'receive_invoice'
                              and d.state = 'delivered' and d.due_at <= $1)
                   or exists (select from delivery d where d.site_id = l.site_id and d.state = 'sending'))
               order by l.lease_token nulls first
               limit $3
               for no key update of l skip locked)
           update site_lease l set lease_token = nextval('lease_token_seq'), lease_until = $2, staff_request_until = null
           from free where l.site_id = free.site_id
           returning l.site_id as "site: SiteId", l.lease_token as "token!", l.budget, l.failures, l.inventory_absent_since"#,
        now,
        until,
        max_sites
    )
    .fetch_all(connection)
    .await
}

pub(in crate::delivery) async fn acquire_for_staff(
    connection: &mut PgConnection,
    site: SiteId,
    now: OffsetDateTime,
    until: OffsetDateTime,
) -> Result<Option<AcquiredLease>, sqlx::Error> {
    sqlx::query_as!(
        AcquiredLease,
        r#"update site_lease set lease_token = nextval('lease_token_seq'), lease_until = $3, staff_request_until = null
           where site_id = $1 and (lease_until is null or lease_until <= $2)
           returning site_id as "site: SiteId", lease_token as "token!", budget, failures, inventory_absent_since"#,
        site.0,
        now,
        until
    )
    .fetch_optional(connection)
    .await
}

/// Asks the holder to release the site, and keeps workers from acquiring it before `until`.
pub(in crate::delivery) async fn request_for_staff(
    connection: &mut PgConnection,
    site: SiteId,
    until: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    sqlx::query!("update site_lease set staff_request_until = $2 where site_id = $1", site.0, until)
        .execute(connection)
        .await
        .map(drop)
}

/// Marks deliveries that a dead holder was sending as unclear: their attempts were begun and never finished. A `supplied`
/// then needs staff.
pub(in crate::delivery) async fn mark_orphans_unclear(
    connection: &mut PgConnection,
    sites: &[i64],
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    let orphans = sqlx::query!(
        r#"with orphan as (
             update delivery set state = 'unclear', looks = 0, changed_at = $2::timestamptz,
                    due_at = case kind when 'receive_invoice' then $2::timestamptz end,
                    last_error = 'it is unclear whether ezyVet received the call: the worker stopped before the answer came'
             where site_id = any($1) and state = 'sending'
             returning id, due_at),
         attempt as (
             update delivery_attempt a set finished_at = $2::timestamptz, outcome = 'unclear',
                    detail = 'the worker stopped before the answer came'
             from delivery d where a.delivery_id = d.id and a.finished_at is null and d.site_id = any($1))
         select id as "id: DeliveryId" from orphan where due_at is null"#,
        sites,
        now
    )
    .fetch_all(&mut *connection)
    .await?;
    for orphan in orphans {
        events::record_delivery(connection, now, events::Kind::DeliveryAttention, orphan.id).await?;
    }
    Ok(())
}

/// Fences a transaction: extends the lease, stores its state, and locks the row until the transaction ends. Returns `None`
/// if the lease was lost, otherwise whether a staff command waits for the site.
pub(in crate::delivery) async fn extend_and_save(
    connection: &mut PgConnection,
    lease: Lease,
    until: OffsetDateTime,
    state: &SiteState,
    now: OffsetDateTime,
) -> Result<Option<bool>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"update site_lease set lease_until = $3, budget = $4, failures = $5, inventory_absent_since = $6
           where site_id = $1 and lease_token = $2 and lease_until is not null
           returning coalesce(staff_request_until > $7, false) as "staff_waiting!""#,
        lease.site.0,
        lease.token,
        until,
        Json(&state.budget) as _,
        state.failures as i32,
        state.inventory_absent_since,
        now
    )
    .fetch_optional(connection)
    .await
}

/// Extends the lease. Returns `false` if the lease was lost.
pub(in crate::delivery) async fn renew(pool: &Pool, lease: Lease, until: OffsetDateTime) -> Result<bool, sqlx::Error> {
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

/// Releases the lease. No worker acquires the site before `not_before`. Unless the circuit breaker is open, an outage that
/// [`begin_outage`] noted ends.
pub(in crate::delivery) async fn release(
    connection: &mut PgConnection,
    lease: Lease,
    state: &SiteState,
    not_before: Option<OffsetDateTime>,
    circuit_open: bool,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update site_lease set lease_until = null, budget = $3, failures = $4, inventory_absent_since = $5, not_before = $6,
                unreachable_since = case when $7 then unreachable_since end
         where site_id = $1 and lease_token = $2 and lease_until is not null",
        lease.site.0,
        lease.token,
        Json(&state.budget) as _,
        state.failures as i32,
        state.inventory_absent_since,
        not_before,
        circuit_open
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Notes that the circuit breaker of a site is open. Returns `false` if that was noted before.
pub(in crate::delivery) async fn begin_outage(
    connection: &mut PgConnection,
    site: SiteId,
    now: OffsetDateTime,
) -> Result<bool, sqlx::Error> {
    let begun = sqlx::query!(
        "update site_lease set unreachable_since = $2 where site_id = $1 and unreachable_since is null",
        site.0,
        now
    )
    .execute(connection)
    .await?;
    Ok(begun.rows_affected() == 1)
}

/// Returns the sealed token and its expiry.
pub(in crate::delivery) async fn find_token(
    pool: &Pool,
    site: SiteId,
) -> Result<Option<(Vec<u8>, OffsetDateTime)>, sqlx::Error> {
    let row = sqlx::query!("select token, expires_at from site_token where site_id = $1", site.0)
        .fetch_optional(pool)
        .await?;
    Ok(row.map(|row| (row.token, row.expires_at)))
}

/// Deletes a token that is about to be replaced. Call in a fenced transaction.
pub(in crate::delivery) async fn delete_token(connection: &mut PgConnection, site: SiteId) -> Result<(), sqlx::Error> {
    sqlx::query!("delete from site_token where site_id = $1", site.0).execute(connection).await.map(drop)
}

/// Stores a new token if the lease still holds.
pub(in crate::delivery) async fn store_token(
    pool: &Pool,
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

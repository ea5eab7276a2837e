//! SQL of the staff commands on deliveries.

use super::super::payload::Payload;
use super::{Attempt, Delivery, Filter, StateCount, Unmapped};
use crate::config::Overrides;
use crate::db::{self, Page};
use crate::delivery::store::notify_worker;
use crate::events;
use crate::ids::{DeliveryId, SiteId};
use sqlx::types::Json;
use sqlx::{PgConnection, PgExecutor};
use time::OffsetDateTime;

/// Returns a page of the deliveries that the filter selects, newest first; or the one with this id.
pub(super) async fn list(
    connection: &mut PgConnection,
    filter: &Filter,
    page: Page,
    id: Option<DeliveryId>,
) -> Result<Vec<Delivery>, sqlx::Error> {
    let mut transaction = db::begin_planning_for_arguments(connection).await?;
    let deliveries = sqlx::query_as!(
        Delivery,
        r#"select d.id as "id: DeliveryId", d.kind, d.state, d.invoice_number, d.shipment_id as shipment,
                  o.supplier_order_number as "order", c.name as clinic, d.clinic_id, d.site_id,
                  s.name as "site?", d.location_id, d.after_id as after, d.attempts, d.stale,
                  d.differences <> '[]' as "differs!", d.last_error, d.due_at,
                  d.created_at, d.changed_at, d.delivered_at
           from delivery d
           join clinic c on c.id = d.clinic_id
           join shipment p on p.id = d.shipment_id
           join purchase_order o on o.id = p.order_id
           left join site s on s.id = d.site_id
           where (cardinality($1::text[]) = 0 or d.state = any($1))
             and ($2::text is null or d.kind = $2)
             and ($3::text is null or d.site_id = any(array(select id from site where id::text = $3 or name = $3)))
             and ($4::text is null or d.clinic_id = any(array(
                  select id from clinic where id::text = $4 or name = $4 or client_id = $4)))
             and ($5::text is null or d.shipment_id = any(array(
                  select f.id from shipment f join purchase_order w on w.id = f.order_id
                  where w.supplier_order_number = upper($5) or w.id = $6)))
             and ($7::bigint is null or d.shipment_id = $7)
             and ($8::text is null or d.invoice_number = $8)
             and (d.stale or not $9) and (d.differences <> '[]' or not $10)
             and ($11::bigint is null or d.id = $11)
             and ($12::bigint is null or d.id < $12)
           order by d.id desc limit $13"#,
        &filter.states,
        filter.kind,
        filter.site,
        filter.clinic,
        filter.order,
        order_id(filter),
        filter.shipment,
        filter.invoice_number,
        filter.stale,
        filter.differing,
        id.map(|id| id.0),
        page.before,
        page.limit
    )
    .fetch_all(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(deliveries)
}

/// Returns the filter's order, if it is an id.
fn order_id(filter: &Filter) -> Option<i64> {
    filter.order.as_ref().and_then(|order| order.parse().ok())
}

/// Counts the deliveries that pass the filter of [`list`] by state. States without deliveries are left out.
pub async fn count(connection: &mut PgConnection, filter: &Filter) -> Result<Vec<StateCount>, sqlx::Error> {
    let mut transaction = db::begin_planning_for_arguments(connection).await?;
    let counts = sqlx::query_as!(
        StateCount,
        r#"select d.state as id, d.state, count(*) as "count!",
                  count(*) filter (where d.kind = 'receive_invoice') as "receive_invoice!",
                  count(*) filter (where d.kind = 'supplied') as "supplied!"
           from delivery d
           where (cardinality($1::text[]) = 0 or d.state = any($1))
             and ($2::text is null or d.kind = $2)
             and ($3::text is null or d.site_id = any(array(select id from site where id::text = $3 or name = $3)))
             and ($4::text is null or d.clinic_id = any(array(
                  select id from clinic where id::text = $4 or name = $4 or client_id = $4)))
             and ($5::text is null or d.shipment_id = any(array(
                  select f.id from shipment f join purchase_order w on w.id = f.order_id
                  where w.supplier_order_number = upper($5) or w.id = $6)))
             and ($7::bigint is null or d.shipment_id = $7)
             and ($8::text is null or d.invoice_number = $8)
             and (d.stale or not $9) and (d.differences <> '[]' or not $10)
           group by d.state order by d.state"#,
        &filter.states,
        filter.kind,
        filter.site,
        filter.clinic,
        filter.order,
        order_id(filter),
        filter.shipment,
        filter.invoice_number,
        filter.stale,
        filter.differing
    )
    .fetch_all(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(counts)
}

/// Returns the products of open `supplied` deliveries without a uid. A candidate matches by the supplier's code, by the
/// clinic's code in other letter case, by the barcode (ignoring leading zeros), or by the name.
pub async fn unmapped(executor: impl PgExecutor<'_>, site: SiteId) -> Result<Vec<Unmapped>, sqlx::Error> {
    sqlx::query_as!(
        Unmapped,
        r#"select l.product_id as "id!", min(l.supplier_code) as "supplier_code!", min(p.name) as name,
                  array_agg(distinct d.id order by d.id) as "deliveries!",
                  coalesce((select jsonb_agg(jsonb_build_object('uid', c.uid, 'code', c.code, 'name', c.name, 'by', c.fit)
                                             order by c.fit, c.uid)
                   from (select i.uid, i.code, i.name,
                                case when lower(i.code) in (lower(min(l.supplier_code)), lower(min(k.code))) then 'code'
                                     when ltrim(i.code, '0') = nullif(ltrim(min(p.barcode), '0'), '') then 'barcode'
                                     when lower(i.name) = lower(min(p.name)) then 'name' end as fit
                         from site_inventory_product i where i.site_id = $1) c
                   where c.fit is not null), '[]') as "candidates!"
           from delivery d
           cross join jsonb_to_recordset(d.payload -> 'lines') as l (product_id text, supplier_code text)
           left join product p on p.code = l.supplier_code
           left join site_product k on k.site_id = $1 and k.product_id = l.product_id
           where d.site_id = $1 and d.kind = 'supplied' and d.state in ('waiting', 'attention', 'skipped') and k.uid is null
           group by l.product_id order by l.product_id"#,
        site.0
    )
    .fetch_all(executor)
    .await
}

/// Finds a delivery by id, or else the last one of the invoice with this number.
pub(super) async fn find_id(executor: impl PgExecutor<'_>, which: &str) -> Result<Option<DeliveryId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select coalesce((select id from delivery where id = $2),
                           (select max(d.id) from invoice i join delivery d on d.shipment_id = i.shipment_id
                            where i.invoice_number = $1 and d.kind = 'receive_invoice' and d.invoice_number = $1))
                  as "id: DeliveryId""#,
        which,
        which.parse::<i64>().ok()
    )
    .fetch_one(executor)
    .await
}

/// Locks deliveries, in the order of their ids.
pub(super) async fn lock_all(connection: &mut PgConnection, ids: &[DeliveryId]) -> Result<(), sqlx::Error> {
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    sqlx::query!("select id from delivery where id = any($1) order by id for update", &ids)
        .fetch_all(connection)
        .await
        .map(drop)
}

/// What a delivery in full shows beside the delivery.
pub(super) struct Content {
    pub payload: Json<Payload>,
    pub differences: serde_json::Value,
    /// Of the site.
    pub base_url: Option<String>,
    pub settings: Option<Json<Overrides>>,
}

pub(super) async fn find_content(connection: &mut PgConnection, id: DeliveryId) -> Result<Content, sqlx::Error> {
    sqlx::query_as!(
        Content,
        r#"select d.payload as "payload: Json<Payload>", d.differences, s.base_url as "base_url?",
                  s.settings as "settings?: Json<Overrides>"
           from delivery d left join site s on s.id = d.site_id where d.id = $1"#,
        id.0
    )
    .fetch_one(connection)
    .await
}

pub(super) async fn list_attempts(connection: &mut PgConnection, id: DeliveryId) -> Result<Vec<Attempt>, sqlx::Error> {
    sqlx::query_as!(
        Attempt,
        "select id, purpose, started_at, finished_at, request, status, response, outcome, detail
         from delivery_attempt where delivery_id = $1 order by id",
        id.0
    )
    .fetch_all(connection)
    .await
}

/// A delivery that staff are about to change; its row is locked.
pub(super) struct LockedDelivery {
    pub kind: String,
    pub state: String,
    pub site: Option<i64>,
    pub clinic: i64,
    pub clinic_site: Option<i64>,
    pub after: Option<i64>,
    pub after_state: Option<String>,
    pub attempts: i32,
    pub sent: bool,
    pub shipment: i64,
    /// A later delivery of the shipment brings the same invoice under another number.
    pub replaced: bool,
}

pub(super) async fn lock(connection: &mut PgConnection, id: DeliveryId) -> Result<Option<LockedDelivery>, sqlx::Error> {
    sqlx::query_as!(
        LockedDelivery,
        r#"select d.kind, d.state, d.site_id as site, d.clinic_id as clinic, c.site_id as clinic_site,
                  d.shipment_id as shipment, d.attempts,
                  exists (select from delivery n
                          where n.shipment_id = d.shipment_id and n.kind = 'receive_invoice' and n.id > d.id
                            and d.state = 'cancelled' and n.payload -> 'lines' = d.payload -> 'lines') as "replaced!",
                  d.after_id as after, (select a.state from delivery a where a.id = d.after_id) as after_state,
                  d.attempts > 0 or exists (select from delivery_attempt t
                                              where t.delivery_id = d.id and t.purpose = 'send') as "sent!"
           from delivery d join clinic c on c.id = d.clinic_id where d.id = $1 for update of d"#,
        id.0
    )
    .fetch_optional(connection)
    .await
}

/// Makes a delivery due now. Keeps `resends`: if the outcome is unclear again, staff decide again. `remap`: discards the
/// uids, except pinned ones.
pub(super) async fn requeue(
    connection: &mut PgConnection,
    id: DeliveryId,
    site: SiteId,
    look_first: bool,
    remap: bool,
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update delivery set state = 'waiting', site_id = $2, due_at = $3, changed_at = $3, failures = 0, look_first = $4,
                looks = 0, remapped_at = case when $5 then $3 else remapped_at end
         where id = $1",
        id.0,
        site.0,
        now,
        look_first,
        remap
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!("update site_lease set not_before = null, failures = 0 where site_id = $1", site.0)
        .execute(&mut *connection)
        .await?;
    notify_worker(connection, site).await
}

pub(super) async fn lock_payload(connection: &mut PgConnection, id: DeliveryId) -> Result<Payload, sqlx::Error> {
    sqlx::query_scalar!(r#"select payload as "payload: Json<Payload>" from delivery where id = $1 for update"#, id.0)
        .fetch_one(connection)
        .await
        .map(|payload| payload.0)
}

/// Cancels the delivery of an invoice in favour of a new one.
pub(super) async fn replace(
    connection: &mut PgConnection,
    id: DeliveryId,
    new: DeliveryId,
    number: &str,
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "with follower as (
             update delivery set after_id = $2 where after_id = $1)
         update delivery set state = 'cancelled', due_at = null, stale = false, changed_at = $4,
                last_error = format('sent as %s instead, by delivery %s', $3::text, $2::bigint)
         where id = $1",
        id.0,
        new.0,
        number,
        now
    )
    .execute(connection)
    .await
    .map(drop)
}

pub(super) async fn cancel(
    connection: &mut PgConnection,
    id: DeliveryId,
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    sqlx::query!("update delivery set state = 'cancelled', due_at = null, changed_at = $2 where id = $1", id.0, now)
        .execute(&mut *connection)
        .await?;
    let followers = sqlx::query_scalar!(
        "update delivery set state = 'attention', changed_at = $2,
                last_error = format('delivery %s, which comes first, was cancelled: retry this one to send it without the other, or cancel it, too', $1::bigint)
         where after_id = $1 and state = 'waiting' and due_at is null
         returning id",
        id.0,
        now
    )
    .fetch_all(&mut *connection)
    .await?;
    for follower in followers {
        events::record_delivery(connection, now, events::Kind::DeliveryAttention, DeliveryId(follower)).await?;
    }
    Ok(())
}

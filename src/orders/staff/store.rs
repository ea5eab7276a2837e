//! SQL of orders for staff, across all clinics.

use super::cancel::OpenLine;
use super::{Filter, Order, OrderLine, OrderState};
use crate::db::{self, Page};
use crate::ids::{ClinicId, OrderId, OrderLineId};
use crate::orders::answer::Reply;
use rust_decimal::Decimal;
use serde_json::Value;
use sqlx::{PgConnection, PgExecutor};
use time::OffsetDateTime;

/// An order locked for a change.
pub struct Locked {
    pub id: OrderId,
    pub state: String,
    pub revision: i32,
    pub changed_at: OffsetDateTime,
    pub body: Value,
    pub number: String,
    pub clinic: ClinicId,
}

/// A stored submission.
pub struct Submission {
    pub revision: i32,
    pub received_at: OffsetDateTime,
    pub body: Value,
    pub findings: Value,
}

/// Returns a page of the orders that the filter selects, newest first; or the one with this id. A page is a range of the
/// primary key, and mappings and lines are looked up for its rows only: a late page costs what the first one does.
pub async fn list(
    connection: &mut PgConnection,
    filter: &Filter,
    page: Page,
    id: Option<OrderId>,
) -> Result<Vec<Order>, sqlx::Error> {
    let mut transaction = db::begin_planning_for_arguments(connection).await?;
    let orders = sqlx::query_as!(
        Order,
        r#"select o.id as "id: OrderId", o.state, o.supplier_order_number, c.name as clinic, o.ezyvet_id, o.purchase_order_number, o.is_return,
                  o.revision, o.total, (select count(*) from purchase_order_line l where l.order_id = o.id) as "lines!",
                  o.received_at, o.changed_at, o.findings, o.shipping_address_id, o.ownership_id, o.ordered_at,
                  o.decide_by, o.decide_default,
                  coalesce((select m.value from ezyvet_mapping m where m.kind = 'ship_to' and m.clinic_id = o.clinic_id
                                and m.site_id is null and m.ezyvet_id = o.shipping_address_id),
                           (select m.value from ezyvet_mapping m where m.kind = 'ship_to' and m.site_id = c.site_id
                                and m.clinic_id is null and m.ezyvet_id = o.shipping_address_id)) as ship_to,
                  coalesce((select m.value from ezyvet_mapping m where m.kind = 'account' and m.clinic_id = o.clinic_id
                                and m.site_id is null and m.ezyvet_id = o.ownership_id),
                           (select m.value from ezyvet_mapping m where m.kind = 'account' and m.site_id = c.site_id
                                and m.clinic_id is null and m.ezyvet_id = o.ownership_id)) as account_number
           from purchase_order o join clinic c on c.id = o.clinic_id
           where ($1::text is null or o.state = $1)
             and ($2::text is null or o.clinic_id = any(array(
                  select id from clinic where name = $2 or client_id = $2 or id::text = $2)))
             and ($3::text is null or o.id = any(array(select order_id from purchase_order_line where supplier_code = $3)))
             and (not $4 or o.id = any(array(
                  select id from purchase_order where state = 'held'
                  union all
                  select s.order_id from delivery d join shipment s on s.id = d.shipment_id where d.state = 'attention')))
             and ($5::text is null or o.supplier_order_number ilike $5 or o.purchase_order_number ilike $5 or c.name ilike $5
                  or o.ezyvet_id ilike $5 or o.body ->> 'comments' ilike $5)
             and ($6::timestamptz is null or o.received_at >= $6)
             and ($7::timestamptz is null or o.received_at < $7)
             and (not $8 or (o.state in ('accepted', 'held', 'part_shipped') and o.shipping_address_id not in ('', '0')
                  and not exists (select from ezyvet_mapping m where m.kind = 'ship_to' and m.clinic_id = o.clinic_id
                                      and m.site_id is null and m.ezyvet_id = o.shipping_address_id)
                  and not exists (select from ezyvet_mapping m where m.kind = 'ship_to' and m.site_id = c.site_id
                                      and m.clinic_id is null and m.ezyvet_id = o.shipping_address_id)))
             and ($9::bigint is null or o.id = $9)
             and ($10::bigint is null or o.id < $10)
             and (not $12 or o.decide_by is not null)
           order by o.id desc limit $11"#,
        filter.state.map(OrderState::as_str),
        filter.clinic,
        filter.product,
        filter.attention,
        filter.pattern(),
        filter.since,
        filter.until,
        filter.unmapped,
        id as Option<OrderId>,
        page.before,
        page.limit,
        filter.asked
    )
    .fetch_all(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(orders)
}

/// Finds an order by `supplier_order_number` or id.
pub async fn find_id(executor: impl PgExecutor<'_>, which: &str) -> Result<Option<OrderId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select id as "id: OrderId" from purchase_order where supplier_order_number = upper($1) or id = $2
           order by supplier_order_number = upper($1) desc limit 1"#,
        which,
        which.parse::<i64>().ok()
    )
    .fetch_optional(executor)
    .await
}

/// Returns every stored submission, oldest first.
pub async fn revisions(connection: &mut PgConnection, id: OrderId) -> Result<Vec<Submission>, sqlx::Error> {
    sqlx::query_as!(
        Submission,
        "select revision, received_at, body, findings from purchase_order_revision where order_id = $1 order by revision",
        id as OrderId
    )
    .fetch_all(connection)
    .await
}

pub async fn lines(connection: &mut PgConnection, id: OrderId) -> Result<Vec<OrderLine>, sqlx::Error> {
    sqlx::query_as!(
        OrderLine,
        r#"select l.ezyvet_id as item, l.supplier_code, coalesce(p.name, '') as "name!", l.outers, l.units_per_outer, l.quantity, l.price_per_unit,
                  l.total, l.total_tax, l.location_id, l.cancelled, l.reserved,
                  coalesce((select sum(s.quantity) from shipment_line s where s.order_line_id = l.id), 0) as "shipped!"
           from purchase_order_line l left join product p on p.code = l.supplier_code
           where l.order_id = $1 order by l.position"#,
        id as OrderId
    )
    .fetch_all(connection)
    .await
}

/// Locks an order until the end of the transaction.
pub async fn lock(connection: &mut PgConnection, id: OrderId) -> Result<Locked, sqlx::Error> {
    sqlx::query_as!(
        Locked,
        r#"select id as "id: OrderId", state, revision, changed_at, body, supplier_order_number as number,
                  clinic_id as "clinic: ClinicId" from purchase_order where id = $1 for update"#,
        id as OrderId
    )
    .fetch_one(connection)
    .await
}

/// Sets the state of an order, and the answer that a repeated submission gets. An order that is no longer held waits for no
/// decision.
pub async fn set_state(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    id: OrderId,
    state: &str,
    answer: Option<&Reply>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update purchase_order set state = $2, changed_at = $3, answer_status = coalesce($4, answer_status),
                answer_body = coalesce($5::text::json, answer_body),
                decide_by = case when $2 = 'held' then decide_by end,
                decide_default = case when $2 = 'held' then decide_default end
         where id = $1",
        id as OrderId,
        state,
        now,
        answer.map(|answer| answer.status as i16),
        answer.map(|answer| answer.body.as_str())
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Returns the lines of a locked order with their outstanding units.
pub async fn open_lines(connection: &mut PgConnection, id: OrderId) -> Result<Vec<OpenLine>, sqlx::Error> {
    sqlx::query_as!(
        OpenLine,
        r#"select l.id as "id: OrderLineId", l.ezyvet_id as item, l.quantity,
                  l.quantity - l.cancelled - coalesce(
                      (select sum(s.quantity) from shipment_line s where s.order_line_id = l.id), 0) as "outstanding!"
           from purchase_order_line l where l.order_id = $1 order by l.position"#,
        id as OrderId
    )
    .fetch_all(connection)
    .await
}

/// Cancels units of lines. A line may appear more than once.
pub async fn cancel_lines(connection: &mut PgConnection, lines: &[(OrderLineId, Decimal)]) -> Result<(), sqlx::Error> {
    let (ids, units): (Vec<i64>, Vec<Decimal>) = lines.iter().map(|(id, units)| (id.0, *units)).unzip();
    sqlx::query!(
        "update purchase_order_line l set cancelled = l.cancelled + off.units
         from (select id, sum(units) as units from unnest($1::bigint[], $2::numeric[]) u(id, units) group by id) off
         where l.id = off.id",
        &ids,
        &units
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Returns `received` if the clinic has approved every shipment of the order, else `shipped`.
pub async fn state_of_shipped(connection: &mut PgConnection, id: OrderId) -> Result<String, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select case when exists (select from shipment where order_id = $1 and state <> 'received')
                       then 'shipped' else 'received' end as "state!""#,
        id as OrderId
    )
    .fetch_one(connection)
    .await
}

/// Returns the clinic's settings, which include the form of its declines.
pub async fn clinic_overrides(connection: &mut PgConnection, clinic: ClinicId) -> Result<Value, sqlx::Error> {
    sqlx::query_scalar!("select settings from clinic where id = $1", clinic as ClinicId).fetch_one(connection).await
}

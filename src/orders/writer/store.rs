//! The statement that stores orders.

use super::super::answer::Reply;
use super::super::decide::Finding;
use super::super::read::OrderRequest;
use super::super::store::{LineColumns, STOCK_LOCKS};
use crate::ids::ClinicId;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use sqlx::PgConnection;
use std::sync::Arc;
use time::OffsetDateTime;

/// An order that is decided, with all that is stored of it.
#[derive(Debug)]
pub struct NewOrder {
    /// When it was received.
    pub now: OffsetDateTime,
    pub clinic: ClinicId,
    pub order: Arc<OrderRequest>,
    pub number: String,
    pub state: &'static str,
    pub findings: Vec<Finding>,
    pub reply: Reply,
    pub actor: String,
    /// Nothing where the decision was made under locks.
    pub basis: Option<Basis>,
}

/// What a decision rests on that was not read under locks: [`insert`] stores nothing of an order where it has changed.
#[derive(Clone, Copy, Debug)]
pub struct Basis {
    pub catalog_version: i64,
    pub ship_to_mapped: bool,
}

/// Stores orders with their lines, what they reserve, their first revisions and the audit entries, in one statement: the
/// commit is the only wait. Returns the transaction for each order that was stored.
///
/// Nothing is stored of an order where the clinic has one with this id already, or where its basis does not hold: another
/// version of the catalogue, another word on the address, or an order with this purchase_order_number before. All of that is
/// looked at in the one snapshot of the statement, so no two of these orders may be of one clinic and have one id or one
/// purchase_order_number. Where orders may meet others of the same ids, they are to be in ascending order of clinics and ids:
/// who inserts first is waited for.
pub async fn insert(connection: &mut PgConnection, orders: &[NewOrder]) -> Result<Vec<Option<i64>>, sqlx::Error> {
    let heads = Columns::of(orders);
    let lines = LineColumns::of(orders.iter().map(|new| &*new.order));
    // A scalar subquery is looked up by key for each order; `exists` may be turned into a table of all there are.
    let stored = sqlx::query!(
        r#"with given as materialized (
               select given.*, sent::json as body
               from unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::boolean[], $7::text[],
                   $8::smallint[], $9::text[], $10::jsonb[], $11::timestamptz[], $12::text[], $13::text[], $14::numeric[],
                   $15::numeric[], $16::numeric[], $17::numeric[], $18::timestamptz[], $19::text[], $20::bigint[], $21::boolean[])
                   with ordinality as given(clinic_id, ezyvet_id, number, purchase_order_number, state, is_return,
                   sent, answer_status, answer, findings, ordered_at, ownership_id, shipping_address_id, freight,
                   freight_tax, tax, total, now, actor, catalog_version, ship_to_mapped, place)),
           line as materialized (
               select * from unnest($22::int[], $23::int[], $24::text[], $25::text[], $26::text[], $27::numeric[], $28::numeric[],
                   $29::numeric[], $30::numeric[], $31::numeric[], $32::numeric[], $33::numeric[], $34::text[])
                   as line(place, position, ezyvet_id, product_id, supplier_code, outers, units_per_outer, price_per_unit,
                   tax_per_unit, quantity, total, total_tax, location_id)),
           held as materialized (
               select count(pg_advisory_xact_lock_shared($35, bucket)) as buckets
               from (select distinct hashtext(supplier_code) & 255 as bucket from line order by 1) sorted),
           placed as (
               insert into purchase_order (clinic_id, ezyvet_id, supplier_order_number, purchase_order_number, state, is_return,
                   body, answer_status, answer_body, findings, ordered_at, ownership_id, shipping_address_id,
                   freight, freight_tax, tax, total, received_at, changed_at)
               select clinic_id, ezyvet_id, number, purchase_order_number, state, is_return, body, answer_status,
                   answer::json, findings, ordered_at, ownership_id, shipping_address_id, freight, freight_tax, tax, total, now, now
               from held cross join given
               where held.buckets >= 0 and (catalog_version is null or (
                   catalog_version = (select value from data_version where name = 'catalog')
                   and (purchase_order_number = '' or (
                       select o.id from purchase_order o
                       where o.clinic_id = given.clinic_id and o.purchase_order_number = given.purchase_order_number
                           and o.ezyvet_id <> given.ezyvet_id limit 1) is null)
                   and (shipping_address_id in ('', '0') or ship_to_mapped = (coalesce(
                       (select m.id from ezyvet_mapping m
                        where m.kind = 'ship_to' and m.site_id is null and m.clinic_id = given.clinic_id
                            and m.ezyvet_id = shipping_address_id),
                       (select m.id from clinic c join ezyvet_mapping m on m.site_id = c.site_id and m.clinic_id is null
                        where c.id = given.clinic_id and m.kind = 'ship_to' and m.ezyvet_id = shipping_address_id)) is not null))))
               order by place
               on conflict on constraint purchase_order_ezyvet_id_key do nothing
               returning id, supplier_order_number),
           stored as materialized (
               select placed.id, given.* from placed join given on given.number = placed.supplier_order_number),
           revised as (
               insert into purchase_order_revision (order_id, revision, received_at, body, findings)
               select id, 1, now, body, findings from stored),
           lined as (
               insert into purchase_order_line (order_id, position, ezyvet_id, product_id, supplier_code, outers, units_per_outer,
                   price_per_unit, tax_per_unit, quantity, total, total_tax, location_id, reserved)
               select stored.id, position, line.ezyvet_id, product_id, supplier_code, outers, units_per_outer, price_per_unit,
                   tax_per_unit, quantity, line.total, total_tax, location_id,
                   case when state in ('accepted', 'held') then greatest(quantity, 0) else 0 end
               from stored join line using (place)),
           moved as (
               insert into stock_move (moved_at, codes)
               select max(now), array_agg(distinct supplier_code) from stored join line using (place)
               where state in ('accepted', 'held') having count(*) > 0),
           told as (
               insert into audit_entry (at, actor, action, subject_kind, subject_id, detail)
               select now, actor, 'order.place', 'order', id,
                   jsonb_build_object('number', number, 'state', state, 'findings', findings)
               from stored)
           select place as "place!", pg_current_xact_id()::text::bigint as "transaction!" from stored"#,
        &heads.clinic,
        &heads.ezyvet_id as &[&str],
        &heads.number as &[&str],
        &heads.purchase_order_number as &[&str],
        &heads.state as &[&str],
        &heads.is_return,
        &heads.body as &[&str],
        &heads.answer_status,
        &heads.answer as &[&str],
        &heads.findings,
        &heads.ordered_at as &[Option<OffsetDateTime>],
        &heads.ownership_id as &[&str],
        &heads.shipping_address_id as &[&str],
        &heads.freight,
        &heads.freight_tax,
        &heads.tax,
        &heads.total,
        &heads.now,
        &heads.actor as &[&str],
        &heads.catalog_version as &[Option<i64>],
        &heads.ship_to_mapped,
        &lines.place,
        &lines.position,
        &lines.ezyvet_id as &[&str],
        &lines.product_id as &[&str],
        &lines.supplier_code as &[&str],
        &lines.outers,
        &lines.units_per_outer,
        &lines.price_per_unit,
        &lines.tax_per_unit,
        &lines.quantity,
        &lines.total,
        &lines.total_tax,
        &lines.location_id as &[&str],
        STOCK_LOCKS
    )
    .fetch_all(connection)
    .await?;
    let mut transactions = vec![None; orders.len()];
    for row in stored {
        let place = usize::try_from(row.place - 1).ok().and_then(|place| transactions.get_mut(place));
        *place.ok_or(sqlx::Error::RowNotFound)? = Some(row.transaction);
    }
    Ok(transactions)
}

/// Orders by column, as `unnest` wants them.
#[derive(Default)]
struct Columns<'a> {
    clinic: Vec<i64>,
    ezyvet_id: Vec<&'a str>,
    number: Vec<&'a str>,
    purchase_order_number: Vec<&'a str>,
    state: Vec<&'a str>,
    is_return: Vec<bool>,
    body: Vec<&'a str>,
    answer_status: Vec<i16>,
    answer: Vec<&'a str>,
    findings: Vec<Value>,
    ordered_at: Vec<Option<OffsetDateTime>>,
    ownership_id: Vec<&'a str>,
    shipping_address_id: Vec<&'a str>,
    freight: Vec<Decimal>,
    freight_tax: Vec<Decimal>,
    tax: Vec<Decimal>,
    total: Vec<Decimal>,
    now: Vec<OffsetDateTime>,
    actor: Vec<&'a str>,
    catalog_version: Vec<Option<i64>>,
    ship_to_mapped: Vec<bool>,
}

impl<'a> Columns<'a> {
    fn of(orders: &'a [NewOrder]) -> Self {
        let mut columns = Self::default();
        for new in orders {
            let order = &*new.order;
            columns.clinic.push(new.clinic.0);
            columns.ezyvet_id.push(&order.ezyvet_id);
            columns.number.push(&new.number);
            columns.purchase_order_number.push(&order.purchase_order_number);
            columns.state.push(new.state);
            columns.is_return.push(order.is_return());
            columns.body.push(&order.body);
            columns.answer_status.push(new.reply.status as i16);
            columns.answer.push(&new.reply.body);
            columns.findings.push(json!(new.findings));
            columns.ordered_at.push(order.ordered_at);
            columns.ownership_id.push(&order.ownership_id);
            columns.shipping_address_id.push(&order.shipping_address_id);
            columns.freight.push(order.freight);
            columns.freight_tax.push(order.freight_tax);
            columns.tax.push(order.tax);
            columns.total.push(order.total);
            columns.now.push(new.now);
            columns.actor.push(&new.actor);
            columns.catalog_version.push(new.basis.map(|basis| basis.catalog_version));
            columns.ship_to_mapped.push(new.basis.is_some_and(|basis| basis.ship_to_mapped));
        }
        columns
    }
}

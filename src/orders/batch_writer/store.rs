//! The statement that stores orders.

use super::super::answer::Reply;
use super::super::decide::Finding;
use super::super::read::OrderRequest;
use super::super::store::NewLineRow;
use crate::ids::ClinicId;
use rust_decimal::Decimal;
use sqlx::postgres::{PgHasArrayType, PgTypeInfo};
use sqlx::types::Json;
use sqlx::{PgConnection, Postgres, Type};
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
    /// Another order of the clinic had its purchase_order_number before.
    pub repeats_number: bool,
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
/// Nothing is stored of an order where the clinic has one with this id, or, unless it is known to repeat it, one with this
/// purchase_order_number; also if that comes at the same time, and is waited for, or in the same statement. Nothing is stored
/// either where its basis does not hold: another version of the catalogue, another word on the address. Where orders may meet
/// others of the same ids, they are to be in ascending order of clinics and ids: who inserts first is waited for.
///
/// No product is locked for it. Whoever decides by the stock sees what is stored by then; what is stored a moment later might
/// as well have come a moment later, for stock only notes it.
pub async fn insert(connection: &mut PgConnection, orders: &[NewOrder]) -> Result<Vec<Option<i64>>, sqlx::Error> {
    let heads: Vec<NewOrderRow<'_>> = orders.iter().map(NewOrderRow::of).collect();
    let lines = NewLineRow::all(orders.iter().map(|new| &*new.order));
    // A scalar subquery is looked up by key for each order; `exists` may be turned into a table of all there are.
    let stored = sqlx::query!(
        r#"with given as materialized (
               select given.*, sent::json as body
               from unnest($1::new_order[]) with ordinality as given(clinic_id, ezyvet_id, number, purchase_order_number, state,
                   is_return, sent, answer_status, answer, findings, ordered_at, ownership_id, shipping_address_id, freight,
                   freight_tax, tax, total, now, actor, catalog_version, ship_to_mapped, repeats_number, ordinal)),
           line as materialized (select * from unnest($2::new_order_line[])),
           placed as (
               insert into purchase_order (clinic_id, ezyvet_id, supplier_order_number, purchase_order_number, state, is_return,
                   body, answer_status, answer_body, findings, ordered_at, ownership_id, shipping_address_id,
                   freight, freight_tax, tax, total, received_at, changed_at, repeats_number)
               select clinic_id, ezyvet_id, number, purchase_order_number, state, is_return, body, answer_status,
                   answer::json, findings, ordered_at, ownership_id, shipping_address_id, freight, freight_tax, tax, total, now, now,
                   repeats_number
               from given
               where catalog_version is null or (
                   catalog_version = (select value from data_version where name = 'catalog')
                   and (shipping_address_id in ('', '0') or ship_to_mapped = (coalesce(
                       (select m.id from ezyvet_mapping m
                        where m.kind = 'ship_to' and m.site_id is null and m.clinic_id = given.clinic_id
                            and m.ezyvet_id = shipping_address_id),
                       (select m.id from clinic c join ezyvet_mapping m on m.site_id = c.site_id and m.clinic_id is null
                        where c.id = given.clinic_id and m.kind = 'ship_to' and m.ezyvet_id = shipping_address_id)) is not null)))
               order by ordinal
               on conflict do nothing
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
               from stored join line using (ordinal)),
           moved as (
               insert into stock_move (moved_at, codes)
               select max(now), array_agg(distinct supplier_code) from stored join line using (ordinal)
               where state in ('accepted', 'held') having count(*) > 0),
           told as (
               insert into audit_entry (at, actor, action, subject_kind, subject_id, detail)
               select now, actor, 'order.place', 'order', id,
                   jsonb_build_object('number', number, 'state', state, 'findings', findings)
               from stored)
           select ordinal as "ordinal!", pg_current_xact_id()::text::bigint as "transaction!" from stored"#,
        heads as Vec<NewOrderRow<'_>>,
        lines as Vec<NewLineRow<'_>>
    )
    .fetch_all(connection)
    .await?;
    let mut transactions = vec![None; orders.len()];
    for row in stored {
        let place = usize::try_from(row.ordinal - 1).ok().and_then(|place| transactions.get_mut(place));
        *place.ok_or(sqlx::Error::RowNotFound)? = Some(row.transaction);
    }
    Ok(transactions)
}

/// An order as `new_order` has it.
#[derive(sqlx::Encode)]
struct NewOrderRow<'a> {
    clinic_id: i64,
    ezyvet_id: &'a str,
    number: &'a str,
    purchase_order_number: &'a str,
    state: &'a str,
    is_return: bool,
    body: &'a str,
    answer_status: i16,
    answer: &'a str,
    findings: Json<&'a [Finding]>,
    ordered_at: Option<OffsetDateTime>,
    ownership_id: &'a str,
    shipping_address_id: &'a str,
    freight: Decimal,
    freight_tax: Decimal,
    tax: Decimal,
    total: Decimal,
    received_at: OffsetDateTime,
    actor: &'a str,
    catalog_version: Option<i64>,
    ship_to_mapped: bool,
    repeats_number: bool,
}

impl<'a> NewOrderRow<'a> {
    fn of(new: &'a NewOrder) -> Self {
        let order = &*new.order;
        Self {
            clinic_id: new.clinic.0,
            ezyvet_id: &order.ezyvet_id,
            number: &new.number,
            purchase_order_number: &order.purchase_order_number,
            state: new.state,
            is_return: order.is_return(),
            body: &order.body,
            answer_status: new.reply.status as i16,
            answer: &new.reply.body,
            findings: Json(&new.findings),
            ordered_at: order.ordered_at,
            ownership_id: &order.ownership_id,
            shipping_address_id: &order.shipping_address_id,
            freight: order.freight,
            freight_tax: order.freight_tax,
            tax: order.tax,
            total: order.total,
            received_at: new.now,
            actor: &new.actor,
            catalog_version: new.basis.map(|basis| basis.catalog_version),
            ship_to_mapped: new.basis.is_some_and(|basis| basis.ship_to_mapped),
            repeats_number: new.repeats_number,
        }
    }
}

impl Type<Postgres> for NewOrderRow<'_> {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("new_order")
    }
}

impl PgHasArrayType for NewOrderRow<'_> {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::array_of("new_order")
    }
}

//! SQL that reads the terms of a decision and stores new orders. Every query of a clinic's rows takes the clinic.

use super::answer::{self, Reply};
use super::decide::{ClinicTerms, Decision, ExpectedVersions, Finding, ProductTerms, Terms};
use super::read::{OrderLine, OrderRequest};
use crate::clinics::ClinicRow;
use crate::clinics::cache::CachedClinic;
use crate::db::Pool;
use crate::db::row::Row;
use crate::ids::ClinicId;
use crate::values::{DECIMAL_PLACES, round};
use rust_decimal::Decimal;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo};
use sqlx::types::Json;
use sqlx::{Encode, PgConnection, Postgres, Type};
use std::collections::HashMap;
use std::sync::Arc;
use time::{Date, OffsetDateTime};

/// "stoc": the first key of the advisory locks on products.
const STOCK_LOCKS: i32 = 0x7374_6f63;

/// A decided order with everything that is stored of it.
#[derive(Debug)]
pub struct NewOrder {
    pub received_at: OffsetDateTime,
    pub clinic: ClinicId,
    pub order: Arc<OrderRequest>,
    pub number: String,
    pub decision: Decision,
    pub reply: Reply,
    pub actor: String,
    /// Whether an earlier order of the clinic has the same purchase_order_number.
    pub repeats_number: bool,
    /// See [`Terms::expected`].
    pub expected: Option<ExpectedVersions>,
}

impl NewOrder {
    /// Prepares an order that was decided under the terms, with its answer under the supplier's order `number`.
    pub fn new(
        now: OffsetDateTime,
        clinic: &CachedClinic,
        order: &Arc<OrderRequest>,
        terms: &Terms,
        decision: Decision,
        number: String,
    ) -> Self {
        let reply = answer::reply(order, &decision, &number, clinic.settings.decline_answer);
        Self {
            received_at: now,
            clinic: clinic.row.id,
            order: Arc::clone(order),
            number,
            decision,
            reply,
            actor: super::actor(clinic),
            repeats_number: terms.clinic.number_used_before,
            expected: terms.expected,
        }
    }

    /// Statements insert orders in ascending order of this key, so that none waits for another in a circle.
    pub fn key(&self) -> (i64, &str) {
        (self.clinic.0, &self.order.ezyvet_id)
    }
}

/// Which other orders of the same products [`lock`] keeps out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockMode {
    /// Stock decides about this order: all orders that take these locks.
    Exclusive,
    /// Stock adds a note at most: only orders about which stock decides.
    Shared,
}

/// Locks the order's id and its products until the end of the transaction, against every other transaction that calls this
/// function. The fast path takes none of these locks ([`insert`]).
///
/// Products share 256 locks, so that an order of thousands of lines does not fill the server's lock table. Every
/// transaction takes the lock of its order first and then those of its products in ascending order, so no deadlock occurs.
///
/// The transaction looks rows up by key from here on. A plan is kept for the life of a connection, and one that was made
/// while the tables were empty would scan them for ever.
pub async fn lock(
    connection: &mut PgConnection,
    clinic: ClinicId,
    order: &OrderRequest,
    mode: LockMode,
) -> Result<(), sqlx::Error> {
    sqlx::query_scalar!(
        r#"with key as materialized (select pg_advisory_xact_lock(hashtextextended($1 || ' ' || $2, 1)) as held,
                       set_config('enable_seqscan', 'off', true)),
                buckets as materialized (
                    select distinct hashtext(code) & 255 as bucket from key, unnest($3::text[]) code order by 1)
           select count(case when $4 then pg_advisory_xact_lock($5, bucket)
                             else pg_advisory_xact_lock_shared($5, bucket) end) as "count!"
           from buckets"#,
        clinic.to_string(),
        order.ezyvet_id,
        &order.supplier_codes(),
        mode == LockMode::Exclusive,
        STOCK_LOCKS
    )
    .fetch_one(connection)
    .await?;
    Ok(())
}

/// Reads the terms from Postgres. A price that holds on `day` is the clinic's own, else that of its price list, else the
/// list price.
pub async fn read_terms(
    connection: &mut PgConnection,
    clinic: &CachedClinic,
    order: &OrderRequest,
    day: Date,
) -> Result<Terms, sqlx::Error> {
    let row = &clinic.row;
    let rows = sqlx::query!(
        r#"with head as materialized (
               select exists (select from purchase_order
                              where clinic_id = $1 and purchase_order_number = $5 and purchase_order_number <> ''
                                  and not repeats_number and ezyvet_id <> $6) as used_before,
                      exists (select from clinic_mapping
                              where clinic_id = $1 and kind = 'ship_to' and ezyvet_id = $7) as ship_to_mapped)
           select head.used_before as "used_before!", head.ship_to_mapped as "ship_to_mapped!", p.code as "code?",
                  p.category as "category?", p.active as "active?", p.restricted as "restricted?",
                  p.units_per_outer as "units_per_outer?",
                  p.stock_available - coalesce((select sum(l.reserved) from purchase_order_line l
                      where l.supplier_code = p.code and l.reserved > 0), 0) as free,
                  coalesce(own.contract_price, shared.contract_price, p.list_price) as price
           from head left join product p on p.code = any($4) and p.list_price is not null
           left join lateral (
               select contract_price from clinic_price
               where clinic_id = $1 and product_id = p.id and $3 between valid_from and valid_until
               order by valid_from desc limit 1) own on true
           left join lateral (
               select contract_price from price_list_price
               where price_list_id = $2 and product_id = p.id and $3 between valid_from and valid_until
               order by valid_from desc limit 1) shared on true"#,
        row.id as ClinicId,
        row.price_list_id,
        day,
        &order.supplier_codes(),
        order.purchase_order_number,
        order.ezyvet_id,
        order.shipping_address_id
    )
    .fetch_all(connection)
    .await?;
    let first = rows.first().ok_or(sqlx::Error::RowNotFound)?;
    let clinic = ClinicTerms::new(row, first.used_before, first.ship_to_mapped);
    let products = rows.into_iter().filter_map(|found| {
        let (code, units_per_outer) = (found.code?, found.units_per_outer?);
        let terms = ProductTerms {
            visible: is_visible(row, &code, &found.category?),
            active: found.active?,
            restricted: found.restricted?,
            units_per_outer: units_per_outer.normalize(),
            price_per_unit: round(found.price? / units_per_outer, DECIMAL_PLACES),
            stock_free: found.free?,
        };
        Some((code, terms))
    });
    let products: HashMap<_, _> = products.collect();
    Ok(Terms { clinic, products, expected: None })
}

/// Whether the clinic sees the product, by the rules of the catalogue: a product must be on one of the two positive lists
/// unless both are empty, and on neither of the negative lists.
fn is_visible(clinic: &ClinicRow, code: &String, category: &String) -> bool {
    let is_unrestricted = clinic.only_categories.is_empty() && clinic.only_products.is_empty();
    let is_included = clinic.only_categories.contains(category) || clinic.only_products.contains(code);
    let is_hidden = clinic.hidden_categories.contains(category) || clinic.hidden_products.contains(code);
    (is_unrestricted || is_included) && !is_hidden
}

/// Whether staff have mapped this shipping address, for the clinic or for its site.
pub async fn is_ship_to_mapped(pool: &Pool, clinic: ClinicId, ezyvet_id: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select exists (select from ezyvet_mapping
                          where kind = 'ship_to' and site_id is null and clinic_id = $1 and ezyvet_id = $2)
                  or exists (select from clinic c join ezyvet_mapping m on m.site_id = c.site_id and m.clinic_id is null
                             where c.id = $1 and m.kind = 'ship_to' and m.ezyvet_id = $2) as "mapped!""#,
        clinic as ClinicId,
        ezyvet_id
    )
    .fetch_one(pool)
    .await
}

/// Returns whether the clinic has an order with this id. Takes no lock.
pub async fn is_known(pool: &Pool, clinic: ClinicId, ezyvet_id: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select exists (select from purchase_order where clinic_id = $1 and ezyvet_id = $2) as "known!""#,
        clinic as ClinicId,
        ezyvet_id
    )
    .fetch_one(pool)
    .await
}

/// Draws order numbers from the sequence, ascending.
pub async fn draw_numbers(pool: &Pool, count: i32) -> Result<Vec<i64>, sqlx::Error> {
    sqlx::query_scalar!(r#"select nextval('supplier_order_seq') as "number!" from generate_series(1, $1)"#, count)
        .fetch_all(pool)
        .await
}

/// Stores one order ([`insert`]).
pub async fn insert_one(connection: &mut PgConnection, order: &NewOrder) -> Result<Option<i64>, sqlx::Error> {
    Ok(insert(connection, std::slice::from_ref(order)).await?.into_iter().next().flatten())
}

/// Stores orders with their lines, reservations, first revisions, audit entries and events in one statement, so that the commit is
/// the only wait. Returns for each order the id of the transaction that stored it, or `None` if it was not stored.
///
/// An order is not stored if the clinic has an order with the same id; if the clinic has an order with the same
/// purchase_order_number and this one is not marked as repeating it; or if an expected version has changed. Both unique
/// indexes also cover orders of the same statement and of transactions that are not committed yet, which are waited for.
/// Pass orders in ascending order of [`NewOrder::key`].
///
/// Locks no product: whether stock falls short is decided by what is stored at this moment, and reservations are added up
/// from the lines whenever stock is read.
pub async fn insert(connection: &mut PgConnection, orders: &[NewOrder]) -> Result<Vec<Option<i64>>, sqlx::Error> {
    let heads: Vec<NewOrderRow<'_>> = orders.iter().map(NewOrderRow::from).collect();
    let lines = NewLineRow::of_orders(orders.iter().map(|new| &*new.order));
    // Scalar subqueries are evaluated by key for each order; Postgres may turn `exists` into a scan of the whole table.
    let stored = sqlx::query!(
        r#"with given as materialized (
               select given.*, sent::json as body
               from unnest($1::new_order[]) with ordinality as given(clinic_id, ezyvet_id, number, purchase_order_number, state,
                   is_return, sent, answer_status, answer, findings, ordered_at, ownership_id, shipping_address_id, freight,
                   freight_tax, tax, total, now, actor, catalog_version, ship_to_mapped, repeats_number, decide_by,
                   decide_default, ordinal)),
           line as materialized (select * from unnest($2::new_order_line[])),
           placed as (
               insert into purchase_order (clinic_id, ezyvet_id, supplier_order_number, purchase_order_number, state, is_return,
                   body, answer_status, answer_body, findings, ordered_at, ownership_id, shipping_address_id,
                   freight, freight_tax, tax, total, received_at, changed_at, repeats_number, decide_by, decide_default)
               select clinic_id, ezyvet_id, number, purchase_order_number, state, is_return, body, answer_status,
                   answer::json, findings, ordered_at, ownership_id, shipping_address_id, freight, freight_tax, tax, total, now, now,
                   repeats_number, decide_by, decide_default
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
           audited as (
               insert into audit_entry (at, actor, action, subject_kind, subject_id, detail)
               select now, actor, 'order.place', 'order', id,
                   jsonb_build_object('number', number, 'state', state, 'findings', findings)
               from stored),
           recorded as (
               insert into event (kind, subject_kind, subject_id, clinic_id, created_at, data)
               select 'order.' || state, 'order', id, clinic_id, now, jsonb_build_object('version', 1, 'id', id,
                   'supplier_order_number', number, 'clinic', (select name from clinic where clinic.id = stored.clinic_id),
                   'clinic_id', clinic_id, 'ezyvet_id', ezyvet_id, 'purchase_order_number', purchase_order_number,
                   'state', state, 'is_return', is_return, 'revision', 1, 'total', trim_scale(total)::text,
                   'findings', findings, 'reason', null)
               from stored)
           select ordinal as "ordinal!", pg_current_xact_id()::text::bigint as "transaction!" from stored"#,
        heads as Vec<NewOrderRow<'_>>,
        lines as Vec<NewLineRow<'_>>
    )
    .fetch_all(connection)
    .await?;
    let mut transactions = vec![None; orders.len()];
    for row in stored {
        let index = usize::try_from(row.ordinal - 1).ok();
        let transaction = index.and_then(|index| transactions.get_mut(index)).ok_or(sqlx::Error::RowNotFound)?;
        *transaction = Some(row.transaction);
    }
    Ok(transactions)
}

/// An order as a row of the SQL type `new_order`.
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
    decide_by: Option<OffsetDateTime>,
    decide_default: Option<&'static str>,
}

impl<'a> From<&'a NewOrder> for NewOrderRow<'a> {
    fn from(new: &'a NewOrder) -> Self {
        let order = &*new.order;
        Self {
            clinic_id: new.clinic.0,
            ezyvet_id: &order.ezyvet_id,
            number: &new.number,
            purchase_order_number: &order.purchase_order_number,
            state: new.decision.verdict.state(),
            is_return: order.is_return(),
            body: &order.body,
            answer_status: new.reply.status as i16,
            answer: &new.reply.body,
            findings: Json(&new.decision.findings),
            ordered_at: order.ordered_at,
            ownership_id: &order.ownership_id,
            shipping_address_id: &order.shipping_address_id,
            freight: order.freight,
            freight_tax: order.freight_tax,
            tax: order.tax,
            total: order.total,
            received_at: new.received_at,
            actor: &new.actor,
            catalog_version: new.expected.map(|expected| expected.catalog_version),
            ship_to_mapped: new.expected.is_some_and(|expected| expected.ship_to_mapped),
            repeats_number: new.repeats_number,
            decide_by: new.decision.pending.map(|pending| pending.decide_by),
            decide_default: new.decision.pending.map(|pending| pending.default.as_str()),
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

/// An order line as a row of the SQL type `new_order_line`.
pub(super) struct NewLineRow<'a> {
    /// Which order of the statement the line belongs to, counted from 1.
    ordinal: i32,
    position: i32,
    line: &'a OrderLine,
}

impl<'a> NewLineRow<'a> {
    pub fn of_orders(orders: impl IntoIterator<Item = &'a OrderRequest>) -> Vec<Self> {
        let orders = (1..).zip(orders);
        let lines = orders.flat_map(|(ordinal, order)| {
            (1..).zip(&order.lines).map(move |(position, line)| Self { ordinal, position, line })
        });
        lines.collect()
    }
}

impl Encode<'_, Postgres> for NewLineRow<'_> {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let Self { ordinal, position, line } = self;
        let mut row = Row::of(13, buffer);
        row.integer(*ordinal)?.integer(*position)?;
        row.text(&line.ezyvet_id)?.text(&line.product_id)?.text(&line.supplier_code)?;
        row.number(line.outers)?.number(line.units_per_outer)?.number(line.price_per_unit)?;
        row.number(line.tax_per_unit)?.number(line.quantity)?.number(line.total)?.number(line.total_tax)?;
        row.text(&line.location_id)?;
        Ok(IsNull::No)
    }
}

impl Type<Postgres> for NewLineRow<'_> {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("new_order_line")
    }
}

impl PgHasArrayType for NewLineRow<'_> {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::array_of("new_order_line")
    }
}

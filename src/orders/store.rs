//! Rows of orders. Every query of a clinic's orders takes its [`ClinicId`]; those of staff say so.

use super::answer::Reply;
use super::decide::Finding;
use super::read::OrderRequest;
use crate::ids::{ClinicId, OrderId};
use rust_decimal::Decimal;
use serde_json::{Map, Value, json};
use sqlx::{PgConnection, PgPool};
use time::{Date, OffsetDateTime};

/// "stoc": the first key of the locks that [`lock`] takes for products.
const STOCK_LOCKS: i32 = 0x7374_6f63;

/// An order that we have already.
pub struct Known {
    pub id: OrderId,
    pub number: String,
    pub state: String,
    pub revision: i32,
    pub content_digest: Vec<u8>,
    pub answer_status: i16,
    pub answer_body: String,
    /// Staff have taken units off it.
    pub part_cancelled: bool,
}

/// What the decision about an order needs to know, of one moment.
pub struct Terms {
    /// For a new order: its sequence number.
    pub number: Option<i64>,
    /// Another order of the clinic has the same purchase_order_number.
    pub used_before: bool,
    pub ship_to_mapped: bool,
    /// Those of the codes ordered that are for sale.
    pub products: Vec<ProductRow>,
}

/// A product with the clinic's price of an outer.
pub struct ProductRow {
    pub code: String,
    pub category: String,
    pub active: bool,
    pub restricted: bool,
    pub units_per_outer: Decimal,
    /// On hand less reserved, in units; below zero where more is on order.
    pub free: Decimal,
    pub price: Decimal,
}

/// Holds back until the end of the transaction every other sending of the same order, and orders of the same products as
/// far as stock decides: `alone` waits for all of them, otherwise only for those that are alone.
///
/// Products share 256 locks, so that an order of thousands of lines does not fill the server's table of locks. They are
/// taken in one order and after the order's own, so nobody waits in a circle.
pub async fn lock(
    connection: &mut PgConnection,
    clinic: ClinicId,
    ezyvet_id: &str,
    codes: &[String],
    alone: bool,
) -> Result<(), sqlx::Error> {
    sqlx::query_scalar!(
        r#"with key as materialized (select pg_advisory_xact_lock(hashtextextended($1 || ' ' || $2, 1)) as held),
                buckets as materialized (
                    select distinct hashtext(code) & 255 as bucket from key, unnest($3::text[]) code order by 1)
           select count(case when $4 then pg_advisory_xact_lock($5, bucket)
                             else pg_advisory_xact_lock_shared($5, bucket) end) as "count!"
           from buckets"#,
        clinic.to_string(),
        ezyvet_id,
        codes,
        alone,
        STOCK_LOCKS
    )
    .fetch_one(connection)
    .await?;
    Ok(())
}

/// The order with this id, locked where it is going to be changed.
pub async fn find_known(
    connection: &mut PgConnection,
    clinic: ClinicId,
    ezyvet_id: &str,
) -> Result<Option<Known>, sqlx::Error> {
    sqlx::query_as!(
        Known,
        r#"select id as "id: OrderId", supplier_order_number as number, state, revision, content_digest, answer_status, answer_body::text as "answer_body!",
                  exists (select from purchase_order_line l where l.order_id = o.id and l.cancelled <> 0) as "part_cancelled!"
           from purchase_order o where clinic_id = $1 and ezyvet_id = $2 for update"#,
        clinic as ClinicId,
        ezyvet_id
    )
    .fetch_optional(connection)
    .await
}

/// What the decision needs. Prices are those that hold for the clinic on that day: its own, else its price list's, else
/// the list price. `new`: a number is drawn.
pub async fn terms(
    connection: &mut PgConnection,
    clinic: ClinicId,
    price_list: Option<i64>,
    day: Date,
    order: &OrderRequest,
    codes: &[String],
    new: bool,
) -> Result<Terms, sqlx::Error> {
    let rows = sqlx::query!(
        r#"with head as materialized (
               select case when $8 then nextval('supplier_order_seq') end as number,
                      exists (select from purchase_order
                              where clinic_id = $1 and purchase_order_number = $5 and ezyvet_id <> $6) as used_before,
                      exists (select from clinic_mapping
                              where clinic_id = $1 and kind = 'ship_to' and ezyvet_id = $7) as ship_to_mapped)
           select head.number, head.used_before as "used_before!", head.ship_to_mapped as "ship_to_mapped!", p.code as "code?",
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
        clinic as ClinicId,
        price_list,
        day,
        codes,
        order.purchase_order_number,
        order.ezyvet_id,
        order.shipping_address_id,
        new
    )
    .fetch_all(connection)
    .await?;
    let first = rows.first().ok_or(sqlx::Error::RowNotFound)?;
    let (number, used_before, ship_to_mapped) = (first.number, first.used_before, first.ship_to_mapped);
    let products = rows.into_iter().filter_map(|row| {
        Some(ProductRow {
            code: row.code?,
            category: row.category?,
            active: row.active?,
            restricted: row.restricted?,
            units_per_outer: row.units_per_outer?,
            free: row.free?,
            price: row.price?,
        })
    });
    Ok(Terms { number, used_before, ship_to_mapped, products: products.collect() })
}

/// Takes the lines of an order away, and with them what they reserve, before it is decided again.
pub async fn delete_lines(connection: &mut PgConnection, now: OffsetDateTime, id: OrderId) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "with gone as (delete from purchase_order_line where order_id = $1 returning supplier_code, reserved)
         insert into stock_move (moved_at, codes)
         select $2, array_agg(distinct supplier_code) from gone where reserved > 0 having count(*) > 0",
        id as OrderId,
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// What a decision rests on that was not read under locks: [`insert`] stores nothing where it has changed.
#[derive(Clone, Copy, Debug)]
pub struct Basis {
    pub catalog_version: i64,
    pub ship_to_mapped: bool,
}

/// Stores an order with its lines, what they reserve, its first revision and the audit entry, in one statement: the commit
/// is the only wait. Returns the transaction.
///
/// Nothing, and nothing is stored, where the clinic has an order with this id already, or where the basis does not hold:
/// another version of the catalogue, another word on the address, or an order with this purchase_order_number before.
/// All of that is looked at in the one snapshot of the statement.
#[expect(clippy::too_many_arguments, reason = "one row's worth of values")]
pub async fn insert(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    clinic: ClinicId,
    order: &OrderRequest,
    number: &str,
    state: &str,
    findings: &[Finding],
    reply: &Reply,
    actor: &str,
    basis: Option<Basis>,
) -> Result<Option<i64>, sqlx::Error> {
    let lines = LineColumns::of(order);
    sqlx::query_scalar!(
        r#"with held as materialized (
               select count(pg_advisory_xact_lock_shared($34, bucket)) as buckets
               from (select distinct hashtext(code) & 255 as bucket from unnest($23::text[]) code order by 1) sorted),
           sent as materialized (select $8::text::json as body),
           placed as (
               insert into purchase_order (clinic_id, ezyvet_id, supplier_order_number, purchase_order_number, state, is_return,
                   content_digest, body, answer_status, answer_body, findings, ordered_at, ownership_id, shipping_address_id,
                   freight, freight_tax, tax, total, received_at, changed_at)
               select $1, $2, $3, $4, $5, $6, $7, sent.body, $9, $10::text::json, $11, $12, $13, $14, $15, $16, $17, $18, $19, $19
               from held, sent
               where held.buckets >= 0 and ($35::bigint is null or (
                   exists (select from data_version where name = 'catalog' and value = $35)
                   and ($4 = '' or not exists (
                       select from purchase_order where clinic_id = $1 and purchase_order_number = $4 and ezyvet_id <> $2))
                   and ($14 in ('', '0') or $36 = (
                       exists (select from ezyvet_mapping
                               where kind = 'ship_to' and site_id is null and clinic_id = $1 and ezyvet_id = $14)
                       or exists (select from clinic c join ezyvet_mapping m on m.site_id = c.site_id and m.clinic_id is null
                                  where c.id = $1 and m.kind = 'ship_to' and m.ezyvet_id = $14)))))
               on conflict on constraint purchase_order_ezyvet_id_key do nothing
               returning id),
           revised as (
               insert into purchase_order_revision (order_id, revision, received_at, body, findings)
               select id, 1, $19, sent.body, $11 from placed, sent),
           lined as (
               insert into purchase_order_line (order_id, position, ezyvet_id, product_id, supplier_code, outers, units_per_outer,
                   price_per_unit, tax_per_unit, quantity, total, total_tax, location_id, reserved)
               select placed.id, line.*, case when $5 in ('accepted', 'held') then greatest(line.quantity, 0) else 0 end
               from placed, unnest($20::int[], $21::text[], $22::text[], $23::text[], $24::numeric[], $25::numeric[], $26::numeric[],
                   $27::numeric[], $28::numeric[], $29::numeric[], $30::numeric[], $31::text[])
                   as line(position, ezyvet_id, product_id, supplier_code, outers, units_per_outer, price_per_unit,
                       tax_per_unit, quantity, total, total_tax, location_id)),
           moved as (
               insert into stock_move (moved_at, codes)
               select $19, array_agg(distinct code) from placed, unnest($23::text[]) code
               where $5 in ('accepted', 'held') having count(*) > 0)
           insert into audit_entry (at, actor, action, subject_kind, subject_id, detail)
           select $19, $32, 'order.place', 'order', id, $33 from placed
           returning pg_current_xact_id()::text::bigint as "transaction!""#,
        clinic as ClinicId,
        order.ezyvet_id,
        number,
        order.purchase_order_number,
        state,
        order.is_return(),
        order.content_digest,
        json_text(&order.body),
        reply.status as i16,
        reply.body,
        json!(findings),
        order.ordered_at,
        order.ownership_id,
        order.shipping_address_id,
        order.freight,
        order.freight_tax,
        order.tax,
        order.total,
        now,
        &lines.position,
        &lines.ezyvet_id,
        &lines.product_id,
        &lines.supplier_code,
        &lines.outers,
        &lines.units_per_outer,
        &lines.price_per_unit,
        &lines.tax_per_unit,
        &lines.quantity,
        &lines.total,
        &lines.total_tax,
        &lines.location_id,
        actor,
        json!({"number": number, "state": state, "findings": findings}),
        STOCK_LOCKS,
        basis.map(|basis| basis.catalog_version),
        basis.is_some_and(|basis| basis.ship_to_mapped)
    )
    .fetch_optional(connection)
    .await
}

/// Whether staff have said which address this is, for the clinic or for its site.
pub async fn is_ship_to_mapped(pool: &PgPool, clinic: ClinicId, ezyvet_id: &str) -> Result<bool, sqlx::Error> {
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

/// Numbers that no order has, in ascending order. Those that are not used are lost.
pub async fn draw_numbers(pool: &PgPool, count: i32) -> Result<Vec<i64>, sqlx::Error> {
    sqlx::query_scalar!(r#"select nextval('supplier_order_seq') as "number!" from generate_series(1, $1)"#, count)
        .fetch_all(pool)
        .await
}

/// Replaces an order's content by a later sending. The caller has made sure that nothing of it was shipped, has deleted
/// its lines, and settles its stock afterwards.
#[expect(clippy::too_many_arguments, reason = "one row's worth of values")]
pub async fn revise(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    id: OrderId,
    revision: i32,
    order: &OrderRequest,
    state: &str,
    findings: &[Finding],
    reply: &Reply,
) -> Result<(), sqlx::Error> {
    let lines = LineColumns::of(order);
    sqlx::query!(
        "with placed as (
             update purchase_order set purchase_order_number = $2, state = $3, is_return = $4, content_digest = $5, body = $6::text::json,
                 answer_status = $7, answer_body = $8::text::json, findings = $9, ordered_at = $10, ownership_id = $11, shipping_address_id = $12,
                 freight = $13, freight_tax = $14, tax = $15, total = $16, changed_at = $17, revision = $18
             where id = $1
             returning id),
         revised as (
             insert into purchase_order_revision (order_id, revision, received_at, body, findings)
             select id, $18, $17, $6::text::json, $9 from placed)
         insert into purchase_order_line (order_id, position, ezyvet_id, product_id, supplier_code, outers, units_per_outer,
             price_per_unit, tax_per_unit, quantity, total, total_tax, location_id)
         select placed.id, line.* from placed, unnest($19::int[], $20::text[], $21::text[], $22::text[], $23::numeric[],
             $24::numeric[], $25::numeric[], $26::numeric[], $27::numeric[], $28::numeric[], $29::numeric[], $30::text[]) line",
        id as OrderId,
        order.purchase_order_number,
        state,
        order.is_return(),
        order.content_digest,
        json_text(&order.body),
        reply.status as i16,
        reply.body,
        json!(findings),
        order.ordered_at,
        order.ownership_id,
        order.shipping_address_id,
        order.freight,
        order.freight_tax,
        order.tax,
        order.total,
        now,
        revision,
        &lines.position,
        &lines.ezyvet_id,
        &lines.product_id,
        &lines.supplier_code,
        &lines.outers,
        &lines.units_per_outer,
        &lines.price_per_unit,
        &lines.tax_per_unit,
        &lines.quantity,
        &lines.total,
        &lines.total_tax,
        &lines.location_id
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Bound as text: a value bound as JSON is sent as jsonb, which does not keep the order of keys.
fn json_text(map: &Map<String, Value>) -> String {
    serde_json::to_string(map).unwrap_or_else(|_| json!(map).to_string())
}

/// Lines by column, as `unnest` wants them.
#[derive(Default)]
struct LineColumns {
    position: Vec<i32>,
    ezyvet_id: Vec<String>,
    product_id: Vec<String>,
    supplier_code: Vec<String>,
    outers: Vec<Decimal>,
    units_per_outer: Vec<Decimal>,
    price_per_unit: Vec<Decimal>,
    tax_per_unit: Vec<Decimal>,
    quantity: Vec<Decimal>,
    total: Vec<Decimal>,
    total_tax: Vec<Decimal>,
    location_id: Vec<String>,
}

impl LineColumns {
    fn of(order: &OrderRequest) -> Self {
        let mut columns = Self::default();
        for (position, line) in (1..).zip(&order.lines) {
            columns.position.push(position);
            columns.ezyvet_id.push(line.ezyvet_id.clone());
            columns.product_id.push(line.product_id.clone());
            columns.supplier_code.push(line.supplier_code.clone());
            columns.outers.push(line.outers);
            columns.units_per_outer.push(line.units_per_outer);
            columns.price_per_unit.push(line.price_per_unit);
            columns.tax_per_unit.push(line.tax_per_unit);
            columns.quantity.push(line.quantity);
            columns.total.push(line.total);
            columns.total_tax.push(line.total_tax);
            columns.location_id.push(line.location_id.clone());
        }
        columns
    }
}

//! Rows of orders. Every query of a clinic's orders takes its [`ClinicId`]; those of staff say so.

use super::answer::Reply;
use super::decide::Finding;
use super::read::{OrderLine, OrderRequest};
use crate::db::row::Row;
use crate::ids::{ClinicId, OrderId};
use rust_decimal::Decimal;
use serde_json::json;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo};
use sqlx::{Encode, PgConnection, PgPool, Postgres, Type};
use time::{Date, OffsetDateTime};

/// "stoc": the first key of the locks that [`lock`] takes for products.
const STOCK_LOCKS: i32 = 0x7374_6f63;

/// An order that we have already.
pub struct Known {
    pub id: OrderId,
    pub number: String,
    pub purchase_order_number: String,
    pub state: String,
    pub revision: i32,
    /// JSON, as it was received last.
    pub body: String,
    pub answer_status: i16,
    pub answer_body: String,
    /// Staff have taken units off it.
    pub part_cancelled: bool,
}

/// What the decision about an order needs to know, of one moment.
pub struct Terms {
    /// For a new order: its sequence number.
    pub number: Option<i64>,
    /// Another order of the clinic had the same purchase_order_number before.
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
/// far as stock decides: `alone` waits for all of them that take these locks, otherwise only for those that are alone. What
/// is stored at once takes none ([`super::batch_writer::store::insert`]).
///
/// Products share 256 locks, so that an order of thousands of lines does not fill the server's table of locks. They are
/// taken in one order and after the order's own, so nobody waits in a circle.
///
/// From here on the transaction looks rows up by key, always: a plan is kept for the life of a connection, and one that was
/// made while there were no orders yet would read through all of them.
pub async fn lock(
    connection: &mut PgConnection,
    clinic: ClinicId,
    ezyvet_id: &str,
    codes: &[String],
    alone: bool,
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
        r#"select id as "id: OrderId", supplier_order_number as number, purchase_order_number, state, revision, body::text as "body!", answer_status, answer_body::text as "answer_body!",
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
                              where clinic_id = $1 and purchase_order_number = $5 and purchase_order_number <> ''
                                  and not repeats_number and ezyvet_id <> $6) as used_before,
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

/// What becomes of an order that is sent again with other content.
pub struct Revised<'a> {
    /// When it was received.
    pub now: OffsetDateTime,
    pub revision: i32,
    pub order: &'a OrderRequest,
    pub repeats_number: bool,
    pub state: &'static str,
    pub findings: &'a [Finding],
    pub reply: &'a Reply,
}

/// Replaces an order's content by a later sending. The caller has made sure that nothing of it was shipped, has deleted
/// its lines, and settles its stock afterwards.
///
/// False: another order has come with its purchase_order_number since that was looked for. The transaction is void then.
pub async fn revise(connection: &mut PgConnection, id: OrderId, revised: Revised<'_>) -> Result<bool, sqlx::Error> {
    let Revised { now, revision, order, repeats_number, state, findings, reply } = revised;
    let lines = NewLineRow::all([order]);
    let done = sqlx::query!(
        "with placed as (
             update purchase_order set purchase_order_number = $2, state = $3, is_return = $4, body = $5::text::json,
                 answer_status = $6, answer_body = $7::text::json, findings = $8, ordered_at = $9, ownership_id = $10, shipping_address_id = $11,
                 freight = $12, freight_tax = $13, tax = $14, total = $15, changed_at = $16, revision = $17, repeats_number = $19
             where id = $1
             returning id),
         revised as (
             insert into purchase_order_revision (order_id, revision, received_at, body, findings)
             select id, $17, $16, $5::text::json, $8 from placed)
         insert into purchase_order_line (order_id, position, ezyvet_id, product_id, supplier_code, outers, units_per_outer,
             price_per_unit, tax_per_unit, quantity, total, total_tax, location_id)
         select placed.id, position, line.ezyvet_id, product_id, supplier_code, outers, units_per_outer, price_per_unit,
             tax_per_unit, quantity, total, total_tax, location_id
         from placed, unnest($18::new_order_line[]) line",
        id as OrderId,
        order.purchase_order_number,
        state,
        order.is_return(),
        // Bound as text: a value bound as JSON is sent as jsonb, which does not keep the order of keys.
        order.body,
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
        lines as Vec<NewLineRow<'_>>,
        repeats_number
    )
    .execute(connection)
    .await;
    match done {
        Err(sqlx::Error::Database(error)) if error.constraint() == Some("purchase_order_number_once") => Ok(false),
        done => done.map(|_| true),
    }
}

/// Where the order that had a purchase_order_number first has another one now, the next with the old one takes its place.
pub async fn pass_number_on(connection: &mut PgConnection, clinic: ClinicId, number: &str) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "with same as materialized (
             select id, repeats_number from purchase_order
             where clinic_id = $1 and purchase_order_number = $2 and purchase_order_number <> '')
         update purchase_order set repeats_number = false
         where id = (select min(id) from same having bool_and(repeats_number))",
        clinic as ClinicId,
        number
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// A line as `new_order_line` has it.
pub(super) struct NewLineRow<'a> {
    /// Of its order among the orders, from 1.
    place: i32,
    position: i32,
    line: &'a OrderLine,
}

impl<'a> NewLineRow<'a> {
    /// The lines of all the orders.
    pub fn all(orders: impl IntoIterator<Item = &'a OrderRequest>) -> Vec<Self> {
        let orders = (1..).zip(orders);
        let lines = orders.flat_map(|(place, order)| {
            (1..).zip(&order.lines).map(move |(position, line)| Self { place, position, line })
        });
        lines.collect()
    }
}

impl Encode<'_, Postgres> for NewLineRow<'_> {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let Self { place, position, line } = self;
        let mut row = Row::of(13, buffer);
        row.integer(*place)?.integer(*position)?;
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

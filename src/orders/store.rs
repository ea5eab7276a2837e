//! Rows of orders. Every query of a clinic's orders takes its [`ClinicId`]; those of staff say so.

use super::answer::Answer;
use super::decide::Finding;
use super::read::OrderRequest;
use super::staff::{Filter, Order, OrderLine};
use crate::ids::{ClinicId, OrderId};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use sqlx::{PgConnection, PgPool};
use time::{Date, OffsetDateTime};

/// An order that we have already.
pub struct Known {
    pub id: OrderId,
    pub number: String,
    pub state: String,
    pub revision: i32,
    pub content_digest: Vec<u8>,
    pub answer_status: i16,
    pub answer_body: Value,
}

/// A product with the clinic's price of an outer.
pub struct ProductRow {
    pub code: String,
    pub category: String,
    pub active: bool,
    pub restricted: bool,
    pub units_per_outer: Decimal,
    pub stock_available: Decimal,
    pub price: Decimal,
}

/// Holds every other sending of the same order back until the end of the transaction.
pub async fn lock_key(connection: &mut PgConnection, clinic: ClinicId, ezyvet_id: &str) -> Result<(), sqlx::Error> {
    sqlx::query!("select pg_advisory_xact_lock(hashtextextended($1 || ' ' || $2, 1))", clinic.to_string(), ezyvet_id)
        .execute(connection)
        .await?;
    Ok(())
}

pub async fn find_known(
    connection: &mut PgConnection,
    clinic: ClinicId,
    ezyvet_id: &str,
) -> Result<Option<Known>, sqlx::Error> {
    sqlx::query_as!(
        Known,
        r#"select id as "id: OrderId", supplier_order_number as number, state, revision, content_digest, answer_status, answer_body
           from purchase_order where clinic_id = $1 and ezyvet_id = $2 for update"#,
        clinic as ClinicId,
        ezyvet_id
    )
    .fetch_optional(connection)
    .await
}

pub async fn number_used_before(
    connection: &mut PgConnection,
    clinic: ClinicId,
    number: &str,
    ezyvet_id: &str,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select exists (select from purchase_order where clinic_id = $1 and purchase_order_number = $2 and ezyvet_id <> $3) as "used!""#,
        clinic as ClinicId,
        number,
        ezyvet_id
    )
    .fetch_one(connection)
    .await
}

pub async fn next_number(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(r#"select nextval('supplier_order_seq') as "number!""#).fetch_one(connection).await
}

/// The products of these codes that are for sale, with the price that holds for the clinic on that day: its own, else its
/// price list's, else the list price.
pub async fn products(
    connection: &mut PgConnection,
    clinic: ClinicId,
    price_list: Option<i64>,
    day: Date,
    codes: &[String],
) -> Result<Vec<ProductRow>, sqlx::Error> {
    sqlx::query_as!(
        ProductRow,
        r#"select p.code, p.category, p.active, p.restricted, p.units_per_outer, p.stock_available,
                  coalesce(own.contract_price, shared.contract_price, p.list_price) as "price!"
           from product p
           left join lateral (
               select contract_price from clinic_price
               where clinic_id = $1 and product_id = p.id and $3 between valid_from and valid_until
               order by valid_from desc limit 1) own on true
           left join lateral (
               select contract_price from price_list_price
               where price_list_id = $2 and product_id = p.id and $3 between valid_from and valid_until
               order by valid_from desc limit 1) shared on true
           where p.code = any($4) and p.list_price is not null"#,
        clinic as ClinicId,
        price_list,
        day,
        codes
    )
    .fetch_all(connection)
    .await
}

/// JSON as the columns of type json keep it: bound as a `Value` it would pass through jsonb, which sorts the keys.
fn in_order(value: &impl serde::Serialize) -> String {
    serde_json::json!(value).to_string()
}

/// Stores an order with its lines and its first revision, in one statement.
#[expect(clippy::too_many_arguments, reason = "one row's worth of values")]
pub async fn insert(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    clinic: ClinicId,
    order: &OrderRequest,
    number: &str,
    state: &str,
    findings: &[Finding],
    answer: &Answer,
) -> Result<OrderId, sqlx::Error> {
    let lines = LineColumns::of(order);
    sqlx::query_scalar!(
        r#"with placed as (
               insert into purchase_order (clinic_id, ezyvet_id, supplier_order_number, purchase_order_number, state, is_return,
                   content_digest, body, answer_status, answer_body, findings, ordered_at, ownership_id, shipping_address_id,
                   freight, freight_tax, tax, total, received_at, changed_at)
               values ($1, $2, $3, $4, $5, $6, $7, $8::text::json, $9, $10::text::json, $11, $12, $13, $14, $15, $16, $17, $18, $19, $19)
               returning id),
           revised as (
               insert into purchase_order_revision (order_id, revision, received_at, body, findings)
               select id, 1, $19, $8::text::json, $11 from placed),
           lined as (
               insert into purchase_order_line (order_id, position, ezyvet_id, product_id, supplier_code, outers, units_per_outer,
                   price_per_unit, tax_per_unit, quantity, total, total_tax, location_id)
               select placed.id, line.* from placed, unnest($20::int[], $21::text[], $22::text[], $23::text[], $24::numeric[],
                   $25::numeric[], $26::numeric[], $27::numeric[], $28::numeric[], $29::numeric[], $30::numeric[], $31::text[]) line)
           select id as "id: OrderId" from placed"#,
        clinic as ClinicId,
        order.ezyvet_id,
        number,
        order.purchase_order_number,
        state,
        order.is_return(),
        order.content_digest,
        in_order(&order.body),
        answer.status as i16,
        in_order(&answer.body),
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
        &lines.location_id
    )
    .fetch_one(connection)
    .await
}

/// Replaces an order's content by a later sending. The caller has made sure that nothing of it was shipped.
#[expect(clippy::too_many_arguments, reason = "one row's worth of values")]
pub async fn revise(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    id: OrderId,
    revision: i32,
    order: &OrderRequest,
    state: &str,
    findings: &[Finding],
    answer: &Answer,
) -> Result<(), sqlx::Error> {
    sqlx::query!("delete from purchase_order_line where order_id = $1", id as OrderId)
        .execute(&mut *connection)
        .await?;
    let lines = LineColumns::of(order);
    sqlx::query!(
        "with placed as (
             update purchase_order set purchase_order_number = $2, state = $3, is_return = $4, content_digest = $5,
                 body = $6::text::json, answer_status = $7, answer_body = $8::text::json, findings = $9, ordered_at = $10, ownership_id = $11, shipping_address_id = $12,
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
        in_order(&order.body),
        answer.status as i16,
        in_order(&answer.body),
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

/// For staff: orders of all clinics, newest first.
pub async fn list(pool: &PgPool, filter: &Filter) -> Result<Vec<Order>, sqlx::Error> {
    let pattern = filter
        .text
        .as_ref()
        .map(|text| format!("%{}%", text.replace('\\', r"\\").replace('%', r"\%").replace('_', r"\_")));
    sqlx::query_as!(
        Order,
        r#"select o.id as "id: OrderId", o.state, o.supplier_order_number, c.name as clinic, o.ezyvet_id, o.purchase_order_number, o.is_return,
                  o.revision, o.total, (select count(*) from purchase_order_line l where l.order_id = o.id) as "lines!",
                  o.received_at, o.changed_at, o.findings
           from purchase_order o join clinic c on c.id = o.clinic_id
           where ($1::text is null or o.state = $1)
             and ($2::text is null or c.name = $2 or c.client_id = $2 or c.id::text = $2)
             and ($3::text is null or exists (select from purchase_order_line l where l.order_id = o.id and l.supplier_code = $3))
             and (not $4 or o.state = 'held')
             and ($5::text is null or o.supplier_order_number ilike $5 or o.purchase_order_number ilike $5 or c.name ilike $5
                  or o.body ->> 'comments' ilike $5)
           order by o.id desc"#,
        filter.state,
        filter.clinic,
        filter.product,
        filter.attention,
        pattern
    )
    .fetch_all(pool)
    .await
}

/// For staff: an order by our number or our id.
pub async fn find_id(pool: &PgPool, which: &str) -> Result<Option<OrderId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select id as "id: OrderId" from purchase_order where supplier_order_number = upper($1) or id::text = $1"#,
        which
    )
    .fetch_optional(pool)
    .await
}

/// For staff: what `order show` shows beside the list's columns.
pub async fn find_body(pool: &PgPool, id: OrderId) -> Result<Option<(Order, Value)>, sqlx::Error> {
    let row = sqlx::query!(
        r#"select o.id as "id: OrderId", o.state, o.supplier_order_number, c.name as clinic, o.ezyvet_id, o.purchase_order_number, o.is_return,
                  o.revision, o.total, (select count(*) from purchase_order_line l where l.order_id = o.id) as "lines!",
                  o.received_at, o.changed_at, o.findings, o.body
           from purchase_order o join clinic c on c.id = o.clinic_id where o.id = $1"#,
        id as OrderId
    )
    .fetch_optional(pool)
    .await?;
    Ok(row.map(|row| {
        let order = Order {
            id: row.id,
            state: row.state,
            supplier_order_number: row.supplier_order_number,
            clinic: row.clinic,
            ezyvet_id: row.ezyvet_id,
            purchase_order_number: row.purchase_order_number,
            is_return: row.is_return,
            revision: row.revision,
            total: row.total,
            lines: row.lines,
            received_at: row.received_at,
            changed_at: row.changed_at,
            findings: row.findings,
        };
        (order, row.body)
    }))
}

pub async fn lines(pool: &PgPool, id: OrderId) -> Result<Vec<OrderLine>, sqlx::Error> {
    sqlx::query_as!(
        OrderLine,
        r#"select l.ezyvet_id as item, l.supplier_code, coalesce(p.name, '') as "name!", l.outers, l.units_per_outer, l.quantity, l.price_per_unit,
                  l.total, l.total_tax, l.location_id, l.cancelled,
                  coalesce((select sum(s.quantity) from shipment_line s where s.order_line_id = l.id), 0) as "shipped!"
           from purchase_order_line l left join product p on p.code = l.supplier_code
           where l.order_id = $1 order by l.position"#,
        id as OrderId
    )
    .fetch_all(pool)
    .await
}

/// Locks an order for a change of state; its state, body, number and clinic.
pub async fn lock(
    connection: &mut PgConnection,
    id: OrderId,
) -> Result<(String, Value, String, ClinicId), sqlx::Error> {
    let row = sqlx::query!(
        r#"select state, body, supplier_order_number, clinic_id as "clinic: ClinicId" from purchase_order where id = $1 for update"#,
        id as OrderId
    )
    .fetch_one(connection)
    .await?;
    Ok((row.state, row.body, row.supplier_order_number, row.clinic))
}

/// A change of state by staff; with it the answer that a repeated sending gets.
pub async fn set_state(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    id: OrderId,
    state: &str,
    answer: Option<&Answer>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update purchase_order set state = $2, changed_at = $3, answer_status = coalesce($4, answer_status),
                answer_body = coalesce($5::text::json, answer_body)
         where id = $1",
        id as OrderId,
        state,
        now,
        answer.map(|answer| answer.status as i16),
        answer.map(|answer| in_order(&answer.body))
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The clinic's overrides, for the reading of its decline.
pub async fn clinic_overrides(connection: &mut PgConnection, clinic: ClinicId) -> Result<Value, sqlx::Error> {
    sqlx::query_scalar!("select settings from clinic where id = $1", clinic as ClinicId).fetch_one(connection).await
}

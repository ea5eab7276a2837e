//! SQL of single products.

use super::StockChange;
use crate::db::{IMPORT_LOCK, Page, Pool};
use crate::ids::ProductId;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use std::collections::HashMap;
use time::OffsetDateTime;
use utoipa::ToSchema;

/// A product for staff.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ProductRow {
    #[schema(value_type = i64)]
    pub id: ProductId,
    pub code: String,
    pub name: String,
    #[serde(rename = "type")]
    pub product_type: String,
    pub category: String,
    /// Null: unknown.
    pub units_per_outer: Option<String>,
    pub unit_of_measure: String,
    /// Per outer, without tax; null for a product that is not for sale.
    pub list_price: Option<String>,
    pub barcode: String,
    /// On hand, in units.
    #[serde(with = "crate::values::text")]
    #[schema(value_type = String)]
    pub stock_available: Decimal,
    /// Units reserved by open orders; clinics see the difference.
    #[serde(with = "crate::values::text")]
    #[schema(value_type = String)]
    pub stock_reserved: Decimal,
    /// `active`, `withdrawn`, or `not_for_sale`.
    pub state: String,
    /// False: the product is withdrawn.
    pub active: bool,
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub withdrawn_at: Option<OffsetDateTime>,
    pub restricted: bool,
    pub manufacturer: String,
    pub related_urls: Vec<String>,
    pub tax_code: String,
    /// In percent.
    pub tax_rate: Option<String>,
}

/// The stock of a product, in units.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct StockLevel {
    pub code: String,
    /// On hand.
    #[serde(with = "crate::values::text")]
    #[schema(value_type = String)]
    pub stock_available: Decimal,
    /// Reserved by open orders; clinics see the difference.
    #[serde(with = "crate::values::text")]
    #[schema(value_type = String)]
    pub stock_reserved: Decimal,
}

impl From<ProductRow> for StockLevel {
    fn from(row: ProductRow) -> Self {
        Self { code: row.code, stock_available: row.stock_available, stock_reserved: row.stock_reserved }
    }
}

/// Restricts a list of products.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ProductFilter {
    /// Only products whose code or name contains this text
    pub text: Option<String>,
    /// Only products of this category
    pub category: Option<String>,
    /// Only products in this state: `active`, `withdrawn` or `not_for_sale`
    pub state: Option<String>,
}

/// Lists products, newest first.
pub async fn list(pool: &Pool, filter: &ProductFilter, page: Page) -> Result<Vec<ProductRow>, sqlx::Error> {
    let text = filter.text.as_deref();
    let pattern = text.map(|text| format!("%{}%", text.replace('\\', r"\\").replace('%', r"\%").replace('_', r"\_")));
    sqlx::query_as!(
        ProductRow,
        r#"select id as "id: ProductId", code, name, type as product_type, category,
                  case when units_known then trim_scale(units_per_outer)::text end as units_per_outer, unit_of_measure,
                  trim_scale(list_price)::text as list_price, barcode, stock_available,
                  coalesce((select sum(l.reserved) from purchase_order_line l
                            where l.supplier_code = product.code and l.reserved > 0), 0) as "stock_reserved!",
                  case when list_price is null then 'not_for_sale' when active then 'active' else 'withdrawn' end as "state!",
                  active, withdrawn_at, restricted, manufacturer, related_urls, tax_code,
                  trim_scale(tax_rate)::text as tax_rate
           from product
           where ($1::text is null or code ilike $1 or name ilike $1)
             and ($2::text is null or category = $2)
             and ($3::text is null or $3 = case when list_price is null then 'not_for_sale' when active then 'active'
                                                else 'withdrawn' end)
             and ($4::bigint is null or id < $4)
           order by id desc limit $5"#,
        pattern,
        filter.category.as_deref(),
        filter.state.as_deref(),
        page.before,
        page.limit
    )
    .fetch_all(pool)
    .await
}

/// Finds products by their codes, in order of code.
pub(super) async fn find(connection: &mut PgConnection, codes: &[String]) -> Result<Vec<ProductRow>, sqlx::Error> {
    sqlx::query_as!(
        ProductRow,
        r#"select id as "id: ProductId", code, name, type as product_type, category,
                  case when units_known then trim_scale(units_per_outer)::text end as units_per_outer, unit_of_measure,
                  trim_scale(list_price)::text as list_price, barcode, stock_available,
                  coalesce((select sum(l.reserved) from purchase_order_line l
                            where l.supplier_code = product.code and l.reserved > 0), 0) as "stock_reserved!",
                  case when list_price is null then 'not_for_sale' when active then 'active' else 'withdrawn' end as "state!",
                  active, withdrawn_at, restricted, manufacturer, related_urls, tax_code,
                  trim_scale(tax_rate)::text as tax_rate
           from product where code = any($1) order by code collate "C""#,
        codes
    )
    .fetch_all(connection)
    .await
}

/// Finds staged new products without a required field: position and column.
pub(super) async fn find_missing(connection: &mut PgConnection) -> Result<Vec<(i64, String)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select s.line as "line!", f.field as "field!"
           from staged_product s
           cross join lateral (values ('name', s.name), ('type', s.type), ('category', s.category)) f(field, value)
           where s.product_id is null and s.code <> '' and f.value is null
           order by s.line"#
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.line, row.field)).collect())
}

/// Keeps imports away until the end of the transaction: an import reads and writes the whole catalogue.
pub(super) async fn share_import_lock(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!("select pg_advisory_xact_lock_shared($1)", IMPORT_LOCK).execute(connection).await?;
    Ok(())
}

/// Locks products in order of id, so that two requests cannot deadlock; returns their stock on hand.
pub(super) async fn lock_stock(
    connection: &mut PgConnection,
    codes: &[String],
) -> Result<HashMap<String, Decimal>, sqlx::Error> {
    let rows = sqlx::query!(
        "select code, stock_available from product where code = any($1) order by id for no key update",
        codes
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.code, row.stock_available)).collect())
}

/// Sets or adds to the stock, and records the movement that running servers read.
pub(super) async fn update_stock(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    codes: &[String],
    changes: &[StockChange],
) -> Result<(), sqlx::Error> {
    let values: Vec<Option<Decimal>> = changes.iter().map(|change| change.stock_available).collect();
    let added: Vec<Option<Decimal>> = changes.iter().map(|change| change.change).collect();
    sqlx::query!(
        "with given as (select * from unnest($1::text[], $2::numeric[], $3::numeric[]) as given(code, value, added)),
         moved as (
             update product p set stock_available = coalesce(given.value, p.stock_available + given.added)
             from given where p.code = given.code
             returning p.code)
         insert into stock_move (moved_at, codes) select $4, array_agg(code) from moved having count(*) > 0",
        codes,
        &values as &[Option<Decimal>],
        &added as &[Option<Decimal>],
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn set_active(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    id: ProductId,
    active: bool,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update product set active = $2, withdrawn_at = case when $2 then null else $3::timestamptz end where id = $1",
        id as ProductId,
        active,
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

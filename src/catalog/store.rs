//! Reading the catalogue whole, from one moment.

use super::prices::ContractPrices;
use super::product::CatalogProduct;
use super::snapshot::{BuildError, Snapshot, SnapshotBuilder};
use crate::ids::{ClinicId, ProductId};
use futures_util::TryStreamExt;
use rust_decimal::Decimal;
use serde::Serialize;
use sqlx::{PgConnection, PgPool};
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use time::{Date, OffsetDateTime};

/// Everything that answers are made of, from one moment.
pub struct Reading {
    pub snapshot: Snapshot,
    pub price_lists: HashMap<i64, Arc<ContractPrices>>,
    pub own_prices: HashMap<ClinicId, Arc<ContractPrices>>,
    /// Transactions before this one are in it; of later ones, some may be.
    pub seen: i64,
}

/// Free stock of the products whose stock may have moved.
pub struct StockReading {
    pub seen: i64,
    pub changes: Vec<(ProductId, Decimal)>,
}

/// Why the catalogue could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("the catalogue cannot be read")]
    Database(#[from] sqlx::Error),
    #[error("the catalogue in the database cannot be served")]
    Build(#[from] BuildError),
}

/// The version of the catalogue alone; 0 while nothing was ever imported.
pub async fn version(pool: &PgPool) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!("select value from data_version where name = 'catalog'").fetch_one(pool).await
}

/// Products and the contract prices that hold on `day`, all of one moment.
pub async fn load(pool: &PgPool, day: Date) -> Result<Reading, LoadError> {
    let mut transaction = pool.begin_with("begin isolation level repeatable read read only").await?;
    let version = sqlx::query_scalar!("select value from data_version where name = 'catalog'")
        .fetch_one(&mut *transaction)
        .await?;
    let seen = sqlx::query_scalar!(r#"select pg_snapshot_xmin(pg_current_snapshot())::text::bigint as "seen!""#)
        .fetch_one(&mut *transaction)
        .await?;
    let snapshot = load_products(&mut transaction, version).await?;
    let lists = sqlx::query!(
        r#"select distinct on (price_list_id, product_id) price_list_id, product_id as "product_id: ProductId", contract_price
           from price_list_price where $1 between valid_from and valid_until
           order by price_list_id, product_id, valid_from desc"#,
        day
    )
    .fetch(&mut *transaction)
    .map_ok(|row| (row.price_list_id, (row.product_id, row.contract_price)));
    let price_lists = grouped(lists).await?;
    let own = sqlx::query!(
        r#"select distinct on (clinic_id, product_id) clinic_id as "clinic_id: ClinicId", product_id as "product_id: ProductId", contract_price
           from clinic_price where $1 between valid_from and valid_until
           order by clinic_id, product_id, valid_from desc"#,
        day
    )
    .fetch(&mut *transaction)
    .map_ok(|row| (row.clinic_id, (row.product_id, row.contract_price)));
    let own_prices = grouped(own).await?;
    transaction.commit().await?;
    Ok(Reading { snapshot, price_lists, own_prices, seen })
}

async fn load_products(connection: &mut PgConnection, version: i64) -> Result<Snapshot, LoadError> {
    let mut rows = sqlx::query_as!(
        CatalogProduct,
        r#"select p.id as "id: ProductId", p.code, p.name, p.type as product_type, p.category, p.units_per_outer, p.unit_of_measure,
                  p.list_price, p.barcode, greatest(p.stock_available - coalesce(r.reserved, 0), 0) as "stock_available!",
                  p.withdrawn_at, p.related_urls, p.restricted
           from product p
           left join (select supplier_code, sum(reserved) as reserved from purchase_order_line
                      where reserved > 0 group by supplier_code) r on r.supplier_code = p.code
           where p.list_price is not null order by p.code collate "C""#
    )
    .fetch(connection);
    let mut builder = SnapshotBuilder::default();
    while let Some(product) = rows.try_next().await? {
        builder.push(&product)?;
    }
    Ok(builder.finish(version))
}

/// Free stock (on hand less reserved, never below zero) of the products that transactions have moved since `seen`; some of
/// them may have been read before.
pub async fn moved_stock(pool: &PgPool, seen: i64) -> Result<StockReading, sqlx::Error> {
    let rows = sqlx::query!(
        r#"with moved as materialized (select distinct unnest(codes) as code from stock_move where xid >= $1)
           select pg_snapshot_xmin(pg_current_snapshot())::text::bigint as "seen!", p.id as "id?: ProductId",
                  greatest(p.stock_available - coalesce((select sum(l.reserved) from purchase_order_line l
                      where l.supplier_code = p.code and l.reserved > 0), 0), 0) as "free?"
           from (values (1)) one(one)
           left join (moved join product p on p.code = moved.code and p.list_price is not null) on true"#,
        seen
    )
    .fetch_all(pool)
    .await?;
    let seen = rows.first().map_or(seen, |row| row.seen);
    Ok(StockReading { seen, changes: rows.into_iter().filter_map(|row| Some((row.id?, row.free?))).collect() })
}

/// Deletes what every running process has read.
pub async fn prune_moves(pool: &PgPool, before: OffsetDateTime) -> Result<(), sqlx::Error> {
    sqlx::query!("delete from stock_move where moved_at < $1", before).execute(pool).await?;
    Ok(())
}

async fn grouped<K: Eq + Hash>(
    rows: impl futures_util::Stream<Item = Result<(K, (ProductId, Decimal)), sqlx::Error>>,
) -> Result<HashMap<K, Arc<ContractPrices>>, sqlx::Error> {
    let mut groups: HashMap<K, Vec<(ProductId, Decimal)>> = HashMap::new();
    let mut rows = std::pin::pin!(rows);
    while let Some((key, price)) = rows.try_next().await? {
        groups.entry(key).or_default().push(price);
    }
    Ok(groups.into_iter().map(|(key, prices)| (key, Arc::new(ContractPrices::new(prices)))).collect())
}

/// A product as staff see it.
#[derive(Debug, Serialize)]
pub struct ProductRow {
    pub id: ProductId,
    pub code: String,
    pub name: String,
    #[serde(rename = "type")]
    pub product_type: String,
    pub category: String,
    #[serde(with = "crate::values::text")]
    pub units_per_outer: Decimal,
    pub unit_of_measure: String,
    /// Per outer; nothing for a product that is not for sale.
    pub list_price: Option<String>,
    pub barcode: String,
    /// On hand, in units.
    #[serde(with = "crate::values::text")]
    pub stock_available: Decimal,
    /// What open orders hold of it; clinics are shown the rest.
    #[serde(with = "crate::values::text")]
    pub stock_reserved: Decimal,
    /// `active`, `withdrawn`, or `not_for_sale`.
    pub state: String,
    #[serde(with = "time::serde::rfc3339::option")]
    pub withdrawn_at: Option<OffsetDateTime>,
    pub restricted: bool,
    pub manufacturer: String,
}

/// For staff: products whose code or name holds the text, by code.
pub async fn list(pool: &PgPool, text: Option<&str>) -> Result<Vec<ProductRow>, sqlx::Error> {
    let pattern = text.map(|text| format!("%{}%", text.replace('\\', r"\\").replace('%', r"\%").replace('_', r"\_")));
    sqlx::query_as!(
        ProductRow,
        r#"select id as "id: ProductId", code, name, type as product_type, category, units_per_outer, unit_of_measure,
                  trim_scale(list_price)::text as list_price, barcode, stock_available,
                  coalesce((select sum(l.reserved) from purchase_order_line l
                            where l.supplier_code = product.code and l.reserved > 0), 0) as "stock_reserved!",
                  case when list_price is null then 'not_for_sale' when active then 'active' else 'withdrawn' end as "state!",
                  withdrawn_at, restricted, manufacturer
           from product where $1::text is null or code ilike $1 or name ilike $1 order by code collate "C""#,
        pattern
    )
    .fetch_all(pool)
    .await
}

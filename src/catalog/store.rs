//! Reads the catalogue from Postgres.

use super::prices::ContractPrices;
use super::product::CatalogProduct;
use super::snapshot::{BuildError, Snapshot, SnapshotBuilder};
use crate::db::Pool;
use crate::ids::{ClinicId, ProductId};
use futures_util::TryStreamExt;
use rust_decimal::Decimal;
use sqlx::{PgConnection, PgExecutor};
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use time::{Date, OffsetDateTime};
use tokio::sync::mpsc;

/// Products that are handed to the snapshot's builder together, so that handing over costs little.
const PRODUCTS_PER_BATCH: usize = 256;
/// Batches that may wait for the builder.
const MAX_QUEUED_BATCHES: usize = 8;

/// The catalogue and its prices, read in one transaction.
pub struct CatalogData {
    pub snapshot: Snapshot,
    pub price_lists: HashMap<i64, Arc<ContractPrices>>,
    pub own_prices: HashMap<ClinicId, Arc<ContractPrices>>,
    /// The stock includes all transactions with a lower id.
    pub stock_horizon: i64,
}

/// The stock of the products that have moved.
pub struct MovedStock {
    /// The stock includes all transactions with a lower id.
    pub stock_horizon: i64,
    /// Free stock, in units.
    pub changes: Vec<(ProductId, Decimal)>,
}

/// The reason why the catalogue could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("the catalogue cannot be read")]
    Database(#[from] sqlx::Error),
    #[error("the catalogue in the database cannot be served")]
    Build(#[from] BuildError),
    #[error("the thread that builds the catalogue panicked")]
    Panicked(#[from] tokio::task::JoinError),
}

/// Reads the version of the catalogue; 0 if no catalogue was imported.
pub async fn version(executor: impl PgExecutor<'_>) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!("select value from data_version where name = 'catalog'").fetch_one(executor).await
}

/// Reads the products, and the contract prices that are valid on `day`, in one transaction.
pub async fn load(pool: &Pool, day: Date) -> Result<CatalogData, LoadError> {
    let mut transaction = pool.begin_snapshot().await?;
    let version = version(&mut *transaction).await?;
    let stock_horizon =
        sqlx::query_scalar!(r#"select pg_snapshot_xmin(pg_current_snapshot())::text::bigint as "xmin!""#)
            .fetch_one(&mut *transaction)
            .await?;
    // A thread of its own takes the products while they are read, and builds the indexes while the prices are read. A
    // read that fails leaves a builder, never a snapshot that lacks products.
    let (batches, queue) = mpsc::channel(MAX_QUEUED_BATCHES);
    let builder = tokio::task::spawn_blocking(move || collect_products(queue));
    read_products(&mut transaction, batches).await?;
    let builder = builder.await??;
    let snapshot = tokio::task::spawn_blocking(move || builder.finish(version));
    let lists = sqlx::query!(
        r#"select distinct on (price_list_id, product_id) price_list_id, product_id as "product_id: ProductId", contract_price
           from price_list_price where $1 between valid_from and valid_until
           order by price_list_id, product_id, valid_from desc"#,
        day
    )
    .fetch(&mut *transaction)
    .map_ok(|row| (row.price_list_id, (row.product_id, row.contract_price)));
    let price_lists = group_prices(lists).await?;
    let own = sqlx::query!(
        r#"select distinct on (clinic_id, product_id) clinic_id as "clinic_id: ClinicId", product_id as "product_id: ProductId", contract_price
           from clinic_price where $1 between valid_from and valid_until
           order by clinic_id, product_id, valid_from desc"#,
        day
    )
    .fetch(&mut *transaction)
    .map_ok(|row| (row.clinic_id, (row.product_id, row.contract_price)));
    let own_prices = group_prices(own).await?;
    transaction.commit().await?;
    Ok(CatalogData { snapshot: snapshot.await?, price_lists, own_prices, stock_horizon })
}

fn collect_products(mut batches: mpsc::Receiver<Vec<CatalogProduct>>) -> Result<SnapshotBuilder, BuildError> {
    let mut builder = SnapshotBuilder::new();
    while let Some(batch) = batches.blocking_recv() {
        batch.iter().try_for_each(|product| builder.push(product))?;
    }
    Ok(builder)
}

async fn read_products(
    connection: &mut PgConnection,
    batches: mpsc::Sender<Vec<CatalogProduct>>,
) -> Result<(), sqlx::Error> {
    let rows = sqlx::query_as!(
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
    let mut rows = rows.try_chunks(PRODUCTS_PER_BATCH);
    while let Some(batch) = rows.try_next().await.map_err(|error| error.1)? {
        // The builder stops receiving at a product that it refuses; its error is returned then.
        if batches.send(batch).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// Reads the free stock (on hand less reserved, zero or more) of all products that transactions from `horizon` on have
/// moved. Some of these transactions may be included in the caller's stock already.
pub async fn moved_stock(pool: &Pool, horizon: i64) -> Result<MovedStock, sqlx::Error> {
    let rows = sqlx::query!(
        r#"with moved as materialized (select distinct unnest(codes) as code from stock_move where xid >= $1)
           select pg_snapshot_xmin(pg_current_snapshot())::text::bigint as "xmin!", p.id as "id?: ProductId",
                  greatest(p.stock_available - coalesce((select sum(l.reserved) from purchase_order_line l
                      where l.supplier_code = p.code and l.reserved > 0), 0), 0) as "free?"
           from (values (1)) one(one)
           left join (moved join product p on p.code = moved.code and p.list_price is not null) on true"#,
        horizon
    )
    .fetch_all(pool)
    .await?;
    let stock_horizon = rows.first().map_or(horizon, |row| row.xmin);
    Ok(MovedStock { stock_horizon, changes: rows.into_iter().filter_map(|row| Some((row.id?, row.free?))).collect() })
}

/// Deletes the stock movements before `before`, which every running process has read.
pub async fn prune_moves(pool: &Pool, before: OffsetDateTime) -> Result<(), sqlx::Error> {
    sqlx::query!("delete from stock_move where moved_at < $1", before).execute(pool).await?;
    Ok(())
}

/// Collects rows into the prices of each clinic or price list.
async fn group_prices<K: Eq + Hash>(
    rows: impl futures_util::Stream<Item = Result<(K, (ProductId, Decimal)), sqlx::Error>>,
) -> Result<HashMap<K, Arc<ContractPrices>>, sqlx::Error> {
    let mut groups: HashMap<K, Vec<(ProductId, Decimal)>> = HashMap::new();
    let mut rows = std::pin::pin!(rows);
    while let Some((key, price)) = rows.try_next().await? {
        groups.entry(key).or_default().push(price);
    }
    Ok(groups.into_iter().map(|(key, prices)| (key, Arc::new(ContractPrices::new(prices)))).collect())
}

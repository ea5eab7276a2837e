//! SQL of an import of products: lock, staging, comparison, merge, record.

use super::problems::Finding;
use super::summary::{Movement, NAMED_MOVEMENTS};
use crate::db::IMPORT_LOCK;
use rust_decimal::Decimal;
use serde_json::Value;
use sqlx::PgConnection;
use sqlx::postgres::PgCopyIn;
use time::OffsetDateTime;

/// Tries to take the import lock; returns false if another import holds it.
pub(in crate::catalog) async fn try_lock_imports(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(r#"select pg_try_advisory_xact_lock($1) as "free!""#, IMPORT_LOCK).fetch_one(connection).await
}

/// Waits for the import lock, which every change of the catalogue holds until the end of its transaction.
pub(in crate::catalog) async fn lock_imports(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!("select pg_advisory_xact_lock($1)", IMPORT_LOCK).execute(connection).await?;
    Ok(())
}

/// Postgres' `work_mem` for the rest of the transaction; a hash table may take twice as much. A million codes fit in. With
/// the default of 4 MB, comparisons of large files use temporary files.
const WORK_MEMORY: &str = "128MB";

/// Raises `work_mem` for the comparison of large files.
pub(super) async fn set_work_memory(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query_scalar!("select set_config('work_mem', $1, true)", WORK_MEMORY).fetch_one(connection).await?;
    Ok(())
}

/// Empties the staging tables. The caller must hold the import lock.
pub(super) async fn empty_staging(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!("truncate staged_product_row, staged_product_change, staged_price_row").execute(connection).await?;
    Ok(())
}

/// Starts copying the lines of [`super::rows::ProductRows`] into the staging table.
pub(in crate::catalog) async fn copy_products(
    connection: &mut PgConnection,
) -> Result<PgCopyIn<&mut PgConnection>, sqlx::Error> {
    connection
        .copy_in_raw(
            "copy staged_product_row (line, code, name, type, category, units_per_outer, units_known,
             unit_of_measure, list_price, list_price_given, barcode, stock_available, active, related_urls,
             manufacturer, tax_code, tax_rate, tax_rate_given, restricted) from stdin",
        )
        .await
}

/// Updates the planner's statistics of the join columns. Without them, large imports are joined row by row.
pub(in crate::catalog) async fn analyze_products(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!("analyze staged_product_row (line, code)").execute(connection).await?;
    Ok(())
}

/// Finds rows whose code is already on an earlier line.
pub(in crate::catalog) async fn find_repeated_codes(
    connection: &mut PgConnection,
) -> Result<Vec<Finding>, sqlx::Error> {
    sqlx::query_as!(
        Finding,
        r#"with repeated as materialized (
               select code, min(line) as first_line from staged_product_row
               where code <> '' group by code having count(*) > 1
           )
           select s.line, s.code as value, r.first_line as "first_line!"
           from repeated r join staged_product_row s on s.code = r.code
           where s.line > r.first_line order by s.line"#
    )
    .fetch_all(connection)
    .await
}

/// Empties the staging tables after a few rows, faster than [`empty_staging`]. The caller must hold the import lock.
pub(in crate::catalog) async fn delete_staged(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!("delete from staged_product_row").execute(&mut *connection).await?;
    sqlx::query!("delete from staged_product_change").execute(&mut *connection).await?;
    sqlx::query!("delete from staged_price_row").execute(connection).await?;
    Ok(())
}

/// Finds rows of a delta with an unknown product.
pub(super) async fn find_unknown_codes(connection: &mut PgConnection) -> Result<Vec<Finding>, sqlx::Error> {
    sqlx::query_as!(
        Finding,
        r#"select line as "line!", code as "value!", 0::bigint as "first_line!" from staged_product
           where product_id is null and code <> '' order by line"#
    )
    .fetch_all(connection)
    .await
}

/// Finds rows of a delta that would set a price for a product without a known pack size.
pub(in crate::catalog) async fn find_prices_without_units(
    connection: &mut PgConnection,
) -> Result<Vec<Finding>, sqlx::Error> {
    sqlx::query_as!(
        Finding,
        r#"select line as "line!", code as "value!", 0::bigint as "first_line!" from staged_product
           where not units_known and list_price is not null order by line"#
    )
    .fetch_all(connection)
    .await
}

/// Counts of the changes that the staged rows would make to the products that they name.
pub(in crate::catalog) struct Comparison {
    pub new: i64,
    pub changed: i64,
    pub unchanged: i64,
    pub withdrawn: i64,
    pub relisted: i64,
    /// Products for sale that stay active but lose their price.
    pub lost_price: i64,
    /// Products for sale that would go off sale.
    pub lost: i64,
    pub raised: i64,
    pub lowered: i64,
    /// Named products that are active now.
    pub named_active: i64,
    /// Named products that are for sale now.
    pub named_listed: i64,
}

/// Compares the staged rows with the products, and stores the rows that change a product for [`update_products`].
pub(in crate::catalog) async fn compare(connection: &mut PgConnection) -> Result<Comparison, sqlx::Error> {
    let compared = sqlx::query_as!(
        Comparison,
        r#"with compared as materialized (
               select line, product_id, differs, active, old_active, list_price, old_list_price from staged_product),
           changes as (insert into staged_product_change (line) select line from compared where differs)
           select
               count(*) filter (where product_id is null) as "new!",
               count(*) filter (where differs and active = old_active) as "changed!",
               count(*) filter (where product_id is not null and not differs) as "unchanged!",
               count(*) filter (where old_active and not active) as "withdrawn!",
               count(*) filter (where not old_active and active) as "relisted!",
               count(*) filter (where old_active and active and old_list_price is not null and list_price is null)
                   as "lost_price!",
               count(*) filter (where old_active and old_list_price is not null and (not active or list_price is null))
                   as "lost!",
               count(*) filter (where list_price > old_list_price) as "raised!",
               count(*) filter (where list_price < old_list_price) as "lowered!",
               count(*) filter (where old_active) as "named_active!",
               count(*) filter (where old_active and old_list_price is not null) as "named_listed!"
           from compared"#
    )
    .fetch_one(&mut *connection)
    .await?;
    sqlx::query!("analyze staged_product_change").execute(connection).await?;
    Ok(compared)
}

/// Counts of the active products.
pub(super) struct Active {
    pub all: i64,
    /// Active products with a price, which are for sale.
    pub listed: i64,
}

pub(super) async fn count_active(connection: &mut PgConnection) -> Result<Active, sqlx::Error> {
    sqlx::query_as!(Active, r#"select count(*) as "all!", count(list_price) as "listed!" from product where active"#)
        .fetch_one(connection)
        .await
}

/// Finds codes of products that would go off sale, in byte order. With `full`, products that the file lacks count too.
pub(super) async fn find_lost(
    connection: &mut PgConnection,
    full: bool,
    limit: i64,
) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select p.code from product p left join staged_product s on s.code = p.code
           where p.active and p.list_price is not null
             and (($1 and s.code is null) or not s.active or (s.code is not null and s.list_price is null))
           order by p.code collate "C" limit $2"#,
        full,
        limit
    )
    .fetch_all(connection)
    .await
}

/// Finds the largest changes of list prices, by percentage.
pub(super) async fn find_movements(connection: &mut PgConnection) -> Result<Vec<Movement>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select code as "code!", old_list_price as "old!: Decimal", list_price as "new!: Decimal" from staged_product
           where list_price <> old_list_price
           order by abs(list_price - old_list_price) / nullif(old_list_price, 0) desc nulls first, code collate "C"
           limit $1"#,
        NAMED_MOVEMENTS
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| Movement::new(row.code, row.old, row.new)).collect())
}

/// Updates the products for which [`compare`] found a difference.
pub(in crate::catalog) async fn update_products(
    connection: &mut PgConnection,
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update product p set
             name = s.name, type = s.type, category = s.category, units_per_outer = s.units_per_outer,
             units_known = s.units_known, unit_of_measure = s.unit_of_measure, list_price = s.list_price,
             barcode = s.barcode, stock_available = s.stock_available, active = s.active,
             withdrawn_at = case when s.active then null else coalesce(p.withdrawn_at, $1) end,
             related_urls = s.related_urls, manufacturer = s.manufacturer, tax_code = s.tax_code,
             tax_rate = s.tax_rate, restricted = s.restricted
         from staged_product_change c join staged_product s on s.line = c.line
         where p.id = s.product_id",
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Inserts the new products.
pub(in crate::catalog) async fn insert_products(
    connection: &mut PgConnection,
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into product (code, name, type, category, units_per_outer, units_known, unit_of_measure, list_price,
             barcode, stock_available, active, withdrawn_at, related_urls, manufacturer, tax_code, tax_rate, restricted)
         select code, name, type, category, units_per_outer, units_known, unit_of_measure, list_price,
             barcode, stock_available, active, case when active then null else $1::timestamptz end, related_urls, manufacturer,
             tax_code, tax_rate, restricted
         from staged_product where product_id is null",
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Withdraws the active products that are not in a full import.
pub(super) async fn withdraw_absent(connection: &mut PgConnection, now: OffsetDateTime) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update product p set active = false, withdrawn_at = $1
         where p.active and not exists (select from staged_product_row s where s.code = p.code)",
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Raises the catalogue version and notifies every process when the transaction commits.
pub(in crate::catalog) async fn bump_version(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!("update data_version set value = value + 1 where name = 'catalog'").execute(&mut *connection).await?;
    sqlx::query!("select pg_notify('spsi_data', 'catalog')").execute(connection).await?;
    Ok(())
}

/// Inserts an import; returns its id. [`set_checked`] or [`set_applied`] completes the row.
pub(in crate::catalog) async fn insert_import(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    actor: &str,
    file: &str,
    options: Option<&Value>,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        "insert into catalog_import (file, created_at, actor, state, summary, options) values ($1, $2, $3, 'checked', '{}', $4)
         returning id",
        file,
        now,
        actor,
        options
    )
    .fetch_one(connection)
    .await
}

/// Returns the catalogue's version.
pub(in crate::catalog) async fn version(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!("select value from data_version where name = 'catalog'").fetch_one(connection).await
}

/// Stores the difference between the files and the present version of the catalogue.
pub(super) async fn set_checked(connection: &mut PgConnection, id: i64, summary: &Value) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update catalog_import
         set summary = $2, checked_version = (select value from data_version where name = 'catalog') where id = $1",
        id,
        summary
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Stores that the import is applied. `products` are the lowest and the highest id of its new products.
pub(super) async fn set_applied(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    id: i64,
    summary: &Value,
    products: Option<(i64, i64)>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update catalog_import
         set state = 'applied', applied_at = $2, summary = $3, first_product_id = $4, last_product_id = $5,
             is_undo_kept = true, apply_number = nextval('catalog_import_apply_number')
         where id = $1",
        id,
        now,
        summary,
        products.map(|(first, _)| first),
        products.map(|(_, last)| last)
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Returns the highest id of a product, 0 if there is none.
pub(super) async fn last_product_id(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(r#"select coalesce(max(id), 0) as "id!" from product"#).fetch_one(connection).await
}

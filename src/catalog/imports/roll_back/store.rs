//! SQL of a roll-back. The caller holds the import lock.

use crate::catalog::import::ImportState;
use serde_json::Value;
use sqlx::PgConnection;
use time::OffsetDateTime;

/// What a roll-back needs to know of an import.
pub(super) struct Applied {
    pub state: ImportState,
    pub is_undo_kept: bool,
    pub first_product_id: Option<i64>,
    pub last_product_id: Option<i64>,
}

pub(super) async fn lock(connection: &mut PgConnection, id: i64) -> Result<Option<Applied>, sqlx::Error> {
    sqlx::query_as!(
        Applied,
        r#"select state as "state: ImportState", is_undo_kept, first_product_id, last_product_id from catalog_import
           where id = $1 for update"#,
        id
    )
    .fetch_optional(connection)
    .await
}

/// Finds the import that was applied last and is not rolled back.
pub(super) async fn find_last(connection: &mut PgConnection) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar!(
        "select id from catalog_import where state = 'applied' order by apply_number desc nulls last, id desc limit 1"
    )
    .fetch_optional(connection)
    .await
}

/// Records the new products before they are deleted, so that the difference can still be shown.
pub(super) async fn record_new_products(connection: &mut PgConnection, id: i64) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into catalog_import_product (import_id, code, change,
             after_name, after_type, after_category, after_units_per_outer, after_units_known, after_unit_of_measure,
             after_list_price, after_barcode, after_stock_available, after_active, after_related_urls,
             after_manufacturer, after_tax_code, after_tax_rate, after_restricted)
         select $1, p.code, 'new', p.name, p.type, p.category, p.units_per_outer, p.units_known, p.unit_of_measure, p.list_price,
             p.barcode, p.stock_available, p.active, p.related_urls, p.manufacturer, p.tax_code, p.tax_rate, p.restricted
         from catalog_import i join product p on p.id between i.first_product_id and i.last_product_id where i.id = $1
         order by p.id",
        id
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Restores the clinics' own prices that are still as the import left them. Returns their number.
pub(super) async fn restore_clinic_prices(connection: &mut PgConnection, id: i64) -> Result<u64, sqlx::Error> {
    let deleted = sqlx::query!(
        "delete from clinic_price x using catalog_import_price c join product p on p.code = c.code
         where c.import_id = $1 and c.before_price is null
             and x.clinic_id = c.clinic_id and x.product_id = p.id and x.valid_from = c.valid_from
             and (x.contract_price, x.valid_until) = (c.after_price, c.after_until)",
        id
    )
    .execute(&mut *connection)
    .await?;
    let updated = sqlx::query!(
        "update clinic_price x set contract_price = c.before_price, valid_until = c.before_until
         from catalog_import_price c join product p on p.code = c.code
         where c.import_id = $1 and c.before_price is not null and c.after_price is not null
             and x.clinic_id = c.clinic_id and x.product_id = p.id and x.valid_from = c.valid_from
             and (x.contract_price, x.valid_until) = (c.after_price, c.after_until)",
        id
    )
    .execute(&mut *connection)
    .await?;
    let inserted = sqlx::query!(
        "insert into clinic_price (clinic_id, product_id, contract_price, valid_from, valid_until)
         select c.clinic_id, p.id, c.before_price, c.valid_from, c.before_until
         from catalog_import_price c join product p on p.code = c.code
         where c.import_id = $1 and c.after_price is null and c.clinic_id is not null
         on conflict do nothing",
        id
    )
    .execute(connection)
    .await?;
    Ok(deleted.rows_affected() + updated.rows_affected() + inserted.rows_affected())
}

/// Restores the prices of price lists that are still as the import left them. Returns their number.
pub(super) async fn restore_list_prices(connection: &mut PgConnection, id: i64) -> Result<u64, sqlx::Error> {
    let deleted = sqlx::query!(
        "delete from price_list_price x using catalog_import_price c
             join product p on p.code = c.code join price_list l on l.name = c.price_list
         where c.import_id = $1 and c.before_price is null
             and x.price_list_id = l.id and x.product_id = p.id and x.valid_from = c.valid_from
             and (x.contract_price, x.valid_until) = (c.after_price, c.after_until)",
        id
    )
    .execute(&mut *connection)
    .await?;
    let updated = sqlx::query!(
        "update price_list_price x set contract_price = c.before_price, valid_until = c.before_until
         from catalog_import_price c join product p on p.code = c.code join price_list l on l.name = c.price_list
         where c.import_id = $1 and c.before_price is not null and c.after_price is not null
             and x.price_list_id = l.id and x.product_id = p.id and x.valid_from = c.valid_from
             and (x.contract_price, x.valid_until) = (c.after_price, c.after_until)",
        id
    )
    .execute(&mut *connection)
    .await?;
    let inserted = sqlx::query!(
        "insert into price_list_price (price_list_id, product_id, contract_price, valid_from, valid_until)
         select l.id, p.id, c.before_price, c.valid_from, c.before_until
         from catalog_import_price c join product p on p.code = c.code join price_list l on l.name = c.price_list
         where c.import_id = $1 and c.after_price is null
         on conflict do nothing",
        id
    )
    .execute(connection)
    .await?;
    Ok(deleted.rows_affected() + updated.rows_affected() + inserted.rows_affected())
}

/// Restores the products that the import has changed, field by field: a field that was edited since stays. Pack size and
/// price go back together or not at all, because a price needs a known pack size. Returns the number of products.
pub(super) async fn restore_products(connection: &mut PgConnection, id: i64) -> Result<u64, sqlx::Error> {
    let restored = sqlx::query!(
        "with compared as (
             select p.id as product_id, c.*,
                 coalesce(c.before_units_per_outer, p.units_per_outer) as units_per_outer,
                 coalesce(c.before_units_known, p.units_known) as units_known,
                 case when c.before_list_price is distinct from c.after_list_price then c.before_list_price
                     else p.list_price end as list_price,
                 (c.after_units_known is null
                     or (p.units_per_outer, p.units_known) = (c.after_units_per_outer, c.after_units_known))
                 and (c.before_list_price is not distinct from c.after_list_price
                     or p.list_price is not distinct from c.after_list_price) as is_price_untouched
             from catalog_import_product c join product p on p.code = c.code
             where c.import_id = $1 and c.change <> 'new'),
         target as (
             select *, is_price_untouched and (units_known or list_price is null) as restores_price from compared)
         update product p set
             name = case when p.name = t.after_name then t.before_name else p.name end,
             type = case when p.type = t.after_type then t.before_type else p.type end,
             category = case when p.category = t.after_category then t.before_category else p.category end,
             units_per_outer = case when t.restores_price then t.units_per_outer else p.units_per_outer end,
             units_known = case when t.restores_price then t.units_known else p.units_known end,
             unit_of_measure = case when p.unit_of_measure = t.after_unit_of_measure then t.before_unit_of_measure
                 else p.unit_of_measure end,
             list_price = case when t.restores_price then t.list_price else p.list_price end,
             barcode = case when p.barcode = t.after_barcode then t.before_barcode else p.barcode end,
             stock_available = case when t.after_stock_available is null then p.stock_available
                 else greatest(p.stock_available + t.before_stock_available - t.after_stock_available, 0) end,
             active = case when p.active = t.after_active then t.before_active else p.active end,
             withdrawn_at = case when p.active = t.after_active then t.before_withdrawn_at else p.withdrawn_at end,
             related_urls = case when p.related_urls = t.after_related_urls then t.before_related_urls
                 else p.related_urls end,
             manufacturer = case when p.manufacturer = t.after_manufacturer then t.before_manufacturer
                 else p.manufacturer end,
             tax_code = case when p.tax_code = t.after_tax_code then t.before_tax_code else p.tax_code end,
             tax_rate = case when t.before_tax_rate is distinct from t.after_tax_rate
                     and p.tax_rate is not distinct from t.after_tax_rate
                 then t.before_tax_rate else p.tax_rate end,
             restricted = case when p.restricted = t.after_restricted then t.before_restricted else p.restricted end
         from target t where p.id = t.product_id",
        id
    )
    .execute(connection)
    .await?;
    Ok(restored.rows_affected())
}

/// Deletes the products with ids from the first to the last, except ordered ones.
pub(super) async fn delete_products(
    connection: &mut PgConnection,
    (first, last): (i64, i64),
) -> Result<u64, sqlx::Error> {
    let deleted = sqlx::query!(
        "delete from product p where id between $1 and $2
             and not exists (select from purchase_order_line l where l.supplier_code = p.code)",
        first,
        last
    )
    .execute(connection)
    .await?;
    Ok(deleted.rows_affected())
}

/// Withdraws the active products with ids from the first to the last.
pub(super) async fn withdraw_products(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    (first, last): (i64, i64),
) -> Result<u64, sqlx::Error> {
    let withdrawn = sqlx::query!(
        "update product set active = false, withdrawn_at = $3 where id between $1 and $2 and active",
        first,
        last,
        now
    )
    .execute(connection)
    .await?;
    Ok(withdrawn.rows_affected())
}

/// Deletes the price lists that the import created, unless they have prices or clinics by now.
pub(super) async fn delete_price_lists(connection: &mut PgConnection, id: i64) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "delete from price_list l using catalog_import i
         where i.id = $1 and i.summary -> 'contract_prices' -> 'new_price_lists' ? l.name
             and not exists (select from price_list_price p where p.price_list_id = l.id)
             and not exists (select from clinic c where c.price_list_id = l.id)",
        id
    )
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn set_rolled_back(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    id: i64,
    summary: &Value,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update catalog_import set state = 'rolled_back', rolled_back_at = $2, roll_back = $3
         where id = $1",
        id,
        now,
        summary
    )
    .execute(connection)
    .await?;
    Ok(())
}

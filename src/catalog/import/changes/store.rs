//! SQL of the recorded differences. Set based: one statement for each kind of change.

use crate::catalog::import::ContractSummary;
use sqlx::PgConnection;

/// Records the staged rows that change a product, in the order of the file. The caller has compared them and has not
/// merged them yet.
pub(in crate::catalog::import) async fn insert_changed_products(
    connection: &mut PgConnection,
    import: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into catalog_import_product (import_id, code, change,
             before_name, before_type, before_category, before_units_per_outer, before_units_known, before_unit_of_measure,
             before_list_price, before_barcode, before_stock_available, before_active, before_withdrawn_at,
             before_related_urls, before_manufacturer, before_tax_code, before_tax_rate, before_restricted,
             after_name, after_type, after_category, after_units_per_outer, after_units_known, after_unit_of_measure,
             after_list_price, after_barcode, after_stock_available, after_active,
             after_related_urls, after_manufacturer, after_tax_code, after_tax_rate, after_restricted)
         select $1, p.code,
             case when p.active and not s.active then 'withdrawn' when not p.active and s.active then 'relisted'
                 else 'changed' end,
             nullif(p.name, s.name), nullif(p.type, s.type), nullif(p.category, s.category),
             case when (p.units_per_outer, p.units_known) <> (s.units_per_outer, s.units_known) then p.units_per_outer end,
             case when (p.units_per_outer, p.units_known) <> (s.units_per_outer, s.units_known) then p.units_known end,
             nullif(p.unit_of_measure, s.unit_of_measure),
             nullif(p.list_price, s.list_price), nullif(p.barcode, s.barcode),
             nullif(p.stock_available, s.stock_available), nullif(p.active, s.active),
             case when p.active <> s.active then p.withdrawn_at end,
             nullif(p.related_urls, s.related_urls), nullif(p.manufacturer, s.manufacturer),
             nullif(p.tax_code, s.tax_code), nullif(p.tax_rate, s.tax_rate), nullif(p.restricted, s.restricted),
             nullif(s.name, p.name), nullif(s.type, p.type), nullif(s.category, p.category),
             case when (p.units_per_outer, p.units_known) <> (s.units_per_outer, s.units_known) then s.units_per_outer end,
             case when (p.units_per_outer, p.units_known) <> (s.units_per_outer, s.units_known) then s.units_known end,
             nullif(s.unit_of_measure, p.unit_of_measure),
             nullif(s.list_price, p.list_price), nullif(s.barcode, p.barcode),
             nullif(s.stock_available, p.stock_available), nullif(s.active, p.active),
             nullif(s.related_urls, p.related_urls), nullif(s.manufacturer, p.manufacturer),
             nullif(s.tax_code, p.tax_code), nullif(s.tax_rate, p.tax_rate), nullif(s.restricted, p.restricted)
         from staged_product_change c
         join staged_product s on s.line = c.line
         join product p on p.id = s.product_id
         order by c.line",
        import
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Records the active products that a full import withdraws because the file lacks them, in order of code.
pub(in crate::catalog::import) async fn insert_absent_products(
    connection: &mut PgConnection,
    import: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        r#"insert into catalog_import_product (import_id, code, change, before_active, after_active)
           select $1, p.code, 'withdrawn', true, false from product p
           where p.active and not exists (select from staged_product_row s where s.code = p.code)
           order by p.code collate "C""#,
        import
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Records the new products of an import that is only checked.
pub(in crate::catalog::import) async fn insert_new_products(
    connection: &mut PgConnection,
    import: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into catalog_import_product (import_id, code, change,
             after_name, after_type, after_category, after_units_per_outer, after_units_known, after_unit_of_measure,
             after_list_price, after_barcode, after_stock_available, after_active, after_related_urls,
             after_manufacturer, after_tax_code, after_tax_rate, after_restricted)
         select $1, code, 'new', name, type, category, units_per_outer, units_known, unit_of_measure, list_price, barcode,
             stock_available, active, related_urls, manufacturer, tax_code, tax_rate, restricted
         from staged_product where product_id is null order by line",
        import
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Records the staged prices that are new or differ from the present price of the same first day, and counts them.
pub(in crate::catalog::import) async fn insert_changed_prices(
    connection: &mut PgConnection,
    import: i64,
    contract: &mut ContractSummary,
) -> Result<(), sqlx::Error> {
    let row = sqlx::query!(
        r#"with changed as (
               insert into catalog_import_price (import_id, clinic_id, price_list, code, valid_from, before_price, before_until,
                   after_price, after_until)
               select $1, s.clinic_id, s.price_list, s.code, coalesce(s.valid_from, '-infinity'),
                   coalesce(c.contract_price, l.contract_price), coalesce(c.valid_until, l.valid_until), s.contract_price,
                   coalesce(s.valid_until, 'infinity')
               from staged_price s
               left join clinic_price c on c.clinic_id = s.clinic_id and c.product_id = s.product_id
                   and c.valid_from = coalesce(s.valid_from, '-infinity')
               left join price_list_price l on l.price_list_id = s.price_list_id and l.product_id = s.product_id
                   and l.valid_from = coalesce(s.valid_from, '-infinity')
               where s.contract_price is not null
                   and (s.contract_price, coalesce(s.valid_until, 'infinity'))
                       is distinct from (coalesce(c.contract_price, l.contract_price), coalesce(c.valid_until, l.valid_until))
               returning before_price)
           select (select count(*) from staged_price_row where contract_price is not null) as "given!",
               count(*) filter (where before_price is null) as "new!",
               count(*) filter (where before_price is not null) as "changed!"
           from changed"#,
        import
    )
    .fetch_one(connection)
    .await?;
    contract.new = row.new.unsigned_abs();
    contract.changed = row.changed.unsigned_abs();
    contract.unchanged = (row.given - row.new - row.changed).unsigned_abs();
    Ok(())
}

/// Records the prices that the staged rows remove: of one first day, or of all. A price that another row gives anew is not
/// removed. Returns their number.
pub(in crate::catalog::import) async fn insert_removed_prices(
    connection: &mut PgConnection,
    import: i64,
) -> Result<u64, sqlx::Error> {
    let removed = sqlx::query!(
        "with removal as materialized (select * from staged_price where contract_price is null),
         gone as (
             select p.clinic_id, null::bigint as price_list_id, null::text as price_list, s.code, p.valid_from,
                 p.contract_price, p.valid_until
             from removal s join clinic_price p on p.clinic_id = s.clinic_id and p.product_id = s.product_id
                 and (s.valid_from is null or s.valid_from = p.valid_from)
             union
             select null, p.price_list_id, s.price_list, s.code, p.valid_from, p.contract_price, p.valid_until
             from removal s join price_list_price p on p.price_list_id = s.price_list_id and p.product_id = s.product_id
                 and (s.valid_from is null or s.valid_from = p.valid_from))
         insert into catalog_import_price (import_id, clinic_id, price_list, code, valid_from, before_price, before_until)
         select $1, clinic_id, price_list, code, valid_from, contract_price, valid_until
         from gone g
         where not exists (
             select from staged_price u
             where u.contract_price is not null and u.code = g.code and coalesce(u.valid_from, '-infinity') = g.valid_from
                 and (u.clinic_id = g.clinic_id or u.price_list_id = g.price_list_id))",
        import
    )
    .execute(connection)
    .await?;
    Ok(removed.rows_affected())
}

/// Deletes the recorded difference of an import, before it is recorded anew.
pub(in crate::catalog) async fn delete_changes(connection: &mut PgConnection, import: i64) -> Result<(), sqlx::Error> {
    sqlx::query!("delete from catalog_import_product where import_id = $1", import).execute(&mut *connection).await?;
    sqlx::query!("delete from catalog_import_price where import_id = $1", import).execute(connection).await?;
    Ok(())
}

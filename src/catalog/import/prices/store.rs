//! SQL of an import of contract prices. Runs after the products are staged, because a prices file may name new products.

use super::super::problems::Finding;
use sqlx::PgConnection;
use sqlx::postgres::PgCopyIn;

/// Starts copying the lines of [`super::PriceRows`] into the staging table.
pub(in crate::catalog) async fn copy_prices(
    connection: &mut PgConnection,
) -> Result<PgCopyIn<&mut PgConnection>, sqlx::Error> {
    connection
        .copy_in_raw(
            "copy staged_price_row (line, clinic, price_list, code, contract_price, valid_from, valid_until, sound)
             from stdin",
        )
        .await
}

/// Updates the planner's statistics of the staging table.
pub(in crate::catalog) async fn analyze_prices(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!("analyze staged_price_row").execute(connection).await?;
    Ok(())
}

/// Inserts the missing price lists that the file names; returns their names.
pub(in crate::catalog) async fn insert_price_lists(connection: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!(
        "insert into price_list (name)
         select distinct price_list from staged_price_row where price_list is not null order by price_list
         on conflict (name) do nothing returning name"
    )
    .fetch_all(connection)
    .await
}

/// Finds rows with an unknown clinic.
pub(in crate::catalog) async fn find_unknown_clinics(
    connection: &mut PgConnection,
) -> Result<Vec<Finding>, sqlx::Error> {
    sqlx::query_as!(
        Finding,
        r#"select line as "line!", clinic as "value!", 0::bigint as "first_line!" from staged_price
           where clinic is not null and clinic_id is null order by line"#
    )
    .fetch_all(connection)
    .await
}

/// Finds rows whose product is neither in the catalogue nor in the products file.
pub(in crate::catalog) async fn find_unknown_products(
    connection: &mut PgConnection,
) -> Result<Vec<Finding>, sqlx::Error> {
    sqlx::query_as!(
        Finding,
        r#"select line as "line!", code as "value!", 0::bigint as "first_line!" from staged_price p
           where code is not null and product_id is null
             and not exists (select from staged_product_row s where s.code = p.code)
           order by line"#
    )
    .fetch_all(connection)
    .await
}

/// Finds rows with the same clinic or price list, product and first day as an earlier row.
pub(in crate::catalog) async fn find_repeated_prices(
    connection: &mut PgConnection,
) -> Result<Vec<Finding>, sqlx::Error> {
    sqlx::query_as!(
        Finding,
        r#"select line as "line!", code as "value!", first_line as "first_line!" from (
               select line, code,
                   min(line) over (partition by clinic_id, price_list_id, code, valid_from) as first_line
               from staged_price
               where sound and (clinic_id is not null or price_list_id is not null)
           ) r
           where line > first_line order by line"#
    )
    .fetch_all(connection)
    .await
}

/// Deletes price lists that a check has inserted, so that the check stores nothing but its result.
pub(in crate::catalog) async fn delete_price_lists(
    connection: &mut PgConnection,
    names: &[String],
) -> Result<(), sqlx::Error> {
    sqlx::query!("delete from price_list where name = any($1)", names).execute(connection).await?;
    Ok(())
}

/// Deletes the prices that the rows give as empty; returns their number.
pub(in crate::catalog) async fn delete_prices(connection: &mut PgConnection) -> Result<u64, sqlx::Error> {
    let clinics = sqlx::query!(
        "delete from clinic_price p using staged_price s
         where s.contract_price is null and s.clinic_id = p.clinic_id and s.product_id = p.product_id
           and (s.valid_from is null or s.valid_from = p.valid_from)"
    )
    .execute(&mut *connection)
    .await?;
    let lists = sqlx::query!(
        "delete from price_list_price p using staged_price s
         where s.contract_price is null and s.price_list_id = p.price_list_id and s.product_id = p.product_id
           and (s.valid_from is null or s.valid_from = p.valid_from)"
    )
    .execute(connection)
    .await?;
    Ok(clinics.rows_affected() + lists.rows_affected())
}

/// Inserts or updates the prices of the file. The products must be merged before.
pub(in crate::catalog) async fn upsert_prices(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into clinic_price (clinic_id, product_id, contract_price, valid_from, valid_until)
         select clinic_id, product_id, contract_price, coalesce(valid_from, '-infinity'),
             coalesce(valid_until, 'infinity')
         from staged_price where contract_price is not null and clinic_id is not null
         on conflict (clinic_id, product_id, valid_from) do update
         set contract_price = excluded.contract_price, valid_until = excluded.valid_until
         where (clinic_price.contract_price, clinic_price.valid_until)
             is distinct from (excluded.contract_price, excluded.valid_until)"
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "insert into price_list_price (price_list_id, product_id, contract_price, valid_from, valid_until)
         select price_list_id, product_id, contract_price, coalesce(valid_from, '-infinity'),
             coalesce(valid_until, 'infinity')
         from staged_price where contract_price is not null and price_list_id is not null
         on conflict (price_list_id, product_id, valid_from) do update
         set contract_price = excluded.contract_price, valid_until = excluded.valid_until
         where (price_list_price.contract_price, price_list_price.valid_until)
             is distinct from (excluded.contract_price, excluded.valid_until)"
    )
    .execute(connection)
    .await?;
    Ok(())
}

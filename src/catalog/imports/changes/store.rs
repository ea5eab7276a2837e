//! SQL of the recorded differences, page by page.

use super::{Change, ChangePosition, ChangedField};
use sqlx::PgConnection;

/// Reads the changed products after the position, and moves it. The new products of an applied import are not recorded and are
/// read by their ids, after all others.
pub(super) async fn product_changes(
    connection: &mut PgConnection,
    id: i64,
    position: &mut ChangePosition,
    limit: i64,
) -> Result<Vec<Change>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"with recorded as (
               select id as change_id, 0::bigint as product_id, code, change,
                   before_name, before_type, before_category,
                   case when before_units_known then before_units_per_outer end as before_units, before_unit_of_measure,
                   before_list_price, before_barcode, before_stock_available, before_active, before_related_urls,
                   before_manufacturer, before_tax_code, before_tax_rate, before_restricted,
                   after_name, after_type, after_category,
                   case when after_units_known then after_units_per_outer end as after_units, after_unit_of_measure,
                   after_list_price, after_barcode, after_stock_available, after_active, after_related_urls,
                   after_manufacturer, after_tax_code, after_tax_rate, after_restricted
               from catalog_import_product
               where import_id = $1 and id > $2 and $3::bigint = 0 order by id limit $4),
           created as (
               select $2, p.id, p.code, 'new', null, null, null, null::numeric, null, null::numeric, null,
                   null::numeric, null::boolean, null::text[], null, null, null::numeric, null::boolean,
                   p.name, p.type, p.category, case when p.units_known then p.units_per_outer end, p.unit_of_measure,
                   p.list_price, p.barcode, p.stock_available, p.active, p.related_urls, p.manufacturer, p.tax_code,
                   p.tax_rate, p.restricted
               from catalog_import i join product p on p.id between greatest(i.first_product_id, $3 + 1) and i.last_product_id
               where i.id = $1 and i.state = 'applied' order by p.id limit $4),
           page as (select * from recorded union all select * from created order by product_id, change_id limit $4)
           select p.change_id as "change_id!", p.product_id as "product_id!", p.code as "code!", p.change as "change!",
               f.field as "field?", f.before as "before?", f.after as "after?"
           from page p left join lateral (
               values
                   (1, 'name', before_name, after_name),
                   (2, 'type', before_type, after_type),
                   (3, 'category', before_category, after_category),
                   (4, 'units_per_outer', trim_scale(before_units)::text, trim_scale(after_units)::text),
                   (5, 'unit_of_measure', before_unit_of_measure, after_unit_of_measure),
                   (6, 'list_price', trim_scale(before_list_price)::text, trim_scale(after_list_price)::text),
                   (7, 'barcode', before_barcode, after_barcode),
                   (8, 'stock_available', trim_scale(before_stock_available)::text, trim_scale(after_stock_available)::text),
                   (9, 'active', before_active::int::text, after_active::int::text),
                   (10, 'related_urls', array_to_string(before_related_urls, ' '), array_to_string(after_related_urls, ' ')),
                   (11, 'manufacturer', before_manufacturer, after_manufacturer),
                   (12, 'tax_code', before_tax_code, after_tax_code),
                   (13, 'tax_rate', trim_scale(before_tax_rate)::text, trim_scale(after_tax_rate)::text),
                   (14, 'restricted', before_restricted::int::text, after_restricted::int::text)
           ) f(position, field, before, after) on f.before is distinct from f.after
           order by p.product_id, p.change_id, f.position"#,
        id,
        position.change,
        position.product,
        limit
    )
    .fetch_all(connection)
    .await?;
    if let Some(last) = rows.last() {
        (position.change, position.product) = (last.change_id, last.product_id);
    }
    let mut changes: Vec<Change> = Vec::new();
    for row in rows {
        let field = row.field.map(|field| ChangedField { field, before: row.before, after: row.after });
        match changes.last_mut() {
            Some(last) if last.code == row.code => last.fields.extend(field),
            _ => changes.push(Change {
                code: row.code,
                change: row.change,
                clinic: None,
                price_list: None,
                valid_from: None,
                fields: field.into_iter().collect(),
            }),
        }
    }
    Ok(changes)
}

/// Reads the changed contract prices after the position, and moves it.
pub(super) async fn price_changes(
    connection: &mut PgConnection,
    id: i64,
    position: &mut ChangePosition,
    limit: i64,
) -> Result<Vec<Change>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select id, code, clinic_id, price_list, nullif(valid_from, '-infinity') as valid_from,
                  case when before_price is null then 'price_new' when after_price is null then 'price_removed'
                      else 'price_changed' end as "change!",
                  trim_scale(before_price)::text as before_price, trim_scale(after_price)::text as after_price,
                  nullif(before_until, 'infinity')::text as before_until, nullif(after_until, 'infinity')::text as after_until
           from catalog_import_price where import_id = $1 and id > $2 order by id limit $3"#,
        id,
        position.price,
        limit
    )
    .fetch_all(connection)
    .await?;
    position.price = rows.last().map_or(position.price, |row| row.id);
    let field = |field: &str, before, after| ChangedField { field: field.to_owned(), before, after };
    let changes = rows.into_iter().map(|row| {
        let fields = [
            field("contract_price", row.before_price, row.after_price),
            field("valid_until", row.before_until, row.after_until),
        ];
        Change {
            code: row.code,
            change: row.change,
            clinic: row.clinic_id,
            price_list: row.price_list,
            valid_from: row.valid_from,
            fields: fields.into_iter().filter(|field| field.before != field.after).collect(),
        }
    });
    Ok(changes.collect())
}

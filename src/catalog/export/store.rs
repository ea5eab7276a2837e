//! SQL of the export.

use bytes::Bytes;
use futures_util::stream::BoxStream;
use sqlx::PgConnection;

pub(super) async fn has_restricted(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(r#"select exists (select from product where restricted) as "any!""#).fetch_one(connection).await
}

/// Streams all products as CSV with a header row. An empty text is written like null, because CSV would quote it.
pub(super) async fn copy_products(
    connection: &mut PgConnection,
    with_restricted: bool,
) -> Result<BoxStream<'_, Result<Bytes, sqlx::Error>>, sqlx::Error> {
    let restricted = if with_restricted { ", restricted::int as restricted" } else { "" };
    let copy = format!(
        r#"copy (
               select code, name, type, category,
                   case when units_known then trim_scale(units_per_outer) end as units_per_outer,
                   nullif(unit_of_measure, '') as unit_of_measure, trim_scale(list_price) as list_price,
                   nullif(barcode, '') as barcode, trim_scale(stock_available) as stock_available,
                   active::int as active, nullif(array_to_string(related_urls, ' '), '') as related_urls,
                   nullif(manufacturer, '') as manufacturer, nullif(tax_code, '') as tax_code,
                   trim_scale(tax_rate) as tax_rate {restricted}
               from product order by code collate "C"
           ) to stdout (format csv, header)"#
    );
    connection.copy_out_raw(&copy).await
}

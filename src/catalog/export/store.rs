//! SQL of the export.

use futures_util::stream::BoxStream;
use rust_decimal::Decimal;
use sqlx::PgConnection;

/// A row of the product table.
pub(super) struct ProductRow {
    pub code: String,
    pub name: String,
    pub r#type: String,
    pub category: String,
    pub units_per_outer: Decimal,
    pub units_known: bool,
    pub unit_of_measure: String,
    pub list_price: Option<Decimal>,
    pub barcode: String,
    pub stock_available: Decimal,
    pub active: bool,
    pub related_urls: Vec<String>,
    pub manufacturer: String,
    pub tax_code: String,
    pub tax_rate: Option<Decimal>,
    pub restricted: bool,
}

/// Lets all statements of the transaction read the same state.
pub(super) async fn set_repeatable_read(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!("set transaction isolation level repeatable read, read only").execute(connection).await?;
    Ok(())
}

pub(super) async fn has_restricted(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(r#"select exists (select from product where restricted) as "any!""#).fetch_one(connection).await
}

/// Streams all products, so that memory does not grow with the catalogue.
pub(super) fn all_products(connection: &mut PgConnection) -> BoxStream<'_, Result<ProductRow, sqlx::Error>> {
    sqlx::query_as!(
        ProductRow,
        r#"select code, name, type, category, units_per_outer, units_known, unit_of_measure, list_price, barcode,
               stock_available, active, related_urls, manufacturer, tax_code, tax_rate, restricted
           from product order by code collate "C""#
    )
    .fetch(connection)
}

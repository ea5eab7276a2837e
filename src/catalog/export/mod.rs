//! Exports the catalogue as the CSV of the import. Importing an export changes nothing, and a second export has the same
//! bytes.
//!
//! Rows are in byte order of the code. The columns are those of DESIGN.md 3, with `restricted` only if at least one
//! product is restricted.

mod store;

use super::import::PRODUCT_COLUMNS;
use crate::values::plain;
use futures_util::TryStreamExt;
use sqlx::PgPool;
use std::io::Write;

/// The reason why an export failed. The output is incomplete.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("cannot write the catalogue")]
    Write(#[from] csv::Error),
    #[error("a database statement failed")]
    Store(#[from] sqlx::Error),
}

/// Writes all products, including those withdrawn or without a price, in one consistent read. Returns their number.
pub async fn export(pool: &PgPool, writer: impl Write + Send) -> Result<u64, ExportError> {
    let mut transaction = pool.begin().await?;
    store::set_repeatable_read(&mut transaction).await?;
    let has_restricted = store::has_restricted(&mut transaction).await?;
    let columns = if has_restricted { PRODUCT_COLUMNS } else { &PRODUCT_COLUMNS[..PRODUCT_COLUMNS.len() - 1] };
    let mut writer = csv::WriterBuilder::new().from_writer(writer);
    writer.write_record(columns)?;
    let mut products = store::all_products(&mut transaction);
    let mut count = 0;
    while let Some(product) = products.try_next().await? {
        let cells = cells(product);
        writer.write_record(&cells[..columns.len()])?;
        count += 1;
    }
    writer.flush().map_err(csv::Error::from)?;
    Ok(count)
}

fn cells(product: store::ProductRow) -> [String; 15] {
    let flag = |value| if value { "1" } else { "0" }.to_owned();
    [
        product.code,
        product.name,
        product.r#type,
        product.category,
        if product.units_known { plain(product.units_per_outer) } else { String::new() },
        product.unit_of_measure,
        product.list_price.map(plain).unwrap_or_default(),
        product.barcode,
        plain(product.stock_available),
        flag(product.active),
        product.related_urls.join(" "),
        product.manufacturer,
        product.tax_code,
        product.tax_rate.map(plain).unwrap_or_default(),
        flag(product.restricted),
    ]
}

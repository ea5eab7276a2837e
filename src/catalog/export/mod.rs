//! The catalogue as the CSV that the import reads: importing what was exported changes nothing, and exporting again
//! gives the same bytes.
//!
//! Rows are in byte order of the code. The columns are those of DESIGN.md 3; `restricted` follows only where some
//! product is restricted.

mod store;

use super::import::PRODUCT_COLUMNS;
use crate::values::plain;
use futures_util::TryStreamExt;
use sqlx::PgPool;
use std::io::Write;

/// Why an export ended early. What was written until then is not a catalogue.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("cannot write the catalogue")]
    Write(#[from] csv::Error),
    #[error("the database failed")]
    Store(#[from] sqlx::Error),
}

/// Writes every product, withdrawn ones and those without a price included, as of one moment; returns how many.
pub async fn export(pool: &PgPool, writer: impl Write + Send) -> Result<u64, ExportError> {
    let mut transaction = pool.begin().await?;
    store::freeze(&mut transaction).await?;
    let with_restricted = store::any_restricted(&mut transaction).await?;
    let columns = if with_restricted { PRODUCT_COLUMNS } else { &PRODUCT_COLUMNS[..PRODUCT_COLUMNS.len() - 1] };
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

//! The difference that an import makes: shown before it is applied, and kept so that it can be rolled back.

pub(in crate::catalog) mod store;

use super::summary::ContractSummary;
use sqlx::PgConnection;

/// Records the staged products that differ from the catalogue. `with_new` records the new products too: an applied import
/// knows them by their ids. With `full`, products that the file lacks are withdrawn.
pub(super) async fn record_products(
    connection: &mut PgConnection,
    import: i64,
    full: bool,
    with_new: bool,
) -> Result<(), sqlx::Error> {
    store::insert_changed_products(connection, import).await?;
    if full {
        store::insert_absent_products(connection, import).await?;
    }
    if with_new {
        store::insert_new_products(connection, import).await?;
    }
    Ok(())
}

/// Records the staged prices that differ from the present prices, and counts them.
pub(super) async fn record_prices(
    connection: &mut PgConnection,
    import: i64,
    contract: &mut ContractSummary,
) -> Result<(), sqlx::Error> {
    let changed = store::insert_changed_prices(connection, import).await?;
    let removed = store::insert_removed_prices(connection, import).await?;
    contract.new = changed.new.unsigned_abs();
    contract.changed = changed.changed.unsigned_abs();
    contract.unchanged = (changed.given - changed.new - changed.changed).unsigned_abs();
    contract.removed = removed;
    Ok(())
}

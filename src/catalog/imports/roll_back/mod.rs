//! Rolls the last applied import back.
//!
//! Guarantees: what the import has changed is as before; what was changed since by another way stays. A field that somebody
//! has edited since the import keeps the edit. Stock goes back by the difference that the import made, so that shipments
//! since then stay counted. A product that the import created is deleted, or withdrawn if it was ordered in the meantime.

mod store;

use super::{ImportRecord, ImportState, ImportsError, find};
use crate::audit;
use crate::catalog::import::store::{bump_version, lock_imports};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::PgConnection;
use time::OffsetDateTime;
use utoipa::ToSchema;

/// What a roll-back has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RollBackSummary {
    /// Products with their values of before.
    pub restored: u64,
    /// Products of the import that are deleted.
    pub deleted: u64,
    /// Products of the import that are withdrawn, because they were ordered in the meantime.
    pub withdrawn: u64,
    /// Contract prices with their values of before.
    pub prices: u64,
}

/// Rolls an import back in the caller's transaction. Fails unless it is the last applied import.
pub async fn roll_back(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    actor: &str,
    id: i64,
) -> Result<ImportRecord, ImportsError> {
    lock_imports(connection).await?;
    let applied = store::lock(connection, id).await?.ok_or(ImportsError::NotFound(id))?;
    if applied.state != ImportState::Applied {
        return Err(ImportsError::State { id, state: applied.state });
    }
    if let Some(last) = store::find_last(connection).await?.filter(|last| *last != id) {
        return Err(ImportsError::NotLast { id, last });
    }
    if !applied.is_undo_kept {
        return Err(ImportsError::NotKept(id));
    }
    let mut summary = RollBackSummary::default();
    store::record_new_products(connection, id).await?;
    summary.prices =
        store::restore_clinic_prices(connection, id).await? + store::restore_list_prices(connection, id).await?;
    summary.restored = store::restore_products(connection, id).await?;
    if let Some(products) = applied.first_product_id.zip(applied.last_product_id) {
        summary.deleted = store::delete_products(connection, products).await?;
        summary.withdrawn = store::withdraw_products(connection, now, products).await?;
    }
    store::delete_price_lists(connection, id).await?;
    bump_version(connection).await?;
    let detail = json!(summary);
    store::set_rolled_back(connection, now, id, &detail).await?;
    audit::record(connection, now, actor, "catalog.roll_back", ("catalog_import", Some(id)), detail).await?;
    find(connection, id).await
}

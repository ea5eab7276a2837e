//! The difference of an import, row by row: products, then contract prices.

mod store;

use super::ImportsError;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use time::Date;
use utoipa::ToSchema;

/// A product or a contract price that an import changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Change {
    pub code: String,
    /// Of a product `new`, `changed`, `withdrawn` or `relisted`; of a contract price `price_new`, `price_changed` or
    /// `price_removed`.
    pub change: String,
    /// The id of the clinic whose contract price it is.
    pub clinic: Option<i64>,
    /// The name of the price list whose price it is.
    pub price_list: Option<String>,
    /// First day of the contract price. Null: without a first day.
    #[serde(serialize_with = "crate::catalog::price_lists::serialize_day")]
    #[schema(value_type = Option<String>, format = Date)]
    pub valid_from: Option<Date>,
    pub fields: Vec<ChangedField>,
}

/// A changed field. Values are texts as in the CSV file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ChangedField {
    pub field: String,
    /// Null: no value before.
    pub before: Option<String>,
    /// Null: no value afterwards.
    pub after: Option<String>,
}

/// Where a list of changes goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangePosition {
    /// Id of the last recorded product change.
    change: i64,
    /// Id of the last product that an applied import created; these come after the recorded changes.
    product: i64,
    /// Id of the last price change.
    price: i64,
}

/// Lists the changes of an import after `position`, at most `limit`. Returns where the list goes on; `None` at its end.
pub async fn changes(
    connection: &mut PgConnection,
    id: i64,
    position: Option<ChangePosition>,
    limit: i64,
) -> Result<(Vec<Change>, Option<ChangePosition>), ImportsError> {
    super::find(connection, id).await?;
    let mut position = position.unwrap_or_default();
    let mut found = match position.price {
        0 => store::product_changes(connection, id, &mut position, limit).await?,
        _ => Vec::new(),
    };
    let missing = limit - i64::try_from(found.len()).unwrap_or(limit);
    if missing == 0 {
        return Ok((found, Some(position)));
    }
    let prices = store::price_changes(connection, id, &mut position, missing).await?;
    let is_full = i64::try_from(prices.len()).unwrap_or(missing) >= missing;
    found.extend(prices);
    Ok((found, is_full.then_some(position)))
}

//! The difference of an import, row by row: products, then contract prices.

mod store;

use super::ImportsError;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use store::After;
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
    change: i64,
    product: i64,
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
    let mut found = Vec::new();
    if position.price == 0 {
        let after = After { change: position.change, product: position.product };
        let (products, next) = store::product_changes(connection, id, after, limit).await?;
        found = products;
        (position.change, position.product) = (next.change, next.product);
    }
    let missing = limit - i64::try_from(found.len()).unwrap_or(limit);
    if missing > 0 {
        let (prices, last) = store::price_changes(connection, id, position.price, missing).await?;
        if i64::try_from(prices.len()).unwrap_or(limit) < missing {
            found.extend(prices);
            return Ok((found, None));
        }
        found.extend(prices);
        position.price = last.unwrap_or(position.price);
    }
    Ok((found, Some(position)))
}

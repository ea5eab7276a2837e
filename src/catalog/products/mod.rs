//! Changes of single products, with the checks and the merge of an import.
//!
//! Guarantees: all products of a request are changed, or none and every error is reported. Fields that a request leaves out
//! keep their values. Stock changes are added in the database, so that concurrent shipments are never overwritten.

mod check;
mod store;

pub use check::ProductChange;
pub use store::{ProductFilter, ProductRow, StockLevel, list};

use super::import::InvalidField;
use super::import::problems::{Problems, join};
use super::import::store::{
    analyze_products, bump_version, compare, copy_products, delete_staged, find_prices_without_units,
    find_repeated_codes, insert_products, lock_imports, update_products,
};
use crate::audit;
use crate::values::LARGEST;
use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::json;
use sqlx::PgConnection;
use std::collections::HashMap;
use time::OffsetDateTime;
use utoipa::ToSchema;

/// Maximum number of codes that an audit entry lists.
const RECORDED_CODES: usize = 100;

/// Why a change of products failed. It has changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum ProductsError {
    #[error("there is no product `{0}`")]
    NotFound(String),
    #[error("the product `{code}` is {state}")]
    State { code: String, state: &'static str },
    #[error("{}", join(.0))]
    Invalid(Vec<InvalidField>),
    #[error("a database statement failed; nothing was changed")]
    Store(#[from] sqlx::Error),
}

/// What a change of products has done. Each product is counted once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct UpsertSummary {
    pub new: u64,
    pub changed: u64,
    pub unchanged: u64,
    pub withdrawn: u64,
    pub relisted: u64,
}

/// A stock change of one product, in units: either the new stock on hand, or what to add to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StockChange {
    pub code: String,
    pub stock_available: Option<Decimal>,
    pub change: Option<Decimal>,
}

/// Finds a product by its code.
pub async fn find(connection: &mut PgConnection, code: &str) -> Result<ProductRow, ProductsError> {
    let mut found = store::find(connection, &[code.to_owned()]).await?;
    found.pop().ok_or_else(|| ProductsError::NotFound(code.to_owned()))
}

/// Takes the import lock until the end of the transaction: no other request changes products until then, apart from stock.
pub async fn lock(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    lock_imports(connection).await
}

/// Inserts and updates products in the caller's transaction. `list` names the list of the request in error paths; it is
/// empty for a request of one product.
pub async fn upsert(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    actor: &str,
    list: &str,
    changes: &[ProductChange],
) -> Result<UpsertSummary, ProductsError> {
    lock(connection).await?;
    stage(connection, list, changes).await?;
    let compared = compare(connection).await?;
    let summary = UpsertSummary {
        new: compared.new.unsigned_abs(),
        changed: compared.changed.unsigned_abs(),
        unchanged: compared.unchanged.unsigned_abs(),
        withdrawn: compared.withdrawn.unsigned_abs(),
        relisted: compared.relisted.unsigned_abs(),
    };
    if summary.changed + summary.withdrawn + summary.relisted > 0 {
        update_products(connection, now).await?;
    }
    if summary.new > 0 {
        insert_products(connection, now).await?;
    }
    delete_staged(connection).await?;
    if summary.unchanged < changes.len() as u64 {
        bump_version(connection).await?;
        let subject = match changes {
            [change] => Some(find(connection, change.code.trim()).await?.id.0),
            _ => None,
        };
        let codes: Vec<_> = changes.iter().take(RECORDED_CODES).map(|change| change.code.trim()).collect();
        let detail = json!({"summary": summary, "codes": codes});
        audit::record(connection, now, actor, "product.upsert", ("product", subject), detail).await?;
    }
    Ok(summary)
}

/// Checks the changes and copies them into the staging table.
async fn stage(connection: &mut PgConnection, list: &str, changes: &[ProductChange]) -> Result<(), ProductsError> {
    let mut problems = Problems::new(list);
    let lines = check::lines(changes, &mut problems);
    let mut copy = copy_products(connection).await?;
    copy.send(lines).await?;
    copy.finish().await?;
    analyze_products(connection).await?;
    let repeated = find_repeated_codes(connection).await?;
    problems.add_found("code", repeated, |found| format!("is already at position {}", found.first_line));
    for (position, column) in store::find_missing(connection).await? {
        // An invalid field is not staged either.
        if !problems.contains(position.unsigned_abs(), &column) {
            problems.add(position.unsigned_abs(), &column, "", "is missing; a new product needs it");
        }
    }
    let reason = "is missing, but the product has a price; the price of a unit needs the pack size";
    problems.add_found("units_per_outer", find_prices_without_units(connection).await?, |_| reason);
    if problems.count == 0 { Ok(()) } else { Err(ProductsError::Invalid(problems.into_fields())) }
}

/// Sets the stock on hand or adds to it, in the caller's transaction. Returns the new stock in order of code.
pub async fn set_stock(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    actor: &str,
    changes: &[StockChange],
) -> Result<Vec<StockLevel>, ProductsError> {
    store::share_import_lock(connection).await?;
    let codes: Vec<String> = changes.iter().map(|change| change.code.trim().to_owned()).collect();
    let present = store::lock_stock(connection, &codes).await?;
    check_stock(changes, &codes, &present)?;
    store::update_stock(connection, now, &codes, changes).await?;
    let recorded: Vec<_> = changes
        .iter()
        .take(RECORDED_CODES)
        .map(|change| {
            let value = |value: Option<Decimal>| value.map(crate::values::plain);
            json!({"code": change.code, "stock_available": value(change.stock_available), "change": value(change.change)})
        })
        .collect();
    let detail = json!({"products": changes.len(), "changes": recorded});
    audit::record(connection, now, actor, "product.stock", ("product", None), detail).await?;
    Ok(store::find(connection, &codes).await?.into_iter().map(StockLevel::from).collect())
}

fn check_stock(
    changes: &[StockChange],
    codes: &[String],
    present: &HashMap<String, Decimal>,
) -> Result<(), ProductsError> {
    let mut problems = Problems::new("stock");
    let mut first: HashMap<&str, usize> = HashMap::new();
    for (index, (change, code)) in changes.iter().zip(codes).enumerate() {
        let mut refuse = |column: &str, reason: String| problems.add(index as u64, column, "", reason);
        if let Some(position) = first.insert(code, index) {
            refuse("code", format!("is already at position {position}"));
            first.insert(code, position);
        }
        let before = present.get(code).copied();
        if before.is_none() {
            refuse("code", "is not in the catalogue".into());
        }
        let after = match (change.stock_available, change.change) {
            (Some(value), None) => Some(("stock_available", value)),
            (None, Some(change)) => before.map(|before| ("change", before + change)),
            (None, None) => {
                refuse("stock_available", "is missing; give stock_available or change".into());
                None
            }
            (Some(_), Some(_)) => {
                refuse("change", "is given beside stock_available; give one of them".into());
                None
            }
        };
        match after {
            Some((column, value)) if value.is_sign_negative() && !value.is_zero() => {
                let reason = match before.filter(|_| column == "change") {
                    Some(before) => format!("exceeds the stock on hand, {}", crate::values::plain(before)),
                    None => "must not be negative".into(),
                };
                refuse(column, reason);
            }
            Some((column, value)) if value >= LARGEST => refuse(column, "makes the stock too large".into()),
            _ => {}
        }
    }
    if problems.count == 0 { Ok(()) } else { Err(ProductsError::Invalid(problems.into_fields())) }
}

/// Takes a product off sale, or lists a withdrawn one again, in the caller's transaction. A withdrawn product stays listed
/// with `active` 0 for the time of SPSI.md 5.12.
pub async fn set_active(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    actor: &str,
    code: &str,
    active: bool,
) -> Result<ProductRow, ProductsError> {
    lock(connection).await?;
    let product = find(connection, code).await?;
    if product.active == active {
        let state = if active { "active" } else { "withdrawn" };
        return Err(ProductsError::State { code: product.code, state });
    }
    store::set_active(connection, now, product.id, active).await?;
    bump_version(connection).await?;
    let action = if active { "product.relist" } else { "product.withdraw" };
    audit::record(connection, now, actor, action, ("product", Some(product.id.0)), json!({"code": code})).await?;
    find(connection, code).await
}

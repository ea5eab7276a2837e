//! Contract prices of price lists and of single clinics, with the checks and the merge of an import.
//!
//! Guarantees: all prices of a request are changed, or none and every error is reported. Prices that a request does not
//! name stay.

mod store;

pub use store::{ContractPrice, PriceList};

use super::import::InvalidField;
use super::import::cells::{CODE_CHARACTERS, TEXT_CHARACTERS, not_negative, required_text};
use super::import::copy::CopyLines;
use super::import::prices::store::{
    analyze_prices, copy_prices, delete_prices, find_repeated_prices, find_unknown_products, insert_price_lists,
    upsert_prices,
};
use super::import::problems::{Problems, join};
use super::import::store::{bump_version, delete_staged, lock_imports};
use crate::audit;
use crate::clinics::{self, ClinicError};
use crate::db::{OnConstraint, Pool};
use crate::ids::ClinicId;
use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::json;
use sqlx::PgConnection;
use time::{Date, OffsetDateTime};
use utoipa::ToSchema;

/// Maximum number of codes that an audit entry lists.
const RECORDED_CODES: usize = 100;

/// Why an operation on contract prices failed. It has changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum PriceListsError {
    #[error("there is no price list `{0}`")]
    NoPriceList(String),
    #[error("there is no contract price of `{0}`")]
    NoPrice(String),
    #[error("{clinics} clinics use the price list `{name}`")]
    InUse { name: String, clinics: i64 },
    #[error("{}", join(.0))]
    Invalid(Vec<InvalidField>),
    #[error("a database statement failed; nothing was changed")]
    Store(#[from] sqlx::Error),
}

/// Whose contract prices they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PriceOwner {
    /// A price list by its name.
    List(String),
    Clinic(ClinicId),
}

/// A contract price to set, or without `contract_price` to remove: the period that begins at `valid_from`, or all periods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceChange {
    pub code: String,
    /// Per outer, without tax.
    pub contract_price: Option<Decimal>,
    pub valid_from: Option<Date>,
    pub valid_until: Option<Date>,
}

/// What a change of contract prices has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct PricesSummary {
    pub new: u64,
    pub changed: u64,
    pub unchanged: u64,
    pub removed: u64,
}

/// Writes a day as `2027-01-31`.
pub fn serialize_day<S: serde::Serializer>(day: &Option<Date>, serializer: S) -> Result<S::Ok, S::Error> {
    match day {
        Some(day) => serializer.collect_str(day),
        None => serializer.serialize_none(),
    }
}

/// Lists the price lists by name.
pub async fn list(pool: &Pool) -> Result<Vec<PriceList>, sqlx::Error> {
    store::find(pool, None).await
}

/// Finds a price list by its name.
pub async fn find(pool: &Pool, name: &str) -> Result<PriceList, PriceListsError> {
    let mut found = store::find(pool, Some(name)).await?;
    found.pop().ok_or_else(|| PriceListsError::NoPriceList(name.to_owned()))
}

/// Finds a clinic by its id, client id or name.
pub async fn find_clinic(connection: &mut PgConnection, which: &str) -> Result<PriceOwner, ClinicError> {
    Ok(PriceOwner::Clinic(clinics::find(connection, which).await?.id))
}

/// Lists contract prices by code and first day, after the given ones.
pub async fn prices(
    pool: &Pool,
    owner: &PriceOwner,
    after: Option<(String, Option<Date>)>,
    limit: i64,
) -> Result<Vec<ContractPrice>, sqlx::Error> {
    let (code, day) = after.unwrap_or_default();
    match owner {
        PriceOwner::List(name) => store::list_prices(pool, name, &code, day, limit).await,
        PriceOwner::Clinic(clinic) => store::clinic_prices(pool, *clinic, &code, day, limit).await,
    }
}

/// Sets and removes contract prices in the caller's transaction. Creates a price list that does not exist.
pub async fn set_prices(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    actor: &str,
    owner: &PriceOwner,
    changes: &[PriceChange],
) -> Result<PricesSummary, PriceListsError> {
    lock_imports(connection).await?;
    let created = stage(connection, owner, changes).await?;
    let mut summary = store::compare(connection).await?;
    summary.removed = delete_prices(connection).await?;
    upsert_prices(connection).await?;
    delete_staged(connection).await?;
    let has_changed = summary.new + summary.changed + summary.removed > 0;
    if has_changed {
        bump_version(connection).await?;
    }
    if has_changed || created {
        let codes: Vec<_> = changes.iter().take(RECORDED_CODES).map(|change| change.code.trim()).collect();
        let (subject, list) = match owner {
            PriceOwner::List(name) => (("price_list", store::find_list(connection, name).await?), Some(name)),
            PriceOwner::Clinic(clinic) => (("clinic", Some(clinic.0)), None),
        };
        let detail = json!({"price_list": list, "summary": summary, "codes": codes});
        audit::record(connection, now, actor, "price.set", subject, detail).await?;
    }
    Ok(summary)
}

/// Removes the contract prices of a product in the caller's transaction: the period that begins at `valid_from`, or all.
pub async fn remove_prices(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    actor: &str,
    owner: &PriceOwner,
    code: &str,
    valid_from: Option<Date>,
) -> Result<PricesSummary, PriceListsError> {
    if let PriceOwner::List(name) = owner
        && store::find_list(connection, name).await?.is_none()
    {
        return Err(PriceListsError::NoPriceList(name.clone()));
    }
    let change = PriceChange { code: code.to_owned(), contract_price: None, valid_from, valid_until: None };
    match set_prices(connection, now, actor, owner, &[change]).await {
        Ok(summary) if summary.removed == 0 => Err(PriceListsError::NoPrice(code.to_owned())),
        Err(PriceListsError::Invalid(_)) => Err(PriceListsError::NoPrice(code.to_owned())),
        other => other,
    }
}

/// Deletes a price list and its prices in the caller's transaction. Fails while clinics use the list.
pub async fn delete(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    actor: &str,
    name: &str,
) -> Result<(), PriceListsError> {
    lock_imports(connection).await?;
    let id = store::find_list(connection, name).await?;
    let id = id.ok_or_else(|| PriceListsError::NoPriceList(name.to_owned()))?;
    let clinics = store::count_clinics(connection, id).await?;
    let in_use = |clinics| PriceListsError::InUse { name: name.to_owned(), clinics };
    if clinics > 0 {
        return Err(in_use(clinics));
    }
    // A clinic may take the price list in this moment.
    store::delete(connection, id).await.on_constraint("clinic_price_list_id_fkey", || in_use(1))?;
    bump_version(connection).await?;
    let subject = ("price_list", Some(id));
    Ok(audit::record(connection, now, actor, "price_list.delete", subject, json!({"name": name})).await?)
}

/// Checks the changes and copies them into the staging table. Returns true if a price list was created.
async fn stage(
    connection: &mut PgConnection,
    owner: &PriceOwner,
    changes: &[PriceChange],
) -> Result<bool, PriceListsError> {
    let mut problems = Problems::new("prices");
    let lines = check(owner, changes, &mut problems);
    let mut copy = copy_prices(connection).await?;
    copy.send(lines).await?;
    copy.finish().await?;
    analyze_prices(connection).await?;
    let created = insert_price_lists(connection).await?;
    problems.add_found("code", find_unknown_products(connection).await?, |_| "is not in the catalogue");
    let repeated = find_repeated_prices(connection).await?;
    problems.add_found("code", repeated, |found| format!("already has a price at position {}", found.first_line));
    if problems.count == 0 { Ok(!created.is_empty()) } else { Err(PriceListsError::Invalid(problems.into_fields())) }
}

/// Writes the changes for COPY, numbered by position, and reports every invalid field.
fn check(owner: &PriceOwner, changes: &[PriceChange], problems: &mut Problems) -> Vec<u8> {
    let (clinic, list) = match owner {
        PriceOwner::List(name) => (None, Some(name.as_str())),
        PriceOwner::Clinic(clinic) => (Some(clinic.to_string()), None),
    };
    let mut lines = CopyLines::default();
    for (position, change) in (0..).zip(changes) {
        let count_before = problems.count;
        if let Some(Err(reason)) = list.map(|name| required_text(name, TEXT_CHARACTERS)) {
            problems.add(position, "price_list", "", reason);
        }
        let code = required_text(change.code.trim(), CODE_CHARACTERS);
        if let Err(reason) = &code {
            problems.add(position, "code", "", reason);
        }
        if let Some(Err(reason)) = change.contract_price.map(not_negative) {
            problems.add(position, "contract_price", "", reason);
        }
        if change.valid_from.zip(change.valid_until).is_some_and(|(from, until)| from > until) {
            problems.add(position, "valid_until", "", "is before valid_from");
        }
        let is_valid = problems.count == count_before;
        lines.plain(Some(position)).text(clinic.as_deref()).text(list).text(code.ok());
        lines.number(change.contract_price).plain(change.valid_from).plain(change.valid_until);
        lines.boolean(Some(is_valid)).end();
    }
    lines.take()
}

//! `spsi clinic set`: keys to columns and overrides. Nothing is changed unless every pair is right.

use super::{ClinicError, find, store};
use crate::audit;
use crate::config::ClinicSettings;
use crate::values::parse_decimal;
use rust_decimal::Decimal;
use serde_json::json;
use sqlx::PgPool;
use time::OffsetDateTime;

const OWN_KEYS: &str = "name, site, price_list, hidden_categories, hidden_products, only_categories, only_products, \
                        restricted_licence, on_hold, tax_code, tax_rate, tax_overrides_product";

/// Applies `KEY=VALUE` pairs. An empty value clears a list and drops an override.
pub async fn set(
    pool: &PgPool,
    now: OffsetDateTime,
    actor: &str,
    defaults: &ClinicSettings,
    which: &str,
    pairs: &[String],
) -> Result<(), ClinicError> {
    let clinic = find(pool, which).await?;
    let mut transaction = pool.begin().await?;
    let mut row = store::lock(&mut transaction, clinic.id).await?;
    for pair in pairs {
        let (key, value) =
            pair.split_once('=').ok_or_else(|| ClinicError::BadValue(format!("`{pair}` is not written KEY=VALUE")))?;
        match key {
            "name" => row.name = checked_name(value)?,
            "site" if value.is_empty() => row.site_id = None,
            "site" => {
                let site = store::find_site(&mut transaction, value).await?;
                row.site_id = Some(site.ok_or_else(|| ClinicError::NoSite(value.to_owned()))?.0);
            }
            "price_list" if value.is_empty() => row.price_list_id = None,
            "price_list" => row.price_list_id = Some(store::find_or_insert_price_list(&mut transaction, value).await?),
            "hidden_categories" => row.hidden_categories = list(key, value)?,
            "hidden_products" => row.hidden_products = list(key, value)?,
            "only_categories" => row.only_categories = list(key, value)?,
            "only_products" => row.only_products = list(key, value)?,
            "restricted_licence" => row.restricted_licence = flag(key, value)?,
            "on_hold" => row.on_hold = flag(key, value)?,
            "tax_code" => row.tax_code = value.trim().to_owned(),
            "tax_rate" => row.tax_rate = rate(key, value)?,
            "tax_overrides_product" => row.tax_overrides_product = flag(key, value)?,
            _ => {
                if !ClinicSettings::KEYS.iter().any(|(known, _)| *known == key) {
                    let settings: Vec<_> = ClinicSettings::KEYS.iter().map(|(key, _)| *key).collect();
                    let text =
                        format!("`{key}` is no setting of a clinic; there are {OWN_KEYS}, {}", settings.join(", "));
                    return Err(ClinicError::BadValue(text));
                }
                if value.is_empty() {
                    row.settings.0.remove(key);
                } else {
                    defaults.clone().set(key, value)?;
                    row.settings.0.insert(key.to_owned(), value.to_owned());
                }
            }
        }
    }
    store::update(&mut transaction, &row).await?;
    audit::record(
        &mut transaction,
        now,
        actor,
        "clinic.set",
        ("clinic", Some(clinic.id.0)),
        json!({ "settings": pairs }),
    )
    .await?;
    transaction.commit().await?;
    Ok(())
}

/// `A,B`, or a JSON list where a value holds a comma itself.
fn list(key: &str, value: &str) -> Result<Vec<String>, ClinicError> {
    if value.starts_with('[') {
        return serde_json::from_str(value)
            .map_err(|error| ClinicError::BadValue(format!("{key}: not a JSON list of texts: {error}")));
    }
    Ok(value.split(',').map(str::trim).filter(|value| !value.is_empty()).map(str::to_owned).collect())
}

fn flag(key: &str, value: &str) -> Result<bool, ClinicError> {
    match value {
        "true" | "1" | "yes" => Ok(true),
        "false" | "0" | "no" | "" => Ok(false),
        _ => Err(ClinicError::BadValue(format!("{key}: `{value}` is neither true nor false"))),
    }
}

/// A percentage; nothing for none.
fn rate(key: &str, value: &str) -> Result<Option<Decimal>, ClinicError> {
    if value.trim().is_empty() {
        return Ok(None);
    }
    match parse_decimal(value) {
        Ok(rate) if (Decimal::ZERO..=Decimal::ONE_HUNDRED).contains(&rate) => Ok(Some(rate)),
        _ => Err(ClinicError::BadValue(format!("{key}: `{value}` is no percentage; write 15 or 12.5"))),
    }
}

pub(super) fn checked_name(name: &str) -> Result<String, ClinicError> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > 200 || name.chars().any(char::is_control) {
        return Err(ClinicError::BadValue("a name has 1 to 200 characters, none of them control characters".into()));
    }
    Ok(name.to_owned())
}

pub(super) fn checked_client_id(id: String) -> Result<String, ClinicError> {
    let readable = id.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if !readable || !(3..=100).contains(&id.len()) || id.chars().all(|c| c.is_ascii_digit()) {
        let text = "a client id has 3 to 100 letters, digits, `-`, `_` or `.`, and not digits alone (that would read as our id)";
        return Err(ClinicError::BadValue(text.into()));
    }
    Ok(id)
}

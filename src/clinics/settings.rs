//! `spsi clinic set`: maps keys to columns and setting overrides. Changes nothing if one pair is invalid.

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

/// Applies `KEY=VALUE` pairs. An empty value clears a list or removes an override.
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
        let (key, value) = pair
            .split_once('=')
            .ok_or_else(|| ClinicError::BadValue(format!("`{pair}` is not a pair; write KEY=VALUE")))?;
        match key {
            "name" => row.name = check_name(value)?,
            "site" if value.is_empty() => row.site_id = None,
            "site" => {
                let site = store::find_site(&mut transaction, value).await?;
                row.site_id = Some(site.ok_or_else(|| ClinicError::NoSite(value.to_owned()))?.0);
            }
            "price_list" if value.is_empty() => row.price_list_id = None,
            "price_list" => row.price_list_id = Some(store::find_or_insert_price_list(&mut transaction, value).await?),
            "hidden_categories" => row.hidden_categories = parse_list(key, value)?,
            "hidden_products" => row.hidden_products = parse_list(key, value)?,
            "only_categories" => row.only_categories = parse_list(key, value)?,
            "only_products" => row.only_products = parse_list(key, value)?,
            "restricted_licence" => row.restricted_licence = parse_flag(key, value)?,
            "on_hold" => row.on_hold = parse_flag(key, value)?,
            "tax_code" => row.tax_code = value.trim().to_owned(),
            "tax_rate" => row.tax_rate = parse_rate(key, value)?,
            "tax_overrides_product" => row.tax_overrides_product = parse_flag(key, value)?,
            _ => {
                if !ClinicSettings::KEYS.iter().any(|(setting, _)| *setting == key) {
                    let settings: Vec<_> = ClinicSettings::KEYS.iter().map(|(key, _)| *key).collect();
                    let text = format!(
                        "`{key}` is not a setting of a clinic; the settings are {OWN_KEYS}, {}",
                        settings.join(", ")
                    );
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

/// Parses `A,B`, or a JSON list, whose values may contain commas.
fn parse_list(key: &str, value: &str) -> Result<Vec<String>, ClinicError> {
    if value.starts_with('[') {
        return serde_json::from_str(value)
            .map_err(|error| ClinicError::BadValue(format!("{key}: `{value}` is not a JSON list of texts: {error}")));
    }
    Ok(value.split(',').map(str::trim).filter(|value| !value.is_empty()).map(str::to_owned).collect())
}

fn parse_flag(key: &str, value: &str) -> Result<bool, ClinicError> {
    match value {
        "true" | "1" | "yes" => Ok(true),
        "false" | "0" | "no" | "" => Ok(false),
        _ => Err(ClinicError::BadValue(format!("{key}: `{value}` is not a boolean; write true or false"))),
    }
}

/// Parses a percentage. An empty text means none.
fn parse_rate(key: &str, value: &str) -> Result<Option<Decimal>, ClinicError> {
    if value.trim().is_empty() {
        return Ok(None);
    }
    match parse_decimal(value) {
        Ok(rate) if (Decimal::ZERO..=Decimal::ONE_HUNDRED).contains(&rate) => Ok(Some(rate)),
        _ => {
            Err(ClinicError::BadValue(format!("{key}: `{value}` is not a percentage from 0 to 100; write 15 or 12.5")))
        }
    }
}

pub(super) fn check_name(name: &str) -> Result<String, ClinicError> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > 200 || name.chars().any(char::is_control) {
        return Err(ClinicError::BadValue("a name must have 1 to 200 characters, and no control characters".into()));
    }
    Ok(name.to_owned())
}

pub(super) fn check_client_id(id: String) -> Result<String, ClinicError> {
    let readable = id.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if !readable || !(3..=100).contains(&id.len()) || id.chars().all(|c| c.is_ascii_digit()) {
        let text = "a client id must have 3 to 100 letters, digits, `-`, `_` or `.`, and not only digits, because a number means an id";
        return Err(ClinicError::BadValue(text.into()));
    }
    Ok(id)
}

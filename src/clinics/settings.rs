//! `spsi clinic set` and `PATCH /clinics/{id}`: maps keys to columns and setting overrides. Changes nothing if one value is
//! invalid.

use super::changes::{Changes, Target, flag, list, setting_key, text};
use super::{ClinicError, ClinicInFull, lock, show, store};
use crate::audit;
use crate::config::ClinicSettings;
use crate::db::OnConstraint;
use crate::values::parse_decimal;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use sqlx::PgConnection;
use time::OffsetDateTime;

const OWN_KEYS: &str = "name, site, price_list, hidden_categories, hidden_products, only_categories, only_products, \
                        restricted_licence, on_hold, tax_code, tax_rate, tax_overrides_product";
const MAX_TEXT: usize = 200;

/// Changes a clinic, in the caller's transaction. `null` or an empty value clears a list or removes an override.
pub async fn set(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    actor: &str,
    defaults: &ClinicSettings,
    target: Target<'_>,
    changes: Changes,
) -> Result<ClinicInFull, ClinicError> {
    let mut row = lock(connection, target).await?;
    let detail = json!({ "settings": changes.describe() });
    let mut invalid = changes.invalid;
    for (key, value) in &changes.values {
        let key = key.as_str();
        match key {
            "name" => invalid.set(key, text(value).and_then(|name| check_name(&name)), &mut row.name),
            "site" => match text(value) {
                Ok(name) if name.is_empty() => row.site_id = None,
                Ok(name) => match store::find_site(connection, &name).await? {
                    Some((id, _)) => row.site_id = Some(id),
                    None => invalid.push(key, no_site(&name)),
                },
                Err(message) => invalid.push(key, message),
            },
            "price_list" => match text(value).and_then(|name| short(key, &name)) {
                Ok(name) if name.is_empty() => row.price_list_id = None,
                Ok(name) => row.price_list_id = Some(store::find_or_insert_price_list(connection, &name).await?),
                Err(message) => invalid.push(key, message),
            },
            "hidden_categories" => invalid.set(key, list(key, value), &mut row.hidden_categories),
            "hidden_products" => invalid.set(key, list(key, value), &mut row.hidden_products),
            "only_categories" => invalid.set(key, list(key, value), &mut row.only_categories),
            "only_products" => invalid.set(key, list(key, value), &mut row.only_products),
            "restricted_licence" => invalid.set(key, flag(key, value), &mut row.restricted_licence),
            "on_hold" => invalid.set(key, flag(key, value), &mut row.on_hold),
            "tax_code" => invalid.set(key, text(value).and_then(|code| short(key, &code)), &mut row.tax_code),
            "tax_rate" => invalid.set(key, rate(key, value), &mut row.tax_rate),
            "tax_overrides_product" => invalid.set(key, flag(key, value), &mut row.tax_overrides_product),
            "settings" if value.is_null() => row.settings.0.clear(),
            _ => match setting(defaults, setting_key(key), value) {
                Ok(Some(value)) => drop(row.settings.0.insert(setting_key(key).to_owned(), value)),
                Ok(None) => drop(row.settings.0.remove(setting_key(key))),
                Err(message) => invalid.push(key, message),
            },
        }
    }
    invalid.finish()?;
    store::update(connection, &row)
        .await
        .on_constraint("clinic_name_key", || ClinicError::NameTaken(row.name.clone()))?;
    audit::record(connection, now, actor, "clinic.set", ("clinic", Some(row.id.0)), detail).await?;
    show(connection, defaults, &row.id.to_string()).await
}

/// Returns the value of an override, or `None` to remove it.
fn setting(defaults: &ClinicSettings, key: &str, value: &Value) -> Result<Option<String>, String> {
    if !ClinicSettings::KEYS.iter().any(|(setting, _)| *setting == key) {
        let settings: Vec<_> = ClinicSettings::KEYS.iter().map(|(key, _)| *key).collect();
        return Err(format!(
            "`{key}` is not a setting of a clinic; the settings are {OWN_KEYS}, {}",
            settings.join(", ")
        ));
    }
    let value = text(value)?;
    if value.is_empty() {
        return Ok(None);
    }
    defaults.clone().set(key, &value).map_err(|error| error.to_string())?;
    Ok(Some(value))
}

/// Reads a percentage. An empty text means none.
fn rate(key: &str, value: &Value) -> Result<Option<Decimal>, String> {
    let text = text(value)?;
    if text.trim().is_empty() {
        return Ok(None);
    }
    match parse_decimal(&text) {
        Ok(rate) if (Decimal::ZERO..=Decimal::ONE_HUNDRED).contains(&rate) => Ok(Some(rate)),
        _ => Err(format!("{key}: `{text}` is not a percentage from 0 to 100; write 15 or 12.5")),
    }
}

fn short(key: &str, text: &str) -> Result<String, String> {
    let text = text.trim();
    match text.chars().count() {
        0..=MAX_TEXT => Ok(text.to_owned()),
        _ => Err(format!("{key}: must have at most {MAX_TEXT} characters")),
    }
}

pub(super) fn no_site(which: &str) -> String {
    format!("no site has the id or name `{which}`")
}

pub(super) fn check_name(name: &str) -> Result<String, String> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > MAX_TEXT || name.chars().any(char::is_control) {
        return Err("a name must have 1 to 200 characters, and no control characters".into());
    }
    Ok(name.to_owned())
}

pub(super) fn check_client_id(id: &str) -> Result<(), String> {
    let readable = id.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if !readable || !(3..=100).contains(&id.len()) || id.chars().all(|c| c.is_ascii_digit()) {
        return Err("a client id must have 3 to 100 letters, digits, `-`, `_` or `.`, and not only digits, because a number means an id".into());
    }
    Ok(())
}

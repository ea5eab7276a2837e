//! Sites: the ezyVet databases that deliveries are sent to, with credentials and settings.
//!
//! Credentials are encrypted and bound to the row's id, and leave this module only as a [`Connection`]. A change of
//! credentials deletes the stored token. Unencrypted `http://` is refused, except to this machine or with `--allow-http`.

mod base_url;
mod store;

use super::changes::{setting_key, text};
use super::{Changes, InvalidFields, Stale, Target};
use crate::audit;
use crate::config::{Overrides, SiteSettings};
use crate::db::{Page, Pool};
use crate::ezyvet::Credentials;
use crate::ids::SiteId;
use crate::secret::{KeyRing, Plain, SecretError};
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::{PgConnection, PgExecutor};
use time::OffsetDateTime;

/// The fields of which a change deletes the stored token.
const CREDENTIALS: [&str; 5] = ["base_url", "token_path", "partner_id", "client_id", "site_uid"];
const MAX_TEXT: usize = 500;

/// Why a site could not be added, changed or used.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    #[error("no site has the id or name `{0}`; `spsi site list` shows all sites")]
    Unknown(String),
    #[error("a site has the name `{0}` already; choose another")]
    NameTaken(String),
    #[error(
        "another site has these credentials: ezyVet keeps one live token per credential set, so two sites cannot share it"
    )]
    CredentialsTaken,
    #[error(transparent)]
    Invalid(#[from] InvalidFields),
    #[error(transparent)]
    Stale(#[from] Stale),
    #[error("cannot decrypt the site's credentials: {0}; `spsi doctor` checks the keys")]
    Secret(#[from] SecretError),
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
}

/// A site to add.
#[derive(Debug)]
pub struct NewSite {
    pub name: String,
    pub base_url: String,
    /// Permits an unencrypted base URL (`http://`) on another host.
    pub allow_http: bool,
    pub token_path: String,
    pub partner_id: String,
    pub client_id: String,
    pub client_secret: Plain,
    pub site_uid: String,
    pub settings: Changes,
}

/// A change of a site.
#[derive(Debug, Default)]
pub struct SiteChange {
    /// Columns (`name`, `base_url`, `token_path`, `partner_id`, `client_id`, `site_uid`, `state`) and settings. An empty text
    /// removes the override of a setting.
    pub changes: Changes,
    pub client_secret: Option<Plain>,
    /// Permits an unencrypted base URL (`http://`) on another host.
    pub allow_http: bool,
}

/// A site, as staff see it: without its secret.
#[derive(Clone, Debug, serde::Serialize, utoipa::ToSchema)]
pub struct Site {
    #[schema(value_type = i64)]
    pub id: SiteId,
    pub name: String,
    /// `active`, or `paused` (nothing is sent).
    pub state: String,
    pub base_url: String,
    pub token_path: String,
    pub partner_id: String,
    pub client_id: String,
    pub site_uid: String,
    pub settings: Overrides,
    /// State of the deliveries, as a sentence.
    pub status: String,
    /// Deliveries that are not done, including those for staff.
    pub open_deliveries: i64,
    /// Deliveries for staff: `attention` and `unclear`.
    pub attention_deliveries: i64,
    /// Failed calls in a row.
    pub failures: i32,
    /// Nothing is sent before this time.
    #[serde(with = "time::serde::rfc3339::option")]
    pub not_before: Option<OffsetDateTime>,
    /// Since when the site has not granted the inventory scopes.
    #[serde(with = "time::serde::rfc3339::option")]
    pub inventory_absent_since: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// Changes with every change by staff, and not with the state of its deliveries.
    #[serde(skip)]
    pub version: String,
}

/// The state of a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SiteState {
    /// Called as needed.
    Active,
    /// Nothing is sent.
    Paused,
}

impl SiteState {
    fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
        }
    }
}

/// Selects sites. An empty filter selects all.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// Only sites in this state
    pub state: Option<SiteState>,
}

fn status(state: &str, failures: i32, not_before: Option<OffsetDateTime>) -> String {
    let until = not_before.map(format_utc);
    match (state, failures, until) {
        ("paused", _, _) => "paused by staff: nothing is sent".to_owned(),
        (_, 0, None) => "called as needed".to_owned(),
        (_, 0, Some(until)) => format!("rate budget used up until {until}"),
        (_, failures, None) => format!("{failures} calls in a row failed"),
        (_, failures, Some(until)) => format!("in trouble: {failures} calls in a row failed; next probe at {until}"),
    }
}

/// Formats a time for messages to staff, in UTC to the second.
pub(crate) fn format_utc(at: OffsetDateTime) -> String {
    let format = time::macros::format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
    at.to_offset(time::UtcOffset::UTC).format(format).unwrap_or_else(|_| at.to_string())
}

/// What is needed to call a site.
#[derive(Clone, Debug)]
pub struct Connection {
    pub id: SiteId,
    pub name: String,
    pub base_url: String,
    pub token_path: String,
    pub credentials: Credentials,
    /// The deployment's settings with the site's overrides.
    pub settings: SiteSettings,
}

/// Adds a site, with the row of its lease, in the caller's transaction.
pub async fn add(
    connection: &mut PgConnection,
    keys: &KeyRing,
    defaults: &SiteSettings,
    now: OffsetDateTime,
    actor: &str,
    mut new: NewSite,
) -> Result<Site, SiteError> {
    let mut invalid = std::mem::take(&mut new.settings.invalid);
    invalid.set("name", check_name(&new.name), &mut new.name);
    invalid.set("base_url", check_base_url(&new.base_url, new.allow_http), &mut new.base_url);
    invalid.set("token_path", check_token_path(&new.token_path), &mut new.token_path);
    invalid.set("partner_id", required("partner_id", &new.partner_id), &mut new.partner_id);
    invalid.set("client_id", required("client_id", &new.client_id), &mut new.client_id);
    invalid.set("site_uid", required("site_uid", &new.site_uid), &mut new.site_uid);
    invalid.set("client_secret", check_secret(&new.client_secret), &mut ());
    let mut settings = Overrides::new();
    for (key, value) in &new.settings.values {
        change_setting(&mut settings, defaults, &mut invalid, key, value);
    }
    invalid.finish()?;
    let id = store::next_id(connection).await?;
    let sealed = keys.seal(new.client_secret.expose().as_bytes(), &secret_owner(id))?;
    store::insert(connection, id, &new, &settings, &sealed, now).await?;
    let detail = json!({ "name": new.name, "base_url": new.base_url });
    audit::record(connection, now, actor, "site.add", ("site", Some(id.0)), detail).await?;
    find(connection, &id.to_string()).await
}

/// Returns the sites that pass the filter, newest first.
pub async fn list(executor: impl PgExecutor<'_>, filter: &Filter, page: Page) -> Result<Vec<Site>, SiteError> {
    Ok(store::list(executor, None, filter, page).await?)
}

/// Returns the site with this id or name.
pub async fn find(executor: impl PgExecutor<'_>, reference: &str) -> Result<Site, SiteError> {
    let unknown = || SiteError::Unknown(reference.to_owned());
    if reference.contains('\0') {
        return Err(unknown());
    }
    let which = Some((Target::id(reference), reference));
    let mut found = store::list(executor, which, &Filter::default(), Page::default()).await?;
    found.pop().ok_or_else(unknown)
}

/// Finds and locks a site. Fails if it is not at the expected version.
async fn lock(connection: &mut PgConnection, target: Target<'_>) -> Result<Site, SiteError> {
    let id = find(&mut *connection, target.which).await?.id;
    target.check(&store::lock(connection, id).await?)?;
    find(connection, &id.to_string()).await
}

/// Applies all changes to a site, or none if one is invalid, in the caller's transaction.
pub async fn change(
    connection: &mut PgConnection,
    keys: &KeyRing,
    defaults: &SiteSettings,
    now: OffsetDateTime,
    actor: &str,
    target: Target<'_>,
    change: SiteChange,
) -> Result<Site, SiteError> {
    let mut site = lock(connection, target).await?;
    let SiteChange { changes, client_secret, allow_http } = change;
    let (mut changed, mut invalid) = (changes.describe(), changes.invalid);
    for (key, value) in &changes.values {
        let key = key.as_str();
        match key {
            "name" => invalid.set(key, text(value).and_then(|name| check_name(&name)), &mut site.name),
            "base_url" => {
                let url = text(value).and_then(|url| check_base_url(&url, allow_http));
                invalid.set(key, url, &mut site.base_url);
            }
            "token_path" => {
                invalid.set(key, text(value).and_then(|path| check_token_path(&path)), &mut site.token_path)
            }
            "partner_id" => invalid.set(key, text(value).and_then(|id| required(key, &id)), &mut site.partner_id),
            "client_id" => invalid.set(key, text(value).and_then(|id| required(key, &id)), &mut site.client_id),
            "site_uid" => invalid.set(key, text(value).and_then(|uid| required(key, &uid)), &mut site.site_uid),
            "settings" if value.is_null() => site.settings.clear(),
            "state" => invalid.set(key, text(value).and_then(check_state), &mut site.state),
            _ => change_setting(&mut site.settings, defaults, &mut invalid, key, value),
        }
    }
    if let Some(secret) = &client_secret {
        invalid.set("client_secret", check_secret(secret), &mut ());
        changed.push("client_secret=[hidden]".to_owned());
    }
    invalid.finish()?;
    let seal = |secret: &Plain| keys.seal(secret.expose().as_bytes(), &secret_owner(site.id));
    let sealed = client_secret.as_ref().map(seal).transpose()?;
    store::update(connection, &site, sealed.as_deref()).await?;
    if sealed.is_some() || changes.values.iter().any(|(key, _)| CREDENTIALS.contains(&key.as_str())) {
        store::delete_token(connection, site.id).await?;
    }
    audit::record(connection, now, actor, "site.set", ("site", Some(site.id.0)), json!({ "set": changed })).await?;
    find(connection, &site.id.to_string()).await
}

/// Sets an override, or removes it if the value is empty.
fn change_setting(
    settings: &mut Overrides,
    defaults: &SiteSettings,
    invalid: &mut InvalidFields,
    field: &str,
    value: &Value,
) {
    let key = setting_key(field);
    match text(value) {
        // Also removes an override of a setting that no longer exists.
        Ok(value)
            if value.is_empty()
                && (settings.contains_key(key) || SiteSettings::KEYS.iter().any(|(setting, _)| *setting == key)) =>
        {
            settings.remove(key);
        }
        Ok(value) => match defaults.clone().set(key, &value) {
            Ok(()) => drop(settings.insert(key.to_owned(), value)),
            Err(error) => invalid.push(field, error.to_string()),
        },
        Err(message) => invalid.push(field, message),
    }
}

fn required(field: &str, text: &str) -> Result<String, String> {
    let text = text.trim();
    let length = text.chars().count();
    if !(1..=MAX_TEXT).contains(&length) || text.chars().any(char::is_control) {
        return Err(format!("{field}: must have 1 to {MAX_TEXT} characters, and no control characters"));
    }
    Ok(text.to_owned())
}

fn check_name(name: &str) -> Result<String, String> {
    if !name.is_empty() && name.chars().all(|c| c.is_ascii_digit()) {
        return Err(format!("`{name}` is a number, and a number means an id; choose another name"));
    }
    required("name", name)
}

fn check_base_url(url: &str, allow_http: bool) -> Result<String, String> {
    base_url::parse(url, allow_http).map_err(|error| error.to_string())
}

/// Without the slash, a path such as `@other.example` would change the host.
fn check_token_path(path: &str) -> Result<String, String> {
    match required("token_path", path)? {
        path if path.starts_with('/') => Ok(path),
        path => Err(format!("token_path: `{path}` does not start with `/`; write it like /oauth/token")),
    }
}

/// The message does not repeat the secret.
fn check_secret(secret: &Plain) -> Result<(), String> {
    if secret.expose().trim().is_empty() { Err("client_secret: must not be empty".into()) } else { Ok(()) }
}

fn check_state(state: String) -> Result<String, String> {
    match state.as_str() {
        "active" | "paused" => Ok(state),
        _ => Err(format!("`{state}` is not a state of a site; use `active` or `paused`")),
    }
}

/// Returns what is needed to call the site, with decrypted credentials. Only the holder of the lease may use it.
pub async fn connection(
    pool: &Pool,
    keys: &KeyRing,
    defaults: &SiteSettings,
    id: SiteId,
) -> Result<Connection, SiteError> {
    let row = store::find_connection(pool, id).await?.ok_or_else(|| SiteError::Unknown(id.to_string()))?;
    Ok(Connection {
        id,
        credentials: Credentials {
            partner_id: row.partner_id,
            client_id: row.client_id,
            client_secret: keys.open(&row.client_secret, &secret_owner(id))?,
            site_uid: row.site_uid,
        },
        settings: defaults.overridden(&row.settings.0),
        name: row.name,
        base_url: row.base_url,
        token_path: row.token_path,
    })
}

/// Encrypts secrets that an older key encrypted with the active key. Returns how many it changed.
pub async fn reseal(pool: &Pool, keys: &KeyRing) -> Result<u64, SiteError> {
    let mut resealed = 0;
    for (id, old) in store::list_secrets(pool).await? {
        if keys.is_stale(&old) {
            let secret = keys.open(&old, &secret_owner(id))?;
            let new = keys.seal(secret.expose().as_bytes(), &secret_owner(id))?;
            resealed += store::replace_secret(pool, id, &old, &new).await?;
        }
    }
    Ok(resealed)
}

fn secret_owner(id: SiteId) -> String {
    format!("site:{id}:client_secret")
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn the_status_says_what_is_wrong_and_until_when() {
        let at = Some(datetime!(2026-11-21 12:00:05 UTC));
        assert_eq!(status("active", 0, None), "called as needed");
        assert_eq!(status("paused", 9, at), "paused by staff: nothing is sent");
        assert_eq!(status("active", 2, None), "2 calls in a row failed");
        let trouble = "in trouble: 7 calls in a row failed; next probe at 2026-11-21 12:00:05 UTC";
        assert_eq!(status("active", 7, at), trouble);
    }
}

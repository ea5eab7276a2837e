//! Sites: the ezyVet databases that deliveries are sent to, with credentials and settings.
//!
//! Credentials are encrypted and bound to the row's id, and leave this module only as a [`Connection`]. A change of
//! credentials deletes the stored token. Unencrypted `http://` is refused, except to this machine or with `--allow-http`.

mod base_url;
mod store;

pub use base_url::BaseUrl;

use crate::audit;
use crate::config::{Overrides, SiteSettings};
use crate::ezyvet::Credentials;
use crate::ids::SiteId;
use crate::secret::{KeyRing, Plain, SecretError};
use sqlx::PgPool;
use time::OffsetDateTime;

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
    #[error("{0} is empty; give a value")]
    Empty(&'static str),
    #[error("`{0}` is a number, and a number means an id; choose another name")]
    NameIsNumber(String),
    #[error(transparent)]
    BaseUrl(#[from] base_url::BadBaseUrl),
    #[error(transparent)]
    Setting(#[from] crate::config::BadSetting),
    #[error("`{0}` is not a state of a site; use `active` or `paused`")]
    State(String),
    #[error("cannot decrypt the site's credentials: {0}; `spsi doctor` checks the keys")]
    Secret(#[from] SecretError),
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
}

/// A site to add.
#[derive(Debug)]
pub struct NewSite {
    pub name: String,
    pub base_url: BaseUrl,
    pub token_path: String,
    pub partner_id: String,
    pub client_id: String,
    pub client_secret: Plain,
    pub site_uid: String,
    pub settings: Overrides,
}

/// A site, as staff see it: without its secret.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Site {
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

/// Adds a site, with the row of its lease.
pub async fn add(
    pool: &PgPool,
    keys: &KeyRing,
    defaults: &SiteSettings,
    now: OffsetDateTime,
    actor: &str,
    new: NewSite,
) -> Result<Site, SiteError> {
    let fields = [
        ("the name", &new.name),
        ("the partner id", &new.partner_id),
        ("the client id", &new.client_id),
        ("the site uid", &new.site_uid),
    ];
    if let Some((field, _)) = fields.iter().find(|(_, text)| text.trim().is_empty()) {
        return Err(SiteError::Empty(field));
    }
    if new.client_secret.expose().is_empty() {
        return Err(SiteError::Empty("the client secret"));
    }
    check_name(&new.name)?;
    let mut checked = defaults.clone();
    for (key, value) in &new.settings {
        checked.set(key, value)?;
    }
    let mut transaction = pool.begin().await?;
    let id = store::next_id(&mut transaction).await?;
    let sealed = keys.seal(new.client_secret.expose().as_bytes(), &secret_owner(id))?;
    store::insert(&mut transaction, id, &new, &sealed, now).await?;
    let detail = serde_json::json!({ "name": new.name, "base_url": new.base_url.as_str() });
    audit::record(&mut transaction, now, actor, "site.add", ("site", Some(id.0)), detail).await?;
    transaction.commit().await?;
    find(pool, &id.to_string()).await
}

/// Returns every site, by name.
pub async fn list(pool: &PgPool) -> Result<Vec<Site>, SiteError> {
    Ok(store::list(pool, None).await?)
}

/// Returns the site with this id or name.
pub async fn find(pool: &PgPool, reference: &str) -> Result<Site, SiteError> {
    let mut found = store::list(pool, Some(reference)).await?;
    found.pop().ok_or_else(|| SiteError::Unknown(reference.to_owned()))
}

/// A change of a site.
#[derive(Debug)]
pub enum Change {
    /// A key of the row (`name`, `base_url`, `token_path`, `partner_id`, `client_id`, `site_uid`, `state`), or a setting.
    /// An empty text removes the override of a setting.
    Set(String, String),
    ClientSecret(Plain),
}

/// Applies all changes to a site, or none if one is invalid.
pub async fn change(
    pool: &PgPool,
    keys: &KeyRing,
    defaults: &SiteSettings,
    now: OffsetDateTime,
    actor: &str,
    reference: &str,
    (changes, allow_http): (Vec<Change>, bool),
) -> Result<Site, SiteError> {
    let mut site = find(pool, reference).await?;
    let (mut checked, mut sealed, mut new_credentials) = (defaults.clone(), None, false);
    let mut changed = Vec::new();
    for change in changes {
        let (key, value) = match change {
            Change::Set(key, value) => (key, value),
            Change::ClientSecret(secret) => {
                sealed = Some(keys.seal(secret.expose().as_bytes(), &secret_owner(site.id))?);
                changed.push("client_secret=[hidden]".to_owned());
                new_credentials = true;
                continue;
            }
        };
        new_credentials |= matches!(key.as_str(), "base_url" | "token_path" | "partner_id" | "client_id" | "site_uid");
        changed.push(format!("{key}={value}"));
        match key.as_str() {
            "name" => {
                check_name(&value)?;
                site.name = value;
            }
            "base_url" => site.base_url = BaseUrl::parse(&value, allow_http)?.as_str().to_owned(),
            "token_path" => site.token_path = value,
            "partner_id" => site.partner_id = value,
            "client_id" => site.client_id = value,
            "site_uid" => site.site_uid = value,
            "state" if matches!(value.as_str(), "active" | "paused") => site.state = value,
            "state" => return Err(SiteError::State(value)),
            // Also removes an override of a setting that no longer exists.
            _ if value.is_empty()
                && (site.settings.contains_key(&key)
                    || SiteSettings::KEYS.iter().any(|(setting, _)| *setting == key)) =>
            {
                site.settings.remove(&key);
            }
            _ => {
                checked.set(&key, &value)?;
                site.settings.insert(key, value);
            }
        }
    }
    let mut transaction = pool.begin().await?;
    store::update(&mut transaction, &site, sealed.as_deref()).await?;
    if new_credentials {
        store::delete_token(&mut transaction, site.id).await?;
    }
    let detail = serde_json::json!({ "set": changed });
    audit::record(&mut transaction, now, actor, "site.set", ("site", Some(site.id.0)), detail).await?;
    transaction.commit().await?;
    find(pool, &site.id.to_string()).await
}

/// Returns what is needed to call the site, with decrypted credentials. Only the holder of the lease may use it.
pub async fn connection(
    pool: &PgPool,
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
pub async fn reseal(pool: &PgPool, keys: &KeyRing) -> Result<u64, SiteError> {
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

fn check_name(name: &str) -> Result<(), SiteError> {
    match name {
        "" => Err(SiteError::Empty("the name")),
        _ if name.chars().all(|c| c.is_ascii_digit()) => Err(SiteError::NameIsNumber(name.to_owned())),
        _ => Ok(()),
    }
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

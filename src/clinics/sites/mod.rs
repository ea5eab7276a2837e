//! Sites: the ezyVet databases that we call, their credentials and settings.
//!
//! Credentials are sealed with the row's id bound in, and leave this module only as a [`Connection`]. Changed credentials
//! drop the stored token. Plain `http://` is refused except towards this machine or where staff insist.

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
    #[error("there is no site `{0}`; `spsi site list` shows them")]
    Unknown(String),
    #[error("there is a site named `{0}` already")]
    NameTaken(String),
    #[error(
        "there is a site with these credentials already: one live token per credential set, so it cannot be shared"
    )]
    CredentialsTaken,
    #[error("{0} is empty")]
    Empty(&'static str),
    #[error("a name may not be a number, so that it is never taken for an id: `{0}`")]
    NameIsNumber(String),
    #[error(transparent)]
    BaseUrl(#[from] base_url::BadBaseUrl),
    #[error(transparent)]
    Setting(#[from] crate::config::BadSetting),
    #[error("`{0}` is neither active nor paused")]
    State(String),
    #[error("the site's stored credentials cannot be read: {0}")]
    Secret(#[from] SecretError),
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
}

/// A site to be added.
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

/// A site as staff see it: without its secret.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Site {
    pub id: SiteId,
    pub name: String,
    /// `active`, or `paused`: nothing is sent.
    pub state: String,
    pub base_url: String,
    pub token_path: String,
    pub partner_id: String,
    pub client_id: String,
    pub site_uid: String,
    pub settings: Overrides,
    /// How it stands, in plain words.
    pub status: String,
    /// Deliveries that are not done yet, those for staff included.
    pub open_deliveries: i64,
    /// Deliveries for staff: `attention` and `unclear`.
    pub attention_deliveries: i64,
    /// Failures of the site in a row.
    pub failures: i32,
    /// Nothing is sent before.
    #[serde(with = "time::serde::rfc3339::option")]
    pub not_before: Option<OffsetDateTime>,
    /// Since when the site has not granted the inventory scopes.
    #[serde(with = "time::serde::rfc3339::option")]
    pub inventory_absent_since: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

/// How a site stands, in plain words.
fn status(state: &str, failures: i32, not_before: Option<OffsetDateTime>) -> String {
    let minute = time::macros::format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
    let until = not_before.and_then(|at| at.to_offset(time::UtcOffset::UTC).format(minute).ok()).unwrap_or_default();
    match (state, failures) {
        ("paused", _) => "paused by staff: nothing is sent".to_owned(),
        (_, 0) if until.is_empty() => "called as needed".to_owned(),
        (_, 0) => format!("rate budget spent until {until}"),
        (_, failures) if until.is_empty() => format!("{failures} calls in a row failed"),
        (_, failures) => format!("in trouble: {failures} calls in a row failed; left alone until {until}, then probed"),
    }
}

/// How a site is called.
#[derive(Clone, Debug)]
pub struct Connection {
    pub id: SiteId,
    pub name: String,
    pub base_url: String,
    pub token_path: String,
    pub credentials: Credentials,
    /// The deployment's settings with the site's laid over.
    pub settings: SiteSettings,
}

/// Adds a site, with its lane.
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

/// Every site, by name.
pub async fn list(pool: &PgPool) -> Result<Vec<Site>, SiteError> {
    Ok(store::list(pool, None).await?)
}

/// The site with this id or name.
pub async fn find(pool: &PgPool, reference: &str) -> Result<Site, SiteError> {
    let mut found = store::list(pool, Some(reference)).await?;
    found.pop().ok_or_else(|| SiteError::Unknown(reference.to_owned()))
}

/// A change of a site.
#[derive(Debug)]
pub enum Change {
    /// A key of the row (`name`, `base_url`, `token_path`, `partner_id`, `client_id`, `site_uid`, `state`), or a setting.
    /// An empty text takes a setting's override away.
    Set(String, String),
    ClientSecret(Plain),
}

/// Changes a site: everything, or nothing where one change is wrong.
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
            _ if value.is_empty() && SiteSettings::KEYS.iter().any(|(known, _)| *known == key) => {
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

/// How the site is called, credentials in the clear: for the holder of its lease only.
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

/// Seals every site's secret anew under the active key, where an older one made it. Gives how many there were.
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
    fn how_a_site_stands_is_said_in_plain_words() {
        let at = Some(datetime!(2026-11-21 12:00:05 UTC));
        assert_eq!(status("active", 0, None), "called as needed");
        assert_eq!(status("paused", 9, at), "paused by staff: nothing is sent");
        assert_eq!(status("active", 2, None), "2 calls in a row failed");
        let trouble = "in trouble: 7 calls in a row failed; left alone until 2026-11-21 12:00:05 UTC, then probed";
        assert_eq!(status("active", 7, at), trouble);
    }
}

//! Clinics (the client ids that ezyVet uses) and sites (the ezyVet databases that deliveries are sent to).
//!
//! A clinic's secret is shown once and stored as a hash. Every change is recorded in the audit and reaches all running
//! processes through `data_version` (see [`cache`]).

pub mod cache;
pub mod mapping;
mod settings;
pub mod sites;
mod store;

use crate::audit;
use crate::config::{BadSetting, ClinicSettings, Overrides};
use crate::db::OnConstraint;
use crate::ids::ClinicId;
use crate::secret::{Hashed, Plain, SecretError, random_text};
use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::json;
use sqlx::PgPool;
use std::time::Duration;
use time::OffsetDateTime;

pub use settings::set;
pub use store::{CachedClinicRow, ClinicRow};

/// Why a command about a clinic failed.
#[derive(Debug, thiserror::Error)]
pub enum ClinicError {
    #[error("no clinic has the id, client id or name `{0}`; `spsi clinic list` shows all clinics")]
    NoClinic(String),
    #[error("no site has the id or name `{0}`; `spsi site list` shows all sites")]
    NoSite(String),
    #[error("a clinic has the name `{0}` already; choose another")]
    NameTaken(String),
    #[error("another clinic has the client id `{0}`; choose another")]
    ClientIdTaken(String),
    #[error("{0}")]
    BadValue(String),
    #[error(transparent)]
    BadSetting(#[from] BadSetting),
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

/// A clinic to add.
#[derive(Debug)]
pub struct ClinicDraft {
    pub name: String,
    /// Id or name of the site.
    pub site: Option<String>,
    pub client_id: Option<String>,
}

/// A clinic with its secret, which is shown once.
#[derive(Debug, Serialize)]
pub struct IssuedClinic {
    pub id: ClinicId,
    pub name: String,
    pub client_id: String,
    #[serde(serialize_with = "serialize_exposed")]
    pub client_secret: Plain,
    pub site: Option<String>,
}

/// Serialises a secret in clear, for the person who requested it.
fn serialize_exposed<S: serde::Serializer>(secret: &Plain, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose())
}

/// A clinic, as staff see it.
#[derive(Debug, Serialize)]
pub struct Clinic {
    pub id: ClinicId,
    pub name: String,
    pub client_id: String,
    pub state: String,
    pub site: Option<String>,
    pub price_list: Option<String>,
    pub hidden_categories: Vec<String>,
    pub hidden_products: Vec<String>,
    pub only_categories: Vec<String>,
    pub only_products: Vec<String>,
    pub restricted_licence: bool,
    pub on_hold: bool,
    /// Tax code of invoice lines whose product has none. Empty: the site's.
    pub tax_code: String,
    /// Tax rate in percent of invoice lines whose product has none. `None`: from the order.
    #[serde(with = "crate::values::optional_text")]
    pub tax_rate: Option<Decimal>,
    /// The clinic's tax code and rate replace those of the product.
    pub tax_overrides_product: bool,
    /// Until when the secret before the last rotation is accepted.
    #[serde(with = "time::serde::rfc3339::option")]
    pub previous_secret_until: Option<OffsetDateTime>,
    /// Overrides of the deployment's settings.
    pub settings: Overrides,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

/// A clinic with all its effective settings.
#[derive(Debug, Serialize)]
pub struct ClinicInFull {
    #[serde(flatten)]
    pub clinic: Clinic,
    pub settings_in_force: Overrides,
}

/// Adds a clinic and issues its credentials.
pub async fn add(
    pool: &PgPool,
    now: OffsetDateTime,
    actor: &str,
    draft: ClinicDraft,
) -> Result<IssuedClinic, ClinicError> {
    let name = settings::check_name(&draft.name)?;
    let client_id = match draft.client_id {
        Some(id) => settings::check_client_id(id)?,
        None => format!("clinic-{}", random_text::<16>()?),
    };
    let client_secret = Plain::generate()?;
    let hash = hash(client_secret.clone()).await?;
    let mut transaction = pool.begin().await?;
    let site = match &draft.site {
        Some(site) => {
            Some(store::find_site(&mut transaction, site).await?.ok_or_else(|| ClinicError::NoSite(site.clone()))?)
        }
        None => None,
    };
    let id = store::insert(&mut transaction, now, &name, site.as_ref().map(|(id, _)| *id), &client_id, hash.as_str())
        .await
        .on_constraint("clinic_name_key", || ClinicError::NameTaken(name.clone()))
        .or_else(|error| match error {
            ClinicError::Database(cause) => {
                Err(cause).on_constraint("clinic_client_id_key", || ClinicError::ClientIdTaken(client_id.clone()))
            }
            other => Err(other),
        })?;
    audit::record(
        &mut transaction,
        now,
        actor,
        "clinic.add",
        ("clinic", Some(id.0)),
        json!({"name": name, "client_id": client_id}),
    )
    .await?;
    transaction.commit().await?;
    Ok(IssuedClinic { id, name, client_id, client_secret, site: site.map(|(_, name)| name) })
}

/// Returns every clinic, by id.
pub async fn list(pool: &PgPool) -> Result<Vec<Clinic>, ClinicError> {
    Ok(store::list(pool).await?)
}

/// Returns a clinic by id, client id or name, with all its effective settings.
pub async fn show(pool: &PgPool, defaults: &ClinicSettings, which: &str) -> Result<ClinicInFull, ClinicError> {
    let clinic = find(pool, which).await?;
    let in_force = defaults.overridden(&clinic.settings);
    let settings_in_force = in_force.entries().into_iter().map(|(key, _, value)| (key.to_owned(), value)).collect();
    Ok(ClinicInFull { clinic, settings_in_force })
}

/// Returns a clinic by id, client id or name.
pub async fn find(pool: &PgPool, which: &str) -> Result<Clinic, ClinicError> {
    store::list(pool)
        .await?
        .into_iter()
        .find(|clinic| clinic.client_id == which || clinic.name == which || clinic.id.to_string() == which)
        .ok_or_else(|| ClinicError::NoClinic(which.to_owned()))
}

/// Issues a new secret. The old one is accepted for `overlap`. Tokens issued before become invalid on every replica within
/// seconds.
pub async fn rotate_secret(
    pool: &PgPool,
    now: OffsetDateTime,
    actor: &str,
    which: &str,
    overlap: Duration,
) -> Result<IssuedClinic, ClinicError> {
    let clinic = find(pool, which).await?;
    let client_secret = Plain::generate()?;
    let hash = hash(client_secret.clone()).await?;
    let mut transaction = pool.begin().await?;
    store::replace_secret(&mut transaction, clinic.id, hash.as_str(), (!overlap.is_zero()).then(|| now + overlap))
        .await?;
    audit::record(
        &mut transaction,
        now,
        actor,
        "clinic.rotate_secret",
        ("clinic", Some(clinic.id.0)),
        json!({"overlap_seconds": overlap.as_secs()}),
    )
    .await?;
    transaction.commit().await?;
    Ok(IssuedClinic { id: clinic.id, name: clinic.name, client_id: clinic.client_id, client_secret, site: clinic.site })
}

/// Suspends a clinic. Its tokens become invalid on every replica within seconds.
pub async fn suspend(pool: &PgPool, now: OffsetDateTime, actor: &str, which: &str) -> Result<Clinic, ClinicError> {
    set_state(pool, now, actor, which, "suspended").await
}

/// Resumes a suspended clinic. Tokens issued before stay invalid.
pub async fn resume(pool: &PgPool, now: OffsetDateTime, actor: &str, which: &str) -> Result<Clinic, ClinicError> {
    set_state(pool, now, actor, which, "active").await
}

async fn set_state(
    pool: &PgPool,
    now: OffsetDateTime,
    actor: &str,
    which: &str,
    state: &str,
) -> Result<Clinic, ClinicError> {
    let clinic = find(pool, which).await?;
    let mut transaction = pool.begin().await?;
    store::set_state(&mut transaction, clinic.id, state).await?;
    let action = if state == "suspended" { "clinic.suspend" } else { "clinic.resume" };
    audit::record(&mut transaction, now, actor, action, ("clinic", Some(clinic.id.0)), json!({})).await?;
    transaction.commit().await?;
    find(pool, which).await
}

/// Hashes a secret on a thread of its own, because this takes 20 ms of a core.
async fn hash(secret: Plain) -> Result<Hashed, SecretError> {
    tokio::task::spawn_blocking(move || Hashed::of(&secret)).await.map_err(|_| SecretError::Entropy)?
}

//! Clinics (the client ids that ezyVet uses) and sites (the ezyVet databases that deliveries are sent to).
//!
//! A clinic's secret is shown once and stored as a hash. Every change is recorded in the audit and reaches all running
//! processes through `data_version` (see [`cache`]).

pub mod cache;
mod changes;
pub mod mapping;
mod settings;
pub mod sites;
mod store;

use crate::audit;
use crate::config::{ClinicSettings, Overrides};
use crate::db::Page;
use crate::ids::ClinicId;
use crate::secret::{Hashed, Plain, SecretError, random_text};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::types::Json;
use sqlx::{PgConnection, PgExecutor};
use std::time::Duration;
use time::OffsetDateTime;

pub use changes::{Changes, InvalidField, InvalidFields, Stale, Target};
pub use settings::set;
pub use store::ClinicRow;

/// Why a command about a clinic failed.
#[derive(Debug, thiserror::Error)]
pub enum ClinicError {
    #[error("no clinic has the id, client id or name `{0}`; `spsi clinic list` shows all clinics")]
    NoClinic(String),
    #[error("a clinic has the name `{0}` already; choose another")]
    NameTaken(String),
    #[error("another clinic has the client id `{0}`; choose another")]
    ClientIdTaken(String),
    #[error(transparent)]
    Invalid(#[from] InvalidFields),
    #[error(transparent)]
    Stale(#[from] Stale),
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

/// A clinic to add.
#[derive(Debug, Deserialize, utoipa::ToSchema, validator::Validate)]
#[serde(deny_unknown_fields)]
#[schema(as = NewClinic)]
pub struct ClinicDraft {
    #[schema(example = "Harbour Vets")]
    pub name: String,
    /// Id or name of the site that receives its invoices.
    pub site: Option<String>,
    /// The client id that ezyVet sends. Absent: a new random one.
    pub client_id: Option<String>,
}

/// A clinic with its secret, which is shown once.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct IssuedClinic {
    #[schema(value_type = i64)]
    pub id: ClinicId,
    pub name: String,
    pub client_id: String,
    #[serde(serialize_with = "Plain::serialize_exposed")]
    #[schema(value_type = String)]
    pub client_secret: Plain,
    pub site: Option<String>,
}

/// A clinic, as staff see it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Clinic {
    #[schema(value_type = i64)]
    pub id: ClinicId,
    pub name: String,
    pub client_id: String,
    /// `active` or `suspended`.
    pub state: String,
    /// Name of the site that receives its invoices.
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
    #[schema(value_type = Option<String>)]
    pub tax_rate: Option<Decimal>,
    /// The clinic's tax code and rate replace those of the product.
    pub tax_overrides_product: bool,
    /// Until when the secret before the last rotation is accepted.
    #[serde(with = "time::serde::rfc3339::option")]
    pub previous_secret_until: Option<OffsetDateTime>,
    /// Overrides of the deployment's settings.
    #[schema(value_type = Overrides)]
    pub settings: Json<Overrides>,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// Changes with every change of the clinic.
    #[serde(skip)]
    pub version: String,
}

/// The state of a clinic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClinicState {
    Active,
    Suspended,
}

impl ClinicState {
    fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
        }
    }
}

/// Selects clinics. An empty filter selects all.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// Only clinics in this state
    pub state: Option<ClinicState>,
    /// Only clinics of this site: its id or name
    pub site: Option<String>,
}

/// A clinic with all its effective settings.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ClinicInFull {
    #[serde(flatten)]
    pub clinic: Clinic,
    /// The deployment's settings with the clinic's overrides.
    pub settings_in_force: Overrides,
}

/// Adds a clinic and issues its credentials, in the caller's transaction.
pub async fn add(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    actor: &str,
    draft: ClinicDraft,
) -> Result<IssuedClinic, ClinicError> {
    let (mut invalid, mut name) = (InvalidFields::default(), String::new());
    invalid.set("name", settings::check_name(&draft.name), &mut name);
    let client_id = match draft.client_id {
        Some(id) => {
            invalid.set("client_id", settings::check_client_id(&id), &mut ());
            id
        }
        None => format!("clinic-{}", random_text::<16>()?),
    };
    let site = match draft.site.as_deref() {
        Some(site) => {
            let found = store::find_site(connection, site).await?;
            if found.is_none() {
                invalid.push("site", settings::no_site(site));
            }
            found
        }
        None => None,
    };
    invalid.finish()?;
    let client_secret = Plain::generate()?;
    let hash = hash(client_secret.clone()).await?;
    let id = store::insert(connection, now, &name, site.as_ref().map(|(id, _)| *id), &client_id, hash.as_str())
        .await
        .map_err(|error| match error.as_database_error().and_then(|error| error.constraint()) {
        Some("clinic_name_key") => ClinicError::NameTaken(name.clone()),
        Some("clinic_client_id_key") => ClinicError::ClientIdTaken(client_id.clone()),
        _ => error.into(),
    })?;
    let detail = json!({"name": name, "client_id": client_id});
    audit::record(connection, now, actor, "clinic.add", ("clinic", Some(id.0)), detail).await?;
    Ok(IssuedClinic { id, name, client_id, client_secret, site: site.map(|(_, name)| name) })
}

/// Returns the clinics that pass the filter, newest first.
pub async fn list(executor: impl PgExecutor<'_>, filter: &Filter, page: Page) -> Result<Vec<Clinic>, ClinicError> {
    Ok(store::list(executor, None, filter, page).await?)
}

/// Returns a clinic by id, client id or name, with all its effective settings.
pub async fn show(
    executor: impl PgExecutor<'_>,
    defaults: &ClinicSettings,
    which: &str,
) -> Result<ClinicInFull, ClinicError> {
    let clinic = find(executor, which).await?;
    let in_force = defaults.overridden(&clinic.settings.0);
    let settings_in_force = in_force.entries().into_iter().map(|(key, _, value)| (key.to_owned(), value)).collect();
    Ok(ClinicInFull { clinic, settings_in_force })
}

/// Returns a clinic by id, client id or name; by id if one clinic's name is another's id.
pub async fn find(executor: impl PgExecutor<'_>, which: &str) -> Result<Clinic, ClinicError> {
    let unknown = || ClinicError::NoClinic(which.to_owned());
    if which.contains('\0') {
        return Err(unknown());
    }
    let id = Target::id(which);
    let found = store::list(executor, Some((id, which)), &Filter::default(), Page::default()).await?;
    let by_text = |clinic: &Clinic| (Some(clinic.id.0) == id, clinic.client_id == which);
    found.into_iter().max_by_key(by_text).ok_or_else(unknown)
}

/// Finds and locks a clinic. Fails if it is not at the expected version.
async fn lock(connection: &mut PgConnection, target: Target<'_>) -> Result<ClinicRow, ClinicError> {
    let id = find(&mut *connection, target.which).await?.id;
    target.check(&store::lock(connection, id).await?)?;
    Ok(store::find(connection, id).await?)
}

/// Issues a new secret, in the caller's transaction. The old one is accepted for `overlap`. Tokens issued before become
/// invalid on every replica within seconds.
pub async fn rotate_secret(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    actor: &str,
    target: Target<'_>,
    overlap: Duration,
) -> Result<IssuedClinic, ClinicError> {
    let until = time::Duration::try_from(overlap).ok().and_then(|overlap| now.checked_add(overlap));
    let until = until.ok_or_else(|| InvalidFields::one("overlap", "the overlap ends after the year 9999"))?;
    let client_secret = Plain::generate()?;
    let hash = hash(client_secret.clone()).await?;
    let clinic = lock(connection, target).await?;
    store::replace_secret(connection, clinic.id, hash.as_str(), (until > now).then_some(until)).await?;
    let detail = json!({"overlap_seconds": overlap.as_secs()});
    audit::record(connection, now, actor, "clinic.rotate_secret", ("clinic", Some(clinic.id.0)), detail).await?;
    let site = find(connection, &clinic.id.to_string()).await?.site;
    Ok(IssuedClinic { id: clinic.id, name: clinic.name, client_id: clinic.client_id, client_secret, site })
}

/// Suspends or resumes a clinic, in the caller's transaction; does nothing if it is in the state already. Tokens issued before
/// become invalid on every replica within seconds, and stay invalid.
pub async fn set_state(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    actor: &str,
    target: Target<'_>,
    state: ClinicState,
) -> Result<Clinic, ClinicError> {
    let clinic = lock(connection, target).await?;
    if clinic.is_active != (state == ClinicState::Active) {
        store::set_state(connection, clinic.id, state).await?;
        let action = if clinic.is_active { "clinic.suspend" } else { "clinic.resume" };
        audit::record(connection, now, actor, action, ("clinic", Some(clinic.id.0)), json!({})).await?;
    }
    find(connection, &clinic.id.to_string()).await
}

/// Hashes a secret on a thread of its own, because this takes 20 ms of a core.
async fn hash(secret: Plain) -> Result<Hashed, SecretError> {
    tokio::task::spawn_blocking(move || Hashed::of(&secret)).await.map_err(|_| SecretError::Entropy)?
}

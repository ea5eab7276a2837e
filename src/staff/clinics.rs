//! `/clinics`: clinics, their credentials and settings.

use super::body::{Exact, Nothing, duration};
use super::page::{List, PageParams};
use super::patch::patch;
use super::problem::{FieldError, Kind, Problem, Result};
use super::query::{Id, Read};
use super::write::{Answer, IfMatch, Write};
use crate::clinics::{
    self, Clinic, ClinicDraft, ClinicError, ClinicInFull, ClinicState, Filter, InvalidFields, IssuedClinic,
};
use serde::Deserialize;
use serde_json::Value;
use sqlx::PgConnection;
use std::collections::BTreeMap;
use utoipa::ToSchema;
use validator::Validate;

impl From<InvalidFields> for Problem {
    fn from(invalid: InvalidFields) -> Self {
        let errors = invalid.as_slice().iter();
        Self::invalid(errors.map(|invalid| FieldError::new(&invalid.field, &invalid.message)).collect())
    }
}

impl From<ClinicError> for Problem {
    fn from(error: ClinicError) -> Self {
        match error {
            ClinicError::NoClinic(which) => Self::not_found("clinic", which),
            ClinicError::NameTaken(name) => {
                Self::field(Kind::Conflict, "name", format!("a clinic has the name `{name}` already"))
            }
            ClinicError::ClientIdTaken(id) => {
                Self::field(Kind::Conflict, "client_id", format!("another clinic has the client id `{id}`"))
            }
            ClinicError::Invalid(invalid) => invalid.into(),
            ClinicError::Stale(_) => Self::stale(),
            ClinicError::Secret(error) => error.into(),
            ClinicError::Database(error) => error.into(),
        }
    }
}

patch! {
    /// Fields of a clinic to change. An absent field stays as it is; null restores the default.
    ClinicPatch {
        name: String,
        /// Id or name of the site that receives its invoices. Null: none.
        site: String,
        /// Name of the price list; a new name makes an empty list. Null: none.
        price_list: String,
        hidden_categories: Vec<String>,
        hidden_products: Vec<String>,
        /// If not empty, the clinic sees only these categories.
        only_categories: Vec<String>,
        /// If not empty, the clinic sees only these products.
        only_products: Vec<String>,
        restricted_licence: bool,
        on_hold: bool,
        /// Tax code of invoice lines whose product has none. Null: the site's.
        tax_code: String,
        /// Tax rate in percent of invoice lines whose product has none. Null: from the order.
        tax_rate: Exact,
        tax_overrides_product: bool,
        /// Overrides of the deployment's settings, as `settings_in_force` names them. Null removes an override.
        settings: BTreeMap<String, Value>,
    } with {}
}

/// How a secret is replaced.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// How long the old secret stays valid beside the new one, such as `1d`. Absent: not at all for a clinic,
    /// SPSI_WEBHOOK_SECRET_OVERLAP for a webhook.
    #[schema(example = "24h")]
    pub(super) overlap: Option<String>,
}

/// List clinics
///
/// Newest first.
#[utoipa::path(get, path = "/clinics", tag = "clinics", params(Filter, PageParams),
    responses((status = 200, description = "A page of clinics", body = List<Clinic>)))]
pub async fn list_clinics(read: Read<Filter, PageParams>) -> Result<Answer> {
    let clinics = clinics::list(&read.staff.pool, &read.params, read.page.before()?).await?;
    read.page.answer(clinics, |clinic| clinic.id.0)
}

/// Show a clinic
///
/// With its overrides and the settings in force. `id`: the id, the client id or the name. `ETag` has the version for
/// `If-Match`.
#[utoipa::path(get, path = "/clinics/{id}", tag = "clinics", params(("id" = String, Path)),
    responses((status = 200, description = "The clinic", body = ClinicInFull)))]
pub async fn show_clinic(read: Read, id: Id) -> Result<Answer> {
    let clinic = clinics::show(&read.staff.pool, &read.staff.settings.clinic, &id).await?;
    Answer::versioned(&clinic, &clinic.clinic.version)
}

/// Add a clinic
///
/// The answer shows the client secret, once: it is stored as a hash. Enter client id and secret in ezyVet.
#[utoipa::path(post, path = "/clinics", tag = "clinics", request_body = ClinicDraft,
    responses((status = 201, description = "The clinic with its credentials", body = IssuedClinic)))]
pub async fn add_clinic(connection: &mut PgConnection, write: Write<ClinicDraft>) -> Result<Answer> {
    let issued = clinics::add(connection, write.now, &write.actor, write.content).await?;
    Answer::created(&format!("/clinics/{}", issued.id), &issued)
}

/// Change a clinic
///
/// Changes nothing if one field is invalid. Every replica applies the change within seconds.
#[utoipa::path(patch, path = "/clinics/{id}", tag = "clinics", params(("id" = String, Path), IfMatch), request_body = ClinicPatch,
    responses((status = 200, description = "The clinic", body = ClinicInFull)))]
pub async fn change_clinic(connection: &mut PgConnection, write: Write<ClinicPatch>, id: Id) -> Result<Answer> {
    let (changes, defaults) = (write.content.changes(), &write.staff.settings.clinic);
    let clinic = clinics::set(connection, write.now, &write.actor, defaults, write.target(&id), changes).await?;
    Answer::versioned(&clinic, &clinic.clinic.version)
}

/// Replace the secret of a clinic
///
/// The answer shows the new secret, once. Access tokens of the clinic become invalid on every replica within seconds.
#[utoipa::path(post, path = "/clinics/{id}/rotate-secret", tag = "clinics", params(("id" = String, Path), IfMatch),
    request_body = Rotation, responses((status = 200, description = "The new credentials", body = IssuedClinic)))]
pub async fn rotate_clinic_secret(connection: &mut PgConnection, write: Write<Rotation>, id: Id) -> Result<Answer> {
    let overlap = duration("overlap", write.content.overlap.as_deref())?.unwrap_or_default();
    Answer::ok(&clinics::rotate_secret(connection, write.now, &write.actor, write.target(&id), overlap).await?)
}

/// Suspend a clinic
///
/// Its requests are refused, and its access tokens become invalid on every replica within seconds.
#[utoipa::path(post, path = "/clinics/{id}/suspend", tag = "clinics", params(("id" = String, Path), IfMatch),
    request_body = Nothing, responses((status = 200, description = "The suspended clinic", body = Clinic)))]
pub async fn suspend_clinic(connection: &mut PgConnection, write: Write, id: Id) -> Result<Answer> {
    set_state(connection, &write, &id, ClinicState::Suspended).await
}

/// Resume a suspended clinic
///
/// Access tokens from before the suspension stay invalid.
#[utoipa::path(post, path = "/clinics/{id}/resume", tag = "clinics", params(("id" = String, Path), IfMatch),
    request_body = Nothing, responses((status = 200, description = "The active clinic", body = Clinic)))]
pub async fn resume_clinic(connection: &mut PgConnection, write: Write, id: Id) -> Result<Answer> {
    set_state(connection, &write, &id, ClinicState::Active).await
}

async fn set_state(connection: &mut PgConnection, write: &Write, id: &str, state: ClinicState) -> Result<Answer> {
    let clinic = clinics::set_state(connection, write.now, &write.actor, write.target(id), state).await?;
    Answer::versioned(&clinic, &clinic.version)
}

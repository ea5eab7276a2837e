//! `/clinics`: clinics, their credentials and settings.

use super::body::{Exact, Nothing};
use super::page::{List, PageParams};
use super::patch::patch;
use super::problem::{FieldError, Kind, Problem};
use super::query::Read;
use super::write::{Answer, IfMatch, Json, Write};
use crate::clinics::{
    self, Clinic, ClinicDraft, ClinicError, ClinicInFull, Filter, InvalidFields, IssuedClinic, Target,
};
use crate::config::Span;
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};
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
            ClinicError::Secret(error) => {
                tracing::error!(%error, "the secret of a clinic cannot be issued");
                Self::internal()
            }
            ClinicError::Database(error) => error.into(),
        }
    }
}

/// The state of a clinic.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClinicState {
    Active,
    Suspended,
}

impl ClinicState {
    fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
        }
    }
}

/// Selects clinics.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ClinicParams {
    /// Only clinics in this state
    state: Option<ClinicState>,
    /// Only clinics of this site: its id or name
    site: Option<String>,
}

/// A clinic to add.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct NewClinic {
    #[schema(example = "Harbour Vets")]
    name: String,
    /// Id or name of the site that receives its invoices.
    site: Option<String>,
    /// The client id that ezyVet sends. Absent: a new random one.
    client_id: Option<String>,
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
    /// How long the old secret stays valid, such as `1d`. Absent: not at all.
    #[schema(example = "1d")]
    overlap: Option<String>,
}

/// List clinics
///
/// Newest first.
#[utoipa::path(get, path = "/clinics", tag = "clinics", params(ClinicParams, PageParams),
    responses((status = 200, description = "A page of clinics", body = List<Clinic>)))]
pub async fn list_clinics(read: Read<ClinicParams, PageParams>) -> Result<HttpResponse, Problem> {
    let filter = Filter { state: read.params.state.map(|state| state.name().to_owned()), site: read.params.site };
    let page = read.page.page(&read.staff.settings)?;
    let clinics = clinics::list(&read.staff.pool, &filter, page).await?;
    read.page.respond(&read.staff.settings, clinics, |clinic| clinic.id.0)
}

/// Show a clinic
///
/// With its overrides and the settings in force. `id`: the id, the client id or the name. `ETag` has the version for
/// `If-Match`.
#[utoipa::path(get, path = "/clinics/{id}", tag = "clinics", params(("id" = String, Path)),
    responses((status = 200, description = "The clinic", body = ClinicInFull)))]
pub async fn show_clinic(read: Read, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    let clinic = clinics::show(&read.staff.pool, &read.staff.settings.clinic, &id).await?;
    Ok(Answer::ok(&clinic)?.with_version(&clinic.clinic.version).into_response())
}

/// Add a clinic
///
/// The answer shows the client secret, once: it is stored as a hash. Enter client id and secret in ezyVet.
#[utoipa::path(post, path = "/clinics", tag = "clinics", request_body = NewClinic,
    responses((status = 201, description = "The clinic with its credentials", body = IssuedClinic)))]
pub async fn add_clinic(write: Write<Json<NewClinic>>) -> Result<HttpResponse, Problem> {
    write
        .run(async |connection, write| {
            let Json(NewClinic { name, site, client_id }) = write.content;
            let draft = ClinicDraft { name, site, client_id };
            let issued = clinics::add(connection, write.now, &write.caller.actor(), draft).await?;
            Answer::created(&format!("/clinics/{}", issued.id), &issued)
        })
        .await
}

/// Change a clinic
///
/// Changes nothing if one field is invalid. Every replica applies the change within seconds.
#[utoipa::path(patch, path = "/clinics/{id}", tag = "clinics", params(("id" = String, Path), IfMatch), request_body = ClinicPatch,
    responses((status = 200, description = "The clinic", body = ClinicInFull)))]
pub async fn change_clinic(write: Write<Json<ClinicPatch>>, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    write
        .run(async |connection, write| {
            let target = Target { which: &id, expected_version: write.if_match.as_deref() };
            let (actor, defaults, Json(patch)) = (write.caller.actor(), &write.staff.settings.clinic, write.content);
            let clinic = clinics::set(connection, write.now, &actor, defaults, target, patch.changes()).await?;
            Ok(Answer::ok(&clinic)?.with_version(&clinic.clinic.version))
        })
        .await
}

/// Replace the secret of a clinic
///
/// The answer shows the new secret, once. Access tokens of the clinic become invalid on every replica within seconds.
#[utoipa::path(post, path = "/clinics/{id}/rotate-secret", tag = "clinics", params(("id" = String, Path), IfMatch),
    request_body = Rotation, responses((status = 200, description = "The new credentials", body = IssuedClinic)))]
pub async fn rotate_clinic_secret(
    write: Write<Json<Rotation>>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    write
        .run(async |connection, write| {
            let overlap = write.content.0.overlap.as_deref().unwrap_or("0s").parse::<Span>();
            let overlap = overlap.map_err(|error| Problem::field(Kind::Invalid, "overlap", error.to_string()))?;
            let target = Target { which: &id, expected_version: write.if_match.as_deref() };
            let actor = write.caller.actor();
            Answer::ok(&clinics::rotate_secret(connection, write.now, &actor, target, overlap.0).await?)
        })
        .await
}

/// Suspend a clinic
///
/// Its requests are refused, and its access tokens become invalid on every replica within seconds.
#[utoipa::path(post, path = "/clinics/{id}/suspend", tag = "clinics", params(("id" = String, Path), IfMatch),
    request_body = Nothing, responses((status = 200, description = "The suspended clinic", body = Clinic)))]
pub async fn suspend_clinic(write: Write<Json<Nothing>>, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    write
        .run(async |connection, write| {
            let target = Target { which: &id, expected_version: write.if_match.as_deref() };
            let clinic = clinics::suspend(connection, write.now, &write.caller.actor(), target).await?;
            Ok(Answer::ok(&clinic)?.with_version(&clinic.version))
        })
        .await
}

/// Resume a suspended clinic
///
/// Access tokens from before the suspension stay invalid.
#[utoipa::path(post, path = "/clinics/{id}/resume", tag = "clinics", params(("id" = String, Path), IfMatch),
    request_body = Nothing, responses((status = 200, description = "The active clinic", body = Clinic)))]
pub async fn resume_clinic(write: Write<Json<Nothing>>, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    write
        .run(async |connection, write| {
            let target = Target { which: &id, expected_version: write.if_match.as_deref() };
            let clinic = clinics::resume(connection, write.now, &write.caller.actor(), target).await?;
            Ok(Answer::ok(&clinic)?.with_version(&clinic.version))
        })
        .await
}

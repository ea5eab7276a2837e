//! `/sites`: the ezyVet sites that receive invoices and stock movements. Credentials are written and never shown.
//!
//! Operations that call ezyVet take the lease of the site and hold no transaction during the calls.

use super::Staff;
use super::body::Nothing;
use super::page::{List, PageParams, by_number};
use super::patch::patch;
use super::problem::{Kind, Problem, Result};
use super::query::{Id, NoParams, Read};
use super::write::{Answer, IfMatch, Write};
use crate::clinics::Changes;
use crate::clinics::sites::{self, Filter, NewSite, Site, SiteChange, SiteError};
use crate::delivery::Worker;
use crate::delivery::staff::{self as deliveries, SiteCheck, StaffError, Unmapped};
use crate::ezyvet::Preset;
use crate::ezyvet::answers::Separation;
use crate::secret::Plain;
use actix_web::web::Path;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::PgConnection;
use std::collections::BTreeMap;
use time::OffsetDateTime;
use utoipa::ToSchema;
use validator::Validate;

impl From<SiteError> for Problem {
    fn from(error: SiteError) -> Self {
        match error {
            SiteError::Unknown(which) => Self::not_found("site", which),
            SiteError::NameTaken(name) => {
                Self::field(Kind::Conflict, "name", format!("a site has the name `{name}` already"))
            }
            SiteError::CredentialsTaken => Self::field(Kind::Conflict, "client_id", error.to_string()),
            SiteError::Invalid(invalid) => invalid.into(),
            SiteError::Stale(_) => Self::stale(),
            SiteError::Secret(error) => error.into(),
            SiteError::Database(error) => error.into(),
        }
    }
}

/// A site to add.
#[derive(Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct SiteBody {
    #[schema(example = "harbour")]
    name: String,
    /// One of ezyVet's hosts with its token path: `apiv2`, `api`, `trial-apiv2` or `trial-api`. Give this or `base_url`.
    #[schema(example = "apiv2")]
    preset: Option<String>,
    base_url: Option<String>,
    /// Permits an unencrypted base URL (`http://`) on another host.
    #[serde(default)]
    allow_http: bool,
    /// Path of the token endpoint. Absent: that of the preset, or `/oauth/token`.
    token_path: Option<String>,
    /// The partner id that ezyVet has given you.
    partner_id: String,
    /// The client id that ezyVet has given you for this site.
    client_id: String,
    #[schema(value_type = String, format = Password, write_only)]
    client_secret: Plain,
    /// ezyVet's uid of the site.
    site_uid: String,
    /// Overrides of the deployment's settings.
    #[serde(default)]
    settings: BTreeMap<String, Value>,
}

impl SiteBody {
    fn into_new(self) -> NewSite {
        let mut settings = Changes::default();
        super::patch::add(&mut settings, "settings", Some(&Some(self.settings)));
        let preset = self.preset.map(|name| name.parse::<Preset>()).transpose();
        let preset = preset.unwrap_or_else(|message| {
            settings.invalid.push("preset", message);
            None
        });
        let base_url = match (self.base_url, preset) {
            (Some(_), Some(_)) => {
                settings.invalid.push("preset", "give `preset` or `base_url`, not both");
                None
            }
            (Some(url), None) => Some(url),
            (None, preset) => preset.map(|preset| preset.base_url.to_owned()),
        };
        let token_path = preset.unwrap_or_default().token_path;
        NewSite {
            name: self.name,
            base_url: base_url.unwrap_or_default(),
            allow_http: self.allow_http,
            token_path: self.token_path.unwrap_or_else(|| token_path.to_owned()),
            partner_id: self.partner_id,
            client_id: self.client_id,
            client_secret: self.client_secret,
            site_uid: self.site_uid,
            settings,
        }
    }
}

patch! {
    /// Fields of a site to change. An absent field stays as it is. New credentials discard the stored access token.
    SitePatch {
        name: String,
        /// `active`, or `paused` (nothing is sent).
        state: String,
        base_url: String,
        token_path: String,
        partner_id: String,
        client_id: String,
        site_uid: String,
        /// Overrides of the deployment's settings. Null removes an override.
        settings: BTreeMap<String, Value>,
    } with {
        #[schema(value_type = Option<String>, format = Password, write_only)]
        client_secret: Option<Plain>,
        /// Permits an unencrypted base URL (`http://`) on another host.
        allow_http: bool,
    }
}

/// The separations of a site.
#[derive(Debug, Serialize, ToSchema)]
pub struct Separations {
    data: Vec<Separation>,
    next_cursor: Option<String>,
    /// When they were read from ezyVet. Null: never.
    #[serde(with = "time::serde::rfc3339::option")]
    read_at: Option<OffsetDateTime>,
}

/// The inventory product of a product.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// Uid of the inventory product in ezyVet.
    #[schema(min_length = 1, max_length = 200, example = "product_8f2c")]
    uid: String,
}

/// A pinned product.
#[derive(Debug, Serialize, ToSchema)]
pub struct Pinned {
    /// The site's id.
    id: i64,
    /// ezyVet's id of the product, as on the order.
    product_id: String,
    uid: String,
}

/// Runs calls to ezyVet to their end, also if the client disconnects: otherwise the lease would stay with this process.
async fn with_worker<T: Send + 'static>(
    staff: &Staff,
    calls: impl AsyncFnOnce(Worker) -> Result<T, StaffError> + Send + 'static,
) -> Result<T> {
    let keys = staff.encryption_keys()?.clone();
    let worker = Worker::new(staff.pool.clone(), keys, staff.clock.clone(), &staff.settings)
        .map_err(|error| Problem::fault(error, "the client of ezyVet cannot be made"))?;
    let finished = actix_web::rt::spawn(async move { calls(worker).await }).await;
    Ok(finished.map_err(|error| Problem::fault(error, "a call to ezyVet failed"))??)
}

async fn change(
    connection: &mut PgConnection,
    write: &Write<impl Sized>,
    which: &str,
    change: SiteChange,
) -> Result<Answer> {
    let (keys, defaults) = (write.staff.encryption_keys()?, &write.staff.settings.site);
    let target = write.target(which);
    let site = sites::change(connection, keys, defaults, write.now, &write.actor, target, change).await?;
    Answer::versioned(&site, &site.version)
}

/// List sites
///
/// Newest first, with the state of their deliveries.
#[utoipa::path(get, path = "/sites", tag = "sites", params(Filter, PageParams),
    responses((status = 200, description = "A page of sites", body = List<Site>)))]
pub async fn list_sites(read: Read<Filter, PageParams>) -> Result<Answer> {
    let sites = sites::list(&read.staff.pool, &read.params, read.page.before()?).await?;
    read.page.answer(sites, |site| site.id.0)
}

/// Show a site
///
/// `id`: the id or the name. The client secret is not shown. `ETag` has the version for `If-Match`.
#[utoipa::path(get, path = "/sites/{id}", tag = "sites", params(("id" = String, Path)),
    responses((status = 200, description = "The site", body = Site)))]
pub async fn show_site(read: Read, id: Id) -> Result<Answer> {
    let site = sites::find(&read.staff.pool, &id).await?;
    Answer::versioned(&site, &site.version)
}

/// Add a site
///
/// The credentials are encrypted and never shown.
#[utoipa::path(post, path = "/sites", tag = "sites", request_body = SiteBody,
    responses((status = 201, description = "The new site", body = Site)))]
pub async fn add_site(connection: &mut PgConnection, write: Write<SiteBody>) -> Result<Answer> {
    let (keys, defaults) = (write.staff.encryption_keys()?, &write.staff.settings.site);
    let new = write.content.into_new();
    let site = sites::add(connection, keys, defaults, write.now, &write.actor, new).await?;
    Ok(Answer::created(&format!("/sites/{}", site.id), &site)?.with_version(&site.version))
}

/// Change a site
///
/// Changes nothing if one field is invalid. Deliveries that waited for the site are tried at once.
#[utoipa::path(patch, path = "/sites/{id}", tag = "sites", params(("id" = String, Path), IfMatch), request_body = SitePatch,
    responses((status = 200, description = "The site", body = Site)))]
pub async fn change_site(connection: &mut PgConnection, write: Write<SitePatch>, id: Id) -> Result<Answer> {
    let patch = &write.content;
    let (changes, client_secret) = (patch.changes(), patch.client_secret.clone());
    let new = SiteChange { changes, client_secret, allow_http: patch.allow_http };
    change(connection, &write, &id, new).await
}

/// Pause a site
///
/// Nothing more is sent to it. Deliveries wait.
#[utoipa::path(post, path = "/sites/{id}/pause", tag = "sites", params(("id" = String, Path), IfMatch), request_body = Nothing,
    responses((status = 200, description = "The paused site", body = Site)))]
pub async fn pause_site(connection: &mut PgConnection, write: Write, id: Id) -> Result<Answer> {
    change(connection, &write, &id, state_change("paused")).await
}

/// Resume a paused site
#[utoipa::path(post, path = "/sites/{id}/resume", tag = "sites", params(("id" = String, Path), IfMatch), request_body = Nothing,
    responses((status = 200, description = "The active site", body = Site)))]
pub async fn resume_site(connection: &mut PgConnection, write: Write, id: Id) -> Result<Answer> {
    change(connection, &write, &id, state_change("active")).await
}

fn state_change(state: &str) -> SiteChange {
    let changes = Changes { values: vec![("state".to_owned(), state.into())], ..Changes::default() };
    SiteChange { changes, ..SiteChange::default() }
}

/// Test a site
///
/// Calls ezyVet with the stored credentials: token, separations, inventory. A failed check is part of the answer, with
/// ezyVet's own words. 409 if the delivery worker does not release the site in time.
#[utoipa::path(post, path = "/sites/{id}/test", tag = "sites", params(("id" = String, Path)), request_body = Nothing,
    responses((status = 200, description = "The result of each check", body = SiteCheck)))]
pub async fn test_site(write: Write, id: Id) -> Result<Answer> {
    let site = sites::find(&write.staff.pool, &id).await?.id;
    let check = with_worker(&write.staff, async move |worker| worker.test_site(site).await).await?;
    write.run(async |_, _| Answer::ok(&check)).await
}

/// List the stored separations of a site
///
/// Businesses, divisions and stock locations, as they were last read from ezyVet, by id.
#[utoipa::path(get, path = "/sites/{id}/separations", tag = "sites", params(("id" = String, Path), PageParams),
    responses((status = 200, description = "The stored separations", body = Separations)))]
pub async fn list_separations(read: Read<NoParams, PageParams>, id: Id) -> Result<Answer> {
    let site = sites::find(&read.staff.pool, &id).await?.id;
    let stored = deliveries::stored_separations(&read.staff.pool, site).await?;
    let position = |separation: &Separation| by_number(&separation.id);
    let List { data, next_cursor } = read.page.split(stored.separations, position)?;
    Answer::ok(&Separations { data, next_cursor, read_at: stored.read_at })
}

/// Read the separations of a site from ezyVet
///
/// Replaces the stored ones. 409 if the delivery worker does not release the site in time, 502 with ezyVet's own words if
/// the call fails.
#[utoipa::path(post, path = "/sites/{id}/separations", tag = "sites", params(("id" = String, Path)), request_body = Nothing,
    responses((status = 200, description = "The separations", body = Separations),
              (status = 502, description = "The call to ezyVet failed")))]
pub async fn read_separations(write: Write, id: Id) -> Result<Answer> {
    let site = sites::find(&write.staff.pool, &id).await?.id;
    let data = with_worker(&write.staff, async move |worker| worker.separations(site).await).await?;
    let separations = Separations { data, next_cursor: None, read_at: Some(write.now) };
    write.run(async |_, _| Answer::ok(&separations)).await
}

/// List ordered products without an inventory product
///
/// By id, with likely inventory products for each. `PUT /sites/{id}/products/{product_id}` assigns one.
#[utoipa::path(get, path = "/sites/{id}/unmapped", tag = "sites", params(("id" = String, Path), PageParams),
    responses((status = 200, description = "The products", body = List<Unmapped>)))]
pub async fn list_unmapped(read: Read<NoParams, PageParams>, id: Id) -> Result<Answer> {
    let site = sites::find(&read.staff.pool, &id).await?.id;
    let data = deliveries::unmapped(&read.staff.pool, site).await?;
    Answer::ok(&read.page.split(data, |row| by_number(&row.id))?)
}

/// Assign an inventory product to a product
///
/// For a product whose code matches none in the inventory, or several. Deliveries that waited for it continue. `product_id`:
/// ezyVet's id of the product, as on the order.
#[utoipa::path(put, path = "/sites/{id}/products/{product_id}", tag = "sites",
    params(("id" = String, Path), ("product_id" = String, Path)), request_body = Pin,
    responses((status = 200, description = "The assignment", body = Pinned)))]
pub async fn pin_product(
    connection: &mut PgConnection,
    write: Write<Pin>,
    path: Path<(String, String)>,
) -> Result<Answer> {
    let ((which, product_id), Pin { uid }) = (path.into_inner(), write.content);
    if product_id.contains('\0') {
        return Err(Problem::not_found("product", "with the character NUL"));
    }
    if uid.trim().is_empty() || uid.chars().any(char::is_control) {
        return Err(Problem::field(Kind::Invalid, "uid", "must be a uid without control characters"));
    }
    let id = sites::find(&mut *connection, &which).await?.id;
    let pin = deliveries::pin_product(connection, write.now, &write.actor, id, (&product_id, &uid));
    pin.await?;
    Answer::ok(&Pinned { id: id.0, product_id, uid })
}

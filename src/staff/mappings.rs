//! `/clinics/{id}/mappings` and `/sites/{id}/mappings`: the texts of the address ids and account ids that ezyVet sends.

use super::body::Nothing;
use super::page::{List, PageParams, by_number};
use super::problem::{Problem, Result};
use super::query::{Id, NoParams, Read};
use super::write::{Answer, Write};
use crate::clinics;
use crate::clinics::mapping::{self, Kind, Mapping, NewMapping, Owner, SiteMapping};
use crate::clinics::sites;
use actix_web::web::Path;
use serde::Deserialize;
use sqlx::PgConnection;
use utoipa::ToSchema;
use validator::Validate;

/// Mappings to store.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct Mappings {
    #[schema(min_items = 1, max_items = 1000)]
    mappings: Vec<NewMapping>,
}

/// List the mapped and unmapped ids of a clinic
///
/// The ids of delivery addresses and accounts that orders of the clinic name or that are mapped, unmapped ones first.
#[utoipa::path(get, path = "/clinics/{id}/mappings", tag = "clinics", params(("id" = String, Path), PageParams),
    responses((status = 200, description = "The ids", body = List<Mapping>)))]
pub async fn list_clinic_mappings(read: Read<NoParams, PageParams>, id: Id) -> Result<Answer> {
    let data = mapping::list(&mut *read.staff.pool.begin().await?, Some(&id)).await?;
    let position = |row: &Mapping| (row.value.is_some(), row.kind.clone(), by_number(&row.ezyvet_id), row.clinic_id);
    Answer::ok(&read.page.split(data, position)?)
}

/// Map ids of a clinic
///
/// Adds or replaces the mappings of the body and keeps all others. They apply to every clinic of the same site, also to
/// earlier orders.
#[utoipa::path(put, path = "/clinics/{id}/mappings", tag = "clinics", params(("id" = String, Path)), request_body = Mappings,
    responses((status = 200, description = "Every id", body = List<Mapping>)))]
pub async fn map_clinic(connection: &mut PgConnection, write: Write<Mappings>, id: Id) -> Result<Answer> {
    let owner = Owner::Clinic(clinics::find(&mut *connection, &id).await?.id);
    mapping::map(connection, write.now, &write.actor, owner, &write.content.mappings).await?;
    let data = mapping::list(connection, Some(&id)).await?;
    Answer::ok(&List { data, next_cursor: None })
}

/// Delete a mapping of a clinic
///
/// `kind`: `ship_to` or `account`.
#[utoipa::path(delete, path = "/clinics/{id}/mappings/{kind}/{ezyvet_id}", tag = "clinics",
    params(("id" = String, Path), ("kind" = String, Path), ("ezyvet_id" = String, Path)),
    request_body = Nothing, responses((status = 204, description = "The mapping is deleted")))]
pub async fn unmap_clinic(
    connection: &mut PgConnection,
    write: Write,
    path: Path<(String, String, String)>,
) -> Result<Answer> {
    let (id, kind, ezyvet_id) = path.into_inner();
    let owner = Owner::Clinic(clinics::find(&mut *connection, &id).await?.id);
    unmap(connection, &write, owner, &kind, &ezyvet_id).await
}

/// List the mapped and unmapped ids of a site
///
/// The ids of delivery addresses and accounts that orders of its clinics name or that are mapped, unmapped ones first.
#[utoipa::path(get, path = "/sites/{id}/mappings", tag = "sites", params(("id" = String, Path), PageParams),
    responses((status = 200, description = "The ids", body = List<SiteMapping>)))]
pub async fn list_site_mappings(read: Read<NoParams, PageParams>, id: Id) -> Result<Answer> {
    let site = sites::find(&read.staff.pool, &id).await?.id;
    let data = mapping::list_of_site(&read.staff.pool, site).await?;
    let position = |row: &SiteMapping| (row.value.is_some(), row.kind.clone(), by_number(&row.ezyvet_id));
    Answer::ok(&read.page.split(data, position)?)
}

/// Map ids of a site
///
/// Adds or replaces the mappings of the body and keeps all others. They apply to every clinic of the site, also to earlier
/// orders.
#[utoipa::path(put, path = "/sites/{id}/mappings", tag = "sites", params(("id" = String, Path)), request_body = Mappings,
    responses((status = 200, description = "Every id", body = List<SiteMapping>)))]
pub async fn map_site(connection: &mut PgConnection, write: Write<Mappings>, id: Id) -> Result<Answer> {
    let site = sites::find(&mut *connection, &id).await?.id;
    mapping::map(connection, write.now, &write.actor, Owner::Site(site), &write.content.mappings).await?;
    let data = mapping::list_of_site(connection, site).await?;
    Answer::ok(&List { data, next_cursor: None })
}

/// Delete a mapping of a site
///
/// `kind`: `ship_to` or `account`.
#[utoipa::path(delete, path = "/sites/{id}/mappings/{kind}/{ezyvet_id}", tag = "sites",
    params(("id" = String, Path), ("kind" = String, Path), ("ezyvet_id" = String, Path)),
    request_body = Nothing, responses((status = 204, description = "The mapping is deleted")))]
pub async fn unmap_site(
    connection: &mut PgConnection,
    write: Write,
    path: Path<(String, String, String)>,
) -> Result<Answer> {
    let (id, kind, ezyvet_id) = path.into_inner();
    let owner = Owner::Site(sites::find(&mut *connection, &id).await?.id);
    unmap(connection, &write, owner, &kind, &ezyvet_id).await
}

async fn unmap(
    connection: &mut PgConnection,
    write: &Write,
    owner: Owner,
    kind: &str,
    ezyvet_id: &str,
) -> Result<Answer> {
    let kind = Kind::parse(kind).ok_or_else(|| Problem::not_found("kind of mapping", kind))?;
    match mapping::unmap(connection, write.now, &write.actor, owner, (kind, ezyvet_id)).await? {
        true => Ok(Answer::no_content()),
        false => Err(Problem::not_found("mapping", ezyvet_id)),
    }
}

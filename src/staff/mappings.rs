//! `/clinics/{id}/mappings` and `/sites/{id}/mappings`: the texts of the address ids and account ids that ezyVet sends.

use super::body::Nothing;
use super::page::{List, PageParams, by_number};
use super::problem::Problem;
use super::query::{NoParams, Read};
use super::write::{Answer, Json, Write};
use crate::clinics::mapping::{self, Mapping, NewMapping, SiteMapping};
use crate::clinics::sites;
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use utoipa::ToSchema;
use validator::Validate;

/// Mappings to store.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct Mappings {
    #[schema(min_items = 1, max_items = 1000)]
    mappings: Vec<MappingEntry>,
}

/// The text of an id that ezyVet sends.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct MappingEntry {
    kind: mapping::Kind,
    /// The `shipping_address_id` or `ownership_id` of orders.
    #[schema(example = "2")]
    ezyvet_id: String,
    /// The delivery address or the account number. Null or empty: the mapping is deleted.
    #[schema(example = "12 Harbour St, Dunedin")]
    value: Option<String>,
}

impl Mappings {
    /// Returns the mappings for the use case.
    fn into_new(self) -> Vec<NewMapping> {
        let new = |entry: MappingEntry| NewMapping {
            kind: entry.kind,
            ezyvet_id: entry.ezyvet_id,
            value: entry.value.unwrap_or_default(),
        };
        self.mappings.into_iter().map(new).collect()
    }
}

/// Parses the kind of a mapping in a path.
fn kind_of(name: &str) -> Result<mapping::Kind, Problem> {
    mapping::Kind::parse(name).ok_or_else(|| Problem::not_found("kind of mapping", name))
}

/// List the mapped and unmapped ids of a clinic
///
/// The ids of delivery addresses and accounts that orders of the clinic name or that are mapped, unmapped ones first.
#[utoipa::path(get, path = "/clinics/{id}/mappings", tag = "clinics", params(("id" = String, Path), PageParams),
    responses((status = 200, description = "The ids", body = List<Mapping>)))]
pub async fn list_clinic_mappings(
    read: Read<NoParams, PageParams>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let data = mapping::list(&mut *read.staff.pool.acquire().await?, Some(&id)).await?;
    let position = |row: &Mapping| (row.value.is_some(), row.kind.clone(), by_number(&row.ezyvet_id), row.clinic_id);
    Ok(HttpResponse::Ok().json(read.page.split(&read.staff.settings, data, position)?))
}

/// Map ids of a clinic
///
/// Adds or replaces the mappings of the body and keeps all others. They apply to every clinic of the same site, also to
/// earlier orders.
#[utoipa::path(put, path = "/clinics/{id}/mappings", tag = "clinics", params(("id" = String, Path)), request_body = Mappings,
    responses((status = 200, description = "Every id", body = List<Mapping>)))]
pub async fn map_clinic(write: Write<Json<Mappings>>, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    write
        .run(async |connection, write| {
            let (actor, mappings) = (write.caller.actor(), write.content.0.into_new());
            let data = mapping::map(connection, write.now, &actor, &id, &mappings).await?;
            Answer::ok(&List { data, next_cursor: None })
        })
        .await
}

/// Delete a mapping of a clinic
///
/// `kind`: `ship_to` or `account`.
#[utoipa::path(delete, path = "/clinics/{id}/mappings/{kind}/{ezyvet_id}", tag = "clinics",
    params(("id" = String, Path), ("kind" = String, Path), ("ezyvet_id" = String, Path)),
    responses((status = 204, description = "The mapping is deleted")))]
pub async fn unmap_clinic(
    write: Write<Json<Nothing>>,
    path: web::Path<(String, String, String)>,
) -> Result<HttpResponse, Problem> {
    write
        .run(async |connection, write| {
            let (id, kind, ezyvet_id) = path.into_inner();
            let mapping = (kind_of(&kind)?, ezyvet_id.as_str());
            match mapping::unmap(connection, write.now, &write.caller.actor(), &id, mapping).await? {
                true => Ok(Answer::no_content()),
                false => Err(Problem::not_found("mapping", ezyvet_id)),
            }
        })
        .await
}

/// List the mapped and unmapped ids of a site
///
/// The ids of delivery addresses and accounts that orders of its clinics name or that are mapped, unmapped ones first.
#[utoipa::path(get, path = "/sites/{id}/mappings", tag = "sites", params(("id" = String, Path), PageParams),
    responses((status = 200, description = "The ids", body = List<SiteMapping>)))]
pub async fn list_site_mappings(
    read: Read<NoParams, PageParams>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let site = sites::find(&read.staff.pool, &id).await?.id;
    let data = mapping::list_of_site(&read.staff.pool, site).await?;
    let position = |row: &SiteMapping| (row.value.is_some(), row.kind.clone(), by_number(&row.ezyvet_id));
    Ok(HttpResponse::Ok().json(read.page.split(&read.staff.settings, data, position)?))
}

/// Map ids of a site
///
/// Adds or replaces the mappings of the body and keeps all others. They apply to every clinic of the site, also to earlier
/// orders.
#[utoipa::path(put, path = "/sites/{id}/mappings", tag = "sites", params(("id" = String, Path)), request_body = Mappings,
    responses((status = 200, description = "Every id", body = List<SiteMapping>)))]
pub async fn map_site(write: Write<Json<Mappings>>, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    write
        .run(async |connection, write| {
            let site = sites::find(&mut *connection, &id).await?.id;
            let (actor, mappings) = (write.caller.actor(), write.content.0.into_new());
            let data = mapping::map_site(connection, write.now, &actor, site, &mappings).await?;
            Answer::ok(&List { data, next_cursor: None })
        })
        .await
}

/// Delete a mapping of a site
///
/// `kind`: `ship_to` or `account`.
#[utoipa::path(delete, path = "/sites/{id}/mappings/{kind}/{ezyvet_id}", tag = "sites",
    params(("id" = String, Path), ("kind" = String, Path), ("ezyvet_id" = String, Path)),
    responses((status = 204, description = "The mapping is deleted")))]
pub async fn unmap_site(
    write: Write<Json<Nothing>>,
    path: web::Path<(String, String, String)>,
) -> Result<HttpResponse, Problem> {
    write
        .run(async |connection, write| {
            let (which, kind, ezyvet_id) = path.into_inner();
            let mapping = (kind_of(&kind)?, ezyvet_id.as_str());
            let site = sites::find(&mut *connection, &which).await?.id;
            match mapping::unmap_site(connection, write.now, &write.caller.actor(), site, mapping).await? {
                true => Ok(Answer::no_content()),
                false => Err(Problem::not_found("mapping", ezyvet_id)),
            }
        })
        .await
}

//! `/audit`: who did what, when and why.

use super::page::{List, PageParams};
use super::problem::Problem;
use super::query::{Read, text};
use crate::audit::{self, Entry, Filter};
use crate::clock::{parse_since, parse_until};
use actix_web::HttpResponse;
use serde::de::{Deserialize, Deserializer, Error};
use time::OffsetDateTime;
use utoipa::IntoParams;

/// Selects audit entries.
#[derive(Debug, serde::Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditParams {
    /// Only entries about this kind of subject, such as `order`, `clinic` or `site`
    subject_kind: Option<String>,
    /// Only entries about the subject with this id
    #[serde(default, with = "text")]
    subject_id: Option<i64>,
    /// Only entries of this actor, such as `key:erp`
    actor: Option<String>,
    /// Only this action, such as `order.accept`
    action: Option<String>,
    /// Only entries on or after this day or moment: YYYY-MM-DD, or RFC 3339
    #[serde(default, deserialize_with = "since")]
    #[param(value_type = Option<String>)]
    since: Option<OffsetDateTime>,
    /// Only entries on or before this day, or before this moment
    #[serde(default, deserialize_with = "until")]
    #[param(value_type = Option<String>)]
    until: Option<OffsetDateTime>,
}

fn since<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<OffsetDateTime>, D::Error> {
    Option::<String>::deserialize(deserializer)?.map(|text| parse_since(&text).map_err(D::Error::custom)).transpose()
}

fn until<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<OffsetDateTime>, D::Error> {
    Option::<String>::deserialize(deserializer)?.map(|text| parse_until(&text).map_err(D::Error::custom)).transpose()
}

/// List audit entries
///
/// Newest first. The actor of an API key is `key:` and the name of the key.
#[utoipa::path(get, path = "/audit", tag = "audit", params(AuditParams, PageParams),
    responses((status = 200, description = "A page of entries", body = List<Entry>)))]
pub async fn list_audit(read: Read<AuditParams, PageParams>) -> Result<HttpResponse, Problem> {
    let AuditParams { subject_kind, subject_id, actor, action, since, until } = read.params;
    let filter = Filter { subject_kind, subject_id, actor, action, since, until };
    let page = read.page.page(&read.staff.settings)?;
    let entries = audit::list(&read.staff.pool, &filter, page).await?;
    read.page.respond(&read.staff.settings, entries, |entry| entry.id)
}

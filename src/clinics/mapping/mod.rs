//! Maps ezyVet's ids: a `shipping_address_id` to a delivery address, an `ownership_id` to an account number.
//!
//! ezyVet sends ids without texts (SPSI.md 1), so staff enter each text once. A mapping applies to every clinic of the site,
//! because ids are unique within a site; to the clinic alone if the clinic has no site. Mappings are looked up when an order
//! is shown, so a correction applies to earlier orders, too.

mod store;

pub use store::list_of_site;

use super::{ClinicError, InvalidFields, find};
use crate::audit;
use crate::ids::{ClinicId, SiteId};
use serde::Serialize;
use serde_json::json;
use sqlx::PgConnection;
use time::OffsetDateTime;

/// The kind of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// `shipping_address_id`: a delivery address.
    ShipTo,
    /// `ownership_id` of the order: an account number.
    Account,
}

impl Kind {
    /// Returns the kind with this name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::ShipTo, Self::Account].into_iter().find(|kind| kind.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Self::ShipTo => "ship_to",
            Self::Account => "account",
        }
    }
}

/// The text of an id that ezyVet sends.
#[derive(Clone, Debug, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = MappingEntry)]
pub struct NewMapping {
    pub kind: Kind,
    /// The `shipping_address_id` or `ownership_id` of orders.
    #[schema(example = "2")]
    pub ezyvet_id: String,
    /// The delivery address or the account number. Null or empty: the mapping is deleted.
    #[schema(example = "12 Harbour St, Dunedin")]
    pub value: Option<String>,
}

/// Whose ids are mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Those of the clinic's site; the clinic's own if it has no site.
    Clinic(ClinicId),
    Site(SiteId),
}

/// An id of a clinic, mapped or not, as staff see it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Mapping {
    pub clinic: String,
    pub clinic_id: i64,
    /// `ship_to` or `account`.
    pub kind: String,
    pub ezyvet_id: String,
    /// `None`: an order names the id, and no mapping exists.
    pub value: Option<String>,
    /// `mapped` or `unmapped`.
    pub state: String,
    /// Orders of the clinic that name it.
    pub orders: i64,
}

/// An id of a site, mapped or not, as staff see it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct SiteMapping {
    pub site: String,
    pub site_id: i64,
    /// `ship_to` or `account`.
    pub kind: String,
    pub ezyvet_id: String,
    /// `None`: an order names the id, and no mapping exists.
    pub value: Option<String>,
    /// `mapped` or `unmapped`.
    pub state: String,
    /// Orders of the site's clinics that name it.
    pub orders: i64,
}

/// Stores mappings, all or none, in the caller's transaction.
pub async fn map(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    actor: &str,
    owner: Owner,
    mappings: &[NewMapping],
) -> Result<(), ClinicError> {
    check(mappings)?;
    for NewMapping { kind, ezyvet_id, value } in mappings {
        let (id, value) = (ezyvet_id.trim(), value.as_deref().unwrap_or_default().trim());
        store::delete(connection, owner, kind.name(), id).await?;
        if !value.is_empty() {
            store::insert(connection, now, owner, kind.name(), id, value).await?;
        }
        record(connection, now, actor, owner, (*kind, id, value)).await?;
    }
    Ok(())
}

/// Deletes a mapping, in the caller's transaction. Returns whether it existed.
pub async fn unmap(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    actor: &str,
    owner: Owner,
    (kind, ezyvet_id): (Kind, &str),
) -> Result<bool, sqlx::Error> {
    let existed = !ezyvet_id.contains('\0') && store::delete(connection, owner, kind.name(), ezyvet_id).await?;
    if existed {
        record(connection, now, actor, owner, (kind, ezyvet_id, "")).await?;
    }
    Ok(existed)
}

/// Writes the audit entry of a mapping.
async fn record(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    actor: &str,
    owner: Owner,
    (kind, ezyvet_id, value): (Kind, &str, &str),
) -> Result<(), sqlx::Error> {
    let (action, subject) = match owner {
        Owner::Clinic(id) => ("clinic.map", ("clinic", Some(id.0))),
        Owner::Site(id) => ("site.map", ("site", Some(id.0))),
    };
    let detail = json!({"kind": kind.name(), "ezyvet_id": ezyvet_id, "value": value});
    audit::record(connection, now, actor, action, subject, detail).await
}

fn check(mappings: &[NewMapping]) -> Result<(), InvalidFields> {
    let mut invalid = InvalidFields::default();
    let is_valid = |text: &str, max_length| text.chars().count() <= max_length && !text.contains('\0');
    for (at, mapping) in mappings.iter().enumerate() {
        let id = mapping.ezyvet_id.trim();
        if id.is_empty() || !is_valid(id, 100) {
            invalid.push(format!("mappings[{at}].ezyvet_id"), format!("id `{id}`: must have 1 to 100 characters"));
        }
        if !is_valid(mapping.value.as_deref().unwrap_or_default().trim(), 1000) {
            let message = format!("the address or account of id `{id}`: must have at most 1000 characters");
            invalid.push(format!("mappings[{at}].value"), message);
        }
    }
    invalid.finish()
}

/// Returns the ids that orders name and the ids that are mapped, of one clinic or of all, unmapped ids first.
pub async fn list(connection: &mut PgConnection, which: Option<&str>) -> Result<Vec<Mapping>, ClinicError> {
    let clinic = match which {
        Some(which) => Some(find(&mut *connection, which).await?.id),
        None => None,
    };
    Ok(store::list(connection, clinic).await?)
}

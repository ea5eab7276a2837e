//! Maps ezyVet's ids: a `shipping_address_id` to a delivery address, an `ownership_id` to an account number.
//!
//! ezyVet sends ids without texts (SPSI.md 1), so staff enter each text once. A mapping applies to every clinic of the site,
//! because ids are unique within a site; to the clinic alone if the clinic has no site. Mappings are looked up when an order
//! is shown, so a correction applies to earlier orders, too.

mod store;

use super::{ClinicError, find};
use crate::audit;
use serde::Serialize;
use serde_json::json;
use sqlx::PgPool;
use time::OffsetDateTime;

/// The kind of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `shipping_address_id`: a delivery address.
    ShipTo,
    /// `ownership_id` of the order: an account number.
    Account,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::ShipTo => "ship_to",
            Self::Account => "account",
        }
    }
}

/// An id and its text. An empty text deletes the mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMapping {
    pub kind: Kind,
    pub ezyvet_id: String,
    pub value: String,
}

/// An id of a clinic, mapped or not, as staff see it.
#[derive(Debug, Serialize)]
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

/// Stores mappings, all or none.
pub async fn map(
    pool: &PgPool,
    now: OffsetDateTime,
    actor: &str,
    which: &str,
    mappings: &[NewMapping],
) -> Result<Vec<Mapping>, ClinicError> {
    let clinic = find(pool, which).await?;
    let mut transaction = pool.begin().await?;
    for mapping in mappings {
        let (id, value) = (mapping.ezyvet_id.trim(), mapping.value.trim());
        let is_valid = |text: &str, max_length| text.chars().count() <= max_length && !text.contains('\0');
        if id.is_empty() || !is_valid(id, 100) || !is_valid(value, 1000) {
            let text = "an id must have 1 to 100 characters, and an address or account at most 1000".to_owned();
            return Err(ClinicError::BadValue(text));
        }
        if value.is_empty() {
            store::delete(&mut transaction, clinic.id, mapping.kind.name(), id).await?;
        } else {
            store::upsert(&mut transaction, now, clinic.id, mapping.kind.name(), id, value).await?;
        }
        let detail = json!({"kind": mapping.kind.name(), "ezyvet_id": id, "value": value});
        audit::record(&mut transaction, now, actor, "clinic.map", ("clinic", Some(clinic.id.0)), detail).await?;
    }
    transaction.commit().await?;
    Ok(store::list(pool, Some(clinic.id)).await?)
}

/// Returns the ids that orders name and the ids that are mapped, of one clinic or of all, unmapped ids first.
pub async fn list(pool: &PgPool, which: Option<&str>) -> Result<Vec<Mapping>, ClinicError> {
    let clinic = match which {
        Some(which) => Some(find(pool, which).await?.id),
        None => None,
    };
    Ok(store::list(pool, clinic).await?)
}

//! What ezyVet's bare ids mean for us: the address behind a `shipping_address_id`, the account behind an `ownership_id`.
//!
//! ezyVet sends no address text (SPSI.md 1), so staff say it once. It holds for every clinic of the site, because ids are
//! unique within a site; for the clinic alone while it has no site. It is looked up when an order is shown, so a correction
//! holds for earlier orders too.

mod store;

use super::{ClinicError, find};
use crate::audit;
use serde::Serialize;
use serde_json::json;
use sqlx::PgPool;
use time::OffsetDateTime;

/// What kind of id is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `shipping_address_id`: a delivery address.
    ShipTo,
    /// `ownership_id` of the order: an account number.
    Account,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::ShipTo => "ship_to",
            Self::Account => "account",
        }
    }
}

/// One id and what it means; an empty value forgets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMapping {
    pub kind: Kind,
    pub ezyvet_id: String,
    pub value: String,
}

/// An id as staff see it: told, or still to be told.
#[derive(Debug, Serialize)]
pub struct Mapping {
    pub clinic: String,
    pub clinic_id: i64,
    /// `ship_to` or `account`.
    pub kind: String,
    pub ezyvet_id: String,
    /// Nothing: seen on an order, and not yet told.
    pub value: Option<String>,
    /// `mapped` or `unmapped`.
    pub state: String,
    /// Orders of the clinic that name it.
    pub orders: i64,
}

/// Remembers what ids mean, all of them or none.
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
        let readable = |text: &str, longest| text.chars().count() <= longest && !text.contains('\0');
        if id.is_empty() || !readable(id, 100) || !readable(value, 1000) {
            let text = "an id has 1 to 100 characters, and an address or account at most 1000".to_owned();
            return Err(ClinicError::BadValue(text));
        }
        if value.is_empty() {
            store::delete(&mut transaction, clinic.id, mapping.kind.word(), id).await?;
        } else {
            store::upsert(&mut transaction, now, clinic.id, mapping.kind.word(), id, value).await?;
        }
        let detail = json!({"kind": mapping.kind.word(), "ezyvet_id": id, "value": value});
        audit::record(&mut transaction, now, actor, "clinic.map", ("clinic", Some(clinic.id.0)), detail).await?;
    }
    transaction.commit().await?;
    Ok(store::list(pool, Some(clinic.id)).await?)
}

/// Ids that orders name and ids that are mapped, of one clinic or of all; those still to be told first.
pub async fn list(pool: &PgPool, which: Option<&str>) -> Result<Vec<Mapping>, ClinicError> {
    let clinic = match which {
        Some(which) => Some(find(pool, which).await?.id),
        None => None,
    };
    Ok(store::list(pool, clinic).await?)
}

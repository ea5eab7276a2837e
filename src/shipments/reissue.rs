//! Reissues an invoice under a new number after staff have found that ezyVet never received it.
//!
//! The old number stays used; its delivery is cancelled and names the new one. Refuses a delivery that is being sent, and
//! one that ezyVet may have received unless staff have checked.

use super::{ShipError, next_number, store};
use crate::audit;
use crate::config::SiteSettings;
use crate::delivery::staff::{self, StaffError};
use crate::ids::DeliveryId;
use sqlx::PgPool;
use time::OffsetDateTime;

/// Cancels the delivery of an invoice and queues the same invoice under the next number. `known_absent` states that staff
/// have looked for the invoice in ezyVet and did not find it. Returns the new delivery.
pub async fn reissue(
    pool: &PgPool,
    defaults: &SiteSettings,
    now: OffsetDateTime,
    actor: &str,
    id: DeliveryId,
    known_absent: bool,
) -> Result<staff::Delivery, ShipError> {
    let mut transaction = pool.begin().await?;
    let found = store::find_invoiced(&mut transaction, id).await?.ok_or(StaffError::Unknown(id))?;
    let number = next_number(&mut transaction, &defaults.overridden(&found.site_settings)).await?;
    store::insert_invoice(&mut transaction, found.shipment, found.parts + 1, &number).await?;
    let new = staff::replace_invoice(&mut transaction, now, id, known_absent, &number).await?;
    let detail = serde_json::json!({ "invoice_number": number, "new": new, "known_absent": known_absent });
    audit::record(&mut transaction, now, actor, "delivery.reissue", ("delivery", Some(id.0)), detail).await?;
    transaction.commit().await?;
    Ok(staff::find(pool, new).await?)
}

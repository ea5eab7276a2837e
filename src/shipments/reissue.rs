//! Reissues an invoice under a new number after staff have found that ezyVet never received it.
//!
//! The old number stays used; its delivery is cancelled and names the new one. Refuses a delivery that is being sent, and
//! one that ezyVet may have received unless staff have checked.

use super::{ShipError, next_number, store};
use crate::audit;
use crate::config::SiteSettings;
use crate::delivery::staff::{self, StaffError};
use crate::ids::DeliveryId;
use sqlx::PgConnection;
use time::OffsetDateTime;

/// Cancels the delivery of an invoice and queues the same invoice under the next number, in the caller's transaction.
/// `known_absent` states that staff have looked for the invoice in ezyVet and did not find it; `expected` is the version of the
/// delivery that the caller has seen. Returns the new delivery.
pub async fn reissue(
    connection: &mut PgConnection,
    defaults: &SiteSettings,
    now: OffsetDateTime,
    actor: &str,
    id: DeliveryId,
    known_absent: bool,
    expected: Option<&str>,
) -> Result<staff::Delivery, ShipError> {
    let found = store::find_invoiced(connection, id).await?.ok_or_else(|| StaffError::Unknown(id.to_string()))?;
    let number = next_number(connection, &defaults.overridden(&found.site_settings)).await?;
    store::insert_invoice(connection, found.shipment, found.parts + 1, &number).await?;
    let new = staff::replace_invoice(connection, now, id, known_absent, &number, expected).await?;
    let detail = serde_json::json!({ "invoice_number": number, "new": new, "known_absent": known_absent });
    audit::record(connection, now, actor, "delivery.reissue", ("delivery", Some(id.0)), detail).await?;
    Ok(staff::find(connection, new).await?)
}

//! The request to the order hook: `order.decide`.

use crate::clinics::cache::CachedClinic;
use crate::clock::rfc3339;
use crate::ids::ClinicId;
use crate::orders::read::{OrderLine, OrderRequest};
use crate::values::plain;
use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};
use std::fmt::Write;
use time::OffsetDateTime;

/// Returns the id and the body of the request about an order that is not stored yet (docs/orders.md).
pub fn order_decide(now: OffsetDateTime, clinic: &CachedClinic, order: &OrderRequest) -> (String, String) {
    let id = id(clinic.row.id, order);
    let body = json!({
        "id": id,
        "type": "order.decide",
        "created_at": rfc3339(now),
        "data": {
            "clinic": clinic.row.name,
            "clinic_id": clinic.row.id,
            "ezyvet_id": order.ezyvet_id,
            "purchase_order_number": order.purchase_order_number,
            "is_return": order.is_return(),
            "ordered_at": order.ordered_at.map(rfc3339),
            "shipping_address_id": order.shipping_address_id,
            "ownership_id": order.ownership_id,
            "freight": plain(order.freight),
            "tax": plain(order.tax),
            "total": plain(order.total),
            "items": order.lines.iter().map(item).collect::<Vec<_>>(),
            "purchaseorder": serde_json::from_str::<Value>(&order.body).unwrap_or_default(),
        },
    });
    (id, body.to_string())
}

fn item(line: &OrderLine) -> Value {
    json!({
        "item": line.ezyvet_id,
        "supplier_code": line.supplier_code,
        "outers": plain(line.outers),
        "units_per_outer": plain(line.units_per_outer),
        "quantity": plain(line.quantity),
        "price_per_unit": plain(line.price_per_unit),
        "total": plain(line.total),
        "total_tax": plain(line.total_tax),
        "location_id": line.location_id,
    })
}

/// The id of a request is a digest of the clinic and the order, so that a receiver recognises a second request about the same
/// order: after a crash between the answer and the commit, or from another process at the same time.
fn id(clinic: ClinicId, order: &OrderRequest) -> String {
    let hash = digest(&SHA256, format!("{clinic} {}", order.body).as_bytes());
    hash.as_ref()[..16].iter().fold("ord_".to_owned(), |mut id, byte| {
        let _ = write!(id, "{byte:02x}");
        id
    })
}

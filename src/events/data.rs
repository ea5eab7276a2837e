//! The `data` of each kind of event: frozen, versioned, and pinned by a test. The statements in `facts/store.rs` and
//! `orders/store.rs` write these objects; a test reads every stored event back into its struct.
//!
//! A field is never renamed or removed. A new field is optional for readers. Anything else is a new [`SCHEMA_VERSION`].

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The version of the schemas below.
pub const SCHEMA_VERSION: u32 = 1;

/// `data` of `order.accepted`, `order.held`, `order.declined`, `order.revised` and `order.cancelled`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = OrderEventV1)]
pub struct OrderEvent {
    /// Version of this schema
    #[schema(example = 1)]
    pub version: u32,
    pub id: i64,
    #[schema(example = "SO-33346")]
    pub supplier_order_number: String,
    /// Name of the clinic
    pub clinic: String,
    pub clinic_id: i64,
    /// ezyVet's id of the order
    pub ezyvet_id: String,
    pub purchase_order_number: String,
    /// State of the order after the event
    pub state: String,
    pub is_return: bool,
    /// 1 for the first submission
    pub revision: i32,
    /// Exact decimal, with tax
    #[schema(example = "5.12")]
    pub total: String,
    /// What the rules found when the order was decided
    pub findings: Vec<OrderFinding>,
    /// Reason given by staff
    pub reason: Option<String>,
}

/// A rule that an order broke.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = OrderFindingV1)]
pub struct OrderFinding {
    pub rule: String,
    /// `note`, `hold`, `ask` or `decline`
    pub action: String,
    #[serde(default)]
    pub field: String,
    pub text: String,
}

/// `data` of `shipment.created` and `shipment.received`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = ShipmentEventV1)]
pub struct ShipmentEvent {
    /// Version of this schema
    #[schema(example = 1)]
    pub version: u32,
    pub id: i64,
    /// `shipped` or `received`
    pub state: String,
    /// The order's `supplier_order_number`
    pub order: String,
    pub order_id: i64,
    pub clinic: String,
    pub clinic_id: i64,
    pub purchase_order_number: String,
    /// Several if the invoice was split
    pub invoice_numbers: Vec<String>,
    /// Exact decimal, with tax
    pub freight: String,
}

/// `data` of `delivery.delivered`, `delivery.attention` and `delivery.confirmed`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = DeliveryEventV1)]
pub struct DeliveryEvent {
    /// Version of this schema
    #[schema(example = 1)]
    pub version: u32,
    pub id: i64,
    /// `receive_invoice` or `supplied`
    pub kind: String,
    /// `delivered`, `confirmed`, `attention`, or `unclear` if staff must find out what ezyVet did
    pub state: String,
    pub invoice_number: String,
    /// Id of the shipment
    pub shipment: i64,
    /// The order's `supplier_order_number`
    pub order: String,
    pub clinic: String,
    pub clinic_id: i64,
    /// Name of the site. `null`: the clinic has no site
    pub site: Option<String>,
    pub attempts: i32,
    pub last_error: Option<String>,
}

/// `data` of `invoice.differs`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = InvoiceDiffersV1)]
pub struct InvoiceDiffers {
    /// Version of this schema
    #[schema(example = 1)]
    pub version: u32,
    /// Id of the delivery
    pub id: i64,
    pub invoice_number: String,
    /// Id of the shipment
    pub shipment: i64,
    /// The order's `supplier_order_number`
    pub order: String,
    pub clinic: String,
    pub clinic_id: i64,
    pub site: Option<String>,
    pub differences: Vec<InvoiceDifference>,
}

/// A field of an invoice that differs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = InvoiceDifferenceV1)]
pub struct InvoiceDifference {
    /// Which field: `freight`, `line 9 quantity`
    pub what: String,
    pub sent: String,
    /// What ezyVet holds
    pub stored: String,
}

/// `data` of `catalog.imported`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = CatalogImportedV1)]
pub struct CatalogImported {
    /// Version of this schema
    #[schema(example = 1)]
    pub version: u32,
    /// Id of the import
    pub id: i64,
    /// Name of the file or files
    pub file: String,
    /// Rows of the products file
    pub rows: u64,
    pub new: u64,
    pub changed: u64,
    pub unchanged: u64,
    pub withdrawn: u64,
    pub relisted: u64,
    /// `null`: the import had no prices
    pub contract_prices: Option<ContractPricesImported>,
}

/// Counts of imported contract prices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = ContractPricesImportedV1)]
pub struct ContractPricesImported {
    pub rows: u64,
    pub new: u64,
    pub changed: u64,
    pub unchanged: u64,
    pub removed: u64,
}

/// `data` of `site.unreachable`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = SiteUnreachableV1)]
pub struct SiteUnreachable {
    /// Version of this schema
    #[schema(example = 1)]
    pub version: u32,
    /// Id of the site
    pub id: i64,
    pub name: String,
    /// Failed calls in a row
    pub failures: i32,
    /// RFC 3339 time when the circuit breaker opened
    #[schema(format = DateTime)]
    pub since: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// Stored events have these shapes for ever: a change that breaks this test needs a new version.
    #[track_caller]
    fn pinned<T: Serialize + for<'de> Deserialize<'de>>(golden: Value) {
        let read: T = serde_json::from_value(golden.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), golden);
    }

    #[test]
    fn the_first_version_of_every_schema_is_pinned() {
        pinned::<OrderEvent>(
            json!({"version": 1, "id": 17, "supplier_order_number": "SO-17", "clinic": "Harbour Vets",
            "clinic_id": 2, "ezyvet_id": "900001", "purchase_order_number": "15900001", "state": "held",
            "is_return": false, "revision": 1, "total": "5.12", "findings": [{"rule": "price", "action": "hold",
            "field": "purchaseorder", "text": "..."}], "reason": null}),
        );
        pinned::<ShipmentEvent>(json!({"version": 1, "id": 4, "state": "shipped", "order": "SO-17", "order_id": 17,
            "clinic": "Harbour Vets", "clinic_id": 2, "purchase_order_number": "15900001",
            "invoice_numbers": ["INV-1"], "freight": "0"}));
        pinned::<DeliveryEvent>(json!({"version": 1, "id": 9, "kind": "receive_invoice", "state": "attention",
            "invoice_number": "INV-1", "shipment": 4, "order": "SO-17", "clinic": "Harbour Vets", "clinic_id": 2,
            "site": "harbour", "attempts": 1, "last_error": "..."}));
        pinned::<InvoiceDiffers>(json!({"version": 1, "id": 9, "invoice_number": "INV-1", "shipment": 4,
            "order": "SO-17", "clinic": "Harbour Vets", "clinic_id": 2, "site": "harbour",
            "differences": [{"what": "freight", "sent": "1", "stored": "0"}]}));
        pinned::<CatalogImported>(json!({"version": 1, "id": 3, "file": "products.csv", "rows": 13, "new": 1,
            "changed": 2, "unchanged": 10, "withdrawn": 0, "relisted": 0,
            "contract_prices": {"rows": 1, "new": 1, "changed": 0, "unchanged": 0, "removed": 0}}));
        pinned::<SiteUnreachable>(json!({"version": 1, "id": 1, "name": "harbour", "failures": 5,
            "since": "2026-11-25T23:04:05Z"}));
    }
}

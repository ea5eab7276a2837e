//! An order with everything that belongs to it: its lines and revisions, its shipments, its deliveries, its audit trail.

use super::{Filter, ShipError, Shipment, list};
use crate::audit;
use crate::db::Page;
use crate::delivery::staff::{self as deliveries, Delivery};
use crate::orders::{self, OrderInFull};
use sqlx::PgConnection;

/// An order with everything that belongs to it.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
pub struct OrderRecord {
    #[serde(flatten)]
    pub order: OrderInFull,
    pub shipments: Vec<Shipment>,
    pub deliveries: Vec<Delivery>,
    /// Entries about the order and its shipments, oldest first.
    pub audit: Vec<audit::Entry>,
}

/// Returns an order, by `supplier_order_number` or id.
pub async fn show(connection: &mut PgConnection, which: &str) -> Result<OrderRecord, ShipError> {
    let order = orders::show(connection, which).await?;
    let number = order.order.supplier_order_number.clone();
    let filter = Filter { order: Some(number.clone()), ..Filter::default() };
    let shipments = list(connection, &filter, Page::default()).await?;
    let filter = deliveries::Filter { order: Some(number), ..deliveries::Filter::default() };
    let deliveries = deliveries::list(&mut *connection, &filter, Page::default()).await?;
    let mut audit = audit::list_of_subject(&mut *connection, "order", order.order.id.0).await?;
    for shipment in &shipments {
        audit.append(&mut audit::list_of_subject(&mut *connection, "shipment", shipment.id.0).await?);
    }
    audit.sort_by_key(|entry| entry.id);
    Ok(OrderRecord { order, shipments, deliveries, audit })
}

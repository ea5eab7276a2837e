//! The kinds of events.

use crate::config::{BadSetting, choice};
use std::fmt;
use std::str::FromStr;

choice!(
    /// The type of an event. Its name is part of the public interface and never changes.
    Kind {
        /// An order is accepted: on arrival, or by staff.
        OrderAccepted = "order.accepted",
        /// An order is held for a decision.
        OrderHeld = "order.held",
        OrderDeclined = "order.declined",
        /// The clinic sent an order again with other content, which was decided anew.
        OrderRevised = "order.revised",
        /// Units of an order were cancelled; all of them if its state is `cancelled`.
        OrderCancelled = "order.cancelled",
        ShipmentCreated = "shipment.created",
        /// The clinic has approved all invoices of a shipment.
        ShipmentReceived = "shipment.received",
        /// ezyVet has received an invoice or a stock movement.
        DeliveryDelivered = "delivery.delivered",
        /// A delivery cannot continue without staff.
        DeliveryAttention = "delivery.attention",
        /// The clinic has approved an invoice.
        DeliveryConfirmed = "delivery.confirmed",
        /// The invoice that ezyVet holds differs from the one that was sent.
        InvoiceDiffers = "invoice.differs",
        CatalogImported = "catalog.imported",
        /// The calls to an ezyVet site failed so often that the circuit breaker opened. Once per outage.
        SiteUnreachable = "site.unreachable",
    }
);

impl Kind {
    /// Whether recording this kind wakes the dispatcher by a notification in the same transaction. Postgres commits
    /// transactions that notify one after another, so the delivery worker, which records the other kinds, notifies after
    /// its commits instead ([`super::Doorbell`]).
    pub(super) const fn notifies(self) -> bool {
        matches!(
            self,
            Self::OrderAccepted
                | Self::OrderHeld
                | Self::OrderDeclined
                | Self::OrderRevised
                | Self::OrderCancelled
                | Self::ShipmentCreated
                | Self::CatalogImported
        )
    }
}

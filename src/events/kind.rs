//! The kinds of events.

use std::fmt;
use std::str::FromStr;

/// Declares the kinds with their names.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal,)+) => {
        /// The type of an event. Its name is part of the public interface and never changes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $($(#[$doc])* $kind,)+
        }

        impl Kind {
            pub const ALL: &[Self] = &[$(Self::$kind),+];

            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)+ }
            }
        }
    };
}

kinds!(
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

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is no kind of event.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a type of event; use one of: {list}", list = names())]
pub struct UnknownKind(pub String);

fn names() -> String {
    Kind::ALL.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ")
}

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        Self::ALL.iter().copied().find(|kind| kind.name() == text).ok_or_else(|| UnknownKind(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_parses_from_its_name_and_an_unknown_name_lists_all() {
        for kind in Kind::ALL {
            assert_eq!(kind.name().parse(), Ok(*kind));
        }
        let error = "order.lost".parse::<Kind>().unwrap_err().to_string();
        assert!(error.contains("`order.lost`") && error.contains("site.unreachable"), "{error}");
    }
}

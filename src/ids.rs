//! Typed database ids: the compiler refuses an order id where a clinic id is required.

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize, sqlx::Type)]
        #[serde(transparent)]
        #[sqlx(transparent)]
        pub struct $name(pub i64);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = std::num::ParseIntError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map($name)
            }
        }
    };
}

id!(
    /// An ezyVet site: a database with its own URL and credentials.
    SiteId
);
id!(
    /// A clinic: one integration record in ezyVet, which calls spsi with its own client id.
    ClinicId
);
id!(
    /// A product of the supplier's catalogue.
    ProductId
);
id!(
    /// A purchase order. ezyVet's own order id is another number, unique only within a site.
    OrderId
);
id!(
    /// A line of a purchase order. ezyVet's own line id is another number.
    OrderLineId
);
id!(
    /// A shipment of goods for one order.
    ShipmentId
);
id!(
    /// A delivery: one call to ezyVet that must succeed.
    DeliveryId
);

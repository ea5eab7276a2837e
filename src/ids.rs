//! Typed ids: an order's id cannot be passed where a clinic's is wanted.

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
    /// An ezyVet database that we call.
    SiteId
);
id!(
    /// One integration record in ezyVet: one client id by which it calls us.
    ClinicId
);
id!(
    /// A product of the supplier's catalogue.
    ProductId
);
id!(
    /// A purchase order. Not ezyVet's id of it, which is unique only within a site.
    OrderId
);
id!(
    /// A line of a purchase order. Not ezyVet's id of it.
    OrderLineId
);
id!(
    /// Goods that left the warehouse for one order.
    ShipmentId
);
id!(
    /// One call that ezyVet must get.
    DeliveryId
);

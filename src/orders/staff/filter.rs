//! Selects orders for lists and exports.

use crate::clock::{parse_since, parse_until};
use serde::Deserialize;
use time::OffsetDateTime;

/// The states of an order.
#[derive(Clone, Copy, Debug, Deserialize, utoipa::ToSchema, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum OrderState {
    Accepted,
    Held,
    Declined,
    PartShipped,
    Shipped,
    Received,
    Cancelled,
}

impl OrderState {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Held => "held",
            Self::Declined => "declined",
            Self::PartShipped => "part_shipped",
            Self::Shipped => "shipped",
            Self::Received => "received",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Selects orders. All given conditions must hold.
#[derive(Debug, Default, clap::Args, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// Only orders in this state
    #[arg(long)]
    pub state: Option<OrderState>,
    /// Only orders of this clinic: id, client id or name
    #[arg(long)]
    pub clinic: Option<String>,
    /// Only orders with a line of this product code
    #[arg(long)]
    pub product: Option<String>,
    /// Only orders that need staff, because they are held or have a delivery that needs attention
    #[arg(long)]
    pub attention: bool,
    /// Only orders that wait for a decision of the supplier's system (`rule_ask`)
    #[arg(long)]
    pub asked: bool,
    /// Only open orders whose `shipping_address_id` is not mapped to an address
    #[arg(long)]
    pub unmapped: bool,
    /// Only orders whose numbers, clinic or comments contain this text
    #[arg(long)]
    pub text: Option<String>,
    /// Only orders received on or after this day or moment: YYYY-MM-DD, or RFC 3339
    #[arg(long, value_name = "WHEN", value_parser = parse_since)]
    #[serde(deserialize_with = "crate::clock::read_since")]
    #[param(value_type = Option<String>)]
    pub since: Option<OffsetDateTime>,
    /// Only orders received on or before this day, or before this moment
    #[arg(long, value_name = "WHEN", value_parser = parse_until)]
    #[serde(deserialize_with = "crate::clock::read_until")]
    #[param(value_type = Option<String>)]
    pub until: Option<OffsetDateTime>,
}

impl Filter {
    /// Returns the text as a pattern of `ilike`.
    pub(crate) fn pattern(&self) -> Option<String> {
        let text = self.text.as_ref()?;
        Some(format!("%{}%", text.replace('\\', r"\\").replace('%', r"\%").replace('_', r"\_")))
    }
}

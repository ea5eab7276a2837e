//! Selects orders for lists and exports.

use crate::clock::{parse_since, parse_until};
use time::OffsetDateTime;

/// Selects orders. All given conditions must hold.
#[derive(Debug, Default, clap::Args)]
pub struct Filter {
    /// Only orders in this state
    #[arg(long, value_parser = ["accepted", "held", "declined", "part_shipped", "shipped", "received", "cancelled"])]
    pub state: Option<String>,
    /// Only orders of this clinic: id, client id or name
    #[arg(long)]
    pub clinic: Option<String>,
    /// Only orders with a line of this product code
    #[arg(long)]
    pub product: Option<String>,
    /// Only orders that need staff: held, or with a delivery that needs attention
    #[arg(long)]
    pub attention: bool,
    /// Only orders that wait for a decision of the supplier's system (`rule_ask`)
    #[arg(long)]
    pub asked: bool,
    /// Only open orders whose shipping_address_id is not mapped to an address (`spsi clinic map`)
    #[arg(long)]
    pub unmapped: bool,
    /// Only orders whose numbers, clinic or comments contain this text
    #[arg(long)]
    pub text: Option<String>,
    /// Only orders received on or after this day or moment: YYYY-MM-DD, or RFC 3339
    #[arg(long, value_name = "WHEN", value_parser = parse_since)]
    pub since: Option<OffsetDateTime>,
    /// Only orders received on or before this day, or before this moment
    #[arg(long, value_name = "WHEN", value_parser = parse_until)]
    pub until: Option<OffsetDateTime>,
}

impl Filter {
    /// Returns the text as a pattern of `ilike`.
    pub(crate) fn pattern(&self) -> Option<String> {
        let text = self.text.as_ref()?;
        Some(format!("%{}%", text.replace('\\', r"\\").replace('%', r"\%").replace('_', r"\_")))
    }
}

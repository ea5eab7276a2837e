//! Selects orders for lists and exports.

use time::format_description::well_known::Rfc3339;
use time::{Date, OffsetDateTime, Time};

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

/// Parses the start of a period. A day starts at midnight UTC.
pub fn parse_since(text: &str) -> Result<OffsetDateTime, String> {
    parse_moment(text, 0)
}

/// Parses the end of a period. A day ends at the next midnight UTC.
pub fn parse_until(text: &str) -> Result<OffsetDateTime, String> {
    parse_moment(text, 1)
}

fn parse_moment(text: &str, days: i64) -> Result<OffsetDateTime, String> {
    if let Ok(moment) = OffsetDateTime::parse(text, &Rfc3339) {
        return Ok(moment);
    }
    let day = Date::parse(text, time::macros::format_description!("[year]-[month]-[day]")).ok();
    let day = day.and_then(|day| day.checked_add(time::Duration::days(days)));
    day.map(|day| day.with_time(Time::MIDNIGHT).assume_utc())
        .ok_or_else(|| format!("`{text}` is neither a date like 2026-01-31 nor a time like 2026-01-31T08:00:00Z"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn a_period_includes_its_whole_last_day() {
        assert_eq!(parse_since("2026-01-31"), Ok(datetime!(2026-01-31 0:00 UTC)));
        assert_eq!(parse_until("2026-01-31"), Ok(datetime!(2026-02-01 0:00 UTC)));
        assert_eq!(parse_until("2026-01-31T08:00:00Z"), Ok(datetime!(2026-01-31 8:00 UTC)));
        assert!(parse_since("yesterday").is_err());
    }
}

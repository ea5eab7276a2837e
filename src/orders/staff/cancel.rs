//! Works out which units a cancellation takes off an order. Pure.

use crate::ids::OrderLineId;
use crate::values::plain;
use rust_decimal::Decimal;

/// Units of a line to cancel; `None` cancels everything outstanding.
#[derive(Clone, Debug, PartialEq)]
pub struct CancelledLine {
    /// ezyVet's id of the order line.
    pub item: String,
    /// The sign is ignored; cancelled units of a return are always negative.
    pub units: Option<Decimal>,
}

/// A line with its outstanding units, which are negative for a return.
pub(super) struct OpenLine {
    pub id: OrderLineId,
    pub item: String,
    pub quantity: Decimal,
    pub outstanding: Decimal,
}

/// Units to cancel, by line, and whether nothing is outstanding afterwards.
#[derive(Debug, PartialEq)]
pub(super) struct Cancelled {
    pub lines: Vec<(OrderLineId, Decimal)>,
    pub nothing_left: bool,
}

/// Checks the requested units against the outstanding ones. An empty request cancels everything outstanding. The error is
/// for people.
pub(super) fn cancelled(open: &[OpenLine], requested: &[CancelledLine]) -> Result<Cancelled, String> {
    let mut left: Vec<Decimal> = open.iter().map(still_open).collect();
    let mut lines = Vec::new();
    let everything: Vec<CancelledLine>;
    let requested = if requested.is_empty() {
        let open = open.iter().filter(|line| !still_open(line).is_zero());
        everything = open.map(|line| CancelledLine { item: line.item.clone(), units: None }).collect();
        &everything
    } else {
        requested
    };
    for request in requested {
        let Some(index) = open.iter().position(|line| line.item == request.item) else {
            let known: Vec<_> = open.iter().map(|line| line.item.as_str()).collect();
            return Err(format!("the order has no line `{}`; it has {}", request.item, known.join(", ")));
        };
        let units = match request.units {
            Some(units) if left[index].is_sign_negative() => -units.abs(),
            Some(units) => units.abs(),
            None => left[index],
        };
        if units.is_zero() || left[index].is_zero() {
            return Err(format!("line {}: nothing to cancel", request.item));
        }
        if units.abs() > left[index].abs() {
            let (requested, left) = (plain(units.abs()), plain(left[index].abs()));
            return Err(format!("line {}: cannot cancel {requested} units; only {left} are outstanding", request.item));
        }
        left[index] -= units;
        lines.push((open[index].id, units));
    }
    if lines.is_empty() {
        return Err("nothing is outstanding".into());
    }
    Ok(Cancelled { lines, nothing_left: left.iter().all(Decimal::is_zero) })
}

/// Returns the units that can be cancelled: none if more was shipped than ordered.
fn still_open(line: &OpenLine) -> Decimal {
    if line.outstanding.is_sign_negative() == line.quantity.is_sign_negative() {
        line.outstanding
    } else {
        Decimal::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(item: i64, quantity: i64, outstanding: i64) -> OpenLine {
        let (quantity, outstanding) = (quantity.into(), outstanding.into());
        OpenLine { id: OrderLineId(item), item: item.to_string(), quantity, outstanding }
    }

    fn request(item: &str, units: Option<i64>) -> CancelledLine {
        CancelledLine { item: item.into(), units: units.map(Decimal::from) }
    }

    #[test]
    fn outstanding_units_can_be_cancelled_in_part_or_whole() {
        let order = [line(9, 10, 4), line(10, 5, 0), line(11, -3, -3), line(12, 2, -1)];
        let all = cancelled(&order, &[]).unwrap();
        assert_eq!(all.lines, [(OrderLineId(9), 4.into()), (OrderLineId(11), (-3).into())]);
        assert!(all.nothing_left);
        let part = cancelled(&order, &[request("9", Some(1)), request("11", Some(2))]).unwrap();
        assert_eq!(part.lines, [(OrderLineId(9), 1.into()), (OrderLineId(11), (-2).into())]);
        assert!(!part.nothing_left);
        for wrong in
            [request("9", Some(5)), request("10", None), request("12", None), request("8", None), request("9", Some(0))]
        {
            assert!(cancelled(&order, std::slice::from_ref(&wrong)).is_err(), "{wrong:?}");
        }
        assert!(cancelled(&order, &[request("9", Some(3)), request("9", Some(2))]).is_err());
        assert!(cancelled(&[line(1, 5, 0)], &[]).is_err());
    }
}

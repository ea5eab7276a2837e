//! Which units staff take off an order. Pure.

use crate::ids::OrderLineId;
use crate::values::plain;
use rust_decimal::Decimal;

/// Units of a line that staff take off; all that is outstanding if they do not say how many.
#[derive(Clone, Debug, PartialEq)]
pub struct CancelledLine {
    /// ezyVet's id of the order line.
    pub item: String,
    /// The sign does not matter: of a return, what is taken off is negative in any case.
    pub units: Option<Decimal>,
}

/// A line with what of it can still be cancelled. Negative for a return.
pub(super) struct OpenLine {
    pub id: OrderLineId,
    pub item: String,
    pub quantity: Decimal,
    pub outstanding: Decimal,
}

/// What is taken off each line, and whether anything is outstanding afterwards.
#[derive(Debug, PartialEq)]
pub(super) struct Cancelled {
    pub lines: Vec<(OrderLineId, Decimal)>,
    pub nothing_left: bool,
}

/// Puts what is asked for against what is outstanding. Nothing asked for: everything. The error is for people.
pub(super) fn cancelled(open: &[OpenLine], asked: &[CancelledLine]) -> Result<Cancelled, String> {
    let mut left: Vec<Decimal> = open.iter().map(still_open).collect();
    let mut lines = Vec::new();
    let everything: Vec<CancelledLine>;
    let asked = if asked.is_empty() {
        let open = open.iter().filter(|line| !still_open(line).is_zero());
        everything = open.map(|line| CancelledLine { item: line.item.clone(), units: None }).collect();
        &everything
    } else {
        asked
    };
    for asked in asked {
        let Some(at) = open.iter().position(|line| line.item == asked.item) else {
            let known: Vec<_> = open.iter().map(|line| line.item.as_str()).collect();
            return Err(format!("the order has no line `{}`; it has {}", asked.item, known.join(", ")));
        };
        let units = match asked.units {
            Some(units) if left[at].is_sign_negative() => -units.abs(),
            Some(units) => units.abs(),
            None => left[at],
        };
        if units.is_zero() || left[at].is_zero() {
            return Err(format!("line {}: nothing to cancel", asked.item));
        }
        if units.abs() > left[at].abs() {
            let (wanted, left) = (plain(units.abs()), plain(left[at].abs()));
            return Err(format!("line {}: {wanted} to be cancelled, but only {left} outstanding", asked.item));
        }
        left[at] -= units;
        lines.push((open[at].id, units));
    }
    if lines.is_empty() {
        return Err("nothing is outstanding".into());
    }
    Ok(Cancelled { lines, nothing_left: left.iter().all(Decimal::is_zero) })
}

/// What was shipped in excess is not open.
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

    fn ask(item: &str, units: Option<i64>) -> CancelledLine {
        CancelledLine { item: item.into(), units: units.map(Decimal::from) }
    }

    #[test]
    fn what_is_outstanding_can_be_cancelled_in_part_or_whole() {
        let order = [line(9, 10, 4), line(10, 5, 0), line(11, -3, -3), line(12, 2, -1)];
        let all = cancelled(&order, &[]).unwrap();
        assert_eq!(all.lines, [(OrderLineId(9), 4.into()), (OrderLineId(11), (-3).into())]);
        assert!(all.nothing_left);
        let part = cancelled(&order, &[ask("9", Some(1)), ask("11", Some(2))]).unwrap();
        assert_eq!(part.lines, [(OrderLineId(9), 1.into()), (OrderLineId(11), (-2).into())]);
        assert!(!part.nothing_left);
        for wrong in [ask("9", Some(5)), ask("10", None), ask("12", None), ask("8", None), ask("9", Some(0))] {
            assert!(cancelled(&order, std::slice::from_ref(&wrong)).is_err(), "{wrong:?}");
        }
        assert!(cancelled(&order, &[ask("9", Some(3)), ask("9", Some(2))]).is_err());
        assert!(cancelled(&[line(1, 5, 0)], &[]).is_err());
    }
}

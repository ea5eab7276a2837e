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

/// Why units of a line cannot be cancelled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CancelProblem {
    #[error("the order has no line `{item}`; it has {known}")]
    UnknownItem { item: String, known: String },
    #[error("line {item}: nothing to cancel")]
    Nothing { item: String },
    #[error(
        "line {item}: cannot cancel {requested} units; only {outstanding} are outstanding",
        requested = plain(*.requested), outstanding = plain(*.outstanding)
    )]
    TooMany { item: String, requested: Decimal, outstanding: Decimal },
    #[error("nothing is outstanding")]
    NothingOutstanding,
}

/// A wrong part of a cancellation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct WrongLine {
    /// Path in the request, for instance `lines[0].quantity`.
    pub field: String,
    pub problem: CancelProblem,
}

/// Checks the requested units against the outstanding ones. An empty request cancels everything outstanding. Returns every
/// problem of the request.
pub(super) fn cancelled(open: &[OpenLine], requested: &[CancelledLine]) -> Result<Cancelled, Vec<WrongLine>> {
    let mut left: Vec<Decimal> = open.iter().map(still_open).collect();
    let everything: Vec<CancelledLine>;
    let requested = if requested.is_empty() {
        let open = open.iter().filter(|line| !still_open(line).is_zero());
        everything = open.map(|line| CancelledLine { item: line.item.clone(), units: None }).collect();
        &everything
    } else {
        requested
    };
    if requested.is_empty() {
        return Err(vec![WrongLine { field: "lines".into(), problem: CancelProblem::NothingOutstanding }]);
    }
    let (mut lines, mut wrong) = (Vec::new(), Vec::new());
    for (number, request) in requested.iter().enumerate() {
        match take(open, &mut left, request) {
            Ok(line) => lines.push(line),
            Err(problem) => {
                let field = if matches!(problem, CancelProblem::UnknownItem { .. }) { "item" } else { "quantity" };
                wrong.push(WrongLine { field: format!("lines[{number}].{field}"), problem });
            }
        }
    }
    let nothing_left = left.iter().all(Decimal::is_zero);
    if wrong.is_empty() { Ok(Cancelled { lines, nothing_left }) } else { Err(wrong) }
}

/// Takes the requested units off those that are left.
fn take(
    open: &[OpenLine],
    left: &mut [Decimal],
    request: &CancelledLine,
) -> Result<(OrderLineId, Decimal), CancelProblem> {
    let item = request.item.clone();
    let Some(index) = open.iter().position(|line| line.item == item) else {
        let known: Vec<_> = open.iter().map(|line| line.item.as_str()).collect();
        return Err(CancelProblem::UnknownItem { item, known: known.join(", ") });
    };
    let left = &mut left[index];
    let units = match request.units {
        Some(units) if left.is_sign_negative() => -units.abs(),
        Some(units) => units.abs(),
        None => *left,
    };
    if units.is_zero() || left.is_zero() {
        return Err(CancelProblem::Nothing { item });
    }
    if units.abs() > left.abs() {
        return Err(CancelProblem::TooMany { item, requested: units.abs(), outstanding: left.abs() });
    }
    *left -= units;
    Ok((open[index].id, units))
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

    #[test]
    fn every_wrong_line_is_reported_with_its_path() {
        let order = [line(9, 10, 4), line(10, 5, 0)];
        let wrong =
            cancelled(&order, &[request("9", Some(1)), request("9", Some(4)), request("8", None), request("10", None)]);
        let fields: Vec<_> = wrong.unwrap_err().into_iter().map(|wrong| wrong.field).collect();
        assert_eq!(fields, ["lines[1].quantity", "lines[2].item", "lines[3].quantity"]);
    }
}

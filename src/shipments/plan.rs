//! Plans which goods leave: checks requested lines against outstanding units. Pure.

use super::invoice::ShippedLine;
use crate::ids::OrderLineId;
use crate::values;
use rust_decimal::Decimal;
use time::Date;

/// Why the requested lines cannot be shipped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    #[error("the order has no line `{item}`; it has {known}")]
    UnknownItem { item: String, known: String },
    #[error("line {item}: a quantity of zero ships nothing")]
    Zero { item: String },
    #[error("line {item}: quantity {quantity} has the wrong sign; {0} have a {1} quantity", if *.returned { "returns" } else { "shipments" }, if *.returned { "negative" } else { "positive" })]
    WrongSign { item: String, quantity: Decimal, returned: bool },
    #[error(
        "line {item}: {requested} units requested, but only {outstanding} outstanding; use `--allow-excess` to ship them anyway",
        requested = values::plain(*.requested), outstanding = values::plain(*.outstanding)
    )]
    Excess { item: String, requested: Decimal, outstanding: Decimal },
    #[error("line {item}: an expiry needs a batch")]
    ExpiryWithoutBatch { item: String },
    #[error("line {item}: a price must not be negative: {price}")]
    NegativePrice { item: String, price: Decimal },
    #[error("line {item}: a price is given for a line that is not shipped")]
    PriceWithoutGoods { item: String },
    #[error("nothing is outstanding")]
    NothingOutstanding,
}

/// Goods to ship.
#[derive(Clone, Debug, PartialEq)]
pub struct Requested {
    /// ezyVet's id of the order line.
    pub item: String,
    /// In units; negative for a return.
    pub quantity: Decimal,
    /// Empty for goods without a batch.
    pub batch: String,
    pub expiry: Option<Date>,
}

/// An order line with its outstanding units.
#[derive(Clone, Debug)]
pub(crate) struct Outstanding {
    pub line_id: OrderLineId,
    /// Its quantity is the quantity ordered.
    pub line: ShippedLine,
    /// Ordered less cancelled less shipped units. Negative for a return.
    pub outstanding: Decimal,
}

/// Goods that leave, of one order line.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    pub line_id: OrderLineId,
    pub line: ShippedLine,
}

/// The lines of a shipment.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub lines: Vec<Planned>,
    /// Whether nothing is outstanding afterwards.
    pub complete: bool,
}

/// Checks the requested lines against the outstanding units. An empty request ships everything outstanding.
pub(crate) fn plan(order: &[Outstanding], requested: &[Requested], allow_excess: bool) -> Result<Plan, PlanError> {
    let all: Vec<Requested>;
    let requested = if requested.is_empty() {
        all = order.iter().filter(|line| is_open(line.outstanding, &line.line)).map(everything).collect();
        if all.is_empty() {
            return Err(PlanError::NothingOutstanding);
        }
        &all
    } else {
        requested
    };
    let mut left: Vec<Decimal> = order.iter().map(|line| line.outstanding).collect();
    let mut lines = Vec::new();
    for request in requested {
        let item = request.item.clone();
        let Some(index) = order.iter().position(|line| line.line.item == item) else {
            let known: Vec<_> = order.iter().map(|line| line.line.item.as_str()).collect();
            return Err(PlanError::UnknownItem { item, known: known.join(", ") });
        };
        let line = &order[index];
        let returned = line.line.quantity.is_sign_negative();
        if request.quantity.is_zero() {
            return Err(PlanError::Zero { item });
        }
        if request.quantity.is_sign_negative() != returned {
            return Err(PlanError::WrongSign { item, quantity: request.quantity, returned });
        }
        if request.expiry.is_some() && request.batch.is_empty() {
            return Err(PlanError::ExpiryWithoutBatch { item });
        }
        left[index] -= request.quantity;
        lines.push(Planned {
            line_id: line.line_id,
            line: ShippedLine {
                quantity: request.quantity,
                batch: request.batch.clone(),
                expiry: request.expiry,
                ..line.line.clone()
            },
        });
    }
    for (line, left) in order.iter().zip(&left) {
        let excess = !left.is_zero() && left.is_sign_negative() != line.line.quantity.is_sign_negative();
        let touched = *left != line.outstanding;
        if excess && touched && !allow_excess {
            let requested = line.outstanding - left;
            return Err(PlanError::Excess { item: line.line.item.clone(), requested, outstanding: line.outstanding });
        }
    }
    let complete = order.iter().zip(&left).all(|(line, left)| !is_open(*left, &line.line));
    Ok(Plan { lines, complete })
}

/// Replaces the order's prices. The tax per unit keeps the order's rate; a rate of the catalogue replaces it later.
pub(crate) fn reprice(plan: &mut Plan, prices: &[(String, Decimal)]) -> Result<(), PlanError> {
    for (item, price) in prices {
        if price.is_sign_negative() && !price.is_zero() {
            return Err(PlanError::NegativePrice { item: item.clone(), price: *price });
        }
        let mut lines =
            plan.lines.iter_mut().map(|planned| &mut planned.line).filter(|line| line.item == *item).peekable();
        if lines.peek().is_none() {
            return Err(PlanError::PriceWithoutGoods { item: item.clone() });
        }
        for line in lines {
            let rate = line.tax_per_unit.checked_div(line.price_per_unit).unwrap_or_default();
            line.tax_per_unit = values::round(rate * price, 6);
            line.price_per_unit = *price;
        }
    }
    Ok(())
}

fn is_open(outstanding: Decimal, line: &ShippedLine) -> bool {
    !outstanding.is_zero() && outstanding.is_sign_negative() == line.quantity.is_sign_negative()
}

fn everything(line: &Outstanding) -> Requested {
    Requested { item: line.line.item.clone(), quantity: line.outstanding, batch: String::new(), expiry: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(item: &str, ordered: i64, outstanding: i64) -> Outstanding {
        Outstanding {
            line_id: OrderLineId(1),
            line: ShippedLine {
                item: item.into(),
                product_id: "1".into(),
                supplier_code: "C".into(),
                location_id: "3".into(),
                units_per_outer: Decimal::ONE,
                price_per_unit: Decimal::ONE,
                tax_per_unit: Decimal::ZERO,
                tax_rate: None,
                tax_code: String::new(),
                quantity: ordered.into(),
                batch: String::new(),
                expiry: None,
            },
            outstanding: outstanding.into(),
        }
    }

    fn request(item: &str, quantity: i64) -> Requested {
        Requested { item: item.into(), quantity: quantity.into(), batch: String::new(), expiry: None }
    }

    #[test]
    fn an_empty_request_ships_everything_outstanding() {
        let plan = plan(&[line("9", 10, 4), line("10", 5, 0), line("11", 3, -1)], &[], false).unwrap();
        assert_eq!(plan.lines.len(), 1);
        assert_eq!(plan.lines[0].line.quantity, 4.into());
        assert!(plan.complete);
        assert_eq!(super::plan(&[line("9", 1, 0)], &[], false).unwrap_err(), PlanError::NothingOutstanding);
    }

    #[test]
    fn an_excess_over_all_batches_is_refused_unless_allowed() {
        let order = [line("9", 10, 10)];
        let requested = [request("9", 6), request("9", 5)];
        let refused = plan(&order, &requested, false).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "line 9: 11 units requested, but only 10 outstanding; use `--allow-excess` to ship them anyway"
        );
        assert!(plan(&order, &requested, true).unwrap().complete);
    }

    #[test]
    fn a_return_has_negative_quantities() {
        let order = [line("9", -10, -10)];
        assert_eq!(plan(&order, &[], false).unwrap().lines[0].line.quantity, (-10).into());
        assert!(!plan(&order, &[request("9", -4)], false).unwrap().complete);
        assert!(matches!(plan(&order, &[request("9", -11)], false), Err(PlanError::Excess { .. })));
        assert!(matches!(plan(&order, &[request("9", 4)], false), Err(PlanError::WrongSign { returned: true, .. })));
    }

    #[test]
    fn a_replaced_price_keeps_the_tax_rate() {
        let mut order = [line("9", 10, 10), line("10", 1, 1)];
        order[0].line.tax_per_unit = Decimal::new(1, 1);
        let mut plan = plan(&order, &[request("9", 4), request("9", 6)], false).unwrap();
        reprice(&mut plan, &[("9".into(), Decimal::new(25, 1))]).unwrap();
        for planned in &plan.lines {
            assert_eq!(
                (planned.line.price_per_unit, planned.line.tax_per_unit),
                (Decimal::new(25, 1), Decimal::new(25, 2))
            );
        }
        let nothing = reprice(&mut plan, &[("10".into(), Decimal::ONE)]);
        assert_eq!(nothing, Err(PlanError::PriceWithoutGoods { item: "10".into() }));
        assert!(reprice(&mut plan, &[("9".into(), Decimal::NEGATIVE_ONE)]).is_err());
    }

    #[test]
    fn contradictory_requests_are_refused() {
        let order = [line("9", 10, 10)];
        assert!(matches!(plan(&order, &[request("8", 1)], true), Err(PlanError::UnknownItem { .. })));
        assert!(matches!(plan(&order, &[request("9", 0)], true), Err(PlanError::Zero { .. })));
        assert!(matches!(plan(&order, &[request("9", -1)], true), Err(PlanError::WrongSign { .. })));
        let expiry = Requested { expiry: Some(Date::MIN), ..request("9", 1) };
        assert!(matches!(plan(&order, &[expiry], true), Err(PlanError::ExpiryWithoutBatch { .. })));
    }

    proptest! {
        #[test]
        fn no_line_exceeds_its_outstanding_units_unless_allowed(
            outstanding in proptest::collection::vec(0i64..20, 1..5), requested in proptest::collection::vec((0usize..5, 1i64..20), 1..8),
        ) {
            let order: Vec<_> = outstanding.iter().enumerate().map(|(i, n)| line(&i.to_string(), 20, *n)).collect();
            let requested: Vec<_> = requested.iter().filter(|(i, _)| *i < order.len()).map(|(i, n)| request(&i.to_string(), *n)).collect();
            prop_assume!(!requested.is_empty());
            let total = |i: usize| requested.iter().filter(|a| a.item == i.to_string()).map(|a| a.quantity).sum::<Decimal>();
            let fits = (0..order.len()).all(|i| total(i) <= order[i].outstanding);
            let planned = plan(&order, &requested, false);
            prop_assert_eq!(planned.is_ok(), fits);
            if let Ok(planned) = planned {
                prop_assert_eq!(planned.complete, (0..order.len()).all(|i| total(i) == order[i].outstanding));
            }
        }
    }
}

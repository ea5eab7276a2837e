//! Plans which goods leave: checks requested lines against outstanding units. Pure.

use super::invoice::ShippedLine;
use crate::values;
use rust_decimal::Decimal;
use time::Date;

/// What is wrong with a part of a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldProblem {
    #[error("the order has no line `{item}`; it has {known}")]
    UnknownItem { item: String, known: String },
    #[error("line {item}: a quantity of zero ships nothing")]
    Zero { item: String },
    #[error("line {item}: quantity {quantity} has the wrong sign; {0} have a {1} quantity", if *.returned { "returns" } else { "shipments" }, if *.returned { "negative" } else { "positive" })]
    WrongSign { item: String, quantity: Decimal, returned: bool },
    #[error(
        "line {item}: {requested} units requested, but only {outstanding} outstanding",
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
    #[error("freight must not be negative: {0}")]
    NegativeFreight(Decimal),
    #[error("invoice number `{0}` was used before; choose another number")]
    NumberUsed(String),
    #[error("invoice number `{0}` must have 1 to 100 visible characters")]
    BadNumber(String),
}

/// A wrong part of a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct InvalidField {
    /// Path in the request, for instance `lines[0].quantity`.
    pub field: String,
    pub problem: FieldProblem,
}

impl InvalidField {
    pub(super) fn new(field: impl Into<String>, problem: FieldProblem) -> Self {
        Self { field: field.into(), problem }
    }
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
    /// Its quantity is the quantity ordered.
    pub line: ShippedLine,
    /// Ordered less cancelled less shipped units. Negative for a return.
    pub outstanding: Decimal,
}

/// The lines of a shipment.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub lines: Vec<ShippedLine>,
    /// Whether nothing is outstanding afterwards.
    pub complete: bool,
}

/// Checks the requested lines against the outstanding units, and replaces the order's prices by the given ones. An empty
/// request ships everything outstanding. Returns every problem of the request.
pub(crate) fn plan(
    order: &[Outstanding],
    requested: &[Requested],
    prices: &[(String, Decimal)],
    allow_excess: bool,
) -> Result<Plan, Vec<InvalidField>> {
    let all: Vec<Requested>;
    let requested = if requested.is_empty() {
        all = order.iter().filter(|line| is_open(line.outstanding, &line.line)).map(everything).collect();
        &all
    } else {
        requested
    };
    let mut wrong = Vec::new();
    if requested.is_empty() {
        wrong.push(InvalidField::new("lines", FieldProblem::NothingOutstanding));
    }
    let mut left: Vec<Decimal> = order.iter().map(|line| line.outstanding).collect();
    let mut lines = Vec::new();
    for (number, request) in requested.iter().enumerate() {
        match check(order, request) {
            Ok(index) => {
                left[index] -= request.quantity;
                let (quantity, batch, expiry) = (request.quantity, request.batch.clone(), request.expiry);
                lines.push(ShippedLine { quantity, batch, expiry, ..order[index].line.clone() });
            }
            Err((field, problem)) => wrong.push(InvalidField::new(format!("lines[{number}].{field}"), problem)),
        }
    }
    if !allow_excess {
        wrong.extend(excesses(order, requested, &left));
    }
    wrong.extend(reprice(&mut lines, prices, requested));
    let complete = order.iter().zip(&left).all(|(line, left)| !is_open(*left, &line.line));
    if wrong.is_empty() { Ok(Plan { lines, complete }) } else { Err(wrong) }
}

/// Finds the order line of a requested line. Fails with the wrong field of the line.
fn check(order: &[Outstanding], request: &Requested) -> Result<usize, (&'static str, FieldProblem)> {
    let item = request.item.clone();
    let Some(index) = order.iter().position(|line| line.line.item == item) else {
        let known: Vec<_> = order.iter().map(|line| line.line.item.as_str()).collect();
        return Err(("item", FieldProblem::UnknownItem { item, known: known.join(", ") }));
    };
    let returned = order[index].line.quantity.is_sign_negative();
    if request.quantity.is_zero() {
        return Err(("quantity", FieldProblem::Zero { item }));
    }
    if request.quantity.is_sign_negative() != returned {
        return Err(("quantity", FieldProblem::WrongSign { item, quantity: request.quantity, returned }));
    }
    if request.expiry.is_some() && request.batch.is_empty() {
        return Err(("expiry", FieldProblem::ExpiryWithoutBatch { item }));
    }
    Ok(index)
}

/// Returns the order lines of which more is requested than outstanding, each at its last requested line.
fn excesses(order: &[Outstanding], requested: &[Requested], left: &[Decimal]) -> Vec<InvalidField> {
    let mut wrong = Vec::new();
    for (line, left) in order.iter().zip(left) {
        let is_excess = !left.is_zero() && left.is_sign_negative() != line.line.quantity.is_sign_negative();
        let last = requested.iter().rposition(|request| request.item == line.line.item);
        if let Some(last) = last
            && is_excess
            && *left != line.outstanding
        {
            let (requested, outstanding) = (line.outstanding - left, line.outstanding);
            let problem = FieldProblem::Excess { item: line.line.item.clone(), requested, outstanding };
            wrong.push(InvalidField::new(format!("lines[{last}].quantity"), problem));
        }
    }
    wrong
}

/// Replaces the order's prices. The tax per unit keeps the order's rate; a rate of the catalogue replaces it later. Returns
/// the prices that are wrong.
fn reprice(lines: &mut [ShippedLine], prices: &[(String, Decimal)], requested: &[Requested]) -> Vec<InvalidField> {
    let mut wrong = Vec::new();
    for (number, (item, price)) in prices.iter().enumerate() {
        if price.is_sign_negative() && !price.is_zero() {
            let problem = FieldProblem::NegativePrice { item: item.clone(), price: *price };
            wrong.push(InvalidField::new(format!("prices[{number}].price"), problem));
        }
        if requested.iter().all(|request| request.item != *item) {
            let problem = FieldProblem::PriceWithoutGoods { item: item.clone() };
            wrong.push(InvalidField::new(format!("prices[{number}].item"), problem));
        }
        for line in lines.iter_mut().filter(|line| line.item == *item) {
            let rate = line.tax_per_unit.checked_div(line.price_per_unit).unwrap_or_default();
            line.tax_per_unit = values::round(rate * price, 6);
            line.price_per_unit = *price;
        }
    }
    wrong
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
        let line = super::super::invoice::tests::line(item, &ordered.to_string());
        Outstanding { line, outstanding: outstanding.into() }
    }

    fn request(item: &str, quantity: i64) -> Requested {
        Requested { item: item.into(), quantity: quantity.into(), batch: String::new(), expiry: None }
    }

    fn problem(result: Result<Plan, Vec<InvalidField>>) -> FieldProblem {
        let mut wrong = result.unwrap_err();
        assert_eq!(wrong.len(), 1, "{wrong:?}");
        wrong.remove(0).problem
    }

    #[test]
    fn an_empty_request_ships_everything_outstanding() {
        let plan = plan(&[line("9", 10, 4), line("10", 5, 0), line("11", 3, -1)], &[], &[], false).unwrap();
        assert_eq!(plan.lines.len(), 1);
        assert_eq!(plan.lines[0].quantity, 4.into());
        assert!(plan.complete);
        assert_eq!(problem(super::plan(&[line("9", 1, 0)], &[], &[], false)), FieldProblem::NothingOutstanding);
    }

    #[test]
    fn an_excess_over_all_batches_is_refused_unless_allowed() {
        let order = [line("9", 10, 10)];
        let requested = [request("9", 6), request("9", 5)];
        let refused = plan(&order, &requested, &[], false).unwrap_err();
        assert_eq!(refused[0].field, "lines[1].quantity");
        assert_eq!(refused[0].to_string(), "line 9: 11 units requested, but only 10 outstanding");
        assert!(plan(&order, &requested, &[], true).unwrap().complete);
    }

    #[test]
    fn a_return_has_negative_quantities() {
        let order = [line("9", -10, -10)];
        assert_eq!(plan(&order, &[], &[], false).unwrap().lines[0].quantity, (-10).into());
        assert!(!plan(&order, &[request("9", -4)], &[], false).unwrap().complete);
        assert!(matches!(problem(plan(&order, &[request("9", -11)], &[], false)), FieldProblem::Excess { .. }));
        let positive = problem(plan(&order, &[request("9", 4)], &[], false));
        assert!(matches!(positive, FieldProblem::WrongSign { returned: true, .. }));
    }

    #[test]
    fn a_replaced_price_keeps_the_tax_rate() {
        let order = [line("9", 10, 10), line("10", 1, 1)];
        let requested = [request("9", 4), request("9", 6)];
        let plan = |item: &str, price| plan(&order, &requested, &[(item.to_owned(), price)], false);
        for line in plan("9", Decimal::new(25, 1)).unwrap().lines {
            let prices = (line.price_per_unit, line.tax_per_unit);
            assert_eq!(prices, (Decimal::new(25, 1), Decimal::new(25, 2)));
        }
        assert_eq!(problem(plan("10", Decimal::ONE)), FieldProblem::PriceWithoutGoods { item: "10".into() });
        assert!(matches!(problem(plan("9", Decimal::NEGATIVE_ONE)), FieldProblem::NegativePrice { .. }));
    }

    #[test]
    fn every_contradiction_of_a_request_is_reported_with_its_path() {
        let order = [line("9", 10, 10), line("10", 1, 1)];
        let expiry = Requested { expiry: Some(Date::MIN), ..request("9", 1) };
        let requested = [request("8", 1), request("9", 0), request("9", -1), expiry, request("9", 11)];
        let prices = [("10".to_owned(), Decimal::NEGATIVE_ONE)];
        let wrong = plan(&order, &requested, &prices, false).unwrap_err();
        let fields: Vec<_> = wrong.iter().map(|wrong| wrong.field.as_str()).collect();
        let lines = ["lines[0].item", "lines[1].quantity", "lines[2].quantity", "lines[3].expiry", "lines[4].quantity"];
        assert_eq!(fields, [&lines[..], &["prices[0].price", "prices[0].item"]].concat());
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
            let planned = plan(&order, &requested, &[], false);
            prop_assert_eq!(planned.is_ok(), fits);
            if let Ok(planned) = planned {
                prop_assert_eq!(planned.complete, (0..order.len()).all(|i| total(i) == order[i].outstanding));
            }
        }
    }
}

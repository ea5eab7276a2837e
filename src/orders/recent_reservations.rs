//! Units that this process has reserved and that the stock in memory does not include yet.

use rust_decimal::Decimal;
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// With more orders than this, the stock in memory is too old to decide by.
const MAX_ORDERS: usize = 20_000;

/// Reservations by transaction, kept until the stock in memory includes them.
#[derive(Default)]
pub(super) struct RecentReservations(Mutex<Reservations>);

/// Codes and units of one order.
type Lines = Vec<(Box<str>, Decimal)>;

#[derive(Default)]
pub(super) struct Reservations {
    orders: VecDeque<(i64, Lines)>,
    units: HashMap<Box<str>, Decimal>,
}

impl RecentReservations {
    /// Adds the lines of a transaction's order. Returns reserve nothing, so negative quantities are left out.
    pub fn add<'a>(&self, transaction: i64, lines: impl Iterator<Item = (&'a str, Decimal)>) {
        let lines: Lines =
            lines.filter(|(_, units)| *units > Decimal::ZERO).map(|(code, units)| (code.into(), units)).collect();
        let mut reservations = self.lock();
        for (code, units) in &lines {
            *reservations.units.entry(code.clone()).or_default() += *units;
        }
        reservations.orders.push_back((transaction, lines));
    }

    /// Returns the reservations that a stock does not include which was read with every transaction below `horizon`, and
    /// forgets the others. A later transaction that was added first keeps those behind it, so the result may include too
    /// much, never too little. Returns `None` if more than [`MAX_ORDERS`] orders remain.
    pub fn since(&self, horizon: i64) -> Option<MutexGuard<'_, Reservations>> {
        let mut reservations = self.lock();
        while let Some((_, lines)) = reservations.orders.pop_front_if(|(transaction, _)| *transaction < horizon) {
            for (code, units) in lines {
                if let Some(left) = reservations.units.get_mut(&code) {
                    *left -= units;
                    if left.is_zero() {
                        reservations.units.remove(&code);
                    }
                }
            }
        }
        (reservations.orders.len() <= MAX_ORDERS).then_some(reservations)
    }

    fn lock(&self) -> MutexGuard<'_, Reservations> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reservations {
    /// The units reserved of a product.
    pub fn units(&self, code: &str) -> Decimal {
        self.units.get(code).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reservations_are_kept_until_the_stock_includes_them() {
        let recent = RecentReservations::default();
        let units = |horizon: i64, code: &str| recent.since(horizon).unwrap().units(code);
        recent.add(5, [("A", 2.into()), ("B", 1.into()), ("A", 3.into()), ("C", (-4).into())].into_iter());
        recent.add(7, [("A", 10.into())].into_iter());
        recent.add(6, [("B", 1.into())].into_iter());
        assert_eq!([units(5, "A"), units(5, "B"), units(5, "C")], [15.into(), 2.into(), 0.into()]);
        assert_eq!([units(6, "A"), units(6, "B")], [10.into(), 1.into()]);
        assert_eq!(units(7, "B"), 1.into(), "behind a transaction that the stock does not include yet");
        assert_eq!([units(8, "A"), units(8, "B")], [0.into(), 0.into()]);
        assert!(recent.lock().units.is_empty() && recent.lock().orders.is_empty());
        (0..=MAX_ORDERS as i64).for_each(|offset| recent.add(8 + offset, std::iter::empty()));
        assert!(recent.since(8).is_none());
        assert!(recent.since(9).is_some());
    }
}

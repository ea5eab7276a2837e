//! What orders of this process have reserved and the stock in memory does not show yet.

use rust_decimal::Decimal;
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// More orders are not kept: then the stock in memory is too old to go by.
const MOST_ORDERS: usize = 20_000;

/// Reservations by transaction, until the stock in memory is newer.
#[derive(Default)]
pub(super) struct RecentReservations(Mutex<Reserved>);

/// Codes and units of one order.
type Lines = Vec<(Box<str>, Decimal)>;

#[derive(Default)]
pub(super) struct Reserved {
    orders: VecDeque<(i64, Lines)>,
    units: HashMap<Box<str>, Decimal>,
}

impl RecentReservations {
    /// Adds what a transaction has ordered. Goods going back reserve nothing.
    pub fn add<'a>(&self, transaction: i64, lines: impl Iterator<Item = (&'a str, Decimal)>) {
        let lines: Lines =
            lines.filter(|(_, units)| *units > Decimal::ZERO).map(|(code, units)| (code.into(), units)).collect();
        let mut reserved = self.lock();
        for (code, units) in &lines {
            *reserved.units.entry(code.clone()).or_default() += *units;
        }
        reserved.orders.push_back((transaction, lines));
    }

    /// What the stock does not show that has been read with all transactions before `seen`, and maybe more of it: a later
    /// transaction that ended first stays for as long as those that were added before it. Nothing when it is too much.
    pub fn after(&self, seen: i64) -> Option<MutexGuard<'_, Reserved>> {
        let mut reserved = self.lock();
        while let Some((_, lines)) = reserved.orders.pop_front_if(|(transaction, _)| *transaction < seen) {
            for (code, units) in lines {
                if let Some(left) = reserved.units.get_mut(&code) {
                    *left -= units;
                    if left.is_zero() {
                        reserved.units.remove(&code);
                    }
                }
            }
        }
        (reserved.orders.len() <= MOST_ORDERS).then_some(reserved)
    }

    fn lock(&self) -> MutexGuard<'_, Reserved> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reserved {
    pub fn of(&self, code: &str) -> Decimal {
        self.units.get(code).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_stock_shows_is_forgotten_and_the_rest_is_kept() {
        let recent = RecentReservations::default();
        let units = |seen: i64, code: &str| recent.after(seen).unwrap().of(code);
        recent.add(5, [("A", 2.into()), ("B", 1.into()), ("A", 3.into()), ("C", (-4).into())].into_iter());
        recent.add(7, [("A", 10.into())].into_iter());
        recent.add(6, [("B", 1.into())].into_iter());
        assert_eq!([units(5, "A"), units(5, "B"), units(5, "C")], [15.into(), 2.into(), 0.into()]);
        assert_eq!([units(6, "A"), units(6, "B")], [10.into(), 1.into()]);
        assert_eq!(units(7, "B"), 1.into(), "behind one that is not shown yet");
        assert_eq!([units(8, "A"), units(8, "B")], [0.into(), 0.into()]);
        assert!(recent.lock().units.is_empty() && recent.lock().orders.is_empty());
        (0..=MOST_ORDERS as i64).for_each(|at| recent.add(8 + at, std::iter::empty()));
        assert!(recent.after(8).is_none());
        assert!(recent.after(9).is_some());
    }
}

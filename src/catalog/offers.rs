//! What a clinic can buy, from memory: what orders are decided by when nothing speaks against it.

use super::Catalog;
use super::product::{ContractPrice, unit_price};
use super::view::ClinicView;
use crate::clinics::cache::CachedClinic;
use crate::config::Basis;
use crate::values::DECIMAL_PLACES;
use rust_decimal::Decimal;
use std::sync::{Arc, PoisonError};
use time::OffsetDateTime;

/// A product that the clinic may buy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    pub units_per_outer: Decimal,
    /// The clinic's price without tax for one unit, to six places: its contract price, else the list price.
    pub price_per_unit: Decimal,
    /// Units on hand less those reserved by the transactions before [`Offers::seen`]; at least zero.
    pub stock_free: Decimal,
}

/// Everything that one clinic can buy, of one version and one day.
pub struct Offers {
    view: Arc<ClinicView>,
    seen: i64,
}

impl Catalog {
    /// What the clinic can buy at `now`. Nothing while the prices in memory are those of another day, or none at all.
    pub fn offers(&self, member: &Arc<CachedClinic>, now: OffsetDateTime) -> Option<Offers> {
        let loaded = self.loaded.load();
        let loaded = loaded.as_ref().filter(|loaded| loaded.day == now.date())?;
        let seen = loaded.stock.lock().unwrap_or_else(PoisonError::into_inner).until;
        Some(Offers { view: loaded.views.view(&loaded.scope(member), now), seen })
    }
}

impl Offers {
    /// The version of the catalogue that this is.
    pub fn version(&self) -> i64 {
        self.view.snapshot().version()
    }

    /// Transactions before this one are in the stock; of later ones, some may be.
    pub fn seen(&self) -> i64 {
        self.seen
    }

    /// The product with this code. Nothing where the clinic does not see it, must not have it, or it is withdrawn.
    pub fn find(&self, code: &str) -> Option<Offer> {
        let view = &self.view;
        let goods = &view.snapshot.goods;
        let place = goods.codes.find_sorted(code)?;
        let position = u32::try_from(place).ok()?;
        let withdrawn = goods.withdrawn.binary_search_by_key(&position, |(position, _)| *position).is_ok();
        if withdrawn || !view.visible.contains(position) {
            return None;
        }
        let units_per_outer = goods.units_per_outer[place];
        let contract = match view.contract_price(position) {
            ContractPrice::None => None,
            ContractPrice::Micros(price) => Some(Decimal::new(price.into(), DECIMAL_PLACES)),
            ContractPrice::Large(price) => Some(price),
        };
        let price_per_unit = match (contract, view.settings.price_basis) {
            (Some(price), Basis::Unit) => price.normalize(),
            (Some(price), Basis::Outer) => unit_price(price, units_per_outer)?,
            (None, _) => {
                let text = std::str::from_utf8(goods.prepared[place].unit_price(&goods.arena)).ok()?;
                text.parse().ok()?
            }
        };
        let stock_free = Decimal::new(view.snapshot.stock[place], DECIMAL_PLACES);
        Some(Offer { units_per_outer: units_per_outer.normalize(), price_per_unit, stock_free })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::arbitrary::{NOW, plain_prices, plainly_visible, products, rules};
    use crate::catalog::snapshot::Snapshot;
    use crate::catalog::view::ClinicScope;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_offered_is_what_the_clinic_sees_at_its_price(
            (products, rules) in products().prop_flat_map(|products| { let rules = rules(&products); (Just(products), rules) })
        ) {
            let snapshot = Arc::new(Snapshot::build(1, products.clone()).unwrap());
            let offers = Offers { view: Arc::new(ClinicView::new(snapshot, &ClinicScope::new(rules.clone()), NOW)), seen: 0 };
            let (seen, prices) = (plainly_visible(&products, &rules, NOW), plain_prices(&rules));
            for product in &products {
                let expected = seen.iter().any(|seen| seen.id == product.id) && product.withdrawn_at.is_none();
                let offer = offers.find(&product.code);
                prop_assert_eq!(offer.is_some(), expected, "{}", product.code);
                let Some(offer) = offer else { continue };
                let per_outer = prices.get(&product.id).copied().or(product.list_price).unwrap();
                prop_assert_eq!(Some(offer.price_per_unit), unit_price(per_outer, product.units_per_outer));
                prop_assert_eq!((offer.units_per_outer, offer.stock_free), (product.units_per_outer, product.stock_available));
            }
            prop_assert_eq!(offers.find("unknown"), None);
        }
    }
}

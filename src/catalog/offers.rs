//! The products that a clinic can buy, from memory. The fast path of orders decides by them.

use super::Catalog;
use super::clinic_view::ClinicView;
use super::product::{ContractPrice, unit_price};
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
    /// Free units: on hand less reserved, zero or more. Includes the transactions before [`Offers::stock_horizon`].
    pub stock_free: Decimal,
}

/// All products that one clinic can buy, at one version and on one day.
pub struct Offers {
    view: Arc<ClinicView>,
    stock_horizon: i64,
}

impl Catalog {
    /// Returns what the clinic can buy at `now`. `None` if nothing is loaded or the loaded prices are of another day.
    pub fn offers(&self, clinic: &Arc<CachedClinic>, now: OffsetDateTime) -> Option<Offers> {
        let loaded = self.loaded.load();
        let loaded = loaded.as_ref().filter(|loaded| loaded.day == now.date())?;
        let stock_horizon = loaded.stock.lock().unwrap_or_else(PoisonError::into_inner).horizon;
        Some(Offers { view: loaded.views.view(&loaded.scope(clinic), now), stock_horizon })
    }
}

impl Offers {
    /// Returns the catalogue's version.
    pub fn version(&self) -> i64 {
        self.view.snapshot.version
    }

    /// Returns a transaction id: the stock includes all transactions with a lower id, and may include some with a higher
    /// id.
    pub fn stock_horizon(&self) -> i64 {
        self.stock_horizon
    }

    /// Finds a product by its exact code. `None` if the clinic does not see the product or the product is withdrawn.
    pub fn find(&self, code: &str) -> Option<Offer> {
        let view = &self.view;
        let products = &view.snapshot.products.rows;
        let index = products.codes.find_sorted(code)?;
        let position = u32::try_from(index).ok()?;
        let withdrawn = products.withdrawn.binary_search_by_key(&position, |(position, _)| *position).is_ok();
        if withdrawn || !view.visible.contains(position) {
            return None;
        }
        let units_per_outer = products.units_per_outer[index];
        let contract = match view.contract_price(position) {
            ContractPrice::None => None,
            ContractPrice::Micros(price) => Some(Decimal::new(price.into(), DECIMAL_PLACES)),
            ContractPrice::Large(price) => Some(price),
        };
        let price_per_unit = match (contract, view.settings.price_basis) {
            (Some(price), Basis::Unit) => price.normalize(),
            (Some(price), Basis::Outer) => unit_price(price, units_per_outer)?,
            (None, _) => {
                let text = std::str::from_utf8(products.templates[index].unit_price(&products.json)).ok()?;
                text.parse().ok()?
            }
        };
        let stock_free = Decimal::new(view.snapshot.stock[index], DECIMAL_PLACES);
        Some(Offer { units_per_outer: units_per_outer.normalize(), price_per_unit, stock_free })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::arbitrary::{NOW, model_prices, model_visible, products, rules};
    use crate::catalog::clinic_view::ClinicScope;
    use crate::catalog::snapshot::Snapshot;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_clinic_is_offered_the_visible_products_at_its_prices(
            (products, rules) in products().prop_flat_map(|products| { let rules = rules(&products); (Just(products), rules) })
        ) {
            let snapshot = Arc::new(Snapshot::build(1, products.clone()).unwrap());
            let offers = Offers { view: Arc::new(ClinicView::new(snapshot, &ClinicScope::new(rules.clone()), NOW)), stock_horizon: 0 };
            let (visible, prices) = (model_visible(&products, &rules, NOW), model_prices(&rules));
            for product in &products {
                let expected = visible.iter().any(|visible| visible.id == product.id) && product.withdrawn_at.is_none();
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

//! Contract prices: by product as Postgres holds them, and by position as answers need them.

use super::fixed_decimal::from_decimal;
use super::position_set::PositionSet;
use super::product::{ContractPrice, price_on};
use crate::config::Basis;
use crate::ids::ProductId;
use crate::values::plain;
use aws_lc_rs::digest;
use rust_decimal::Decimal;

/// The contract prices of one clinic or of one price list, per outer and without tax.
#[derive(Debug)]
pub struct ContractPrices {
    /// In ascending order of id.
    prices: Vec<(ProductId, Decimal)>,
    /// A digest of the prices, which is the same in every process.
    pub(super) fingerprint: [u8; 32],
}

impl ContractPrices {
    /// Takes the prices that are valid today. Of several prices for one product, the last one counts.
    pub fn new(mut prices: Vec<(ProductId, Decimal)>) -> Self {
        prices.sort_by_key(|(product, _)| *product);
        prices.reverse();
        prices.dedup_by_key(|(product, _)| *product);
        prices.reverse();
        prices.shrink_to_fit();
        let mut context = digest::Context::new(&digest::SHA256);
        for (product, price) in &prices {
            context.update(&product.0.to_le_bytes());
            context.update(plain(*price).as_bytes());
            context.update(b";");
        }
        Self { prices, fingerprint: finish(context) }
    }

    /// Returns the prices in ascending order of product id.
    pub fn iter(&self) -> impl Iterator<Item = (ProductId, Decimal)> + '_ {
        self.prices.iter().copied()
    }
}

/// Returns the SHA-256 digest.
pub(super) fn finish(context: digest::Context) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(context.finish().as_ref());
    bytes
}

/// In place of a price that does not fit into four bytes of millionths; the list of large prices has it.
const LARGE: u32 = u32::MAX;

/// Contract prices by position in a snapshot, on one basis: four bytes a price, and 12 bytes for 64 positions.
#[derive(Debug)]
pub(super) struct PriceTable {
    /// Positions with a price.
    priced: PositionSet,
    /// In millionths, in order of position.
    prices: Box<[u32]>,
    /// In ascending order of position.
    large: Vec<(u32, Decimal)>,
}

impl PriceTable {
    /// `find` returns the position and the units per outer of a product; `products` is the number of positions.
    pub(super) fn new(
        prices: &ContractPrices,
        basis: Basis,
        products: usize,
        find: impl Fn(ProductId) -> Option<(u32, Decimal)>,
    ) -> Self {
        let on_basis = |(product, per_outer)| {
            let (position, units) = find(product)?;
            Some((position, price_on(basis, per_outer, units)?))
        };
        let mut by_position: Vec<(u32, Decimal)> = prices.iter().filter_map(on_basis).collect();
        by_position.sort_unstable();
        let small = |price| from_decimal(price).and_then(|micros| u32::try_from(micros).ok()).unwrap_or(LARGE);
        let prices: Box<[u32]> = by_position.iter().map(|(_, price)| small(*price)).collect();
        let mut priced = vec![0; products.div_ceil(64)];
        by_position.iter().for_each(|(position, _)| priced[*position as usize / 64] |= 1 << (position % 64));
        let large = by_position.into_iter().zip(&prices).filter(|(_, price)| **price == LARGE);
        Self { priced: PositionSet::new(priced), large: large.map(|(large, _)| large).collect(), prices }
    }

    /// Returns the price at a position.
    pub(super) fn get(&self, position: u32) -> ContractPrice {
        match self.priced.rank(position).map(|rank| self.prices[rank]) {
            None => ContractPrice::None,
            Some(LARGE) => self
                .large
                .binary_search_by_key(&position, |(position, _)| *position)
                .map_or(ContractPrice::None, |index| ContractPrice::Large(self.large[index].1)),
            Some(micros) => ContractPrice::Micros(micros),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn every_position_has_its_own_price(
            prices in proptest::collection::btree_map(0..2_000_u32, prop_oneof![9 => 0..9_999_i64, 1 => Just(1_i64 << 40)], 0..900),
            products in 1..2_000_u32,
        ) {
            let prices: BTreeMap<u32, Decimal> =
                prices.into_iter().map(|(position, cents)| (position, Decimal::new(cents, 2))).collect();
            let all = prices.iter().map(|(position, price)| (ProductId(i64::from(*position) + 7), *price)).collect();
            // A product that is not for sale has no position.
            let find = |product: ProductId| u32::try_from(product.0 - 7).ok().filter(|position| *position < products).map(|position| (position, Decimal::ONE));
            let table = PriceTable::new(&ContractPrices::new(all), Basis::Outer, products as usize, find);
            for position in 0..products {
                let price = match table.get(position) {
                    ContractPrice::None => None,
                    ContractPrice::Micros(micros) => Some(Decimal::new(micros.into(), 6)),
                    ContractPrice::Large(price) => Some(price),
                };
                prop_assert_eq!(price, prices.get(&position).copied());
            }
        }
    }
}

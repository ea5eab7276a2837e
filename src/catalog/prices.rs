//! Contract prices: as clinics and price lists have them, and as a snapshot keeps them for writing.

use super::product::{ContractPrice, price_on};
use crate::config::Basis;
use crate::ids::ProductId;
use crate::values::plain;
use aws_lc_rs::digest;
use rust_decimal::Decimal;

/// Agreed prices of one clinic or of one price list that many clinics share, per outer and without tax.
#[derive(Debug)]
pub struct ContractPrices {
    /// Ascending ids.
    prices: Vec<(ProductId, Decimal)>,
    fingerprint: [u8; 32],
}

impl ContractPrices {
    /// Takes the prices that hold today, at most one for a product (the last one counts).
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

    /// Ascending ids.
    pub fn iter(&self) -> impl Iterator<Item = (ProductId, Decimal)> + '_ {
        self.prices.iter().copied()
    }

    /// The same for the same prices, in every process.
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }
}

/// The digest as an array.
pub(super) fn finish(context: digest::Context) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(context.finish().as_ref());
    bytes
}

/// Where a code for a price stands for none, and where for one that is too large for four bytes of millionths.
const NONE: u32 = u32::MAX;
const LARGE: u32 = u32::MAX - 1;

/// Contract prices by position in a snapshot, on one basis: four bytes a product where most have one, eight a price
/// where few do.
#[derive(Debug)]
pub(super) struct PriceTable {
    codes: Codes,
    /// Ascending positions.
    large: Vec<(u32, Decimal)>,
}

#[derive(Debug)]
enum Codes {
    Dense(Box<[u32]>),
    Sparse {
        /// Ascending positions.
        codes: Box<[(u32, u32)]>,
        /// Codes before each [`STRETCH`] of positions, so that few are looked through for one.
        before: Box<[u32]>,
    },
}

/// Positions that are looked through together.
const STRETCH: usize = 256;

impl PriceTable {
    /// `find` gives a product's position and its units per outer, and `products` is how many there are.
    pub(super) fn new(
        prices: &ContractPrices,
        basis: Basis,
        products: usize,
        find: impl Fn(ProductId) -> Option<(u32, Decimal)>,
    ) -> Self {
        let mut large = Vec::new();
        let mut codes = Vec::new();
        for (product, per_outer) in &prices.prices {
            let Some((position, units)) = find(*product) else { continue };
            let Some(price) = price_on(basis, *per_outer, units) else { continue };
            let small = super::fixed_decimal::from_decimal(price).and_then(|micros| u32::try_from(micros).ok());
            codes.push((position, small.filter(|code| *code < LARGE).unwrap_or(LARGE)));
            if small.is_none_or(|code| code >= LARGE) {
                large.push((position, price));
            }
        }
        codes.sort_unstable();
        large.sort_unstable();
        let codes = if codes.len() * 2 > products {
            let mut dense = vec![NONE; products];
            for (position, code) in codes {
                dense[position as usize] = code;
            }
            Codes::Dense(dense.into())
        } else {
            let before = (0..=products.div_ceil(STRETCH) + 1)
                .map(|stretch| codes.partition_point(|(position, _)| (*position as usize) < stretch * STRETCH) as u32)
                .collect();
            Codes::Sparse { codes: codes.into(), before }
        };
        Self { codes, large }
    }

    /// Positions that have a price, in order.
    pub(super) fn positions(&self) -> impl Iterator<Item = u32> + '_ {
        let (dense, sparse) = match &self.codes {
            Codes::Dense(codes) => (&codes[..], &[][..]),
            Codes::Sparse { codes, .. } => (&[][..], &codes[..]),
        };
        let dense = (0..).zip(dense).filter(|(_, code)| **code != NONE).map(|(position, _)| position);
        dense.chain(sparse.iter().map(|(position, _)| *position))
    }

    pub(super) fn get(&self, position: u32) -> ContractPrice {
        let code = match &self.codes {
            Codes::Dense(codes) => codes[position as usize],
            Codes::Sparse { codes, before } => {
                let stretch = position as usize / STRETCH;
                let near = &codes[before[stretch] as usize..before[stretch + 1] as usize];
                near.binary_search_by_key(&position, |(position, _)| *position).map_or(NONE, |at| near[at].1)
            }
        };
        match code {
            NONE => ContractPrice::None,
            LARGE => self
                .large
                .binary_search_by_key(&position, |(position, _)| *position)
                .map_or(ContractPrice::None, |at| ContractPrice::Large(self.large[at].1)),
            code => ContractPrice::Micros(code),
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
        fn every_position_has_its_price_and_no_other(
            prices in proptest::collection::btree_map(0..2_000_u32, prop_oneof![9 => 0..9_999_i64, 1 => Just(1_i64 << 40)], 0..900),
            products in 1..2_000_u32,
        ) {
            let prices: BTreeMap<u32, Decimal> =
                prices.into_iter().map(|(position, cents)| (position, Decimal::new(cents, 2))).collect();
            let all = prices.iter().map(|(position, price)| (ProductId(i64::from(*position) + 7), *price)).collect();
            // Products that are not for sale have no position.
            let find = |product: ProductId| u32::try_from(product.0 - 7).ok().filter(|at| *at < products).map(|at| (at, Decimal::ONE));
            let table = PriceTable::new(&ContractPrices::new(all), Basis::Outer, products as usize, find);
            for position in 0..products {
                let price = match table.get(position) {
                    ContractPrice::None => None,
                    ContractPrice::Micros(micros) => Some(Decimal::new(micros.into(), 6)),
                    ContractPrice::Large(price) => Some(price),
                };
                prop_assert_eq!(price, prices.get(&position).copied());
            }
            prop_assert!(table.positions().eq(prices.keys().copied().filter(|position| *position < products)));
        }
    }
}

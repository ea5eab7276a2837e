//! Contract prices: by product as Postgres holds them, and by position as answers need them.

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
    fingerprint: [u8; 32],
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

    /// Returns a digest of the prices, which is the same in every process.
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }
}

/// Returns the SHA-256 digest.
pub(super) fn finish(context: digest::Context) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(context.finish().as_ref());
    bytes
}

/// The product has no price.
const NONE: u32 = u32::MAX;
/// The price does not fit into four bytes of millionths; the list of large prices has it.
const LARGE: u32 = u32::MAX - 1;

/// Contract prices by position in a snapshot, on one basis. Takes four bytes a product if more than half of the products
/// have a price, else eight bytes a price.
#[derive(Debug)]
pub(super) struct PriceTable {
    codes: Codes,
    /// In ascending order of position.
    large: Vec<(u32, Decimal)>,
}

#[derive(Debug)]
enum Codes {
    Dense(Box<[u32]>),
    Sparse {
        /// Positions, ascending, with their prices.
        codes: Box<[(u32, u32)]>,
        /// Number of prices before each block of [`BLOCK`] positions; limits the binary search to one block.
        before: Box<[u32]>,
    },
}

/// Positions of a block.
const BLOCK: usize = 256;

impl PriceTable {
    /// `find` returns the position and the units per outer of a product; `products` is the number of positions.
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
            let before = (0..=products.div_ceil(BLOCK) + 1)
                .map(|block| codes.partition_point(|(position, _)| (*position as usize) < block * BLOCK) as u32)
                .collect();
            Codes::Sparse { codes: codes.into(), before }
        };
        Self { codes, large }
    }

    /// Returns the positions that have a price, in order.
    pub(super) fn positions(&self) -> impl Iterator<Item = u32> + '_ {
        let (dense, sparse) = match &self.codes {
            Codes::Dense(codes) => (&codes[..], &[][..]),
            Codes::Sparse { codes, .. } => (&[][..], &codes[..]),
        };
        let dense = (0..).zip(dense).filter(|(_, code)| **code != NONE).map(|(position, _)| position);
        dense.chain(sparse.iter().map(|(position, _)| *position))
    }

    /// Returns the price at a position.
    pub(super) fn get(&self, position: u32) -> ContractPrice {
        let code = match &self.codes {
            Codes::Dense(codes) => codes[position as usize],
            Codes::Sparse { codes, before } => {
                let block = position as usize / BLOCK;
                let block = &codes[before[block] as usize..before[block + 1] as usize];
                block.binary_search_by_key(&position, |(position, _)| *position).map_or(NONE, |index| block[index].1)
            }
        };
        match code {
            NONE => ContractPrice::None,
            LARGE => self
                .large
                .binary_search_by_key(&position, |(position, _)| *position)
                .map_or(ContractPrice::None, |index| ContractPrice::Large(self.large[index].1)),
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
            prop_assert!(table.positions().eq(prices.keys().copied().filter(|position| *position < products)));
        }
    }
}

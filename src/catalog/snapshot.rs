//! One version of the catalogue in memory, never changed once built: every answer comes from one committed version.
//!
//! Products stand in byte order of their code, each as prepared JSON (`product`) and as folded text (`search`). What a
//! clinic sees of it is a [`ClinicView`](super::view::ClinicView). A product without a list price is not in it at all.

use super::fixed_decimal;
use super::packed::Packing;
use super::prices::{ContractPrices, PriceTable};
use super::product::{CatalogProduct, Prepared};
use super::search::{Groups, GroupsBuilder, TextIndex, TextIndexBuilder, Texts};
use crate::config::Basis;
use crate::ids::ProductId;
use rust_decimal::Decimal;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use time::OffsetDateTime;

/// Why a catalogue cannot be served. The one before it stays.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    #[error("product {code} came out of order, or twice")]
    OutOfOrder { code: String },
    #[error("product {code} has a number that cannot be listed")]
    BadNumber { code: String },
    #[error("a change of stock names product {0}, which is not in the snapshot")]
    UnknownProduct(ProductId),
    #[error("the catalogue has more products than can be numbered")]
    TooMany,
}

type PriceTables = HashMap<([u8; 32], Basis), Weak<PriceTable>>;

/// The catalogue at one version.
#[derive(Debug)]
pub struct Snapshot {
    pub(super) version: i64,
    pub(super) goods: Arc<Goods>,
    /// In millionths. Apart from the rest, because it moves more often.
    pub(super) stock: Box<[i64]>,
    /// The same for the same stock, in every process.
    pub(super) stock_digest: u64,
}

/// One product's part of the digest of the stock; the parts are added up, so that one can be replaced.
fn stock_digest(product: ProductId, stock: i64) -> u64 {
    // The finaliser of SplitMix64, once for each number.
    let mix = |value: u64| {
        let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    };
    mix(mix(product.0.cast_unsigned().wrapping_add(0x9e37_79b9_7f4a_7c15)) ^ stock.cast_unsigned())
}

/// All but the stock.
#[derive(Debug)]
pub(super) struct Goods {
    pub(super) arena: Vec<u8>,
    pub(super) prepared: Vec<Prepared>,
    pub(super) codes: Texts,
    pub(super) units_per_outer: Vec<Decimal>,
    /// Ascending ids.
    positions: Vec<(ProductId, u32)>,
    /// By position: an index into the names.
    pub(super) categories: Vec<u32>,
    /// In order of appearance.
    pub(super) category_names: Vec<String>,
    pub(super) restricted: Vec<u32>,
    pub(super) withdrawn: Vec<(u32, OffsetDateTime)>,
    pub(super) name_index: TextIndex,
    pub(super) code_index: TextIndex,
    pub(super) category_index: TextIndex,
    pub(super) category_products: Groups,
    pub(super) packing: Packing,
    price_tables: Mutex<PriceTables>,
}

/// Takes products one by one, so that a refresh need not hold them all in two forms.
#[derive(Default)]
pub struct SnapshotBuilder {
    arena: Vec<u8>,
    prepared: Vec<Prepared>,
    codes: Texts,
    units_per_outer: Vec<Decimal>,
    positions: Vec<(ProductId, u32)>,
    categories: Vec<u32>,
    category_numbers: HashMap<String, u32>,
    category_names: Vec<String>,
    restricted: Vec<u32>,
    withdrawn: Vec<(u32, OffsetDateTime)>,
    names: TextIndexBuilder,
    code_texts: TextIndexBuilder,
    category_texts: TextIndexBuilder,
    category_products: GroupsBuilder,
    stock: Vec<i64>,
    stock_digest: u64,
}

impl SnapshotBuilder {
    /// Adds a product. They must come in byte order of their code (`order by code collate "C"`).
    pub fn push(&mut self, product: &CatalogProduct) -> Result<(), BuildError> {
        let code = || product.code.clone();
        if self.codes.last().is_some_and(|last| last >= product.code.as_bytes()) {
            return Err(BuildError::OutOfOrder { code: code() });
        }
        if product.list_price.is_none() {
            return Ok(());
        }
        let position = u32::try_from(self.prepared.len()).map_err(|_| BuildError::TooMany)?;
        let bad_number = || BuildError::BadNumber { code: code() };
        let prepared = Prepared::append(&mut self.arena, product).ok_or_else(bad_number)?;
        let stock = fixed_decimal::from_decimal(product.stock_available).ok_or_else(bad_number)?;
        self.stock.push(stock);
        self.stock_digest = self.stock_digest.wrapping_add(stock_digest(product.id, stock));
        let category = self.category(&product.category);
        self.prepared.push(prepared);
        self.codes.push(&product.code);
        self.units_per_outer.push(product.units_per_outer);
        self.positions.push((product.id, position));
        self.categories.push(category);
        self.category_products.add(category, position);
        self.names.push(&product.name);
        self.code_texts.push_code(&product.code);
        if product.restricted {
            self.restricted.push(position);
        }
        if let Some(at) = product.withdrawn_at {
            self.withdrawn.push((position, at));
        }
        Ok(())
    }

    fn category(&mut self, name: &str) -> u32 {
        if let Some(number) = self.category_numbers.get(name) {
            return *number;
        }
        let number = u32::try_from(self.category_names.len()).unwrap_or(u32::MAX);
        self.category_numbers.insert(name.to_owned(), number);
        self.category_names.push(name.to_owned());
        self.category_texts.push(name);
        number
    }

    /// The finished snapshot. `version` is the catalogue's `data_version` that the products were read at.
    pub fn finish(mut self, version: i64) -> Snapshot {
        let products = self.prepared.len();
        self.arena.shrink_to_fit();
        self.positions.sort_unstable();
        let goods = Goods {
            packing: Packing::new(&self.arena, &self.prepared, &self.stock),
            arena: self.arena,
            prepared: self.prepared,
            codes: self.codes,
            units_per_outer: self.units_per_outer,
            positions: self.positions,
            categories: self.categories,
            category_names: self.category_names,
            restricted: self.restricted,
            withdrawn: self.withdrawn,
            name_index: self.names.finish(),
            code_index: self.code_texts.finish(),
            category_index: self.category_texts.finish(),
            category_products: self.category_products.finish(products),
            price_tables: Mutex::default(),
        };
        Snapshot { version, goods: Arc::new(goods), stock: self.stock.into(), stock_digest: self.stock_digest }
    }
}

impl Snapshot {
    /// Builds from products in any order.
    pub fn build(version: i64, mut products: Vec<CatalogProduct>) -> Result<Self, BuildError> {
        products.sort_unstable_by(|one, other| one.code.cmp(&other.code));
        let mut builder = SnapshotBuilder::default();
        products.iter().try_for_each(|product| builder.push(product))?;
        Ok(builder.finish(version))
    }

    /// The same catalogue with other stock: shares everything else with this one. Products that are not for sale
    /// must not be named.
    pub fn with_stock(&self, version: i64, changes: &[(ProductId, Decimal)]) -> Result<Self, BuildError> {
        let (mut stock, mut digest) = (self.stock.clone(), self.stock_digest);
        for (product, quantity) in changes {
            let position = self.goods.position(*product).ok_or(BuildError::UnknownProduct(*product))? as usize;
            let quantity = fixed_decimal::from_decimal(*quantity).ok_or_else(|| BuildError::BadNumber {
                code: String::from_utf8_lossy(self.goods.codes.get(position)).into_owned(),
            })?;
            digest = digest
                .wrapping_sub(stock_digest(*product, stock[position]))
                .wrapping_add(stock_digest(*product, quantity));
            stock[position] = quantity;
        }
        Ok(Self { version, goods: Arc::clone(&self.goods), stock, stock_digest: digest })
    }

    /// The version of the catalogue in Postgres that this is.
    pub fn version(&self) -> i64 {
        self.version
    }

    /// Products that some clinic may see.
    pub fn product_count(&self) -> usize {
        self.prepared().len()
    }

    /// Bytes held, for metrics; views and their price tables come on top.
    pub fn memory(&self) -> usize {
        let goods = &self.goods;
        let per_product = size_of::<Prepared>() + size_of::<Decimal>() + size_of::<(ProductId, u32)>() + 4 + 8;
        goods.arena.capacity()
            + goods.prepared.len() * per_product
            + goods.codes.memory()
            + goods.name_index.memory()
            + goods.code_index.memory()
            + goods.category_index.memory()
            + goods.category_products.memory()
            + goods.packing.memory()
    }

    fn prepared(&self) -> &[Prepared] {
        &self.goods.prepared
    }
}

impl Goods {
    fn position(&self, product: ProductId) -> Option<u32> {
        let at = self.positions.binary_search_by_key(&product, |(product, _)| *product).ok()?;
        Some(self.positions[at].1)
    }

    /// The prices by position. Clinics with equal prices share one table, for as long as one of them needs it.
    pub(super) fn price_table(&self, prices: &ContractPrices, basis: Basis) -> Arc<PriceTable> {
        let key = (*prices.fingerprint(), basis);
        let known = || self.price_tables.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = known().get(&key).and_then(Weak::upgrade) {
            return table;
        }
        let find = |product| {
            let position = self.position(product)?;
            Some((position, self.units_per_outer[position as usize]))
        };
        let table = Arc::new(PriceTable::new(prices, basis, self.prepared.len(), find));
        let mut known = known();
        known.retain(|_, table| table.strong_count() > 0);
        known.insert(key, Arc::downgrade(&table));
        table
    }
}

#[cfg(test)]
mod tests;

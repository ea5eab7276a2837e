//! One version of the catalogue in memory, immutable: every answer comes from one committed version.
//!
//! A product's position is its rank in byte order of the codes. Products without a list price are left out. What one
//! clinic sees of a snapshot is a [`ClinicView`](super::clinic_view::ClinicView).

use super::fixed_decimal;
use super::fragments::CompressedFragments;
use super::prices::{ContractPrices, PriceTable};
use super::product::{CatalogProduct, ProductTemplate};
use super::search::{Groups, TextIndex, TextIndexBuilder, Texts};
use crate::config::Basis;
use crate::ids::ProductId;
use rust_decimal::Decimal;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use time::OffsetDateTime;

/// The reason why a catalogue cannot be served. The version before it stays in service.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    #[error("product {code} came out of order, or twice")]
    OutOfOrder { code: String },
    #[error("product {code} has a number out of range")]
    BadNumber { code: String },
    #[error("a stock change names product {0}, which is not in the snapshot")]
    UnknownProduct(ProductId),
    #[error("the catalogue has more than 2^32 products")]
    TooMany,
}

type PriceTables = HashMap<([u8; 32], Basis), Weak<PriceTable>>;

/// The catalogue at one version.
#[derive(Debug)]
pub struct Snapshot {
    /// The catalogue's `data_version` in Postgres; 0 if no catalogue was imported.
    pub(super) version: i64,
    pub(super) products: Arc<ProductTable>,
    /// Free stock by position, in millionths. Separate from the products, because stock changes more often.
    pub(super) stock: Box<[i64]>,
    /// Equal for equal stock, in every process.
    pub(super) stock_digest: u64,
}

/// Returns one product's part of the stock digest. The digest is the sum of all parts, so one part can be replaced.
fn stock_digest(product: ProductId, stock: i64) -> u64 {
    // The finaliser of SplitMix64, once for each number.
    let mix = |value: u64| {
        let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    };
    mix(mix(product.0.cast_unsigned().wrapping_add(0x9e37_79b9_7f4a_7c15)) ^ stock.cast_unsigned())
}

/// The products of a snapshot, without their stock.
#[derive(Debug)]
pub(super) struct ProductTable {
    pub(super) rows: ProductRows,
    pub(super) name_index: TextIndex,
    pub(super) code_index: TextIndex,
    pub(super) category_index: TextIndex,
    pub(super) category_products: Groups,
    pub(super) fragments: CompressedFragments,
    price_tables: Mutex<PriceTables>,
}

/// The products in order. Vectors are indexed by position unless stated otherwise.
#[derive(Debug, Default)]
pub(super) struct ProductRows {
    /// The JSON parts that the templates locate.
    pub(super) json: Vec<u8>,
    pub(super) templates: Vec<ProductTemplate>,
    pub(super) codes: Texts,
    pub(super) units_per_outer: Vec<Decimal>,
    /// In ascending order of id.
    positions: Vec<(ProductId, u32)>,
    /// Indices into `category_names`.
    pub(super) categories: Vec<u32>,
    /// In order of first use.
    pub(super) category_names: Vec<String>,
    /// Positions of the restricted products.
    pub(super) restricted: Vec<u32>,
    /// Positions of the withdrawn products, ascending, and when they were withdrawn.
    pub(super) withdrawn: Vec<(u32, OffsetDateTime)>,
}

/// Builds a snapshot from products one by one, so that they need not be in memory in two forms.
#[derive(Default)]
pub struct SnapshotBuilder {
    rows: ProductRows,
    category_numbers: HashMap<String, u32>,
    name_index: TextIndexBuilder,
    code_index: TextIndexBuilder,
    category_index: TextIndexBuilder,
    stock: Vec<i64>,
    stock_digest: u64,
}

impl SnapshotBuilder {
    pub fn new() -> Self {
        Self { code_index: TextIndexBuilder::for_codes(), ..Self::default() }
    }

    /// Adds a product. Products must come in byte order of their code (`order by code collate "C"`).
    pub fn push(&mut self, product: &CatalogProduct) -> Result<(), BuildError> {
        let code = || product.code.clone();
        if self.rows.codes.last().is_some_and(|last| last >= product.code.as_bytes()) {
            return Err(BuildError::OutOfOrder { code: code() });
        }
        if product.list_price.is_none() {
            return Ok(());
        }
        let position = u32::try_from(self.rows.templates.len()).map_err(|_| BuildError::TooMany)?;
        let bad_number = || BuildError::BadNumber { code: code() };
        let template = ProductTemplate::append(&mut self.rows.json, product).ok_or_else(bad_number)?;
        let stock = fixed_decimal::from_decimal(product.stock_available).ok_or_else(bad_number)?;
        self.stock.push(stock);
        self.stock_digest = self.stock_digest.wrapping_add(stock_digest(product.id, stock));
        let category = self.category(&product.category);
        self.rows.templates.push(template);
        self.rows.codes.push(&product.code);
        self.rows.units_per_outer.push(product.units_per_outer);
        self.rows.positions.push((product.id, position));
        self.rows.categories.push(category);
        self.name_index.push(&product.name);
        self.code_index.push(&product.code);
        if product.restricted {
            self.rows.restricted.push(position);
        }
        if let Some(withdrawn_at) = product.withdrawn_at {
            self.rows.withdrawn.push((position, withdrawn_at));
        }
        Ok(())
    }

    /// Returns the number of a category; adds a new category.
    fn category(&mut self, name: &str) -> u32 {
        if let Some(number) = self.category_numbers.get(name) {
            return *number;
        }
        let number = u32::try_from(self.rows.category_names.len()).unwrap_or(u32::MAX);
        self.category_numbers.insert(name.to_owned(), number);
        self.rows.category_names.push(name.to_owned());
        self.category_index.push(name);
        number
    }

    /// Builds the snapshot on two threads: seconds for a million products. `version` is the catalogue's `data_version`
    /// at which the products were read.
    pub fn finish(mut self, version: i64) -> Snapshot {
        self.rows.json.shrink_to_fit();
        self.rows.codes.shrink_to_fit();
        self.rows.positions.sort_unstable();
        let name_index = self.name_index;
        let (name_index, code_index, fragments) = std::thread::scope(|scope| {
            // The index of the names takes about as long as the other two together.
            let name_index = scope.spawn(|| name_index.finish());
            let code_index = self.code_index.finish();
            let fragments = CompressedFragments::new(&self.rows.json, &self.rows.templates, &self.stock);
            (name_index.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), code_index, fragments)
        });
        let products = ProductTable {
            category_products: Groups::new(&self.rows.categories),
            category_index: self.category_index.finish(),
            name_index,
            code_index,
            fragments,
            rows: self.rows,
            price_tables: Mutex::default(),
        };
        Snapshot { version, products: Arc::new(products), stock: self.stock.into(), stock_digest: self.stock_digest }
    }
}

impl Snapshot {
    /// Builds from products in any order.
    #[cfg(test)]
    pub(super) fn build(version: i64, mut products: Vec<CatalogProduct>) -> Result<Self, BuildError> {
        products.sort_unstable_by(|one, other| one.code.cmp(&other.code));
        let mut builder = SnapshotBuilder::new();
        products.iter().try_for_each(|product| builder.push(product))?;
        Ok(builder.finish(version))
    }

    /// Returns the same products with changed stock, sharing everything but the stock with this snapshot. Fails if a
    /// change names a product that is not in the snapshot.
    pub fn with_stock(&self, changes: &[(ProductId, Decimal)]) -> Result<Self, BuildError> {
        let (mut stock, mut digest) = (self.stock.clone(), self.stock_digest);
        for (product, quantity) in changes {
            let position = self.products.position(*product).ok_or(BuildError::UnknownProduct(*product))? as usize;
            let quantity = fixed_decimal::from_decimal(*quantity).ok_or_else(|| BuildError::BadNumber {
                code: String::from_utf8_lossy(self.products.rows.codes.get(position)).into_owned(),
            })?;
            digest = digest
                .wrapping_sub(stock_digest(*product, stock[position]))
                .wrapping_add(stock_digest(*product, quantity));
            stock[position] = quantity;
        }
        Ok(Self { version: self.version, products: Arc::clone(&self.products), stock, stock_digest: digest })
    }

    /// Returns the number of products with a list price.
    pub fn product_count(&self) -> usize {
        self.products.rows.templates.len()
    }

    /// Returns the bytes held, for metrics, without views and price tables.
    pub fn memory(&self) -> usize {
        let products = &self.products;
        let per_product = size_of::<ProductTemplate>() + size_of::<Decimal>() + size_of::<(ProductId, u32)>() + 4 + 8;
        products.rows.json.capacity()
            + self.product_count() * per_product
            + products.rows.codes.memory()
            + products.name_index.memory()
            + products.code_index.memory()
            + products.category_index.memory()
            + products.category_products.memory()
            + products.fragments.memory()
    }
}

impl ProductTable {
    fn position(&self, product: ProductId) -> Option<u32> {
        let index = self.rows.positions.binary_search_by_key(&product, |(product, _)| *product).ok()?;
        Some(self.rows.positions[index].1)
    }

    /// Returns the prices by position. Views with equal prices share one table while at least one of them exists.
    pub(super) fn price_table(&self, prices: &ContractPrices, basis: Basis) -> Arc<PriceTable> {
        let key = (prices.fingerprint, basis);
        let tables = || self.price_tables.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = tables().get(&key).and_then(Weak::upgrade) {
            return table;
        }
        let find = |product| {
            let position = self.position(product)?;
            Some((position, self.rows.units_per_outer[position as usize]))
        };
        let table = Arc::new(PriceTable::new(prices, basis, self.rows.templates.len(), find));
        let mut tables = tables();
        tables.retain(|_, table| table.strong_count() > 0);
        tables.insert(key, Arc::downgrade(&table));
        table
    }
}

#[cfg(test)]
mod tests;

//! The catalogue: imported into Postgres, served from memory.
//!
//! Every answer comes from one committed version, held as an immutable snapshot that is swapped as a whole. If a newer
//! version cannot be read, the last one stays in service. Without any imported catalogue every request fails: an empty
//! product list would make ezyVet unlink the clinic's products (SPSI.md 1).
//!
//! Modules build on each other in one direction: `product`, `prices`, `search`, `gzip` (encoders and indexes) <-
//! `fragments` <- `snapshot` (immutable data) <- `clinic_view` (what one clinic sees) <- `answer` (one response) <-
//! `gzip_answer`; `store` reads Postgres; this module keeps the current snapshot.
//!
//! Changes go through `import` (checks, staging, merge): whole files by `imports`, single products by `products`, contract
//! prices by `price_lists`. Each of them holds the import lock and raises the version, so running servers load the result.

mod answer;
#[cfg(test)]
mod arbitrary;
mod clinic_view;
pub mod export;
mod fixed_decimal;
pub mod fold;
mod fragments;
mod gzip;
mod gzip_answer;
pub mod http;
pub mod import;
pub mod imports;
pub mod offers;
mod position_set;
pub mod price_lists;
mod prices;
mod product;
pub mod products;
mod query;
pub mod search;
mod snapshot;
mod store;

use crate::clinics::cache::CachedClinic;
use crate::db::Pool;
use crate::ids::ClinicId;
use arc_swap::ArcSwapOption;
use clinic_view::{ClinicScope, ClinicView, ClinicViews, ScopeRules};
use prices::ContractPrices;
use product::BodySettings;
use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;
use time::{Date, OffsetDateTime};

pub use store::LoadError;

/// The reason why a request gets no answer.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    #[error("the catalogue has not been loaded yet")]
    NotLoaded,
    #[error("no catalogue has been imported yet")]
    NeverImported,
}

/// A clinic's cache entry, and the rules derived from it.
type CachedScope = (Arc<CachedClinic>, Arc<ClinicScope>);

/// One loaded version, with the contract prices of one day.
struct LoadedCatalog {
    views: ClinicViews,
    /// The day on which the contract prices are valid.
    day: Date,
    price_lists: HashMap<i64, Arc<ContractPrices>>,
    own_prices: HashMap<ClinicId, Arc<ContractPrices>>,
    /// The rules of each clinic; valid while the clinic cache holds the same entry.
    scopes: RwLock<HashMap<ClinicId, CachedScope>>,
    stock: Mutex<StockCursor>,
}

/// How far the stock movements have been read.
#[derive(Clone, Copy)]
struct StockCursor {
    /// The stock includes all transactions with a lower id.
    horizon: i64,
    read_at: OffsetDateTime,
    pruned_at: OffsetDateTime,
}

/// A process that has not read stock movements for this long loads the whole catalogue again. Postgres keeps movements
/// for twice this time.
const STOCK_MOVES_VALID_FOR: time::Duration = time::Duration::minutes(30);

/// The catalogue in memory. Cheap to clone.
#[derive(Clone)]
pub struct Catalog {
    loaded: Arc<ArcSwapOption<LoadedCatalog>>,
    /// Epoch seconds.
    checked_at: Arc<AtomicI64>,
    pool: Pool,
}

impl Catalog {
    /// Creates an empty catalogue; [`Catalog::refresh`] loads it.
    pub fn new(pool: Pool) -> Self {
        Self { loaded: Arc::default(), checked_at: Arc::default(), pool }
    }

    /// Returns what the clinic sees at `now`.
    pub fn view(&self, clinic: &Arc<CachedClinic>, now: OffsetDateTime) -> Result<Arc<ClinicView>, CatalogError> {
        let loaded = self.loaded.load();
        let loaded = loaded.as_ref().ok_or(CatalogError::NotLoaded)?;
        // After the roll-back of the only import there is no catalogue again.
        if loaded.views.snapshot.version == 0 || loaded.views.snapshot.product_count() == 0 {
            return Err(CatalogError::NeverImported);
        }
        Ok(loaded.views.view(&loaded.scope(clinic), now))
    }

    /// Returns the loaded version and its number of products. `None` before the first load.
    pub fn version(&self) -> Option<(i64, usize)> {
        let loaded = self.loaded.load();
        let snapshot = &loaded.as_ref()?.views.snapshot;
        Some((snapshot.version, snapshot.product_count()))
    }

    /// Returns when the loaded version was last compared with Postgres, in epoch seconds.
    pub fn checked_at(&self) -> i64 {
        self.checked_at.load(Ordering::Relaxed)
    }

    /// Loads the catalogue if there is a newer version, or if the day has changed and with it the valid prices. Otherwise
    /// reads the stock movements. An error leaves the loaded version in service.
    pub async fn refresh(&self, now: OffsetDateTime) -> Result<(), LoadError> {
        let newest = store::version(&self.pool).await?;
        let is_current = self
            .loaded
            .load()
            .as_ref()
            .is_some_and(|loaded| loaded.views.snapshot.version == newest && loaded.day == now.date());
        if !is_current || !self.refresh_stock(now).await? {
            self.load(now).await?;
        }
        self.checked_at.store(now.unix_timestamp(), Ordering::Relaxed);
        metrics::gauge!("spsi_catalog_checked_timestamp_seconds").set(now.unix_timestamp() as f64);
        Ok(())
    }

    /// Loads the whole catalogue.
    async fn load(&self, now: OffsetDateTime) -> Result<(), LoadError> {
        let started = Instant::now();
        let data = store::load(&self.pool, now.date()).await?;
        let (version, products) = (data.snapshot.version, data.snapshot.product_count());
        let seconds = started.elapsed().as_secs_f64();
        tracing::info!(version, products, seconds, "catalogue loaded");
        metrics::gauge!("spsi_catalog_version").set(version as f64);
        metrics::gauge!("spsi_catalog_products").set(products as f64);
        metrics::gauge!("spsi_catalog_snapshot_bytes").set(data.snapshot.memory() as f64);
        metrics::gauge!("spsi_catalog_load_duration_seconds").set(seconds);
        let fresh = Arc::new(LoadedCatalog {
            views: ClinicViews::new(Arc::new(data.snapshot)),
            day: now.date(),
            price_lists: data.price_lists,
            own_prices: data.own_prices,
            scopes: RwLock::default(),
            stock: Mutex::new(StockCursor { horizon: data.stock_horizon, read_at: now, pruned_at: now }),
        });
        // Of two concurrent loads, the one with the newer version wins.
        self.loaded.rcu(|current| match current {
            Some(current) if current.views.snapshot.version > version => Some(Arc::clone(current)),
            _ => Some(Arc::clone(&fresh)),
        });
        Ok(())
    }

    /// Applies the stock movements since the last refresh with at most one swap. Returns false if the whole catalogue must
    /// be loaded again.
    async fn refresh_stock(&self, now: OffsetDateTime) -> Result<bool, LoadError> {
        let Some(loaded) = self.loaded.load_full() else { return Ok(false) };
        let cursor = *loaded.stock.lock().unwrap_or_else(PoisonError::into_inner);
        if now - cursor.read_at > STOCK_MOVES_VALID_FOR {
            return Ok(false);
        }
        let moved = store::moved_stock(&self.pool, cursor.horizon).await?;
        let must_prune = now - cursor.pruned_at > STOCK_MOVES_VALID_FOR;
        if must_prune {
            store::prune_moves(&self.pool, now - STOCK_MOVES_VALID_FOR * 2).await?;
            imports::prune(&self.pool, now).await?;
        }
        let pruned_at = if must_prune { now } else { cursor.pruned_at };
        let cursor = StockCursor { horizon: moved.stock_horizon, read_at: now, pruned_at };
        let snapshot = &loaded.views.snapshot;
        // A product that was imported after the snapshot is unknown: the newer version must be loaded.
        let Ok(fresh) = snapshot.with_stock(&moved.changes) else { return Ok(false) };
        if fresh.stock_digest == snapshot.stock_digest {
            *loaded.stock.lock().unwrap_or_else(PoisonError::into_inner) = cursor;
        } else {
            let fresh = LoadedCatalog {
                views: loaded.views.with_stock_of(&Arc::new(fresh)),
                day: loaded.day,
                price_lists: loaded.price_lists.clone(),
                own_prices: loaded.own_prices.clone(),
                scopes: RwLock::new(loaded.scopes.read().unwrap_or_else(PoisonError::into_inner).clone()),
                stock: Mutex::new(cursor),
            };
            // If another refresh has swapped in the meantime, its stock is newer or the next refresh reads it.
            self.loaded.compare_and_swap(&Some(loaded), Some(Arc::new(fresh)));
            metrics::counter!("spsi_catalog_stock_swaps_total").increment(1);
        }
        Ok(true)
    }

    /// Clears the cached rules and views, because clinics have changed.
    pub fn forget_clinics(&self) {
        if let Some(loaded) = self.loaded.load().as_ref() {
            loaded.scopes.write().unwrap_or_else(PoisonError::into_inner).clear();
            loaded.views.clear();
        }
    }
}

impl LoadedCatalog {
    /// Returns the rules of the clinic, cached.
    fn scope(&self, clinic: &Arc<CachedClinic>) -> Arc<ClinicScope> {
        let CachedClinic { row, settings } = &**clinic;
        let scopes = self.scopes.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((cached, scope)) = scopes.get(&row.id)
            && Arc::ptr_eq(cached, clinic)
        {
            return Arc::clone(scope);
        }
        drop(scopes);
        let scope = Arc::new(ClinicScope::new(ScopeRules {
            hidden_categories: row.hidden_categories.clone(),
            hidden_products: row.hidden_products.clone(),
            only_categories: row.only_categories.clone(),
            only_products: row.only_products.clone(),
            restricted_licence: row.restricted_licence,
            price_list: row.price_list_id.and_then(|list| self.price_lists.get(&list).cloned()),
            own_prices: self.own_prices.get(&row.id).cloned(),
            withdrawn_for: settings.withdrawn_for,
            settings: BodySettings {
                price_basis: settings.price_basis,
                missing_contract_price: settings.missing_contract_price,
                barcode: settings.barcode,
            },
        }));
        let mut scopes = self.scopes.write().unwrap_or_else(PoisonError::into_inner);
        scopes.insert(row.id, (Arc::clone(clinic), Arc::clone(&scope)));
        scope
    }
}

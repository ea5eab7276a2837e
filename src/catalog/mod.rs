//! The catalogue: imported into Postgres, served from memory.
//!
//! Every answer comes from one committed version, held as an immutable snapshot that is swapped whole. When a newer
//! version cannot be read, the last one stays. While nothing was ever imported there is no answer at all: an empty list
//! would make ezyVet unlink products (SPSI.md 1).

mod answer;
#[cfg(test)]
mod arbitrary;
pub mod export;
mod fixed_decimal;
pub mod fold;
mod gzip;
pub mod http;
pub mod import;
pub mod offers;
mod packed;
mod position_set;
mod prices;
mod product;
mod query;
pub mod search;
mod snapshot;
mod store;
mod view;

use crate::clinics::cache::CachedClinic;
use crate::ids::ClinicId;
use arc_swap::ArcSwapOption;
use prices::ContractPrices;
use snapshot::Snapshot;
use sqlx::PgPool;
use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;
use time::{Date, OffsetDateTime};
use view::{ClinicScope, ClinicView, ScopeRules, Views};

pub use store::{LoadError, ProductRow, list};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    #[error("the catalogue has not been loaded yet")]
    NotLoaded,
    #[error("no catalogue has been imported yet")]
    NeverImported,
}

/// A version with what clinics pay in it.
struct Loaded {
    views: Views,
    /// The day whose prices these are.
    day: Date,
    price_lists: HashMap<i64, Arc<ContractPrices>>,
    own_prices: HashMap<ClinicId, Arc<ContractPrices>>,
    /// Rules by clinic, kept for as long as its entry in the clinic_cache is the same one.
    scopes: RwLock<HashMap<ClinicId, Known>>,
    stock: Mutex<StockSeen>,
}

/// How far the moves of stock have been read.
#[derive(Clone, Copy)]
struct StockSeen {
    /// A transaction: all before it are in the snapshot.
    until: i64,
    at: OffsetDateTime,
    pruned_at: OffsetDateTime,
}

/// Moves are kept for twice as long as a process may be without them before it reads everything afresh.
const STOCK_MOVES_GOOD_FOR: time::Duration = time::Duration::minutes(30);

/// A clinic's entry in the clinic_cache, and the rules worked out from it.
type Known = (Arc<CachedClinic>, Arc<ClinicScope>);

/// The catalogue in memory. Cheap to clone.
#[derive(Clone)]
pub struct Catalog {
    loaded: Arc<ArcSwapOption<Loaded>>,
    /// Epoch seconds.
    checked: Arc<AtomicI64>,
    pool: PgPool,
}

impl Catalog {
    /// Nothing is loaded before the first [`Catalog::refresh`].
    pub fn new(pool: PgPool) -> Self {
        Self { loaded: Arc::default(), checked: Arc::default(), pool }
    }

    /// What the clinic sees now.
    pub fn view(&self, member: &Arc<CachedClinic>, now: OffsetDateTime) -> Result<Arc<ClinicView>, CatalogError> {
        let loaded = self.loaded.load();
        let loaded = loaded.as_ref().ok_or(CatalogError::NotLoaded)?;
        if loaded.views.snapshot().version() == 0 {
            return Err(CatalogError::NeverImported);
        }
        Ok(loaded.views.view(&loaded.scope(member), now))
    }

    /// The version that is served, and how many products it has; nothing before the first load.
    pub fn version(&self) -> Option<(i64, usize)> {
        self.loaded
            .load()
            .as_ref()
            .map(|loaded| (loaded.views.snapshot().version(), loaded.views.snapshot().product_count()))
    }

    /// When what is served was last found to be what Postgres holds, in epoch seconds.
    pub fn checked_at(&self) -> i64 {
        self.checked.load(Ordering::Relaxed)
    }

    /// Loads the catalogue again if there is a newer version, or if the day has changed and other prices may hold. An
    /// error leaves the present version in place.
    pub async fn refresh(&self, now: OffsetDateTime) -> Result<(), LoadError> {
        self.catch_up(now).await?;
        self.checked.store(now.unix_timestamp(), Ordering::Relaxed);
        metrics::gauge!("spsi_catalog_checked_timestamp_seconds").set(now.unix_timestamp() as f64);
        Ok(())
    }

    async fn catch_up(&self, now: OffsetDateTime) -> Result<(), LoadError> {
        let newest = store::version(&self.pool).await?;
        if self
            .loaded
            .load()
            .as_ref()
            .is_some_and(|loaded| loaded.views.snapshot().version() == newest && loaded.day == now.date())
            && self.refresh_stock(now).await?
        {
            return Ok(());
        }
        let began = Instant::now();
        let reading = store::load(&self.pool, now.date()).await?;
        let snapshot = Arc::new(reading.snapshot);
        let (version, products) = (snapshot.version(), snapshot.product_count());
        let seconds = began.elapsed().as_secs_f64();
        tracing::info!(version, products, seconds, "catalogue loaded");
        metrics::gauge!("spsi_catalog_version").set(version as f64);
        metrics::gauge!("spsi_catalog_products").set(products as f64);
        metrics::gauge!("spsi_catalog_snapshot_bytes").set(snapshot.memory() as f64);
        metrics::gauge!("spsi_catalog_load_duration_seconds").set(seconds);
        let stock = StockSeen { until: reading.seen, at: now, pruned_at: now };
        self.swap(snapshot, now.date(), reading.price_lists, reading.own_prices, stock);
        Ok(())
    }

    /// Takes over the stock that has moved since the last look: however many orders there were, the snapshot is swapped
    /// once. False when everything must be read afresh.
    async fn refresh_stock(&self, now: OffsetDateTime) -> Result<bool, LoadError> {
        let Some(loaded) = self.loaded.load_full() else { return Ok(false) };
        let seen = *loaded.stock.lock().unwrap_or_else(PoisonError::into_inner);
        if now - seen.at > STOCK_MOVES_GOOD_FOR {
            return Ok(false);
        }
        let reading = store::moved_stock(&self.pool, seen.until).await?;
        let prune = now - seen.pruned_at > STOCK_MOVES_GOOD_FOR;
        if prune {
            store::prune_moves(&self.pool, now - STOCK_MOVES_GOOD_FOR * 2).await?;
        }
        let read = StockSeen { until: reading.seen, at: now, pruned_at: if prune { now } else { seen.pruned_at } };
        let snapshot = loaded.views.snapshot();
        // A product that was put up for sale a moment ago comes with the next version.
        let Ok(moved) = snapshot.with_stock(snapshot.version(), &reading.changes) else { return Ok(false) };
        if moved.stock_digest == snapshot.stock_digest {
            *loaded.stock.lock().unwrap_or_else(PoisonError::into_inner) = read;
        } else {
            let fresh = Loaded {
                views: loaded.views.with_stock_of(&Arc::new(moved)),
                day: loaded.day,
                price_lists: loaded.price_lists.clone(),
                own_prices: loaded.own_prices.clone(),
                scopes: RwLock::new(loaded.scopes.read().unwrap_or_else(PoisonError::into_inner).clone()),
                stock: Mutex::new(read),
            };
            // Whoever swapped meanwhile has read later, or will read again.
            self.loaded.compare_and_swap(&Some(loaded), Some(Arc::new(fresh)));
            metrics::counter!("spsi_catalog_stock_swaps_total").increment(1);
        }
        Ok(true)
    }

    fn swap(
        &self,
        snapshot: Arc<Snapshot>,
        day: Date,
        price_lists: HashMap<i64, Arc<ContractPrices>>,
        own_prices: HashMap<ClinicId, Arc<ContractPrices>>,
        stock: StockSeen,
    ) {
        let (views, scopes, stock) = (Views::new(snapshot), RwLock::default(), Mutex::new(stock));
        let fresh = Arc::new(Loaded { views, day, price_lists, own_prices, scopes, stock });
        // Two loads may overtake each other: the newer version stays.
        self.loaded.rcu(|current| match current {
            Some(current) if current.views.snapshot().version() > fresh.views.snapshot().version() => {
                Some(Arc::clone(current))
            }
            _ => Some(Arc::clone(&fresh)),
        });
    }

    /// Forgets what was worked out for clinics, because some have changed.
    pub fn forget_clinics(&self) {
        if let Some(loaded) = self.loaded.load().as_ref() {
            loaded.scopes.write().unwrap_or_else(PoisonError::into_inner).clear();
            loaded.views.retain([]);
        }
    }
}

impl Loaded {
    fn scope(&self, member: &Arc<CachedClinic>) -> Arc<ClinicScope> {
        let row = &member.row;
        let scopes = self.scopes.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, scope)) = scopes.get(&row.id)
            && Arc::ptr_eq(known, member)
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
            settings: (&member.settings).into(),
        }));
        let mut scopes = self.scopes.write().unwrap_or_else(PoisonError::into_inner);
        scopes.insert(row.id, (Arc::clone(member), Arc::clone(&scope)));
        scope
    }
}

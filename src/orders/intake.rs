//! Places purchase orders: collects the terms, decides, stores the order if the terms still hold, and answers.
//!
//! The first attempt takes its terms from memory and holds no lock. The statement that stores the order compares the
//! versions that the terms were read at with Postgres and stores nothing if one has changed (optimistic locking,
//! [`store::insert`]). [`BatchWriter`] lets orders that arrive together share this statement and its commit.
//!
//! The second attempt reads everything from Postgres under locks. An order needs it if it was submitted before, if a
//! product is not plainly for sale, if stock decides (`rule_stock_short` is `hold` or `decline`), or if memory was stale.
//!
//! If the order hook decides (`rule_ask=hook`), the loop calls it between two attempts, while no transaction is open. The
//! attempt after the call reads the terms again: an order that the rules no longer accept is decided by the rules.
//!
//! Where stock only adds a note, the first attempt uses the stock that clinics are shown (up to `SPSI_REFRESH` old, five
//! times that under a flood of orders) less what this process has reserved since. A note may therefore miss what another
//! process sold in that time. Reservations never do: they are added up from the order lines.

use super::answer::Reply;
use super::batch_writer::BatchWriter;
use super::decide::{ClinicTerms, ExpectedVersions, ProductTerms, Terms, Verdict, is_address};
use super::hook::{Consulted, OrderHook};
use super::read::OrderRequest;
use super::recent_reservations::RecentReservations;
use super::revisions::{self, Revised};
use super::store::{self, LockMode, NewOrder};
use super::{OrderError, ask, number};
use crate::catalog::Catalog;
use crate::catalog::offers::Offers;
use crate::clinics::cache::CachedClinic;
use crate::config::{AskRule, RuleAction};
use crate::db::Pool;
use crate::events::Doorbell;
use crate::ids::ClinicId;
use sqlx::{Postgres, Transaction};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use time::OffsetDateTime;

/// Order numbers that a process draws from the sequence at a time. Numbers that it has not used when it ends are lost.
const NUMBERS_PER_DRAW: i32 = 64;
/// Cached shipping addresses. A full cache is emptied.
const MAX_CACHED_ADDRESSES: usize = 10_000;

/// Places orders. Cheap to clone; clones share their caches.
#[derive(Clone)]
pub struct Intake {
    pool: Pool,
    catalog: Catalog,
    batch_writer: BatchWriter,
    doorbell: Doorbell,
    hook: OrderHook,
    cache: Arc<Cache>,
}

#[derive(Default)]
struct Cache {
    /// Numbers drawn from the sequence and not used yet.
    numbers: Mutex<VecDeque<i64>>,
    /// Whether staff have mapped a shipping address, as of the last query.
    mapped_addresses: Mutex<HashMap<(ClinicId, String), bool>>,
    recent_reservations: RecentReservations,
}

/// How an order came to its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// Stored with terms from memory.
    Fast,
    /// Stored with terms read under locks.
    Locked,
    /// Stored as a revision of an earlier submission.
    Revised,
    /// Submitted before with the same content: not stored again.
    Repeated,
}

impl Path {
    /// The label of the metric `spsi_orders_stored_total`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Locked => "locked",
            Self::Revised => "revised",
            Self::Repeated => "repeated",
        }
    }
}

/// The answer to an order that is committed.
#[derive(Debug)]
pub struct Placed {
    pub reply: Reply,
    pub path: Path,
}

impl Intake {
    /// Stores each order in a statement of its own, over the connections that `pool` may have.
    pub fn new(pool: Pool, catalog: Catalog) -> Self {
        let batch_writer = BatchWriter::new(&pool, pool.max_connections(), 1);
        let doorbell = Doorbell::new(pool.clone());
        Self { pool, catalog, batch_writer, doorbell, hook: OrderHook::disabled(), cache: Arc::default() }
    }

    /// Calls this hook for clinics with `rule_ask=hook`.
    pub fn with_hook(self, hook: OrderHook) -> Self {
        Self { hook, ..self }
    }

    /// Returns an intake that shares this one's caches, with a batch writer of its own: up to `connections` connections,
    /// up to `max_orders` orders in a statement. Each HTTP thread has one.
    pub fn with_batch_writer(&self, connections: u32, max_orders: usize) -> Self {
        Self { batch_writer: BatchWriter::new(&self.pool, connections, max_orders), ..self.clone() }
    }

    /// Decides about an order, stores it and returns its answer. If the order is known, returns the first answer again or
    /// stores a revision (SPSI.md 5.11).
    pub async fn place(
        &self,
        now: OffsetDateTime,
        clinic: &Arc<CachedClinic>,
        order: &Arc<OrderRequest>,
    ) -> Result<Placed, OrderError> {
        match clinic.settings.rule_ask {
            AskRule::Off | AskRule::Ask => self.place_now(now, clinic, order).await,
            AskRule::Hook => Box::pin(self.place_with_hook(now, clinic, order)).await,
        }
    }

    /// Places an order about which the order hook decides. Copies of an order that arrive meanwhile wait for the first one,
    /// and get its answer. The order is placed to the end if the caller stops waiting: the hook has decided it, and may have stored that.
    async fn place_with_hook(
        &self,
        now: OffsetDateTime,
        clinic: &Arc<CachedClinic>,
        order: &Arc<OrderRequest>,
    ) -> Result<Placed, OrderError> {
        let (intake, clinic, order) = (self.clone(), Arc::clone(clinic), Arc::clone(order));
        let placing = tokio::spawn(async move {
            let _lock = intake.hook.lock_order(clinic.row.id, &order.ezyvet_id).await;
            intake.place_now(now, &clinic, &order).await
        });
        // The task fails only by a panic, which is logged.
        placing.await.unwrap_or(Err(OrderError::Database(sqlx::Error::WorkerCrashed)))
    }

    async fn place_now(
        &self,
        now: OffsetDateTime,
        clinic: &Arc<CachedClinic>,
        order: &Arc<OrderRequest>,
    ) -> Result<Placed, OrderError> {
        let mut sequence = self.draw_number().await?;
        let mut locks: Option<Transaction<'static, Postgres>> = None;
        // The order hook is called at most once; its answer serves every further attempt.
        let mut hook: Option<Consulted> = None;
        loop {
            // What is rare is boxed, which keeps the future of every order small.
            let (terms, path) = match &mut locks {
                None => (self.terms_from_memory(now, clinic, order).await?, Path::Fast),
                Some(locks) => {
                    (Some(Box::pin(store::read_terms(locks, clinic, order, now.date())).await?), Path::Locked)
                }
            };
            match terms.map(|terms| (ask::decide(now, order, &terms, &clinic.settings, hook.as_ref()), terms)) {
                Some((Some(decision), terms)) => {
                    let number = number::format(sequence.unsigned_abs());
                    let new = NewOrder::new(now, clinic, order, &terms, decision, number);
                    let reply = new.reply.clone();
                    if self.store(new, locks.take()).await? {
                        return Ok(Placed { reply, path });
                    }
                    self.forget_address(clinic, order);
                    if path == Path::Locked {
                        // A copy was stored meanwhile, or the number exists (a sequence restored from an old backup).
                        sequence = self.draw_number().await?;
                    }
                }
                // The hook must be called, but not about an order that is known. Locks are held only if it is not.
                Some((None, _)) => {
                    let id = &order.ezyvet_id;
                    let is_known = locks.is_none() && Box::pin(store::is_known(&self.pool, clinic.row.id, id)).await?;
                    if !is_known {
                        hook = Some(Box::pin(self.call_hook(now, clinic, order, locks.take())).await?);
                        continue;
                    }
                }
                None => {}
            }
            // The terms no longer hold, the order is known, or memory does not suffice: continue under locks.
            let mut transaction = Box::pin(self.lock(clinic, order)).await?;
            match Box::pin(revisions::find(&mut transaction, clinic.row.id, &order.ezyvet_id)).await? {
                None => locks = Some(transaction),
                Some(existing) if existing.has_same_content(order) => {
                    self.return_number(sequence);
                    return Ok(Placed { reply: existing.first_reply(), path: Path::Repeated });
                }
                Some(existing) => {
                    let revised = revisions::revise(&mut transaction, now, clinic, order, existing, hook.as_ref());
                    match Box::pin(revised).await.inspect_err(|_| self.return_number(sequence))? {
                        Revised::Stored(reply) => {
                            transaction.commit().await?;
                            self.return_number(sequence);
                            return Ok(Placed { reply, path: Path::Revised });
                        }
                        Revised::NeedsHook => {
                            hook = Some(Box::pin(self.call_hook(now, clinic, order, Some(transaction))).await?);
                        }
                        Revised::Conflict => {}
                    }
                }
            }
        }
    }

    /// Stores a decided order: in a batch, or under `locks`. Returns false if it was not stored ([`store::insert`]).
    async fn store(&self, new: NewOrder, locks: Option<Transaction<'static, Postgres>>) -> Result<bool, OrderError> {
        let (order, verdict) = (Arc::clone(&new.order), new.decision.verdict);
        let stored = match locks {
            None => self.batch_writer.store(new).await?,
            Some(mut locks) => {
                let stored = Box::pin(store::insert_one(&mut locks, &new)).await?;
                locks.commit().await?;
                self.doorbell.ring();
                stored
            }
        };
        let Some(transaction_id) = stored else { return Ok(false) };
        if verdict != Verdict::Declined {
            let lines = order.lines.iter().map(|line| (&*line.supplier_code, line.quantity));
            self.cache.recent_reservations.add(transaction_id, lines);
        }
        Ok(true)
    }

    /// Calls the order hook, after the transaction has ended: no lock is held while the supplier's system thinks.
    async fn call_hook(
        &self,
        now: OffsetDateTime,
        clinic: &CachedClinic,
        order: &OrderRequest,
        transaction: Option<Transaction<'static, Postgres>>,
    ) -> Result<Consulted, OrderError> {
        if let Some(transaction) = transaction {
            transaction.rollback().await?;
        }
        Ok(self.hook.consult(now, clinic, order).await)
    }

    /// Begins a transaction that holds the locks of the order and of its products until it ends.
    async fn lock(
        &self,
        clinic: &CachedClinic,
        order: &OrderRequest,
    ) -> Result<Transaction<'static, Postgres>, OrderError> {
        let mut transaction = self.pool.begin().await?;
        let mode = if stock_decides(clinic) { LockMode::Exclusive } else { LockMode::Shared };
        store::lock(&mut transaction, clinic.row.id, order, mode).await?;
        Ok(transaction)
    }

    /// Returns the terms as this process has them in memory. Returns `None` if they cannot decide this order: stock decides,
    /// a product is not plainly for sale, or the catalogue in memory is not of this day.
    async fn terms_from_memory(
        &self,
        now: OffsetDateTime,
        clinic: &Arc<CachedClinic>,
        order: &OrderRequest,
    ) -> Result<Option<Terms>, OrderError> {
        let Some(offers) = self.catalog.offers(clinic, now).filter(|_| !stock_decides(clinic)) else { return Ok(None) };
        let Some(products) = self.offered_products(&offers, order) else { return Ok(None) };
        let ship_to_mapped = self.is_mapped(clinic.row.id, &order.shipping_address_id).await?;
        // A number that was used before is noticed by the statement's unique index.
        let clinic = ClinicTerms::new(&clinic.row, false, ship_to_mapped);
        let expected = Some(ExpectedVersions { catalog_version: offers.version(), ship_to_mapped });
        Ok(Some(Terms { clinic, products, expected }))
    }

    /// Returns the products ordered, or `None` unless all of them are for sale to the clinic.
    fn offered_products(&self, offers: &Offers, order: &OrderRequest) -> Option<HashMap<String, ProductTerms>> {
        let mut products = HashMap::with_capacity(order.lines.len());
        let recent = self.cache.recent_reservations.since(offers.stock_horizon())?;
        for line in &order.lines {
            let code = line.supplier_code.as_str();
            if !products.contains_key(code) {
                let offer = offers.find(code)?;
                let terms = ProductTerms {
                    visible: true,
                    active: true,
                    // The catalogue offers restricted products only to clinics with the licence.
                    restricted: false,
                    units_per_outer: offer.units_per_outer,
                    price_per_unit: offer.price_per_unit,
                    stock_free: offer.stock_free - recent.units(code),
                };
                products.insert(code.to_owned(), terms);
            }
        }
        Some(products)
    }

    async fn is_mapped(&self, clinic: ClinicId, address: &str) -> Result<bool, OrderError> {
        if !is_address(address) {
            return Ok(false);
        }
        let key = (clinic, address.to_owned());
        let cached = lock(&self.cache.mapped_addresses).get(&key).copied();
        if let Some(mapped) = cached {
            return Ok(mapped);
        }
        let mapped = Box::pin(store::is_ship_to_mapped(&self.pool, clinic, address)).await?;
        let mut addresses = lock(&self.cache.mapped_addresses);
        if addresses.len() >= MAX_CACHED_ADDRESSES {
            addresses.clear();
        }
        addresses.insert(key, mapped);
        Ok(mapped)
    }

    fn forget_address(&self, clinic: &CachedClinic, order: &OrderRequest) {
        lock(&self.cache.mapped_addresses).remove(&(clinic.row.id, order.shipping_address_id.clone()));
    }

    async fn draw_number(&self) -> Result<i64, OrderError> {
        if let Some(number) = lock(&self.cache.numbers).pop_front() {
            return Ok(number);
        }
        let mut drawn = VecDeque::from(Box::pin(store::draw_numbers(&self.pool, NUMBERS_PER_DRAW)).await?);
        let first = drawn.pop_front().ok_or(sqlx::Error::RowNotFound)?;
        lock(&self.cache.numbers).append(&mut drawn);
        Ok(first)
    }

    fn return_number(&self, sequence: i64) {
        lock(&self.cache.numbers).push_front(sequence);
    }
}

/// Whether the outcome of the clinic's orders depends on the stock.
fn stock_decides(clinic: &CachedClinic) -> bool {
    matches!(clinic.settings.rule_stock_short, RuleAction::Hold | RuleAction::Decline)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! Where orders arrive: stored in one round trip to Postgres where nothing speaks against it, so that the commit is the only
//! wait, and orders at once share it ([`super::batch_writer`]).
//!
//! The decision is made by what is in memory: the catalogue, the clinic, and what is known of its addresses. The statement
//! that stores the order makes sure in itself that Postgres says the same, and stores nothing otherwise
//! ([`super::batch_writer::store::insert`]). Then, and where memory does not do, [`super::place`] reads everything under locks:
//! for a clinic whose stock rule decides, an order that is known, a product that is not plainly for sale.
//!
//! Where stock only notes, the stock in memory is that which clinics are shown (as old as `SPSI_REFRESH`, or up to five
//! times that under a flood of orders), less what this process has stored since: where another process moves stock within
//! that time, the note may miss it. Reservations do not, for they are added up from the lines.

use super::answer::Reply;
use super::batch_writer::BatchWriter;
use super::batch_writer::store::{Basis, NewOrder};
use super::decide::ProductTerms;
use super::read::OrderRequest;
use super::recent_reservations::RecentReservations;
use super::store;
use super::{OrderError, actor, clinic_terms, decided, number, place, state, stock_decides};
use crate::catalog::Catalog;
use crate::catalog::offers::Offers;
use crate::clinics::cache::CachedClinic;
use crate::ids::ClinicId;
use sqlx::PgPool;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use time::OffsetDateTime;

/// Order numbers that a process draws at a time. What it has not used when it ends is lost.
const NUMBERS_DRAWN: i32 = 64;
/// Addresses that are remembered; then all are forgotten and asked for again.
const ADDRESSES: usize = 10_000;

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Intake {
    pool: PgPool,
    writer: BatchWriter,
    catalog: Catalog,
    memory: Arc<Memory>,
}

#[derive(Default)]
struct Memory {
    /// Ascending.
    numbers: Mutex<VecDeque<i64>>,
    /// Whether a clinic's address was mapped when last asked for.
    mapped: Mutex<HashMap<(ClinicId, String), bool>>,
    recent: RecentReservations,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Intake {
    /// Orders are stored over as many connections as the pool has, each by itself.
    pub fn new(pool: PgPool, catalog: Catalog) -> Self {
        Self {
            writer: BatchWriter::new(&pool, pool.options().get_max_connections(), 1),
            pool,
            catalog,
            memory: Arc::default(),
        }
    }

    /// The same intake, whose orders are stored over up to so many connections of its own, up to so many together. To be
    /// called in the thread that will use it.
    pub fn on_this_thread(&self, connections: u32, together: usize) -> Self {
        Self { writer: BatchWriter::new(&self.pool, connections, together), ..self.clone() }
    }

    /// Decides about an order, stores it, and gives the answer; or the first answer, when we have the order already.
    pub async fn place(
        &self,
        now: OffsetDateTime,
        member: &Arc<CachedClinic>,
        order: &Arc<OrderRequest>,
    ) -> Result<Reply, OrderError> {
        let at_once = self.place_at_once(now, member, order).await?;
        let way = if at_once.is_some() { "at_once" } else { "locked" };
        metrics::counter!("spsi_orders_placed_total", "way" => way).increment(1);
        match at_once {
            Some(reply) => Ok(reply),
            // Rare, and large: in a box it does not make the future of every order as large.
            None => Box::pin(place(&self.pool, now, member, order)).await,
        }
    }

    /// Nothing, and nothing is stored, where memory does not do or is out of date.
    async fn place_at_once(
        &self,
        now: OffsetDateTime,
        member: &Arc<CachedClinic>,
        order: &Arc<OrderRequest>,
    ) -> Result<Option<Reply>, OrderError> {
        let Some(offers) = self.catalog.offers(member, now).filter(|_| !stock_decides(member)) else { return Ok(None) };
        let Some(products) = self.products(&offers, order) else { return Ok(None) };
        let clinic = member.row.id;
        let ship_to_mapped = self.is_mapped(clinic, &order.shipping_address_id).await?;
        let sequence = self.draw_number().await?;
        let number = number::format(sequence.unsigned_abs());
        let (decision, reply) = decided(member, order, &products, clinic_terms(member, false, ship_to_mapped), &number);
        let state = state(decision.verdict);
        let new = NewOrder {
            now,
            clinic,
            order: Arc::clone(order),
            number,
            state,
            findings: decision.findings,
            reply: reply.clone(),
            actor: actor(member),
            repeats_number: false,
            basis: Some(Basis { catalog_version: offers.version(), ship_to_mapped }),
        };
        let Some(transaction) = self.writer.store(new).await? else {
            lock(&self.memory.numbers).push_front(sequence);
            lock(&self.memory.mapped).remove(&(clinic, order.shipping_address_id.clone()));
            return Ok(None);
        };
        if state != "declined" {
            self.memory.recent.add(transaction, order.lines.iter().map(|line| (&*line.supplier_code, line.quantity)));
        }
        Ok(Some(reply))
    }

    /// The products ordered, if all of them are for sale to the clinic.
    fn products(&self, offers: &Offers, order: &OrderRequest) -> Option<HashMap<String, ProductTerms>> {
        let mut products: HashMap<String, ProductTerms> = HashMap::with_capacity(order.lines.len());
        let recent = self.memory.recent.after(offers.seen())?;
        for line in &order.lines {
            let code = line.supplier_code.as_str();
            if !products.contains_key(code) {
                let offer = offers.find(code)?;
                let terms = ProductTerms {
                    visible: true,
                    active: true,
                    // The clinic has the licence, or it would not be offered.
                    restricted: false,
                    units_per_outer: offer.units_per_outer,
                    price_per_unit: offer.price_per_unit,
                    stock_free: offer.stock_free - recent.of(code),
                };
                products.insert(code.to_owned(), terms);
            }
        }
        Some(products)
    }

    async fn is_mapped(&self, clinic: ClinicId, address: &str) -> Result<bool, OrderError> {
        if ["", "0"].contains(&address) {
            return Ok(false);
        }
        let key = (clinic, address.to_owned());
        let known = lock(&self.memory.mapped).get(&key).copied();
        if let Some(mapped) = known {
            return Ok(mapped);
        }
        let mapped = Box::pin(store::is_ship_to_mapped(&self.pool, clinic, address)).await?;
        let mut addresses = lock(&self.memory.mapped);
        if addresses.len() >= ADDRESSES {
            addresses.clear();
        }
        addresses.insert(key, mapped);
        Ok(mapped)
    }

    async fn draw_number(&self) -> Result<i64, OrderError> {
        if let Some(number) = lock(&self.memory.numbers).pop_front() {
            return Ok(number);
        }
        let mut drawn = VecDeque::from(Box::pin(store::draw_numbers(&self.pool, NUMBERS_DRAWN)).await?);
        let first = drawn.pop_front().ok_or(sqlx::Error::RowNotFound)?;
        lock(&self.memory.numbers).append(&mut drawn);
        Ok(first)
    }
}

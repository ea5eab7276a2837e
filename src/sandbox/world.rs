//! A simulated ezyVet site without HTTP: its records, and the operations that change them.
//!
//! Guarantees: nothing here reads a clock or a socket; the same calls at the same times under the same seed give the
//! same state. The site refuses what a practice system refuses, and records every call that a correct partner would not
//! make. The parts (orders, jobs, invoices, ...) are plain data that do not know the world.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    check::Listed,
    clock::{Chance, Millis},
    event::{Call, Event, EventKind, Refusal},
    faults::{self, Faults},
    inventory::{Stock, SuppliedCall},
    invoice::{Invoice, InvoiceDraft},
    job::{self, Job, JobState},
    options::{Approve, DuplicateInvoice, Options},
    order::{OrderItem, OrderLine, PurchaseOrder},
    product::{self, ClinicProduct, LinkSummary},
    rate::Rates,
    separation::{self, Separation},
    token::{self, Token},
    wire::{Answer, Request},
};

/// The number of calls that the log keeps; `totals` counts all of them.
const MAX_CALLS: usize = 2000;
/// The number of unexpected events that are kept.
const MAX_EVENTS: usize = 1000;

/// The site.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub struct World {
    /// The flags.
    #[serde(skip)]
    pub options: Options,
    /// The faults that are switched on.
    #[serde(skip)]
    pub faults: Faults,
    /// Rate counters.
    #[serde(skip)]
    pub rates: Rates,
    /// Random numbers under the seed.
    #[serde(skip)]
    pub chance: Chance,
    /// Order ids by the invoice numbers of jobs, recorded while a fault belongs to an order.
    #[serde(skip)]
    pub(super) orders_by_invoice_number: BTreeMap<String, BTreeSet<u64>>,
    /// Increases with every change, so that the heartbeat saves only changes.
    #[serde(skip)]
    pub version: u64,
    /// All issued tokens, oldest first.
    pub tokens: Vec<Token>,
    /// The database, businesses and stock locations.
    pub separations: Vec<Separation>,
    /// The clinic's own product list.
    pub products: Vec<ClinicProduct>,
    /// The clinic's orders, oldest first.
    pub orders: Vec<PurchaseOrder>,
    /// The job queue, oldest first.
    pub jobs: Vec<Job>,
    /// Approved receive invoices, oldest first.
    pub invoices: Vec<Invoice>,
    /// Accepted `supplied` calls, oldest first.
    pub supplied: Vec<SuppliedCall>,
    /// The stock of every location.
    pub stock: Stock,
    /// The latest calls, oldest first.
    pub calls: VecDeque<Call>,
    /// The number of calls by `endpoint status`.
    pub totals: BTreeMap<String, u64>,
    /// The calls that a correct partner would not have made, oldest first.
    pub events: Vec<Event>,
}

impl World {
    /// Creates the demo site: one database, one business, two stock locations, no products.
    pub fn new(options: Options) -> Self {
        let mut world = Self { chance: Chance::new(options.seed), ..Self::default() };
        world.separations = separation::demo_site(&mut world.chance);
        world.configure(options);
        world
    }

    /// Follows these flags from now on and switches on their faults.
    pub(super) fn configure(&mut self, options: Options) {
        for fault in &options.faults {
            self.faults.add(fault.clone());
        }
        self.options = options;
    }

    /// Records an unexpected event.
    pub(super) fn record_event(&mut self, at: Millis, kind: EventKind, text: impl Into<String>) {
        let text = text.into();
        tracing::warn!(?kind, text, "the sandbox received an unexpected call");
        if self.events.len() < MAX_EVENTS {
            self.events.push(Event { at, kind, text });
        }
    }

    /// Records the mistake of a refused call, if it has one, and returns the answer.
    pub(super) fn settle(&mut self, now: Millis, outcome: Result<Answer, Refusal>) -> Answer {
        outcome.unwrap_or_else(|refusal| {
            if let Some((kind, text)) = refusal.event {
                self.record_event(now, kind, text);
            }
            *refusal.answer
        })
    }

    /// Logs a call and counts it.
    pub(super) fn log_call(&mut self, call: Call) {
        *self.totals.entry(format!("{} {}", call.endpoint, call.status)).or_default() += 1;
        if self.calls.len() == MAX_CALLS {
            self.calls.pop_front();
        }
        self.calls.push_back(call);
        self.version += 1;
    }

    /// Checks that nothing unexpected happened.
    ///
    /// # Errors
    /// All unexpected events, oldest first.
    pub fn finish(&self) -> Result<(), Vec<Event>> {
        if self.events.is_empty() { Ok(()) } else { Err(self.events.clone()) }
    }

    /// Returns the invoice numbers that more than one invoice carries.
    pub fn doubled_invoices(&self) -> Vec<String> {
        let mut counts = BTreeMap::<&str, usize>::new();
        self.invoices.iter().for_each(|invoice| *counts.entry(&invoice.draft.invoice_number).or_default() += 1);
        counts.into_iter().filter(|(_, count)| *count > 1).map(|(number, _)| number.to_owned()).collect()
    }

    /// Returns the number of `supplied` calls that repeat an earlier call exactly. Two equal shipments are equal calls too,
    /// so a repetition need not be a mistake.
    pub fn repeated_supplied(&self) -> usize {
        let calls = self.supplied.iter().map(|call| format!("{} {}", call.location_uid, call.body));
        self.supplied.len() - calls.collect::<BTreeSet<_>>().len()
    }

    /// Returns the whole state as JSON, with secrets masked.
    pub fn view(&self) -> Value {
        let mut view = serde_json::to_value(self).unwrap_or_default();
        view["tokens"].as_array_mut().into_iter().flatten().for_each(|token| token["value"] = json!("***"));
        view["faults"] = self.faults.as_json();
        view["doubled_invoices"] = json!(self.doubled_invoices());
        view["repeated_supplied"] = json!(self.repeated_supplied());
        view
    }

    /// Kills every live token; returns how many.
    pub fn kill_tokens(&mut self) -> usize {
        token::kill_all(&mut self.tokens)
    }

    /// Applies a complete catalogue to the clinic's products: links, updates and unlinks them by supplier code.
    pub fn link_catalogue(&mut self, catalogue: &[Listed]) -> LinkSummary {
        self.version += 1;
        product::link_catalogue(&mut self.products, catalogue, self.options.price_basis)
    }

    /// Creates an order, and switches on the faults in its comments (`sandbox:fault=cut-after:jobqueuex1`) for the calls
    /// about this order.
    ///
    /// # Errors
    /// A fault in the comments is misspelt, or the order is invalid: it has no lines, an unlinked supplier code, an unknown
    /// stock location, or a line that orders nothing.
    pub fn write_order(&mut self, now: Millis, lines: &[OrderLine], comments: &str) -> Result<PurchaseOrder, String> {
        let faults = faults::in_comments(comments)?;
        let order = PurchaseOrder::build(now, lines, comments, &self.products, &self.separations, &self.orders)?;
        for mut fault in faults {
            fault.order = Some(order.id);
            self.faults.add(fault);
        }
        self.orders.push(order.clone());
        self.version += 1;
        Ok(order)
    }

    /// Changes an order; returns it as it is then, or `None` if there is no such order.
    pub(super) fn change_order(&mut self, id: u64, change: impl FnOnce(&mut PurchaseOrder)) -> Option<PurchaseOrder> {
        self.version += 1;
        let order = self.orders.iter_mut().find(|order| order.id == id)?;
        change(order);
        Some(order.clone())
    }

    /// Returns the lines of all orders that are not declined.
    pub(super) fn open_items(&self) -> impl Iterator<Item = &OrderItem> {
        self.orders.iter().filter(|order| !order.declined).flat_map(|order| &order.items)
    }

    /// Serves `POST /v2/jobqueue`: puts a job on the queue, where staff may still have to approve it.
    pub(super) fn queue(&mut self, now: Millis, request: &Request) -> Result<Answer, Refusal> {
        let form = job::read_body(request, &self.options)?;
        if form.dropped > 0 {
            let text = format!("a form of {} fields, {} dropped", form.fields, form.dropped);
            self.record_event(now, EventKind::FieldsDropped, text);
        }
        let id = 9001 + self.jobs.len() as u64;
        let due = (self.options.approve == Approve::Auto).then_some(now + self.options.approve_after);
        let job = Job::new(id, &form.value, now, due);
        if let Some(number) = job.invoice_number() {
            let mut active = self.jobs.iter().filter(|job| matches!(job.state, JobState::Waiting | JobState::Approved));
            if active.any(|other| other.invoice_number().as_ref() == Some(&number)) {
                let text = format!("invoice {number} was queued again as job {id}");
                self.record_event(now, EventKind::DoubledInvoice, text);
            }
        }
        let item = job.as_item();
        self.jobs.push(job);
        Ok(Answer::json(200, json!({"items": [{"jobqueue": item}], "messages": []})))
    }

    /// Advances the site to `now`: approves the jobs that are due.
    pub fn tick(&mut self, now: Millis) {
        self.approve_where(now, |job| job.due.is_some_and(|due| due <= now));
    }

    /// Approves all waiting jobs; returns how many became invoices.
    pub fn approve_all(&mut self, now: Millis) -> usize {
        self.approve_where(now, |_| true)
    }

    fn approve_where(&mut self, now: Millis, is_chosen: impl Fn(&Job) -> bool) -> usize {
        let waiting = self.jobs.iter().filter(|job| job.state == JobState::Waiting && is_chosen(job));
        let ids: Vec<_> = waiting.map(|job| job.id).collect();
        // A failed job carries its reason and has recorded an event.
        ids.into_iter().filter(|id| self.approve(now, *id).is_ok()).count()
    }

    /// Approves a job; returns the id of its invoice.
    ///
    /// # Errors
    /// The job does not exist or does not wait, or its invoice is invalid, which makes the job fail.
    pub fn approve(&mut self, now: Millis, id: u64) -> Result<u64, String> {
        let draft = self.read_invoice(self.waiting_job(id)?);
        let outcome = draft.map(|draft| self.file_invoice(now, id, draft));
        let (state, error) = match &outcome {
            Ok(_) => (JobState::Approved, String::new()),
            Err(reason) => (JobState::Failed, reason.clone()),
        };
        self.close_job(now, id, state, error, outcome.as_ref().ok().copied());
        outcome
    }

    /// Rejects a job.
    ///
    /// # Errors
    /// The job does not exist or does not wait.
    pub fn reject(&mut self, now: Millis, id: u64) -> Result<(), String> {
        self.waiting_job(id)?;
        self.close_job(now, id, JobState::Rejected, "Rejected by staff".into(), None);
        Ok(())
    }

    fn waiting_job(&self, id: u64) -> Result<&Job, String> {
        let job = self.jobs.iter().find(|job| job.id == id).ok_or_else(|| format!("there is no job {id}"))?;
        if job.state == JobState::Waiting { Ok(job) } else { Err(format!("job {id} no longer waits for approval")) }
    }

    fn close_job(&mut self, now: Millis, id: u64, state: JobState, error: String, invoice: Option<u64>) {
        if let Some(job) = self.jobs.iter_mut().find(|job| job.id == id) {
            let number = job.invoice_number().unwrap_or_default();
            let text = format!("job {id} (invoice {number}): {error}");
            (job.state, job.error, job.invoice, job.modified) = (state, error, invoice, now);
            if state == JobState::Failed {
                self.record_event(now, EventKind::JobFailed, text);
            }
        }
        self.version += 1;
    }

    fn read_invoice(&self, job: &Job) -> Result<InvoiceDraft, String> {
        let draft = job.read_invoice(&self.options, &self.separations, &self.orders)?;
        let is_taken = self.invoices.iter().any(|invoice| invoice.draft.invoice_number == draft.invoice_number);
        if is_taken && self.options.duplicate_invoice == DuplicateInvoice::Reject {
            return Err(format!("invoice_number: {} exists already", draft.invoice_number));
        }
        Ok(draft)
    }

    /// Stores an invoice and receives its quantities on the order lines; returns its id.
    fn file_invoice(&mut self, now: Millis, job: u64, draft: InvoiceDraft) -> u64 {
        for line in &draft.lines {
            let mut items = self.orders.iter_mut().flat_map(|order| &mut order.items);
            let Some(item) = items.find(|item| item.id == line.purchase_order_item_id) else { continue };
            item.received += line.quantity;
            let product = self.products.iter().find(|product| product.id == item.product_id);
            let location = separation::location(&self.separations, line.location_id);
            if let (true, Some(location), Some(product)) = (self.options.invoice_moves_stock, location, product) {
                let units = self.stock.entry(location.uid.clone()).or_default();
                *units.entry(product.uid.clone()).or_default() += line.quantity;
            }
        }
        let id = 701 + self.invoices.len() as u64;
        self.invoices.push(Invoice { id, job, created: now, modified: now, draft });
        id
    }

    /// Serves `POST /inventory/v1/supplied`: adds the quantities to the location's stock at once.
    pub(super) fn supply(&mut self, now: Millis, request: &Request) -> Result<Answer, Refusal> {
        let call = SuppliedCall::read(now, request, &self.separations, &self.products)?;
        let units = self.stock.entry(call.location_uid.clone()).or_default();
        for (product, quantity) in &call.lines {
            *units.entry(product.clone()).or_default() += *quantity;
        }
        let answer = call.as_answer();
        self.supplied.push(call);
        Ok(answer)
    }
}

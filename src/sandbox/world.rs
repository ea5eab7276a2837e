//! A simulated ezyVet site apart from HTTP: what it knows, what was sent to it, what happened by and by.
//!
//! Guarantees: nothing here reads a clock or a socket; the same calls at the same moments under the same seed give the
//! same world. It refuses what a practice system refuses, and remembers every call that a partner should not have made.

use std::collections::{BTreeMap, VecDeque};

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    clock::{Chance, Millis},
    event::{Event, EventKind},
    faults::Faults,
    invoice::{Invoice, InvoiceDraft},
    options::{DuplicateInvoice, Settings},
    order::PurchaseOrder,
    product::ClinicProduct,
    rate::Rates,
    supplied::SuppliedCall,
    token::Token,
    wire::text_of,
};

/// How many calls the log keeps; totals go on counting.
const CALLS_KEPT: usize = 2000;
/// How many unexpected events are kept.
const EVENTS_KEPT: usize = 1000;

/// The site.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct World {
    /// What it lives by.
    #[serde(skip)]
    pub settings: Settings,
    /// What goes wrong on demand.
    #[serde(skip)]
    pub faults: Faults,
    /// Rate counters.
    #[serde(skip)]
    pub rates: Rates,
    /// Chance under the seed.
    #[serde(skip)]
    pub chance: Chance,
    /// Rises with every change, so that a change can be noticed and saved.
    #[serde(skip)]
    pub version: u64,
    /// Every token that was issued.
    pub tokens: Vec<Token>,
    /// Database, businesses, locations.
    pub separations: Vec<Separation>,
    /// The clinic's own product list.
    pub products: Vec<ClinicProduct>,
    /// Orders that the clinic sent.
    pub orders: Vec<PurchaseOrder>,
    /// The job queue.
    pub jobs: Vec<Job>,
    /// Approved receive invoices.
    pub invoices: Vec<Invoice>,
    /// Accepted `supplied` calls.
    pub supplied: Vec<SuppliedCall>,
    /// Units by location uid and product uid.
    pub stock: BTreeMap<String, BTreeMap<String, Decimal>>,
    /// The latest calls, oldest first.
    pub calls: VecDeque<Call>,
    /// Calls by `endpoint status`.
    pub totals: BTreeMap<String, u64>,
    /// What should not have happened.
    pub events: Vec<Event>,
    /// The last number given to each kind of record.
    pub counters: BTreeMap<String, u64>,
}

/// A part of the site (SPSI.md 2, separations).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Separation {
    /// What orders and invoices call it.
    pub id: u64,
    /// What the inventory API calls it.
    pub uid: String,
    /// For people.
    pub name: String,
    /// `Database`, `Business` or `Location`.
    pub kind: String,
    /// The separation above.
    pub parent: Option<u64>,
}

/// A job on the queue.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// Number.
    pub id: u64,
    /// When it was queued.
    pub created: Millis,
    /// When it last changed.
    pub modified: Millis,
    /// `ReceiveInvoice`.
    pub kind: String,
    /// `type_id` as sent.
    pub kind_id: String,
    /// `ApiRequest`.
    pub action: String,
    /// Method of the wrapped request.
    pub method: String,
    /// Endpoint of the wrapped request.
    pub endpoint: String,
    /// Body of the wrapped request.
    pub body: Value,
    /// Where it stands.
    pub state: JobState,
    /// Why it failed.
    pub error: String,
    /// When it approves itself.
    pub due: Option<Millis>,
    /// The invoice that it became.
    pub invoice: Option<u64>,
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Staff have not decided.
    Waiting,
    /// It became an invoice.
    Approved,
    /// Staff refused it.
    Rejected,
    /// It was approved and could not be carried out.
    Failed,
}

impl Job {
    /// The invoice number in the wrapped body.
    pub fn invoice_number(&self) -> Option<String> {
        self.body.get("invoice_number").and_then(text_of)
    }
}

/// A call in the log; secrets are masked before it is written.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Call {
    /// When.
    pub at: Millis,
    /// Endpoint by name.
    pub endpoint: String,
    /// Method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Body, masked and shortened.
    pub body: String,
    /// Status, 0 where no answer was sent.
    pub status: u16,
    /// What a fault did to it.
    pub fault: Option<String>,
}

impl World {
    /// The demo site: one database, one business, two stock locations, no products yet.
    pub fn new(settings: Settings, seed: u64) -> Self {
        let mut world = Self { settings, chance: Chance::new(seed), ..Self::default() };
        let parts = [
            (1, "Harbour Database", "Database", None),
            (2, "Harbour Veterinary Group", "Business", Some(1)),
            (3, "Main Hospital Pharmacy", "Location", Some(2)),
            (4, "North Street Store", "Location", Some(2)),
        ];
        for (id, name, kind, parent) in parts {
            let uid = format!("ownershipSeparation_{}", world.chance.letters(22));
            world.separations.push(Separation { id, uid, name: name.into(), kind: kind.into(), parent });
        }
        world
    }

    /// The next number of a kind of record, beginning after `base`.
    pub(super) fn number(&mut self, kind: &str, base: u64) -> u64 {
        let last = self.counters.entry(kind.to_owned()).or_insert(base);
        *last += 1;
        *last
    }

    /// Records something unexpected.
    pub(super) fn event(&mut self, at: Millis, kind: EventKind, text: impl Into<String>) {
        let text = text.into();
        tracing::warn!(?kind, text, "unexpected at the sandbox");
        if self.events.len() < EVENTS_KEPT {
            self.events.push(Event { at, kind, text });
        }
    }

    /// Logs a call and counts it.
    pub(super) fn log(&mut self, call: Call) {
        *self.totals.entry(format!("{} {}", call.endpoint, call.status)).or_default() += 1;
        if self.calls.len() == CALLS_KEPT {
            self.calls.pop_front();
        }
        self.calls.push_back(call);
        self.version += 1;
    }

    /// Lets time pass: approves the jobs whose moment has come.
    pub fn tick(&mut self, now: Millis) {
        let due: Vec<u64> = self
            .jobs
            .iter()
            .filter(|job| job.state == JobState::Waiting && job.due.is_some_and(|due| due <= now))
            .map(|job| job.id)
            .collect();
        for id in due {
            // A job that fails says so itself and in the events.
            let _ = self.approve(now, id);
        }
    }

    /// Staff approve a job; gives the invoice's number.
    ///
    /// # Errors
    /// The job does not exist, does not wait, or cannot be carried out, which makes it failed.
    pub fn approve(&mut self, now: Millis, id: u64) -> Result<u64, String> {
        let job = self.waiting(id)?.clone();
        let outcome = self.carry_out(&job);
        self.version += 1;
        match outcome {
            Ok(draft) => {
                let invoice = self.number("invoice", 700);
                self.file(now, invoice, id, draft);
                self.settle(now, id, JobState::Approved, String::new(), Some(invoice));
                Ok(invoice)
            }
            Err(why) => {
                let number = job.invoice_number().unwrap_or_default();
                self.event(now, EventKind::JobFailed, format!("job {id} (invoice {number}): {why}"));
                self.settle(now, id, JobState::Failed, why.clone(), None);
                Err(why)
            }
        }
    }

    /// Staff reject a job.
    ///
    /// # Errors
    /// The job does not exist or does not wait.
    pub fn reject(&mut self, now: Millis, id: u64) -> Result<(), String> {
        self.waiting(id)?;
        self.settle(now, id, JobState::Rejected, "Rejected by staff".into(), None);
        Ok(())
    }

    /// Approves everything that waits; gives how many became invoices.
    pub fn approve_all(&mut self, now: Millis) -> usize {
        let waiting: Vec<u64> =
            self.jobs.iter().filter(|job| job.state == JobState::Waiting).map(|job| job.id).collect();
        waiting.into_iter().filter(|id| self.approve(now, *id).is_ok()).count()
    }

    fn waiting(&self, id: u64) -> Result<&Job, String> {
        let job = self.jobs.iter().find(|job| job.id == id).ok_or_else(|| format!("there is no job {id}"))?;
        if job.state == JobState::Waiting { Ok(job) } else { Err(format!("job {id} does not wait any more")) }
    }

    fn settle(&mut self, now: Millis, id: u64, state: JobState, error: String, invoice: Option<u64>) {
        if let Some(job) = self.jobs.iter_mut().find(|job| job.id == id) {
            (job.state, job.error, job.invoice, job.modified) = (state, error, invoice, now);
        }
        self.version += 1;
    }

    /// What an approved job amounts to.
    fn carry_out(&self, job: &Job) -> Result<InvoiceDraft, String> {
        let [kind, action, endpoint] = &self.settings.job_names;
        let sent = [(&job.kind, kind), (&job.action, action)];
        if let Some((sent, wanted)) = sent.into_iter().find(|(sent, wanted)| sent != wanted) {
            return Err(format!("the job says {sent}, this site knows {wanted}"));
        }
        if job.endpoint.trim_start_matches('/') != endpoint || !job.method.eq_ignore_ascii_case("POST") {
            return Err(format!("{} {} is not an endpoint for jobs", job.method, job.endpoint));
        }
        let draft = InvoiceDraft::read(&job.body, self).map_err(|problems| {
            problems.iter().map(|problem| format!("{}: {}", problem.field, problem.text)).collect::<Vec<_>>().join("; ")
        })?;
        let taken = self.invoices.iter().any(|invoice| invoice.draft.invoice_number == draft.invoice_number);
        if taken && self.settings.duplicate_invoice == DuplicateInvoice::Reject {
            return Err(format!("invoice_number: {} exists already", draft.invoice_number));
        }
        Ok(draft)
    }

    fn file(&mut self, now: Millis, id: u64, job: u64, draft: InvoiceDraft) {
        for line in &draft.lines {
            let items = self.orders.iter_mut().flat_map(|order| &mut order.items);
            let Some(item) = items.into_iter().find(|item| item.id == line.purchase_order_item_id) else { continue };
            item.received += line.quantity;
            if self.settings.invoice_moves_stock {
                let uid = |id| self.separations.iter().find(|part| part.id == id).map(|part| part.uid.clone());
                let product = self.products.iter().find(|product| product.id == item.product_id);
                if let (Some(location), Some(product)) = (uid(line.location_id), product) {
                    *self.stock.entry(location).or_default().entry(product.uid.clone()).or_default() += line.quantity;
                }
            }
        }
        self.invoices.push(Invoice { id, job, created: now, modified: now, draft });
    }

    /// Whether everything was as it should be.
    ///
    /// # Errors
    /// Everything unexpected, in the order in which it happened.
    pub fn finish(&self) -> Result<(), Vec<Event>> {
        if self.events.is_empty() { Ok(()) } else { Err(self.events.clone()) }
    }

    /// Invoice numbers that stand on more than one invoice.
    pub fn doubled_invoices(&self) -> Vec<String> {
        let mut counts = BTreeMap::<&str, usize>::new();
        self.invoices.iter().for_each(|invoice| *counts.entry(&invoice.draft.invoice_number).or_default() += 1);
        counts.into_iter().filter(|(_, count)| *count > 1).map(|(number, _)| number.to_owned()).collect()
    }

    /// The whole state as JSON, with secrets masked.
    pub fn view(&self) -> Value {
        let mut view = serde_json::to_value(self).unwrap_or_default();
        view["tokens"].as_array_mut().into_iter().flatten().for_each(|token| token["value"] = json!("***"));
        view["faults"] =
            self.faults.list().iter().map(|(id, fault)| json!({"id": id, "fault": fault.to_string()})).collect();
        view["doubled_invoices"] = json!(self.doubled_invoices());
        view["repeated_supplied"] = json!(self.repeated_supplied());
        view
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_site_has_two_stock_locations() {
        let world = World::new(Settings::default(), 1);
        let locations: Vec<_> = world
            .separations
            .iter()
            .filter(|part| part.kind == "Location")
            .map(|part| (part.id, part.name.as_str()))
            .collect();
        assert_eq!(locations, [(3, "Main Hospital Pharmacy"), (4, "North Street Store")]);
        assert!(world.separations.iter().all(|part| part.uid.starts_with("ownershipSeparation_")));
    }

    #[test]
    fn numbers_count_up_and_survive_a_restart() {
        let mut world = World::new(Settings::default(), 1);
        assert_eq!((world.number("order", 11), world.number("order", 11)), (12, 13));
        let saved = serde_json::to_string(&world).unwrap_or_default();
        let mut again: World = serde_json::from_str(&saved).unwrap_or_default();
        assert_eq!(again.number("order", 11), 14);
    }
}

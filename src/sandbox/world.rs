//! A simulated ezyVet site apart from HTTP: what it knows, what was sent to it, what happened by and by.
//!
//! Guarantees: nothing here reads a clock or a socket; the same calls at the same moments under the same seed give the
//! same world. It refuses what a practice system refuses, and remembers every call that a partner should not have made.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    clock::{Chance, Millis},
    event::{Event, EventKind},
    faults::Faults,
    invoice::Invoice,
    job::Job,
    order::PurchaseOrder,
    product::ClinicProduct,
    rate::Rates,
    settings::Settings,
    supplied::SuppliedCall,
    token::Token,
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
    /// Orders by the invoice numbers that were heard of for them, while a fault wants to know.
    #[serde(skip)]
    pub(super) heard: BTreeMap<String, BTreeSet<u64>>,
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
    /// Answer, masked and shortened.
    pub answer: String,
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

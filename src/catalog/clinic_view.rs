//! What one clinic sees of a snapshot: the visible products, the prices and the JSON settings.
//!
//! Clinics with equal rules share a view. The view of a clinic holds nothing of another clinic (DESIGN.md 2.3).

use super::position_set::PositionSet;
use super::prices::{ContractPrices, PriceTable, finish};
use super::product::{BodySettings, ContractPrice};
use super::snapshot::Snapshot;
use crate::config::Retention;
use aws_lc_rs::digest;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use time::OffsetDateTime;

/// Raise this number with every change of the bodies for an unchanged catalogue, so that clients' caches become stale.
const FORMAT: u8 = 1;

/// The rules for what a clinic sees.
#[derive(Clone, Debug)]
pub struct ScopeRules {
    /// Exact names.
    pub hidden_categories: Vec<String>,
    /// Exact codes.
    pub hidden_products: Vec<String>,
    /// If this list or the next one is not empty, the clinic sees only their products. Hiding takes precedence.
    pub only_categories: Vec<String>,
    pub only_products: Vec<String>,
    /// The clinic sees restricted products.
    pub restricted_licence: bool,
    /// Today's prices of the clinic's price list.
    pub price_list: Option<Arc<ContractPrices>>,
    /// The clinic's own prices of today; they take precedence over the price list.
    pub own_prices: Option<Arc<ContractPrices>>,
    /// How long withdrawn products stay listed (SPSI.md 5.12).
    pub withdrawn_for: Retention,
    pub settings: BodySettings,
}

/// Rules with their fingerprint.
#[derive(Debug)]
pub struct ClinicScope {
    rules: ScopeRules,
    /// A digest of the rules, which is the same in every process.
    fingerprint: [u8; 32],
}

impl ClinicScope {
    pub fn new(rules: ScopeRules) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        for list in [&rules.hidden_categories, &rules.hidden_products, &rules.only_categories, &rules.only_products] {
            let mut list: Vec<&String> = list.iter().collect();
            list.sort_unstable();
            list.dedup();
            context.update(&list.len().to_le_bytes());
            for text in list {
                context.update(&text.len().to_le_bytes());
                context.update(text.as_bytes());
            }
        }
        for prices in [&rules.price_list, &rules.own_prices] {
            context.update(prices.as_ref().map_or(&[0; 32], |prices| &prices.fingerprint));
        }
        let settings = &rules.settings;
        let settings = format!(
            "{} {} {} {} {}",
            rules.restricted_licence,
            settings.price_basis,
            settings.missing_contract_price,
            settings.barcode,
            rules.withdrawn_for
        );
        context.update(settings.as_bytes());
        Self { rules, fingerprint: finish(context) }
    }
}

/// What one clinic sees of a snapshot. Keeps the snapshot alive while answers are written.
#[derive(Debug)]
pub struct ClinicView {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) visible: Arc<PositionSet>,
    pub(super) settings: BodySettings,
    price_list: Option<Arc<PriceTable>>,
    own_prices: Option<Arc<PriceTable>>,
    fingerprint: [u8; 32],
    /// The prefix of entity tags: changes with everything that the view shows.
    pub(super) tag: String,
    /// When the next withdrawn product leaves the list.
    valid_until: Option<OffsetDateTime>,
    /// Body length of the answer with all visible products, which every nightly pull requests.
    pub(super) whole_length: OnceLock<u64>,
}

impl ClinicView {
    /// Computes the view at `now`: milliseconds for 100,000 products.
    pub fn new(snapshot: Arc<Snapshot>, scope: &ClinicScope, now: OffsetDateTime) -> Self {
        let rules = &scope.rules;
        let (visible, valid_until) = find_visible(&snapshot, rules, now);
        let table = |prices: &Option<Arc<ContractPrices>>| {
            prices.as_ref().map(|prices| snapshot.products.price_table(prices, rules.settings.price_basis))
        };
        let (price_list, own_prices) = (table(&rules.price_list), table(&rules.own_prices));
        Self {
            price_list,
            own_prices,
            visible: Arc::new(visible),
            settings: rules.settings,
            fingerprint: scope.fingerprint,
            tag: tag(&snapshot, &scope.fingerprint, valid_until),
            valid_until,
            whole_length: OnceLock::new(),
            snapshot,
        }
    }

    /// Returns this view of a snapshot that differs only in its stock. The code names every field, so that nobody adds a
    /// field that depends on the stock without a decision here.
    fn with_stock_of(&self, snapshot: &Arc<Snapshot>) -> Self {
        Self {
            snapshot: Arc::clone(snapshot),
            visible: Arc::clone(&self.visible),
            settings: self.settings,
            price_list: self.price_list.clone(),
            own_prices: self.own_prices.clone(),
            fingerprint: self.fingerprint,
            tag: tag(snapshot, &self.fingerprint, self.valid_until),
            valid_until: self.valid_until,
            whole_length: OnceLock::new(),
        }
    }

    /// Returns false once a withdrawn product must leave the list.
    pub fn is_current(&self, now: OffsetDateTime) -> bool {
        self.valid_until.is_none_or(|until| now < until)
    }

    /// Returns the clinic's contract price at a position.
    pub(super) fn contract_price(&self, position: u32) -> ContractPrice {
        let tables = [&self.own_prices, &self.price_list].into_iter().flatten();
        let mut prices = tables.map(|table| table.get(position));
        prices.find(|price| *price != ContractPrice::None).unwrap_or(ContractPrice::None)
    }
}

/// Returns the prefix of the view's entity tags.
fn tag(snapshot: &Snapshot, fingerprint: &[u8; 32], valid_until: Option<OffsetDateTime>) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&[FORMAT]);
    context.update(&snapshot.version.to_le_bytes());
    context.update(&snapshot.stock_digest.to_le_bytes());
    context.update(fingerprint);
    context.update(&valid_until.map_or(i128::MAX, |until| until.unix_timestamp_nanos()).to_le_bytes());
    finish(context)[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the visible products at `now`, and until when they stay the same.
fn find_visible(snapshot: &Snapshot, rules: &ScopeRules, now: OffsetDateTime) -> (PositionSet, Option<OffsetDateTime>) {
    let products = &snapshot.products.rows;
    let hidden: HashSet<&String> = rules.hidden_categories.iter().collect();
    let only: HashSet<&String> = rules.only_categories.iter().collect();
    let everything = rules.only_categories.is_empty() && rules.only_products.is_empty();
    let is_hidden: Vec<bool> = products.category_names.iter().map(|name| hidden.contains(name)).collect();
    let is_included: Vec<bool> = products.category_names.iter().map(|name| everything || only.contains(name)).collect();
    let mut words: Vec<u64> = products
        .categories
        .chunks(64)
        .map(|chunk| {
            chunk.iter().rev().fold(0, |word, category| word << 1 | u64::from(is_included[*category as usize]))
        })
        .collect();
    let mut set = |position: usize, is_visible: bool| {
        let bit = 1 << (position % 64);
        if is_visible { words[position / 64] |= bit } else { words[position / 64] &= !bit }
    };
    let positions =
        |codes: &[String]| codes.iter().filter_map(|code| products.codes.find_sorted(code)).collect::<Vec<_>>();
    positions(&rules.only_products).into_iter().for_each(|position| set(position, true));
    positions(&rules.hidden_products).into_iter().for_each(|position| set(position, false));
    if is_hidden.contains(&true) {
        let hidden = products.categories.iter().enumerate().filter(|(_, category)| is_hidden[**category as usize]);
        hidden.for_each(|(position, _)| set(position, false));
    }
    if !rules.restricted_licence {
        products.restricted.iter().for_each(|position| set(*position as usize, false));
    }
    let mut valid_until: Option<OffsetDateTime> = None;
    for (position, withdrawn_at) in &products.withdrawn {
        let Retention::Time(span) = rules.withdrawn_for else { break };
        let until = time::Duration::try_from(span.0).ok().and_then(|span| withdrawn_at.checked_add(span));
        match until {
            Some(until) if until <= now => set(*position as usize, false),
            Some(until) => valid_until = Some(valid_until.map_or(until, |first| first.min(until))),
            None => {}
        }
    }
    (PositionSet::new(words), valid_until)
}

/// A snapshot with the views computed so far.
#[derive(Debug)]
pub struct ClinicViews {
    pub(super) snapshot: Arc<Snapshot>,
    by_fingerprint: RwLock<HashMap<[u8; 32], Arc<ClinicView>>>,
}

impl ClinicViews {
    pub fn new(snapshot: Arc<Snapshot>) -> Self {
        Self { snapshot, by_fingerprint: RwLock::default() }
    }

    /// Returns the same views of a snapshot that differs only in its stock, without computing them again.
    pub fn with_stock_of(&self, snapshot: &Arc<Snapshot>) -> Self {
        let views = self.by_fingerprint.read().unwrap_or_else(PoisonError::into_inner);
        let by_fingerprint =
            views.iter().map(|(scope, view)| (*scope, Arc::new(view.with_stock_of(snapshot)))).collect();
        Self { snapshot: Arc::clone(snapshot), by_fingerprint: RwLock::new(by_fingerprint) }
    }

    /// Returns the view for these rules at `now`. Computes a view once and shares it between clinics with equal rules.
    pub fn view(&self, scope: &ClinicScope, now: OffsetDateTime) -> Arc<ClinicView> {
        let cached =
            self.by_fingerprint.read().unwrap_or_else(PoisonError::into_inner).get(&scope.fingerprint).cloned();
        if let Some(view) = cached.filter(|view| view.is_current(now)) {
            return view;
        }
        let view = Arc::new(ClinicView::new(Arc::clone(&self.snapshot), scope, now));
        let mut views = self.by_fingerprint.write().unwrap_or_else(PoisonError::into_inner);
        views.insert(scope.fingerprint, Arc::clone(&view));
        view
    }

    /// Removes all views.
    pub fn clear(&self) {
        self.by_fingerprint.write().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

#[cfg(test)]
mod tests;

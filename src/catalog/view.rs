//! What one clinic sees of one snapshot: which products, at which prices, written how. Clinics whose rules are equal
//! share a view. One clinic's view holds nothing of another's (DESIGN.md 2.3).

use super::position_set::PositionSet;
use super::prices::{ContractPrices, PriceTable, finish};
use super::product::{BodySettings, ContractPrice};
use super::snapshot::Snapshot;
use crate::config::WithdrawnFor;
use aws_lc_rs::digest;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use time::OffsetDateTime;

/// Raised when bodies come out otherwise for the same catalogue, so that clients' caches notice.
const FORMAT: u8 = 1;

/// The rules by which a clinic sees the catalogue, as Postgres has them today.
#[derive(Clone, Debug)]
pub struct ScopeRules {
    /// Names, byte for byte.
    pub hidden_categories: Vec<String>,
    /// Codes, byte for byte.
    pub hidden_products: Vec<String>,
    /// If this or the next is not empty, only what one of the two names is seen. Hidden goes before.
    pub only_categories: Vec<String>,
    pub only_products: Vec<String>,
    /// Sees restricted products.
    pub restricted_licence: bool,
    /// Prices of the clinic's price list that hold today; clinics on one list should share the `Arc`.
    pub price_list: Option<Arc<ContractPrices>>,
    /// The clinic's own prices that hold today; they go before the list's.
    pub own_prices: Option<Arc<ContractPrices>>,
    pub settings: BodySettings,
}

/// Rules with their fingerprint, made once when a clinic is loaded.
#[derive(Debug)]
pub struct ClinicScope {
    rules: ScopeRules,
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
            context.update(prices.as_ref().map_or(&[0; 32], |prices| prices.fingerprint()));
        }
        let settings = &rules.settings;
        let words = format!(
            "{} {} {} {} {}",
            rules.restricted_licence,
            settings.price_basis,
            settings.missing_contract_price,
            settings.barcode,
            settings.withdrawn_for
        );
        context.update(words.as_bytes());
        Self { rules, fingerprint: finish(context) }
    }

    /// The same for the same rules, in every process.
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }
}

/// One clinic's sight of one snapshot; keeps the snapshot alive while answers are written from it.
#[derive(Debug)]
pub struct ClinicView {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) visible: Arc<PositionSet>,
    pub(super) settings: BodySettings,
    price_list: Option<Arc<PriceTable>>,
    own_prices: Option<Arc<PriceTable>>,
    /// Positions that have a price in one of the two.
    pub(super) priced: Arc<PositionSet>,
    fingerprint: [u8; 32],
    /// What entity tags begin with: changes with all that the view shows.
    pub(super) tag: String,
    /// When the next withdrawn product stops being listed.
    good_until: Option<OffsetDateTime>,
    /// Length of the answer that holds everything: every nightly pull asks for it.
    pub(super) whole_length: OnceLock<u64>,
}

impl ClinicView {
    /// Works out the view as it is at `now`: milliseconds for 100,000 products.
    pub fn new(snapshot: Arc<Snapshot>, scope: &ClinicScope, now: OffsetDateTime) -> Self {
        let rules = &scope.rules;
        let (visible, good_until) = visible(&snapshot, rules, now);
        let table = |prices: &Option<Arc<ContractPrices>>| {
            prices.as_ref().map(|prices| snapshot.goods.price_table(prices, rules.settings.price_basis))
        };
        let (price_list, own_prices) = (table(&rules.price_list), table(&rules.own_prices));
        let mut priced = vec![0; snapshot.product_count().div_ceil(64)];
        for position in price_list.iter().chain(&own_prices).flat_map(|table| table.positions()) {
            priced[position as usize / 64] |= 1 << (position % 64);
        }
        Self {
            price_list,
            own_prices,
            priced: Arc::new(PositionSet::new(priced)),
            visible: Arc::new(visible),
            settings: rules.settings,
            fingerprint: scope.fingerprint,
            tag: tag(&snapshot, &scope.fingerprint, good_until),
            good_until,
            whole_length: OnceLock::new(),
            snapshot,
        }
    }

    /// The same view of a snapshot that differs in its stock only. Every field is named, so that one that depends on the
    /// stock is not carried over unnoticed.
    fn with_stock_of(&self, snapshot: &Arc<Snapshot>) -> Self {
        Self {
            snapshot: Arc::clone(snapshot),
            visible: Arc::clone(&self.visible),
            settings: self.settings,
            price_list: self.price_list.clone(),
            own_prices: self.own_prices.clone(),
            priced: Arc::clone(&self.priced),
            fingerprint: self.fingerprint,
            tag: tag(snapshot, &self.fingerprint, self.good_until),
            good_until: self.good_until,
            whole_length: OnceLock::new(),
        }
    }

    /// The snapshot that this is a view of.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// False once a withdrawn product has been listed for long enough.
    pub fn is_current(&self, now: OffsetDateTime) -> bool {
        self.good_until.is_none_or(|until| now < until)
    }

    /// How many products the clinic sees.
    pub fn product_count(&self) -> u32 {
        self.visible.count()
    }

    pub(super) fn contract_price(&self, position: u32) -> ContractPrice {
        if !self.priced.contains(position) {
            return ContractPrice::None;
        }
        let own = self.own_prices.as_ref().map_or(ContractPrice::None, |table| table.get(position));
        match (own, &self.price_list) {
            (ContractPrice::None, Some(list)) => list.get(position),
            (own, _) => own,
        }
    }
}

fn tag(snapshot: &Snapshot, fingerprint: &[u8; 32], good_until: Option<OffsetDateTime>) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&[FORMAT]);
    context.update(&snapshot.version.to_le_bytes());
    context.update(&snapshot.stock_digest.to_le_bytes());
    context.update(fingerprint);
    context.update(&good_until.map_or(i128::MAX, |until| until.unix_timestamp_nanos()).to_le_bytes());
    finish(context)[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn visible(snapshot: &Snapshot, rules: &ScopeRules, now: OffsetDateTime) -> (PositionSet, Option<OffsetDateTime>) {
    let goods = &snapshot.goods;
    let hidden: HashSet<&String> = rules.hidden_categories.iter().collect();
    let only: HashSet<&String> = rules.only_categories.iter().collect();
    let everything = rules.only_categories.is_empty() && rules.only_products.is_empty();
    let is_hidden: Vec<bool> = goods.category_names.iter().map(|name| hidden.contains(name)).collect();
    let is_seen: Vec<bool> = goods.category_names.iter().map(|name| everything || only.contains(name)).collect();
    let mut words: Vec<u64> = goods
        .categories
        .chunks(64)
        .map(|chunk| chunk.iter().rev().fold(0, |word, category| word << 1 | u64::from(is_seen[*category as usize])))
        .collect();
    let mut set = |position: usize, seen: bool| {
        let bit = 1 << (position % 64);
        if seen { words[position / 64] |= bit } else { words[position / 64] &= !bit }
    };
    let positions =
        |codes: &[String]| codes.iter().filter_map(|code| goods.codes.find_sorted(code)).collect::<Vec<_>>();
    positions(&rules.only_products).into_iter().for_each(|position| set(position, true));
    positions(&rules.hidden_products).into_iter().for_each(|position| set(position, false));
    if is_hidden.contains(&true) {
        let hidden = goods.categories.iter().enumerate().filter(|(_, category)| is_hidden[**category as usize]);
        hidden.for_each(|(position, _)| set(position, false));
    }
    if !rules.restricted_licence {
        goods.restricted.iter().for_each(|position| set(*position as usize, false));
    }
    let mut good_until: Option<OffsetDateTime> = None;
    for (position, withdrawn_at) in &goods.withdrawn {
        let WithdrawnFor::Time(span) = rules.settings.withdrawn_for else { break };
        let until = time::Duration::try_from(span.0).ok().and_then(|span| withdrawn_at.checked_add(span));
        match until {
            Some(until) if until <= now => set(*position as usize, false),
            Some(until) => good_until = Some(good_until.map_or(until, |first| first.min(until))),
            None => {}
        }
    }
    (PositionSet::new(words), good_until)
}

/// A snapshot with the views that were asked of it. This is what is swapped when a new version is loaded.
#[derive(Debug)]
pub struct Views {
    snapshot: Arc<Snapshot>,
    by_scope: RwLock<HashMap<[u8; 32], Arc<ClinicView>>>,
}

impl Views {
    pub fn new(snapshot: Arc<Snapshot>) -> Self {
        Self { snapshot, by_scope: RwLock::default() }
    }

    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// The same views of a snapshot that differs in its stock only: nothing is worked out again.
    pub fn with_stock_of(&self, snapshot: &Arc<Snapshot>) -> Self {
        let views = self.by_scope.read().unwrap_or_else(PoisonError::into_inner);
        let by_scope = views.iter().map(|(scope, view)| (*scope, Arc::new(view.with_stock_of(snapshot)))).collect();
        Self { snapshot: Arc::clone(snapshot), by_scope: RwLock::new(by_scope) }
    }

    /// The view for these rules at `now`: worked out the first time, then shared by all who have equal rules.
    pub fn view(&self, scope: &ClinicScope, now: OffsetDateTime) -> Arc<ClinicView> {
        let known = self.by_scope.read().unwrap_or_else(PoisonError::into_inner).get(&scope.fingerprint).cloned();
        if let Some(view) = known.filter(|view| view.is_current(now)) {
            return view;
        }
        let view = Arc::new(ClinicView::new(Arc::clone(&self.snapshot), scope, now));
        let mut views = self.by_scope.write().unwrap_or_else(PoisonError::into_inner);
        views.insert(scope.fingerprint, Arc::clone(&view));
        view
    }

    /// Forgets the views of rules that no clinic has any more.
    pub fn retain<'a>(&self, scopes: impl IntoIterator<Item = &'a ClinicScope>) {
        let kept: HashSet<[u8; 32]> = scopes.into_iter().map(|scope| scope.fingerprint).collect();
        self.by_scope.write().unwrap_or_else(PoisonError::into_inner).retain(|scope, _| kept.contains(scope));
    }
}

#[cfg(test)]
mod tests;

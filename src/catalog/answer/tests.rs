//! Compares answers with the model, and gzip bodies with plain ones.

use super::*;
use crate::catalog::arbitrary::{self, NOW, everything, model_json, model_prices, model_search, model_visible, sample};
use crate::catalog::clinic_view::{ClinicScope, ClinicViews, ScopeRules};
use crate::catalog::product::CatalogProduct;
use crate::catalog::snapshot::Snapshot;
use flate2::read::GzDecoder;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::io::Read;

/// Returns the body, which must be the same as a whole, in chunks and as gzip.
fn body(view: &Arc<ClinicView>, query: &ProductQuery) -> String {
    let whole = view.products(query).body();
    let (length, chunks) = view.products(query).chunks();
    let chunks: Vec<Bytes> = chunks.collect();
    assert!(chunks.iter().all(|chunk| !chunk.is_empty()));
    assert_eq!(chunks.concat(), whole);
    assert_eq!(length, whole.len() as u64);
    let chunks: Vec<Bytes> = view.products(query).gzip_chunks().collect();
    assert!(chunks.iter().all(|chunk| !chunk.is_empty()));
    let mut plain = Vec::new();
    GzDecoder::new(chunks.concat().as_slice()).read_to_end(&mut plain).unwrap();
    assert_eq!(plain, whole);
    String::from_utf8(plain).unwrap()
}

fn assert_equals_model(
    view: &Arc<ClinicView>,
    products: &[CatalogProduct],
    rules: &ScopeRules,
    queries: &[ProductQuery],
) {
    let (visible, prices) = (model_visible(products, rules, NOW), model_prices(rules));
    for query in queries.iter().chain([&ProductQuery::default()]) {
        let found = model_search(&visible, query);
        assert_eq!(view.products(query).count, found.len() as u64);
        let products: Vec<String> = found.into_iter().map(|product| model_json(product, rules, &prices)).collect();
        assert_eq!(body(view, query), format!(r#"{{"products":[{}]}}"#, products.join(",")), "{query:?}");
    }
    let categories: BTreeSet<&str> = visible.iter().map(|product| product.category.as_str()).collect();
    assert_eq!(view.categories(), serde_json::json!({ "categories": categories }).to_string());
}

/// Products and their new stock.
type StockMoves = Vec<(proptest::sample::Index, i64)>;

fn case() -> impl Strategy<Value = (Vec<CatalogProduct>, ScopeRules, Vec<ProductQuery>, StockMoves)> {
    arbitrary::products().prop_flat_map(|products| {
        let (rules, queries) = (arbitrary::rules(&products), proptest::collection::vec(arbitrary::query(&products), 6));
        let moves = proptest::collection::vec((any::<proptest::sample::Index>(), -1..1_000_000_i64), 0..20);
        (Just(products), rules, queries, moves)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn an_answer_equals_the_model_before_and_after_stock_moves((products, rules, queries, moves) in case()) {
        let before = Arc::new(Snapshot::build(1, products.clone()).unwrap());
        let (mut moved, mut changes) = (products.clone(), Vec::new());
        for (index, stock) in moves {
            if !moved.is_empty() {
                let product = index.get_mut(&mut moved);
                product.stock_available = stock.into();
                changes.extend(product.list_price.map(|_| (product.id, product.stock_available)));
            }
        }
        let after = Arc::new(before.with_stock(&changes).unwrap());
        // With the default settings too, for which fragments exist.
        let default_settings = ScopeRules { settings: everything().settings, ..rules.clone() };
        for rules in [rules, default_settings, everything()] {
            let (views, scope) = (ClinicViews::new(Arc::clone(&before)), ClinicScope::new(rules.clone()));
            let old = views.view(&scope, NOW);
            assert_equals_model(&old, &products, &rules, &queries);
            let new = views.with_stock_of(&after).view(&scope, NOW);
            assert_equals_model(&new, &moved, &rules, &queries);
            assert_equals_model(&old, &products, &rules, &[]);
            prop_assert_eq!(old.tag(None) == new.tag(None), before.stock == after.stock);
        }
    }
}

/// A catalogue of several blocks and chunks.
fn large(count: u64) -> Arc<ClinicView> {
    let product = |n: u64| CatalogProduct {
        name: format!("tablet {} of {}", n % 97, if n.is_multiple_of(9_000) { "désinfectant" } else { "something" }),
        category: format!("category {}", n % 11),
        list_price: Some((n % 50).into()),
        ..sample(n as i64, &format!("C{n:06}"))
    };
    let snapshot = Snapshot::build(1, (0..count).map(product).collect()).unwrap();
    Arc::new(ClinicView::new(Arc::new(snapshot), &ClinicScope::new(everything()), NOW))
}

fn codes(view: &Arc<ClinicView>, query: &ProductQuery) -> Vec<String> {
    let json: serde_json::Value = serde_json::from_str(&body(view, query)).unwrap();
    json["products"].as_array().unwrap().iter().map(|product| product["code"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_large_answer_comes_in_chunks_and_loses_nothing_between_blocks() {
    let view = large(30_000);
    let whole = view.products(&ProductQuery::default());
    assert!(!whole.is_short());
    let (length, mut chunks) = whole.chunks();
    assert!(length > 4_000_000);
    assert!(chunks.all(|chunk| chunk.len() <= CHUNK_BYTES + CHUNK_BYTES / 16));
    assert_eq!(codes(&view, &ProductQuery::default()).len(), 30_000);
    let rare = ProductQuery { names: vec!["DÉSINFECTANT".into()], ..Default::default() };
    assert_eq!(codes(&view, &rare), ["C000000", "C009000", "C018000", "C027000"]);
    let deep = ProductQuery { limit: Some(5), page: 3_000, ..Default::default() };
    assert_eq!(codes(&view, &deep), ["C015000", "C015001", "C015002", "C015003", "C015004"]);
    let both = ProductQuery {
        names: vec!["tablet 5 ".into()],
        categories: vec!["CATEGORY 3".into()],
        limit: Some(2),
        page: 1,
        ..Default::default()
    };
    let expected: Vec<String> =
        (0..30_000).filter(|n| n % 97 == 5 && n % 11 == 3).skip(2).take(2).map(|n| format!("C{n:06}")).collect();
    assert_eq!(codes(&view, &both), expected);
}

#[test]
fn similar_products_compress_well_and_have_fragments() {
    let view = large(30_000);
    let answer = || view.products(&ProductQuery::default());
    let (compressed, plain) = (answer().gzip_chunks().map(|chunk| chunk.len()).sum::<usize>(), answer().body().len());
    assert!(compressed * 8 < plain, "{compressed} of {plain}");
    let fragments = &view.snapshot.products.fragments;
    let counts = [1, 2].map(|distance| fragments.count(distance));
    assert_eq!(counts, [29_999, 29_998], "all products with a product before them");
}

#[test]
fn a_tag_changes_with_the_version_the_rules_and_the_query() {
    let snapshot = |version| Arc::new(Snapshot::build(version, Vec::new()).unwrap());
    let tag = |version, rules: ScopeRules, query: Option<&ProductQuery>| {
        ClinicView::new(snapshot(version), &ClinicScope::new(rules), NOW).tag(query)
    };
    let query = ProductQuery::default();
    let tags = [
        tag(1, everything(), None),
        tag(1, everything(), Some(&query)),
        tag(2, everything(), Some(&query)),
        tag(1, ScopeRules { restricted_licence: false, ..everything() }, Some(&query)),
        tag(1, ScopeRules { hidden_products: vec!["a".into()], ..everything() }, Some(&query)),
        tag(1, ScopeRules { only_products: vec!["a".into()], ..everything() }, Some(&query)),
        tag(1, everything(), Some(&ProductQuery { names: vec!["a".into()], ..query.clone() })),
        tag(1, everything(), Some(&ProductQuery { codes: vec!["a".into()], ..query.clone() })),
        tag(1, everything(), Some(&ProductQuery { limit: Some(0), ..query.clone() })),
        tag(1, everything(), Some(&ProductQuery { page: 1, ..query.clone() })),
    ];
    assert_eq!(tags.iter().collect::<BTreeSet<_>>().len(), tags.len());
    assert_eq!(tag(1, everything(), None), tags[0]);
    assert_eq!(tags[0].len(), 32);
}

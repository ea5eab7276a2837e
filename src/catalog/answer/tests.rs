//! Compares answers with the model.

use super::*;
use crate::catalog::arbitrary::{self, NOW, everything, model_json, model_prices, model_search, model_visible};
use crate::catalog::clinic_view::{ClinicScope, ScopeRules};
use crate::catalog::snapshot::Snapshot;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn body(answer: ProductsAnswer) -> String {
    let (count, whole) = (answer.product_count(), answer.body());
    let chunks = answer.chunks();
    let length = chunks.content_length();
    let mut bytes = Vec::new();
    for chunk in chunks {
        assert!(!chunk.is_empty());
        bytes.extend_from_slice(&chunk);
    }
    assert_eq!(bytes.len() as u64, length);
    assert_eq!(bytes, whole);
    let text = String::from_utf8(bytes).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["products"].as_array().unwrap().len() as u64, count);
    text
}

fn case() -> impl Strategy<Value = (Vec<crate::catalog::product::CatalogProduct>, ScopeRules, Vec<ProductQuery>)> {
    arbitrary::products().prop_flat_map(|products| {
        let (rules, queries) = (arbitrary::rules(&products), proptest::collection::vec(arbitrary::query(&products), 8));
        (Just(products), rules, queries)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn an_answer_equals_the_model((products, rules, queries) in case()) {
        let snapshot = Arc::new(Snapshot::build(1, products.clone()).unwrap());
        let view = Arc::new(ClinicView::new(snapshot, &ClinicScope::new(rules.clone()), NOW));
        let visible = model_visible(&products, &rules, NOW);
        let prices = model_prices(&rules);
        for query in queries.iter().chain([&ProductQuery::default()]) {
            let found = model_search(&visible, query);
            let products: Vec<String> = found.into_iter().map(|product| model_json(product, &rules, &prices)).collect();
            prop_assert_eq!(body(view.products(query)), format!(r#"{{"products":[{}]}}"#, products.join(",")), "{:?}", query);
        }
        let categories: BTreeSet<&str> = visible.iter().map(|product| product.category.as_str()).collect();
        prop_assert_eq!(view.categories(), serde_json::json!({ "categories": categories }).to_string());
    }
}

/// A catalogue of several blocks and chunks.
fn large(count: u64) -> Arc<ClinicView> {
    let sample = |n: u64| crate::catalog::product::CatalogProduct {
        id: crate::ids::ProductId(n as i64),
        code: format!("C{n:06}"),
        name: format!("tablet {} of {}", n % 97, if n.is_multiple_of(9_000) { "désinfectant" } else { "something" }),
        product_type: "medication".into(),
        category: format!("category {}", n % 11),
        units_per_outer: 10.into(),
        unit_of_measure: "box".into(),
        list_price: Some(n.into()),
        barcode: String::new(),
        stock_available: 0.into(),
        withdrawn_at: None,
        related_urls: Vec::new(),
        restricted: n.is_multiple_of(3),
    };
    let snapshot = Snapshot::build(1, (0..count).map(sample).collect()).unwrap();
    Arc::new(ClinicView::new(Arc::new(snapshot), &ClinicScope::new(everything()), NOW))
}

fn codes(view: &Arc<ClinicView>, query: &ProductQuery) -> Vec<String> {
    let json: serde_json::Value = serde_json::from_str(&body(view.products(query))).unwrap();
    json["products"].as_array().unwrap().iter().map(|product| product["code"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_large_answer_comes_in_chunks_and_loses_nothing_between_blocks() {
    let view = large(30_000);
    let whole = view.products(&ProductQuery::default());
    assert_eq!(whole.product_count(), 30_000);
    assert!(!whole.is_short());
    let mut chunks = whole.chunks();
    assert!(chunks.content_length() > 4_000_000);
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
fn a_page_walk_sees_each_product_once() {
    let view = large(1_000);
    for names in [vec![], vec!["tablet".to_owned()]] {
        let mut query = ProductQuery { names, limit: Some(7), ..Default::default() };
        let mut walked = Vec::new();
        loop {
            let page = codes(&view, &query);
            if page.is_empty() {
                break;
            }
            walked.extend(page);
            query.page += 1;
        }
        assert_eq!(walked, codes(&view, &ProductQuery::default()));
    }
}

#[test]
fn short_and_chunked_answers_are_equal() {
    let view = large(300);
    let whole = codes(&view, &ProductQuery::default());
    for limit in [MAX_SHORT - 1, MAX_SHORT, MAX_SHORT + 1, 299, 300, 301] {
        let query = ProductQuery { limit: Some(limit), ..Default::default() };
        assert_eq!(codes(&view, &query), whole[..whole.len().min(limit as usize)]);
    }
}

#[test]
fn an_empty_answer_is_complete() {
    let view = large(10);
    for query in [
        ProductQuery { limit: Some(5), page: 2, ..Default::default() },
        ProductQuery { page: 1, ..Default::default() },
        ProductQuery { limit: Some(u64::MAX), page: u64::MAX, ..Default::default() },
        ProductQuery { limit: Some(0), names: vec!["tablet".into()], ..Default::default() },
        ProductQuery { names: vec!["nowhere".into()], ..Default::default() },
    ] {
        assert_eq!(view.products(&query).body(), r#"{"products":[]}"#);
    }
    let one = ProductQuery { limit: Some(u64::MAX), ..Default::default() };
    assert_eq!(view.products(&one).product_count(), 10);
}

#[test]
fn a_tag_changes_with_the_version_the_rules_and_the_query() {
    let products = || vec![];
    let snapshot = |version| Arc::new(Snapshot::build(version, products()).unwrap());
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

//! The gzip body decompresses to the plain body, for all clinics and queries.

use super::*;
use crate::catalog::arbitrary::{self, NOW, everything};
use crate::catalog::clinic_view::{ClinicScope, ClinicView, ClinicViews, ScopeRules};
use crate::catalog::product::CatalogProduct;
use crate::catalog::query::ProductQuery;
use crate::catalog::snapshot::Snapshot;
use crate::ids::ProductId;
use flate2::read::GzDecoder;
use proptest::prelude::*;
use std::io::Read;
use std::sync::Arc;

fn decompressed(answer: ProductsAnswer) -> Vec<u8> {
    let mut compressed = Vec::new();
    for chunk in answer.gzip_chunks() {
        assert!(!chunk.is_empty());
        compressed.extend_from_slice(&chunk);
    }
    let mut plain = Vec::new();
    GzDecoder::new(compressed.as_slice()).read_to_end(&mut plain).unwrap();
    plain
}

/// Stock movements: products and their new stock.
type Moves = Vec<(ProductId, i64)>;

fn case() -> impl Strategy<Value = (Vec<CatalogProduct>, Vec<ScopeRules>, Vec<ProductQuery>, Moves)> {
    arbitrary::products().prop_flat_map(|products| {
        let rules = proptest::collection::vec(arbitrary::rules(&products), 3);
        let queries = proptest::collection::vec(arbitrary::query(&products), 4);
        let ids: Vec<_> =
            products.iter().filter(|product| product.list_price.is_some()).map(|product| product.id).collect();
        let moves = proptest::collection::vec((any::<proptest::sample::Index>(), -1..1_000_000_i64), 0..20).prop_map(
            move |moves| {
                moves.into_iter().filter(|_| !ids.is_empty()).map(|(at, stock)| (*at.get(&ids), stock)).collect()
            },
        );
        (Just(products), rules, queries, moves)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_gzip_body_is_the_plain_body((products, rules, queries, moves) in case()) {
        let snapshot = Snapshot::build(1, products).unwrap();
        let moves: Vec<_> = moves.into_iter().map(|(product, stock)| (product, stock.into())).collect();
        let moved = snapshot.with_stock(&moves).unwrap();
        for snapshot in [snapshot, moved].map(Arc::new) {
            // The default settings too, for which fragments exist.
            let with_default_settings = |rules: &ScopeRules| ScopeRules { settings: everything().settings, ..rules.clone() };
            for rules in rules.iter().cloned().chain(rules.iter().map(with_default_settings)).chain([everything()]) {
                let view = Arc::new(ClinicView::new(Arc::clone(&snapshot), &ClinicScope::new(rules), NOW));
                for query in queries.iter().chain([&ProductQuery::default()]) {
                    prop_assert_eq!(decompressed(view.products(query)), view.products(query).body(), "{:?}", query);
                }
            }
        }
    }
}

#[test]
fn similar_products_compress_well_and_have_fragments() {
    let product = |n: i64| CatalogProduct {
        id: ProductId(n),
        code: format!("C{n:06}"),
        name: format!("tablet {} of something", n % 97),
        product_type: "medication".into(),
        category: format!("category {}", n % 11),
        units_per_outer: 10.into(),
        unit_of_measure: "box".into(),
        list_price: Some((n % 50).into()),
        barcode: String::new(),
        stock_available: 0.into(),
        withdrawn_at: None,
        related_urls: Vec::new(),
        restricted: false,
    };
    let snapshot = Arc::new(Snapshot::build(1, (0..30_000).map(product).collect()).unwrap());
    let view = ClinicViews::new(Arc::clone(&snapshot)).view(&ClinicScope::new(everything()), NOW);
    let answer = || view.products(&ProductQuery::default());
    let (compressed, plain) = (answer().gzip_chunks().map(|chunk| chunk.len()).sum::<usize>(), answer().body());
    assert!(compressed * 8 < plain.len(), "{compressed} of {}", plain.len());
    assert_eq!(decompressed(answer()), plain);
    let fragments = &snapshot.products.fragments;
    assert_eq!(
        [1, 2].map(|distance| fragments.count(distance)),
        [29_999, 29_998],
        "all products with a product before them"
    );
}

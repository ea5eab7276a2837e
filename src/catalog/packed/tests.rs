//! The packed answer is the plain one, whoever asks for what.

use super::*;
use crate::catalog::arbitrary::{self, NOW, everything};
use crate::catalog::product::CatalogProduct;
use crate::catalog::query::ProductQuery;
use crate::catalog::snapshot::Snapshot;
use crate::catalog::view::{ClinicScope, ClinicView, ScopeRules, Views};
use crate::ids::ProductId;
use flate2::read::GzDecoder;
use proptest::prelude::*;
use std::io::Read;
use std::sync::Arc;

fn unpacked(answer: ProductsAnswer) -> Vec<u8> {
    let mut packed = Vec::new();
    for piece in answer.packed() {
        assert!(!piece.is_empty());
        packed.extend_from_slice(&piece);
    }
    let mut plain = Vec::new();
    GzDecoder::new(packed.as_slice()).read_to_end(&mut plain).unwrap();
    plain
}

/// Moves of stock, of products by id.
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
    fn the_packed_answer_is_the_plain_one((products, rules, queries, moves) in case()) {
        let snapshot = Snapshot::build(1, products).unwrap();
        let moves: Vec<_> = moves.into_iter().map(|(product, stock)| (product, stock.into())).collect();
        let moved = snapshot.with_stock(1, &moves).unwrap();
        for snapshot in [snapshot, moved].map(Arc::new) {
            // The usual settings too, for which products are prepared.
            let usually = |rules: &ScopeRules| ScopeRules { settings: everything().settings, ..rules.clone() };
            for rules in rules.iter().cloned().chain(rules.iter().map(usually)).chain([everything()]) {
                let view = Arc::new(ClinicView::new(Arc::clone(&snapshot), &ClinicScope::new(rules), NOW));
                for query in queries.iter().chain([&ProductQuery::default()]) {
                    prop_assert_eq!(unpacked(view.products(query)), view.products(query).written(), "{:?}", query);
                }
            }
        }
    }
}

#[test]
fn products_that_look_alike_are_told_shortly_and_mostly_by_what_is_prepared() {
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
    let view = Views::new(Arc::clone(&snapshot)).view(&ClinicScope::new(everything()), NOW);
    let answer = || view.products(&ProductQuery::default());
    let (packed, plain) = (answer().packed().map(|piece| piece.len()).sum::<usize>(), answer().written());
    assert!(packed * 8 < plain.len(), "{packed} of {}", plain.len());
    assert_eq!(unpacked(answer()), plain);
    let packing = &snapshot.goods.packing;
    let prepared = |near: usize| packing.entries[near - 1].iter().filter(|entry| entry.bits > 0).count();
    assert_eq!([prepared(1), prepared(2)], [29_999, 29_998], "all that have one before them");
}

//! What a snapshot refuses, and stock that moves.

use super::*;
use crate::catalog::arbitrary::{NOW, everything};
use crate::catalog::query::ProductQuery;
use crate::catalog::view::{ClinicScope, Views};

fn product(id: i64, code: &str) -> CatalogProduct {
    CatalogProduct {
        id: ProductId(id),
        code: code.into(),
        name: "bandage".into(),
        product_type: "medication".into(),
        category: "consumable".into(),
        units_per_outer: 1.into(),
        unit_of_measure: "box".into(),
        list_price: Some(1.into()),
        barcode: String::new(),
        stock_available: 5.into(),
        withdrawn_at: None,
        related_urls: Vec::new(),
        restricted: false,
    }
}

fn body(snapshot: Snapshot) -> String {
    let view = Views::new(Arc::new(snapshot)).view(&ClinicScope::new(everything()), NOW);
    String::from_utf8_lossy(&view.products(&ProductQuery::default()).written()).into_owned()
}

#[test]
fn a_code_that_comes_twice_or_out_of_order_is_refused() {
    let refused = Err(BuildError::OutOfOrder { code: "A".into() });
    assert_eq!(Snapshot::build(1, vec![product(1, "A"), product(2, "A")]).map(|_| ()), refused);
    let mut builder = SnapshotBuilder::default();
    builder.push(&product(1, "a")).unwrap();
    assert_eq!(builder.push(&product(2, "A")), refused, "byte order, not the alphabet's");
}

#[test]
fn a_number_that_cannot_be_listed_is_refused() {
    let bad = CatalogProduct { units_per_outer: 0.into(), ..product(1, "A") };
    assert_eq!(Snapshot::build(1, vec![bad]).map(|_| ()), Err(BuildError::BadNumber { code: "A".into() }));
}

#[test]
fn a_product_without_a_list_price_is_not_in_it() {
    let snapshot = Snapshot::build(1, vec![CatalogProduct { list_price: None, ..product(1, "A") }]).unwrap();
    assert_eq!(snapshot.product_count(), 0);
    assert_eq!(body(snapshot), r#"{"products":[]}"#);
}

#[test]
fn stock_moves_without_a_new_build() {
    let before = Snapshot::build(1, vec![product(1, "B"), product(2, "A")]).unwrap();
    let after = before.with_stock(2, &[(ProductId(1), "7.50".parse().unwrap())]).unwrap();
    assert!(Arc::ptr_eq(&before.goods, &after.goods));
    assert_eq!((before.version(), after.version()), (1, 2));
    assert_eq!(
        before.with_stock(3, &[(ProductId(9), 1.into())]).unwrap_err(),
        BuildError::UnknownProduct(ProductId(9))
    );
    assert_eq!(body(before).matches(r#""stock_available":5,"#).count(), 2);
    let after = body(after);
    assert!(after.contains(r#""stock_available":5,"#) && after.contains(r#""stock_available":7.5,"#), "{after}");
}

#[test]
fn the_digest_of_the_stock_does_not_depend_on_how_it_came_about() {
    let built = |stocks: [i64; 2]| {
        let products = [(1, "A", stocks[0]), (2, "B", stocks[1])];
        let products =
            products.map(|(id, code, stock)| CatalogProduct { stock_available: stock.into(), ..product(id, code) });
        Snapshot::build(1, products.to_vec()).unwrap()
    };
    let moved = built([5, 7]).with_stock(1, &[(ProductId(2), 5.into()), (ProductId(1), 7.into())]).unwrap();
    assert_eq!(moved.stock_digest, built([7, 5]).stock_digest);
    assert_ne!(moved.stock_digest, built([5, 7]).stock_digest);
}

#[test]
fn views_follow_the_stock_with_their_lengths_and_tags() {
    let products = (1..500).map(|id| product(id, &format!("P{id}"))).collect();
    let before = Arc::new(Snapshot::build(1, products).unwrap());
    let (views, scope) = (Views::new(Arc::clone(&before)), ClinicScope::new(everything()));
    let old = views.view(&scope, NOW);
    let whole = |view: &Arc<_>| {
        let answer = super::super::view::ClinicView::products(view, &ProductQuery::default());
        let pieces = answer.pieces();
        let length = pieces.content_length();
        let body = pieces.flatten().collect::<Vec<u8>>();
        assert_eq!(length, body.len() as u64);
        body
    };
    let first = whole(&old);
    let after = Arc::new(before.with_stock(1, &[(ProductId(7), 123_456.into())]).unwrap());
    let new = views.with_stock_of(&after).view(&scope, NOW);
    let second = whole(&new);
    assert_eq!(second.len(), first.len() + 5);
    assert!(String::from_utf8_lossy(&second).contains("\"stock_available\":123456,"));
    assert_ne!(old.tag(None), new.tag(None));
    assert_eq!(whole(&old), first, "an answer under way keeps its stock");
}

//! Invalid products, and changes of stock.

use super::*;
use crate::catalog::arbitrary::{NOW, everything};
use crate::catalog::clinic_view::{ClinicScope, ClinicView, ClinicViews};
use crate::catalog::query::ProductQuery;

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

fn products_body(snapshot: Snapshot) -> String {
    let view = ClinicViews::new(Arc::new(snapshot)).view(&ClinicScope::new(everything()), NOW);
    String::from_utf8_lossy(&view.products(&ProductQuery::default()).body()).into_owned()
}

#[test]
fn a_repeated_or_unsorted_code_is_refused() {
    let error = Err(BuildError::OutOfOrder { code: "A".into() });
    assert_eq!(Snapshot::build(1, vec![product(1, "A"), product(2, "A")]).map(|_| ()), error);
    let mut builder = SnapshotBuilder::new();
    builder.push(&product(1, "a")).unwrap();
    assert_eq!(builder.push(&product(2, "A")), error, "byte order, not alphabetical order");
}

#[test]
fn a_number_out_of_range_is_refused() {
    let bad = CatalogProduct { units_per_outer: 0.into(), ..product(1, "A") };
    assert_eq!(Snapshot::build(1, vec![bad]).map(|_| ()), Err(BuildError::BadNumber { code: "A".into() }));
}

#[test]
fn a_product_without_a_list_price_is_left_out() {
    let snapshot = Snapshot::build(1, vec![CatalogProduct { list_price: None, ..product(1, "A") }]).unwrap();
    assert_eq!(snapshot.product_count(), 0);
    assert_eq!(products_body(snapshot), r#"{"products":[]}"#);
}

#[test]
fn changed_stock_shares_the_products() {
    let before = Snapshot::build(1, vec![product(1, "B"), product(2, "A")]).unwrap();
    let after = before.with_stock(&[(ProductId(1), "7.50".parse().unwrap())]).unwrap();
    assert!(Arc::ptr_eq(&before.products, &after.products));
    assert_eq!(before.with_stock(&[(ProductId(9), 1.into())]).unwrap_err(), BuildError::UnknownProduct(ProductId(9)));
    assert_eq!(products_body(before).matches(r#""stock_available":5,"#).count(), 2);
    let after = products_body(after);
    assert!(after.contains(r#""stock_available":5,"#) && after.contains(r#""stock_available":7.5,"#), "{after}");
}

#[test]
fn equal_stock_has_an_equal_digest() {
    let built = |stocks: [i64; 2]| {
        let products = [(1, "A", stocks[0]), (2, "B", stocks[1])];
        let products =
            products.map(|(id, code, stock)| CatalogProduct { stock_available: stock.into(), ..product(id, code) });
        Snapshot::build(1, products.to_vec()).unwrap()
    };
    let moved = built([5, 7]).with_stock(&[(ProductId(2), 5.into()), (ProductId(1), 7.into())]).unwrap();
    assert_eq!(moved.stock_digest, built([7, 5]).stock_digest);
    assert_ne!(moved.stock_digest, built([5, 7]).stock_digest);
}

#[test]
fn views_of_changed_stock_have_new_lengths_and_tags() {
    let products = (1..500).map(|id| product(id, &format!("P{id}"))).collect();
    let before = Arc::new(Snapshot::build(1, products).unwrap());
    let (views, scope) = (ClinicViews::new(Arc::clone(&before)), ClinicScope::new(everything()));
    let old = views.view(&scope, NOW);
    let whole = |view: &Arc<_>| {
        let answer = ClinicView::products(view, &ProductQuery::default());
        let chunks = answer.chunks();
        let length = chunks.content_length();
        let body = chunks.flatten().collect::<Vec<u8>>();
        assert_eq!(length, body.len() as u64);
        body
    };
    let first = whole(&old);
    let after = Arc::new(before.with_stock(&[(ProductId(7), 123_456.into())]).unwrap());
    let new = views.with_stock_of(&after).view(&scope, NOW);
    let second = whole(&new);
    assert_eq!(second.len(), first.len() + 5);
    assert!(String::from_utf8_lossy(&second).contains("\"stock_available\":123456,"));
    assert_ne!(old.tag(None), new.tag(None));
    assert_eq!(whole(&old), first, "an unfinished answer keeps its stock");
}

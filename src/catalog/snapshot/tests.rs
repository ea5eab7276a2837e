//! What a snapshot refuses, and stock that moves.

use super::*;
use crate::catalog::query::ProductQuery;
use crate::catalog::samples::{NOW, everything};
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
    String::from_utf8_lossy(&view.products(&ProductQuery::default()).into_bytes().unwrap()).into_owned()
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

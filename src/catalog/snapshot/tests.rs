//! Invalid products, and changes of stock.

use super::*;
use crate::catalog::arbitrary::sample;

#[test]
fn a_repeated_or_unsorted_code_is_refused() {
    let error = Err(BuildError::OutOfOrder { code: "A".into() });
    assert_eq!(Snapshot::build(1, vec![sample(1, "A"), sample(2, "A")]).map(|_| ()), error);
    let mut builder = SnapshotBuilder::new();
    builder.push(&sample(1, "a")).unwrap();
    assert_eq!(builder.push(&sample(2, "A")), error, "byte order, not alphabetical order");
}

#[test]
fn a_number_out_of_range_is_refused() {
    let bad = CatalogProduct { units_per_outer: 0.into(), ..sample(1, "A") };
    assert_eq!(Snapshot::build(1, vec![bad]).map(|_| ()), Err(BuildError::BadNumber { code: "A".into() }));
}

#[test]
fn changed_stock_shares_the_products_and_equal_stock_has_an_equal_digest() {
    let built = |stocks: [i64; 2]| {
        let product =
            |(id, code, stock): (i64, &str, i64)| CatalogProduct { stock_available: stock.into(), ..sample(id, code) };
        Snapshot::build(1, [(1, "A", stocks[0]), (2, "B", stocks[1])].map(product).to_vec()).unwrap()
    };
    let before = built([5, 7]);
    assert_eq!(before.with_stock(&[(ProductId(9), 1.into())]).unwrap_err(), BuildError::UnknownProduct(ProductId(9)));
    let moved = before.with_stock(&[(ProductId(2), 5.into()), (ProductId(1), 7.into())]).unwrap();
    assert!(Arc::ptr_eq(&before.products, &moved.products));
    assert_eq!(moved.stock_digest, built([7, 5]).stock_digest);
    assert_ne!(moved.stock_digest, before.stock_digest);
}

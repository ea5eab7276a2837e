//! Sharing of views, and withdrawn products over time.

use super::*;
use crate::catalog::arbitrary::{NOW, everything, sample};
use crate::catalog::product::CatalogProduct;
use crate::catalog::query::ProductQuery;
use crate::config::Span;
use crate::ids::ProductId;
use time::Duration;

fn views() -> ClinicViews {
    let withdrawn = CatalogProduct { withdrawn_at: Some(NOW - Duration::days(1)), ..sample(2, "B") };
    ClinicViews::new(Arc::new(Snapshot::build(1, vec![sample(1, "A"), withdrawn]).unwrap()))
}

#[test]
fn clinics_with_equal_rules_share_a_view_and_others_do_not() {
    let views = views();
    let prices = |price: i64| Some(Arc::new(ContractPrices::new(vec![(ProductId(1), price.into())])));
    let one = ClinicScope::new(ScopeRules { own_prices: prices(4), ..everything() });
    let same = ClinicScope::new(ScopeRules { own_prices: prices(4), ..everything() });
    let other = ClinicScope::new(ScopeRules { own_prices: prices(5), ..everything() });
    let list = ClinicScope::new(ScopeRules { price_list: prices(4), ..everything() });
    let view = views.view(&one, NOW);
    assert!(Arc::ptr_eq(&view, &views.view(&same, NOW)));
    assert!(!Arc::ptr_eq(&view, &views.view(&other, NOW)));
    let list = views.view(&list, NOW);
    assert!(!Arc::ptr_eq(&view, &list));
    assert!(
        Arc::ptr_eq(view.own_prices.as_ref().unwrap(), list.price_list.as_ref().unwrap()),
        "both share one price table"
    );
    assert_eq!(view.contract_price(0), ContractPrice::Micros(4_000_000));
    assert_eq!(view.contract_price(1), ContractPrice::None);
    views.clear();
    assert!(views.by_fingerprint.read().unwrap().is_empty());
}

#[test]
fn a_view_expires_when_a_withdrawn_product_leaves_the_list() {
    let views = views();
    let withdrawn_for = Retention::Time(Span::seconds(2 * 86_400));
    let scope = ClinicScope::new(ScopeRules { withdrawn_for, ..everything() });
    let before = views.view(&scope, NOW);
    let end = NOW + Duration::days(1);
    assert_eq!(before.visible.count(), 2);
    assert!(before.is_current(end - Duration::nanoseconds(1)) && !before.is_current(end));
    let after = views.view(&scope, end);
    assert_eq!(after.visible.count(), 1);
    assert!(after.is_current(OffsetDateTime::UNIX_EPOCH + Duration::days(365_000)));
    assert_ne!(before.tag(None), after.tag(None));
    assert_eq!(before.products(&ProductQuery::default()).count, 2, "the old view still answers completely");
}

#[test]
fn withdrawn_products_are_listed_for_ever_or_never_by_setting() {
    let views = views();
    let count = |withdrawn_for| {
        views.view(&ClinicScope::new(ScopeRules { withdrawn_for, ..everything() }), NOW).visible.count()
    };
    assert_eq!(count(Retention::Forever), 2);
    assert_eq!(count(Retention::Time(Span::seconds(0))), 1);
    assert_eq!(count(Retention::Time(Span(std::time::Duration::MAX))), 2);
}

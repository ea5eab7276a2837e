//! Sharing of views, and withdrawn products over time.

use super::*;
use crate::catalog::arbitrary::{NOW, everything};
use crate::catalog::product::CatalogProduct;
use crate::catalog::query::ProductQuery;
use crate::config::Span;
use crate::ids::ProductId;
use time::Duration;

fn product(id: i64, code: &str, withdrawn_at: Option<OffsetDateTime>) -> CatalogProduct {
    CatalogProduct {
        id: ProductId(id),
        code: code.into(),
        name: code.into(),
        product_type: "medication".into(),
        category: "consumable".into(),
        units_per_outer: 2.into(),
        unit_of_measure: "box".into(),
        list_price: Some(10.into()),
        barcode: String::new(),
        stock_available: 0.into(),
        withdrawn_at,
        related_urls: Vec::new(),
        restricted: false,
    }
}

fn views() -> ClinicViews {
    let withdrawn = Some(NOW - Duration::days(1));
    ClinicViews::new(Arc::new(Snapshot::build(1, vec![product(1, "A", None), product(2, "B", withdrawn)]).unwrap()))
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
    assert_eq!(view.contract_price(0), ContractPrice::Micros(2_000_000));
    assert_eq!(view.contract_price(1), ContractPrice::None);
    views.clear();
    assert!(views.by_fingerprint.read().unwrap().is_empty());
}

#[test]
fn a_view_expires_when_a_withdrawn_product_leaves_the_list() {
    let views = views();
    let mut rules = everything();
    rules.settings.withdrawn_for = WithdrawnFor::Time(Span::seconds(2 * 86_400));
    let scope = ClinicScope::new(rules);
    let before = views.view(&scope, NOW);
    let end = NOW + Duration::days(1);
    assert_eq!(before.product_count(), 2);
    assert!(before.is_current(end - Duration::nanoseconds(1)) && !before.is_current(end));
    let after = views.view(&scope, end);
    assert_eq!(after.product_count(), 1);
    assert!(after.is_current(OffsetDateTime::UNIX_EPOCH + Duration::days(365_000)));
    assert_ne!(before.tag(None), after.tag(None));
    assert_eq!(before.products(&ProductQuery::default()).product_count(), 2, "the old view still answers completely");
}

#[test]
fn withdrawn_products_are_listed_for_ever_or_never_by_setting() {
    let views = views();
    let count = |withdrawn_for| {
        let mut rules = everything();
        rules.settings.withdrawn_for = withdrawn_for;
        views.view(&ClinicScope::new(rules), NOW).product_count()
    };
    assert_eq!(count(WithdrawnFor::Forever), 2);
    assert_eq!(count(WithdrawnFor::Time(Span::seconds(0))), 1);
    assert_eq!(count(WithdrawnFor::Time(Span(std::time::Duration::MAX))), 2);
}

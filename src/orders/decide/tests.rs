//! Rules with fractions and texts, which the random orders of whole cents ([`super::properties`]) do not cover.

use super::*;
use clap::Parser;
use rust_decimal::dec;

#[derive(Parser)]
struct Settings {
    #[command(flatten)]
    settings: ClinicSettings,
}

pub(in crate::orders) fn settings(arguments: &[&str]) -> ClinicSettings {
    Settings::try_parse_from([&["x"], arguments].concat()).unwrap().settings
}

/// An order that breaks no rule under [`terms`].
pub(in crate::orders) fn order() -> OrderRequest {
    let body = r#"{"purchaseorder": {"id": 1, "tax": "4", "total": "44", "purchase_order_number": "77", "purchase_order_item_list": [
        {"id": 1, "supplier_code": "TP1", "outers": 1, "units_per_outer": 10, "quantity": 10, "price_per_unit": 4, "total": 40,
         "tax_per_unit": 0.4, "total_tax": 4}]}}"#;
    crate::orders::read::read(body.as_bytes(), 10).unwrap()
}

pub(in crate::orders) fn terms() -> Terms {
    let product = ProductTerms {
        visible: true,
        active: true,
        restricted: false,
        units_per_outer: dec!(10),
        price_per_unit: dec!(4),
        stock_free: dec!(100),
    };
    let clinic =
        ClinicTerms { restricted_licence: false, on_hold: false, number_used_before: false, ship_to_mapped: true };
    Terms { clinic, products: HashMap::from([("TP1".to_owned(), product)]), expected: None }
}

#[test]
fn a_rounded_price_does_not_make_the_total_wrong() {
    let (mut order, mut terms) = (order(), terms());
    let line = &mut order.lines[0];
    (line.price_per_unit, line.price_rounding, line.total) = (dec!(3.33), dec!(0.005), dec!(33.33));
    order.total = dec!(37.33);
    terms.products.get_mut("TP1").unwrap().price_per_unit = dec!(3.333333);
    let decision = decide(&order, &terms, &settings(&[]));
    assert_eq!((decision.verdict, decision.findings), (Verdict::Accepted, vec![]));
}

#[test]
fn a_decline_about_a_line_names_its_product_code() {
    let (mut order, mut terms, mut settings) = (order(), terms(), settings(&[]));
    for (rule, _) in ClinicSettings::KEYS.iter().filter(|(key, _)| key.starts_with("rule_") && *key != "rule_ask") {
        settings.set(rule, "decline").unwrap();
    }
    let line = &mut order.lines[0];
    (line.outers, line.units_per_outer, line.price_per_unit, line.total) = (dec!(3), dec!(7), dec!(1), dec!(99));
    let mut unknown = line.clone();
    unknown.supplier_code = "X9".into();
    order.lines.push(unknown);
    let product = terms.products.get_mut("TP1").unwrap();
    (product.active, product.restricted, product.units_per_outer, product.stock_free) = (false, true, dec!(4), dec!(0));
    let decision = decide(&order, &terms, &settings);
    let of_lines: Vec<_> = decision.findings.iter().filter(|finding| finding.field.contains('[')).collect();
    assert!(of_lines.len() >= 9, "{of_lines:?}");
    for finding in of_lines {
        let code = if finding.field.contains("[0]") { "`TP1`" } else { "`X9`" };
        assert!(finding.text.contains(code), "{finding:?}");
    }
}

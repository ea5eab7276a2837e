use super::*;
use crate::config::Amount;
use clap::Parser;
use rust_decimal::dec;

#[derive(Parser)]
struct Defaults {
    #[command(flatten)]
    settings: ClinicSettings,
}

fn settings() -> ClinicSettings {
    Defaults::try_parse_from(["x"]).unwrap().settings
}

fn order() -> OrderRequest {
    let body = r#"{"purchaseorder": {"id": 1, "tax": "4", "total": "44", "purchase_order_number": "77", "purchase_order_item_list": [
        {"id": 1, "supplier_code": "TP1", "outers": 1, "units_per_outer": 10, "quantity": 10, "price_per_unit": 4, "total": 40,
         "tax_per_unit": 0.4, "total_tax": 4}]}}"#;
    crate::orders::read::read(body.as_bytes(), 10).unwrap()
}

fn products() -> HashMap<String, ProductTerms> {
    let product = ProductTerms {
        visible: true,
        active: true,
        restricted: false,
        units_per_outer: dec!(10),
        price_per_unit: dec!(4),
        stock_free: dec!(100),
    };
    HashMap::from([("TP1".to_owned(), product)])
}

const CLINIC: ClinicTerms =
    ClinicTerms { restricted_licence: false, on_hold: false, number_used_before: false, ship_to_mapped: true };

fn rules(decision: &Decision) -> Vec<(&'static str, &'static str)> {
    decision.findings.iter().map(|finding| (finding.rule, finding.action)).collect()
}

fn decided(
    change: impl FnOnce(&mut OrderRequest, &mut ProductTerms, &mut ClinicTerms, &mut ClinicSettings),
) -> (Verdict, Vec<(&'static str, &'static str)>) {
    let (mut order, mut products, mut clinic, mut settings) = (order(), products(), CLINIC, settings());
    change(&mut order, products.get_mut("TP1").unwrap(), &mut clinic, &mut settings);
    let decision = decide(&order, &Terms { clinic, products, expected: None }, &settings);
    (decision.verdict, rules(&decision))
}

#[test]
fn a_good_order_is_accepted_without_a_word() {
    assert_eq!(decided(|_, _, _, _| {}), (Verdict::Accepted, vec![]));
}

#[test]
fn each_rule_does_what_its_setting_says() {
    use Verdict::{Accepted, Declined, Held};
    assert_eq!(
        decided(|order, _, _, _| order.lines[0].supplier_code = "X".into()),
        (Declined, vec![("rule_unknown_product", "decline")])
    );
    assert_eq!(
        decided(|_, product, _, _| product.visible = false),
        (Declined, vec![("rule_unknown_product", "decline")])
    );
    assert_eq!(
        decided(|_, product, _, _| product.active = false),
        (Declined, vec![("rule_withdrawn_product", "decline")])
    );
    assert_eq!(
        decided(|_, product, _, _| product.restricted = true),
        (Declined, vec![("rule_restricted_product", "decline")])
    );
    assert_eq!(
        decided(|_, product, clinic, _| {
            product.restricted = true;
            clinic.restricted_licence = true
        }),
        (Accepted, vec![])
    );
    assert_eq!(decided(|_, product, _, _| product.units_per_outer = dec!(5)), (Held, vec![("rule_pack_size", "hold")]));
    assert_eq!(
        decided(|order, _, _, _| order.lines[0].outers = dec!(2)),
        (Declined, vec![("rule_line_arithmetic", "decline")])
    );
    assert_eq!(decided(|order, _, _, _| order.total = dec!(45)), (Accepted, vec![("rule_header_totals", "note")]));
    assert_eq!(
        decided(|_, product, _, _| product.price_per_unit = dec!(4.1)),
        (Held, vec![("rule_price_below", "hold")])
    );
    assert_eq!(
        decided(|_, product, _, _| product.price_per_unit = dec!(3.9)),
        (Accepted, vec![("rule_price_above", "note")])
    );
    assert_eq!(decided(|_, product, _, _| product.price_per_unit = dec!(4.03)), (Accepted, vec![]));
    assert_eq!(
        decided(|_, product, _, _| product.stock_free = dec!(9)),
        (Accepted, vec![("rule_stock_short", "note")])
    );
    assert_eq!(decided(|_, _, clinic, _| clinic.on_hold = true), (Held, vec![("rule_account_on_hold", "hold")]));
    assert_eq!(
        decided(|_, _, clinic, _| clinic.number_used_before = true),
        (Accepted, vec![("rule_repeated_number", "note")])
    );
    assert_eq!(
        decided(|_, _, _, settings| settings.minimum_order = Amount(dec!(50))),
        (Declined, vec![("rule_minimum_order", "decline")])
    );
    assert_eq!(
        decided(|order, _, _, _| {
            let line = &mut order.lines[0];
            (line.outers, line.quantity, line.total, line.total_tax) = (dec!(0.5), dec!(5), dec!(20), dec!(2));
            (order.tax, order.total) = (dec!(2), dec!(22));
        }),
        (Held, vec![("rule_broken_pack", "hold")])
    );
    assert_eq!(
        decided(|_, product, _, settings| {
            product.active = false;
            settings.rule_withdrawn_product = RuleAction::Off
        }),
        (Accepted, vec![])
    );
}

#[test]
fn the_strongest_finding_decides() {
    let (verdict, rules) = decided(|_, product, clinic, _| {
        clinic.on_hold = true;
        product.active = false;
        product.stock_free = dec!(0);
    });
    assert_eq!(verdict, Verdict::Declined);
    assert_eq!(
        rules,
        [("rule_account_on_hold", "hold"), ("rule_withdrawn_product", "decline"), ("rule_stock_short", "note")]
    );
}

#[test]
fn two_lines_of_one_product_share_its_stock() {
    let (_, rules) = decided(|order, product, _, settings| {
        let mut second = order.lines[0].clone();
        second.ezyvet_id = "2".into();
        order.lines.push(second);
        product.stock_free = dec!(15);
        settings.rule_header_totals = RuleAction::Off;
    });
    assert_eq!(rules, [("rule_stock_short", "note")]);
}

#[test]
fn a_rounded_price_does_not_make_the_total_wrong() {
    let (verdict, rules) = decided(|order, product, _, _| {
        let line = &mut order.lines[0];
        (line.price_per_unit, line.price_rounding, line.total) = (dec!(3.33), dec!(0.005), dec!(33.33));
        product.price_per_unit = dec!(3.333333);
        order.total = dec!(37.33);
    });
    assert_eq!((verdict, rules), (Verdict::Accepted, vec![]));
}

#[test]
fn a_return_waits_for_staff() {
    let (verdict, rules) = decided(|order, _, _, _| {
        let line = &mut order.lines[0];
        (line.outers, line.quantity, line.total, line.total_tax) = (dec!(-1), dec!(-10), dec!(-40), dec!(-4));
        (order.tax, order.total) = (dec!(-4), dec!(-44));
    });
    assert_eq!((verdict, rules), (Verdict::Held, vec![("rule_return", "hold")]));
}

#[test]
fn a_decline_about_a_line_names_its_product_code() {
    let (mut order, mut settings) = (order(), settings());
    for (rule, _) in ClinicSettings::KEYS.iter().filter(|(key, _)| key.starts_with("rule_") && *key != "rule_ask") {
        settings.set(rule, "decline").unwrap();
    }
    let line = &mut order.lines[0];
    (line.outers, line.units_per_outer, line.price_per_unit, line.total) = (dec!(3), dec!(7), dec!(1), dec!(99));
    let mut unknown = line.clone();
    unknown.supplier_code = "X9".into();
    order.lines.push(unknown);
    let mut products = products();
    let product = products.get_mut("TP1").unwrap();
    (product.active, product.restricted, product.units_per_outer, product.stock_free) = (false, true, dec!(4), dec!(0));
    let decision = decide(&order, &Terms { clinic: CLINIC, products, expected: None }, &settings);
    let of_lines: Vec<_> = decision.findings.iter().filter(|finding| finding.field.contains('[')).collect();
    assert!(of_lines.len() >= 9, "{of_lines:?}");
    for finding in of_lines {
        let code = if finding.field.contains("[0]") { "`TP1`" } else { "`X9`" };
        assert!(finding.text.contains(code), "{finding:?}");
    }
}

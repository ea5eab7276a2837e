//! Random orders over random catalogues against the rules written once more, plainly, in whole cents.

use super::*;
use crate::orders::echo::echo;
use crate::orders::read::{OrderRequest, read};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const RULES: [&str; 15] = [
    "rule_unknown_product",
    "rule_withdrawn_product",
    "rule_restricted_product",
    "rule_pack_size",
    "rule_line_arithmetic",
    "rule_header_totals",
    "rule_price_below",
    "rule_price_above",
    "rule_stock_short",
    "rule_broken_pack",
    "rule_minimum_order",
    "rule_account_on_hold",
    "rule_repeated_number",
    "rule_ship_to_unmapped",
    "rule_return",
];
const ACTIONS: [&str; 4] = ["off", "note", "hold", "decline"];

/// Prices in cents, quantities in whole units.
#[derive(Clone, Debug)]
struct Product {
    visible: bool,
    active: bool,
    restricted: bool,
    units: i64,
    price: i64,
    stock: i64,
}

#[derive(Clone, Debug)]
struct Line {
    product: usize,
    outers: i64,
    units: i64,
    quantity: i64,
    price: i64,
    total: i64,
    tax: i64,
}

#[derive(Clone, Debug)]
struct Case {
    products: Vec<Product>,
    lines: Vec<Line>,
    total: i64,
    tax: i64,
    freight: i64,
    freight_tax: i64,
    number: bool,
    ship_to: bool,
    clinic: ClinicTerms,
    actions: Vec<usize>,
    tolerance: i64,
    minimum: i64,
}

fn mostly<T: Clone + std::fmt::Debug + 'static>(
    usual: T,
    other: impl Strategy<Value = T> + 'static,
) -> BoxedStrategy<T> {
    prop_oneof![4 => Just(usual), 1 => other].boxed()
}

fn product() -> impl Strategy<Value = Product> {
    let mostly = |usual: bool| mostly(usual, Just(!usual));
    (mostly(true), mostly(true), mostly(false), 1..4_i64, 1..2_000_i64, -5..60_i64).prop_map(
        |(visible, active, restricted, units, price, stock)| Product {
            visible,
            active,
            restricted,
            units,
            price,
            stock,
        },
    )
}

fn line(products: Vec<Product>) -> impl Strategy<Value = Line> {
    let known = products.len();
    // One more than there are: an unknown code.
    (0..=known, prop_oneof![4 => 1..9_i64, 1 => -9..0_i64], -60..60_i64, any::<u8>(), 0..50_i64).prop_map(
        move |(product, outers, off, wrong, tax)| {
            let ours = products.get(product);
            let off_if = |bit: u8| if wrong >> bit & 3 == 3 { off } else { 0 };
            let units = (ours.map_or(1, |product| product.units) + off_if(0) % 3).max(1);
            let quantity = outers * units + off_if(2) % 3;
            let quantity = if quantity == 0 { 1 } else { quantity };
            let price = (ours.map_or(100, |product| product.price) + off_if(4)).max(0);
            Line { product, outers, units, quantity, price, total: quantity * price + off_if(6), tax }
        },
    )
}

fn case() -> impl Strategy<Value = Case> {
    let clinic = any::<[bool; 4]>().prop_map(|[restricted_licence, on_hold, number_used_before, ship_to_mapped]| {
        ClinicTerms { restricted_licence, on_hold, number_used_before, ship_to_mapped }
    });
    prop::collection::vec(product(), 1..6).prop_flat_map(move |products| {
        let lines = prop::collection::vec(line(products.clone()), 1..8);
        let amounts = (mostly(0, -20..20_i64), mostly(0, -20..20_i64), 0..500_i64, 0..50_i64);
        let switches = (any::<bool>(), any::<bool>(), clinic.clone());
        let settings = (prop::collection::vec(0..4_usize, RULES.len()), 0..6_i64, prop_oneof![Just(0), 0..20_000_i64]);
        (Just(products), lines, amounts, switches, settings).prop_map(
            |(
                products,
                lines,
                (off, tax_off, freight, freight_tax),
                (number, ship_to, clinic),
                (actions, tolerance, minimum),
            )| {
                let sum = |amount: fn(&Line) -> i64| lines.iter().map(amount).sum::<i64>();
                let (net, tax) = (sum(|line| line.total), sum(|line| line.tax));
                let (total, tax) = (net + tax + freight + off, tax + tax_off);
                Case {
                    products,
                    lines,
                    total,
                    tax,
                    freight,
                    freight_tax,
                    number,
                    ship_to,
                    clinic,
                    actions,
                    tolerance,
                    minimum,
                }
            },
        )
    })
}

fn money(cents: i64) -> String {
    plain(Decimal::new(cents, 2))
}

impl Case {
    fn code(&self, line: &Line) -> String {
        format!("P{}", line.product)
    }

    fn order(&self) -> OrderRequest {
        let lines: Vec<Value> = (1..)
            .zip(&self.lines)
            .map(|(id, line)| {
                json!({"id": id, "supplier_code": self.code(line), "outers": line.outers, "units_per_outer": line.units,
                    "quantity": line.quantity, "price_per_unit": money(line.price), "total": money(line.total),
                    "total_tax": money(line.tax), "tax_per_unit": "0"})
            })
            .collect();
        let order = json!({"purchaseorder": {"id": "7", "total": money(self.total), "tax": money(self.tax),
            "freight": money(self.freight), "freight_tax": money(self.freight_tax),
            "purchase_order_number": if self.number { "1500" } else { "" },
            "shipping_address_id": if self.ship_to { "2" } else { "" }, "purchase_order_item_list": lines}});
        read(order.to_string().as_bytes(), 100).unwrap()
    }

    fn terms(&self) -> Terms {
        let terms = |product: &Product| ProductTerms {
            visible: product.visible,
            active: product.active,
            restricted: product.restricted,
            units_per_outer: product.units.into(),
            price_per_unit: Decimal::new(product.price, 2),
            stock_free: product.stock.into(),
        };
        let products = self.products.iter().enumerate();
        let products = products.map(|(index, product)| (format!("P{index}"), terms(product))).collect();
        Terms { clinic: self.clinic, products, expected: None }
    }

    fn settings(&self) -> ClinicSettings {
        let mut settings = super::tests::settings(&[]);
        for (rule, action) in RULES.iter().zip(&self.actions) {
            settings.set(rule, ACTIONS[*action]).unwrap();
        }
        settings.set("price_tolerance", &self.tolerance.to_string()).unwrap();
        settings.set("minimum_order", &money(self.minimum)).unwrap();
        settings
    }

    /// Every broken rule with the line it is broken on (none: the header) and the field.
    fn broken(&self) -> Vec<(&'static str, Option<usize>, &'static str)> {
        let mut broken = Vec::new();
        let sum = |amount: fn(&Line) -> i64| self.lines.iter().map(amount).sum::<i64>();
        let (net, tax) = (sum(|line| line.total), sum(|line| line.tax));
        let is_return = self.total < 0 || self.lines.iter().all(|line| line.quantity < 0);
        let mut header = |rule, is_broken: bool, field| {
            if is_broken {
                broken.push((rule, None, field))
            }
        };
        header("rule_account_on_hold", self.clinic.on_hold, "");
        header("rule_return", is_return, "total");
        header("rule_repeated_number", self.clinic.number_used_before && self.number, "purchase_order_number");
        header("rule_ship_to_unmapped", !self.clinic.ship_to_mapped && self.ship_to, "shipping_address_id");
        header("rule_minimum_order", net < self.minimum && !is_return, "total");
        let cents = self.lines.len() as i64 + 1;
        header("rule_header_totals", (self.total - net - tax - self.freight).abs() > cents, "total");
        let off = |tax: i64| (self.tax - tax).abs() > cents;
        header("rule_header_totals", off(tax) && off(tax + self.freight_tax), "tax");
        for (at, line) in self.lines.iter().enumerate() {
            let mut found = |rule, is_broken: bool, field| {
                if is_broken {
                    broken.push((rule, Some(at), field))
                }
            };
            found("rule_line_arithmetic", line.outers * line.units != line.quantity, "quantity");
            // In mills: half a cent for each unit whose price was rounded, and one cent for the total.
            let wrong_by = (line.quantity * line.price - line.total).abs() * 10;
            found("rule_line_arithmetic", wrong_by > line.quantity.abs() * 5 + 10, "total");
            let Some(product) = self.products.get(line.product).filter(|product| product.visible) else {
                found("rule_unknown_product", true, "supplier_code");
                continue;
            };
            found("rule_withdrawn_product", !product.active, "supplier_code");
            found("rule_restricted_product", product.restricted && !self.clinic.restricted_licence, "supplier_code");
            found("rule_pack_size", line.units != product.units, "units_per_outer");
            found("rule_broken_pack", line.quantity % product.units != 0, "quantity");
            let before = self.lines[..at].iter().filter(|other| other.product == line.product);
            let free = product.stock - before.map(|line| line.quantity).sum::<i64>();
            found("rule_stock_short", line.quantity > 0 && line.quantity > free, "quantity");
            // In hundredths of a cent.
            let tolerance = (product.price * self.tolerance).max(50);
            let difference = (line.price - product.price) * 100;
            found("rule_price_above", difference > tolerance, "price_per_unit");
            found("rule_price_below", -difference > tolerance, "price_per_unit");
        }
        broken
    }

    fn action(&self, rule: &str) -> usize {
        RULES.iter().position(|known| *known == rule).map(|at| self.actions[at]).unwrap()
    }
}

fn path(line: Option<usize>, field: &str) -> String {
    let parent = line.map_or(ROOT.to_owned(), |at| format!("{ROOT}.{LINES}[{at}]"));
    if field.is_empty() { parent } else { format!("{parent}.{field}") }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn the_decision_is_what_the_rules_say_and_no_line_is_lost_or_added(case in case()) {
        let (order, settings) = (case.order(), case.settings());
        let decision = decide(&order, &case.terms(), &settings);
        let broken: Vec<_> = case.broken().into_iter().filter(|(rule, ..)| case.action(rule) > 0).collect();
        let expected: BTreeSet<_> = broken
            .iter()
            .map(|(rule, line, field)| ((*rule).to_owned(), ACTIONS[case.action(rule)].to_owned(), path(*line, field)))
            .collect();
        let found: BTreeSet<_> = decision
            .findings
            .iter()
            .map(|finding| (finding.rule.to_owned(), finding.action.to_owned(), finding.field.clone()))
            .collect();
        prop_assert_eq!(&found, &expected);
        prop_assert_eq!(decision.findings.len(), expected.len(), "each finding is reported once");
        let strongest = broken.iter().map(|(rule, ..)| case.action(rule)).max().unwrap_or(0);
        let verdict = [Verdict::Accepted, Verdict::Accepted, Verdict::Held, Verdict::Declined][strongest];
        prop_assert_eq!(decision.verdict, verdict);

        let sent: Vec<_> = case.lines.iter().map(|line| (case.code(line), line.quantity.into())).collect();
        let read: Vec<(String, Decimal)> = order.lines.iter().map(|line| (line.supplier_code.clone(), line.quantity)).collect();
        prop_assert_eq!(read, sent);
        let answer: serde_json::Value = serde_json::from_str(&echo(&order.document, "SO-1")).unwrap();
        let echoed = answer[ROOT][LINES].as_array().unwrap();
        let ids: Vec<_> = echoed.iter().map(|line| line["id"].as_str().unwrap().to_owned()).collect();
        let expected: Vec<_> = (1..=case.lines.len()).map(|id| id.to_string()).collect();
        prop_assert_eq!(ids, expected);
    }
}

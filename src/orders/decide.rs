//! The decision about an order: a pure function of the order, the catalogue at that moment, the clinic and the settings.
//!
//! Each rule yields findings; the action that is set for the rule (off, note, hold, decline) says what a finding does.
//! The strongest action of all findings is the verdict. Reasons are in words for the staff of the clinic.

use super::read::{LINES, OrderLine, OrderRequest, ROOT};
use crate::config::{ClinicSettings, RuleAction};
use crate::values::plain;
use rust_decimal::Decimal;
use serde::Serialize;
use std::collections::HashMap;

/// A product as it stands for this clinic at this moment.
#[derive(Clone, Debug)]
pub struct ProductTerms {
    /// Whether the clinic's visibility rules let it see the product.
    pub visible: bool,
    pub active: bool,
    pub restricted: bool,
    pub units_per_outer: Decimal,
    /// The clinic's price without tax for one unit: its contract price, else the list price.
    pub price_per_unit: Decimal,
    /// Units on hand that no open order has reserved. Below zero: so much is back-ordered.
    pub stock_free: Decimal,
}

/// The clinic as far as the decision goes.
#[derive(Clone, Copy, Debug)]
pub struct ClinicTerms {
    pub restricted_licence: bool,
    pub on_hold: bool,
    /// It has sent this purchase_order_number before, under another id.
    pub number_used_before: bool,
    /// Staff have said which address the order's shipping_address_id is.
    pub ship_to_mapped: bool,
}

/// One broken rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// A stable code, which is the name of the setting too.
    pub rule: &'static str,
    /// `note`, `hold` or `decline`.
    pub action: &'static str,
    /// Path of the field that is meant.
    pub field: String,
    /// For people.
    pub text: String,
}

/// What becomes of the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    Accepted,
    Held,
    Declined,
}

/// The verdict and everything that led to it.
#[derive(Clone, Debug)]
pub struct Decision {
    pub verdict: Verdict,
    pub findings: Vec<Finding>,
}

/// Decides. `products` holds what we have of the codes ordered; a code that is absent is unknown.
pub fn decide(
    order: &OrderRequest,
    products: &HashMap<String, ProductTerms>,
    clinic: ClinicTerms,
    settings: &ClinicSettings,
) -> Decision {
    let mut rules = Rules { verdict: Verdict::Accepted, findings: Vec::new() };
    header(order, clinic, settings, &mut rules);
    let mut wanted: HashMap<&str, Decimal> = HashMap::new();
    for (index, line) in order.lines.iter().enumerate() {
        let field = |name: &str| format!("{ROOT}.{LINES}[{index}].{name}");
        arithmetic(line, field, settings, &mut rules);
        match products.get(&line.supplier_code).filter(|product| product.visible) {
            None => {
                let text = format!("we have no product with the code `{}`", line.supplier_code);
                rules.broken("rule_unknown_product", settings.rule_unknown_product, field("supplier_code"), text);
            }
            Some(product) => {
                let before = wanted.entry(line.supplier_code.as_str()).or_default();
                let free = product.stock_free - *before;
                *before += line.quantity;
                goods(line, field, product, free, clinic, settings, &mut rules);
            }
        }
    }
    Decision { verdict: rules.verdict, findings: rules.findings }
}

struct Rules {
    verdict: Verdict,
    findings: Vec<Finding>,
}

impl Rules {
    fn broken(&mut self, rule: &'static str, action: RuleAction, field: String, text: String) {
        let (verdict, action) = match action {
            RuleAction::Off => return,
            RuleAction::Note => (Verdict::Accepted, "note"),
            RuleAction::Hold => (Verdict::Held, "hold"),
            RuleAction::Decline => (Verdict::Declined, "decline"),
        };
        self.verdict = self.verdict.max(verdict);
        self.findings.push(Finding { rule, action, field, text });
    }
}

fn header(order: &OrderRequest, clinic: ClinicTerms, settings: &ClinicSettings, rules: &mut Rules) {
    let field = |name: &str| format!("{ROOT}.{name}");
    if clinic.on_hold {
        let text = "your account is on hold; please call us".to_owned();
        rules.broken("rule_account_on_hold", settings.rule_account_on_hold, ROOT.to_owned(), text);
    }
    if order.is_return() {
        let text = "goods going back are agreed with us first".to_owned();
        rules.broken("rule_return", settings.rule_return, field("total"), text);
    }
    if clinic.number_used_before && !order.purchase_order_number.is_empty() {
        let text = format!("we have an order with the number {} from you already", order.purchase_order_number);
        rules.broken("rule_repeated_number", settings.rule_repeated_number, field("purchase_order_number"), text);
    }
    if !clinic.ship_to_mapped && !["", "0"].contains(&order.shipping_address_id.as_str()) {
        let text = format!("we have no address on file yet for your shipping address {}", order.shipping_address_id);
        rules.broken("rule_ship_to_unmapped", settings.rule_ship_to_unmapped, field("shipping_address_id"), text);
    }
    let net = sum(&order.lines, |line| line.total);
    if net < settings.minimum_order.0 && !order.is_return() {
        let text =
            format!("the order comes to {} without tax; the least we take is {}", plain(net), settings.minimum_order);
        rules.broken("rule_minimum_order", settings.rule_minimum_order, field("total"), text);
    }
    let tax = sum(&order.lines, |line| line.total_tax);
    let gross = net.saturating_add(tax).saturating_add(order.freight);
    // One cent for each amount that was rounded.
    let tolerance = cents(order.lines.len() + 1);
    if (order.total - gross).abs() > tolerance {
        let text = format!("the total is {}, but lines, tax and freight come to {}", plain(order.total), plain(gross));
        rules.broken("rule_header_totals", settings.rule_header_totals, field("total"), text);
    }
    let taxes = [tax, tax.saturating_add(order.freight_tax)];
    if taxes.iter().all(|tax| (order.tax - *tax).abs() > tolerance) {
        let text = format!("the tax is {}, but the lines' taxes come to {}", plain(order.tax), plain(tax));
        rules.broken("rule_header_totals", settings.rule_header_totals, field("tax"), text);
    }
}

/// `field` tells where a field of the line stands in the order.
fn arithmetic(line: &OrderLine, field: impl Fn(&str) -> String, settings: &ClinicSettings, rules: &mut Rules) {
    let rule = settings.rule_line_arithmetic;
    let product = line.outers.saturating_mul(line.units_per_outer);
    // A third of an outer is written with some decimals only.
    if (product - line.quantity).abs() > line.units_per_outer.saturating_mul(Decimal::new(1, 4)).max(Decimal::new(1, 4))
    {
        let text = format!(
            "{} outers of {} are {} units, not {}",
            plain(line.outers),
            plain(line.units_per_outer),
            plain(product),
            plain(line.quantity)
        );
        rules.broken("rule_line_arithmetic", rule, field("quantity"), text);
    }
    let total = line.quantity.saturating_mul(line.price_per_unit);
    // The price may have been rounded to the digits that it is written with; the total to cents.
    let tolerance = line.quantity.abs().saturating_mul(line.price_rounding).saturating_add(cents(1));
    if (total - line.total).abs() > tolerance {
        let text = format!(
            "{} x {} is {}, not {}",
            plain(line.quantity),
            plain(line.price_per_unit),
            plain(total),
            plain(line.total)
        );
        rules.broken("rule_line_arithmetic", rule, field("total"), text);
    }
}

fn goods(
    line: &OrderLine,
    field: impl Fn(&str) -> String,
    product: &ProductTerms,
    free: Decimal,
    clinic: ClinicTerms,
    settings: &ClinicSettings,
    rules: &mut Rules,
) {
    let code = &line.supplier_code;
    if !product.active {
        let text = format!("`{code}` has been withdrawn");
        rules.broken("rule_withdrawn_product", settings.rule_withdrawn_product, field("supplier_code"), text);
    }
    if product.restricted && !clinic.restricted_licence {
        let text =
            format!("`{code}` is sold only to clinics with the licence for it, and we have none of yours on file");
        rules.broken("rule_restricted_product", settings.rule_restricted_product, field("supplier_code"), text);
    }
    if line.units_per_outer != product.units_per_outer {
        let text = format!(
            "an outer of `{code}` holds {} units, not {}",
            plain(product.units_per_outer),
            plain(line.units_per_outer)
        );
        rules.broken("rule_pack_size", settings.rule_pack_size, field("units_per_outer"), text);
    }
    if !line.quantity.checked_rem(product.units_per_outer).unwrap_or_default().is_zero() {
        let text = format!(
            "`{code}` is sold in outers of {} units; {} are no whole number of them",
            plain(product.units_per_outer),
            plain(line.quantity)
        );
        rules.broken("rule_broken_pack", settings.rule_broken_pack, field("quantity"), text);
    }
    if line.quantity > Decimal::ZERO && line.quantity > free {
        let text = format!(
            "of `{code}`, {} of {} units are in stock{}",
            plain(free.max(Decimal::ZERO)),
            plain(line.quantity),
            match settings.rule_stock_short {
                RuleAction::Off | RuleAction::Note => "; the rest follows",
                RuleAction::Hold => "; we look into the rest",
                RuleAction::Decline => "",
            }
        );
        rules.broken("rule_stock_short", settings.rule_stock_short, field("quantity"), text);
    }
    let ours = product.price_per_unit;
    let tolerance = (ours.saturating_mul(settings.price_tolerance.0) / Decimal::ONE_HUNDRED).max(line.price_rounding);
    let difference = line.price_per_unit - ours;
    if difference.abs() > tolerance {
        let text =
            format!("the price of `{code}` for you is {} a unit, not {}", plain(ours), plain(line.price_per_unit));
        let (rule, action) = if difference.is_sign_negative() {
            ("rule_price_below", settings.rule_price_below)
        } else {
            ("rule_price_above", settings.rule_price_above)
        };
        rules.broken(rule, action, field("price_per_unit"), text);
    }
}

fn sum(lines: &[OrderLine], amount: impl Fn(&OrderLine) -> Decimal) -> Decimal {
    lines.iter().fold(Decimal::ZERO, |sum, line| sum.saturating_add(amount(line)))
}

fn cents(count: usize) -> Decimal {
    Decimal::new(i64::try_from(count).unwrap_or(i64::MAX), 2)
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

//! The decision about an order: a pure function of the order, the terms and the clinic's settings.
//!
//! Each rule yields findings. The action set for the rule (off, note, hold, decline) says what a finding does, and the
//! strongest action of all findings is the verdict. The texts are for the clinic's staff, who read them in ezyVet.
//!
//! `rule_ask` comes after these rules: [`super::ask`] applies it to orders that they accept.

use super::document::{LINES, ROOT};
use super::read::{OrderLine, OrderRequest};
use crate::clinics::ClinicRow;
use crate::config::{AskDefault, ClinicSettings, RuleAction};
use crate::values::plain;
use rust_decimal::Decimal;
use serde::Serialize;
use std::collections::HashMap;
use time::OffsetDateTime;

/// Everything that a decision rests on besides the order and the settings, as of one moment.
#[derive(Clone, Debug)]
pub struct Terms {
    pub clinic: ClinicTerms,
    /// By supplier code. A code that is absent is unknown.
    pub products: HashMap<String, ProductTerms>,
    /// What must still be true when the order is stored. `None`: the terms were read under locks that last until then.
    pub expected: Option<ExpectedVersions>,
}

/// Versions of terms from memory, compared with Postgres by the statement that stores the order.
#[derive(Clone, Copy, Debug)]
pub struct ExpectedVersions {
    pub catalog_version: i64,
    pub ship_to_mapped: bool,
}

/// A product as this clinic may buy it.
#[derive(Clone, Debug)]
pub struct ProductTerms {
    /// Whether the clinic's visibility settings show the product.
    pub visible: bool,
    pub active: bool,
    pub restricted: bool,
    pub units_per_outer: Decimal,
    /// The clinic's price of one unit without tax: its contract price, else the list price.
    pub price_per_unit: Decimal,
    /// Units on hand less units reserved by open orders. Negative if more is ordered than on hand.
    pub stock_free: Decimal,
}

/// The clinic, as far as decisions depend on it.
#[derive(Clone, Copy, Debug)]
pub struct ClinicTerms {
    pub restricted_licence: bool,
    pub on_hold: bool,
    /// Whether an earlier order of the clinic has the same purchase_order_number.
    pub number_used_before: bool,
    /// Whether staff have mapped the order's shipping_address_id to an address.
    pub ship_to_mapped: bool,
}

impl ClinicTerms {
    pub fn new(clinic: &ClinicRow, number_used_before: bool, ship_to_mapped: bool) -> Self {
        let (restricted_licence, on_hold) = (clinic.restricted_licence, clinic.on_hold);
        Self { restricted_licence, on_hold, number_used_before, ship_to_mapped }
    }
}

/// A rule that the order breaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// A stable code: the name of the rule's setting.
    pub rule: &'static str,
    /// `note`, `hold`, `ask` or `decline`.
    pub action: &'static str,
    /// Path of the field in the order.
    pub field: String,
    /// The reason, for people. Names the product code if the field is a line's.
    pub text: String,
}

/// What becomes of the order. Ordered by strength.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    Accepted,
    Held,
    Declined,
}

impl Verdict {
    /// The state that the order is stored in.
    pub fn state(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Held => "held",
            Self::Declined => "declined",
        }
    }
}

/// The verdict and the findings that led to it.
#[derive(Clone, Debug)]
pub struct Decision {
    pub verdict: Verdict,
    pub findings: Vec<Finding>,
    /// Set if the order is held only until the supplier's system or staff decide about it.
    pub pending: Option<Pending>,
}

/// A decision that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    pub decide_by: OffsetDateTime,
    /// What happens without a decision.
    pub default: AskDefault,
}

/// Whether a shipping_address_id names an address at all: ezyVet sends nothing or 0 for none.
pub fn is_address(shipping_address_id: &str) -> bool {
    !["", "0"].contains(&shipping_address_id)
}

/// Decides about an order by every rule except `rule_ask`.
pub fn decide(order: &OrderRequest, terms: &Terms, settings: &ClinicSettings) -> Decision {
    let mut decision = Decision { verdict: Verdict::Accepted, findings: Vec::new(), pending: None };
    check_header(order, terms.clinic, settings, &mut decision);
    let mut ordered: HashMap<&str, Decimal> = HashMap::new();
    for (index, line) in order.lines.iter().enumerate() {
        let field = |name: &str| format!("{ROOT}.{LINES}[{index}].{name}");
        check_arithmetic(line, field, settings, &mut decision);
        match terms.products.get(&line.supplier_code).filter(|product| product.visible) {
            None => {
                let text = format!("Unknown product code `{}`", line.supplier_code);
                decision.add("rule_unknown_product", settings.rule_unknown_product, field("supplier_code"), text);
            }
            Some(product) => {
                let earlier = ordered.entry(line.supplier_code.as_str()).or_default();
                let free = product.stock_free - *earlier;
                *earlier += line.quantity;
                check_product(line, field, product, free, terms.clinic, settings, &mut decision);
            }
        }
    }
    decision
}

impl Decision {
    fn add(&mut self, rule: &'static str, action: RuleAction, field: String, text: String) {
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

fn check_header(order: &OrderRequest, clinic: ClinicTerms, settings: &ClinicSettings, decision: &mut Decision) {
    let field = |name: &str| format!("{ROOT}.{name}");
    if clinic.on_hold {
        let text = "The clinic's account is on hold; please call the supplier".to_owned();
        decision.add("rule_account_on_hold", settings.rule_account_on_hold, ROOT.to_owned(), text);
    }
    if order.is_return() {
        let text = "Returns must be agreed with the supplier before they are sent".to_owned();
        decision.add("rule_return", settings.rule_return, field("total"), text);
    }
    if clinic.number_used_before && !order.purchase_order_number.is_empty() {
        let text = format!("Purchase order number {} was used by an earlier order", order.purchase_order_number);
        decision.add("rule_repeated_number", settings.rule_repeated_number, field("purchase_order_number"), text);
    }
    if !clinic.ship_to_mapped && is_address(&order.shipping_address_id) {
        let text = format!("The supplier has no address on file for shipping address {}", order.shipping_address_id);
        decision.add("rule_ship_to_unmapped", settings.rule_ship_to_unmapped, field("shipping_address_id"), text);
    }
    let net = sum(&order.lines, |line| line.total);
    if net < settings.minimum_order.0 && !order.is_return() {
        let text = format!("The order comes to {} without tax; the minimum is {}", plain(net), settings.minimum_order);
        decision.add("rule_minimum_order", settings.rule_minimum_order, field("total"), text);
    }
    let tax = sum(&order.lines, |line| line.total_tax);
    let gross = net.saturating_add(tax).saturating_add(order.freight);
    // Each amount may have been rounded by up to a cent.
    let tolerance = cents(order.lines.len() + 1);
    if (order.total - gross).abs() > tolerance {
        let text =
            format!("The total is {}, but lines, tax and freight add up to {}", plain(order.total), plain(gross));
        decision.add("rule_header_totals", settings.rule_header_totals, field("total"), text);
    }
    let taxes = [tax, tax.saturating_add(order.freight_tax)];
    if taxes.iter().all(|tax| (order.tax - *tax).abs() > tolerance) {
        let text = format!("The tax is {}, but the taxes of the lines add up to {}", plain(order.tax), plain(tax));
        decision.add("rule_header_totals", settings.rule_header_totals, field("tax"), text);
    }
}

/// `field` returns the path of a field of the line.
fn check_arithmetic(
    line: &OrderLine,
    field: impl Fn(&str) -> String,
    settings: &ClinicSettings,
    decision: &mut Decision,
) {
    let (rule, code) = (settings.rule_line_arithmetic, &line.supplier_code);
    let product = line.outers.saturating_mul(line.units_per_outer);
    // A fraction such as a third of an outer is written with a few decimals.
    if (product - line.quantity).abs() > line.units_per_outer.saturating_mul(Decimal::new(1, 4)).max(Decimal::new(1, 4))
    {
        let text = format!(
            "Product `{code}`: {} outers of {} units are {} units, not {}",
            plain(line.outers),
            plain(line.units_per_outer),
            plain(product),
            plain(line.quantity)
        );
        decision.add("rule_line_arithmetic", rule, field("quantity"), text);
    }
    let total = line.quantity.saturating_mul(line.price_per_unit);
    // The price may be rounded to the digits that it is written with, and the total to cents.
    let tolerance = line.quantity.abs().saturating_mul(line.price_rounding).saturating_add(cents(1));
    if (total - line.total).abs() > tolerance {
        let text = format!(
            "Product `{code}`: {} x {} is {}, not {}",
            plain(line.quantity),
            plain(line.price_per_unit),
            plain(total),
            plain(line.total)
        );
        decision.add("rule_line_arithmetic", rule, field("total"), text);
    }
}

fn check_product(
    line: &OrderLine,
    field: impl Fn(&str) -> String,
    product: &ProductTerms,
    free: Decimal,
    clinic: ClinicTerms,
    settings: &ClinicSettings,
    decision: &mut Decision,
) {
    let code = &line.supplier_code;
    if !product.active {
        let text = format!("Product `{code}` has been withdrawn");
        decision.add("rule_withdrawn_product", settings.rule_withdrawn_product, field("supplier_code"), text);
    }
    if product.restricted && !clinic.restricted_licence {
        let text = format!("Product `{code}` needs a licence that the supplier does not have on file for the clinic");
        decision.add("rule_restricted_product", settings.rule_restricted_product, field("supplier_code"), text);
    }
    if line.units_per_outer != product.units_per_outer {
        let text = format!(
            "Product `{code}`: an outer holds {} units, not {}",
            plain(product.units_per_outer),
            plain(line.units_per_outer)
        );
        decision.add("rule_pack_size", settings.rule_pack_size, field("units_per_outer"), text);
    }
    if !line.quantity.checked_rem(product.units_per_outer).unwrap_or_default().is_zero() {
        let text = format!(
            "Product `{code}` is sold in outers of {} units; {} units are not whole outers",
            plain(product.units_per_outer),
            plain(line.quantity)
        );
        decision.add("rule_broken_pack", settings.rule_broken_pack, field("quantity"), text);
    }
    if line.quantity > Decimal::ZERO && line.quantity > free {
        let text = format!(
            "Product `{code}`: {} of {} units are in stock{}",
            plain(free.max(Decimal::ZERO)),
            plain(line.quantity),
            match settings.rule_stock_short {
                RuleAction::Off | RuleAction::Note => "; the rest is back-ordered",
                RuleAction::Hold => "; the supplier will confirm the rest",
                RuleAction::Decline => "",
            }
        );
        decision.add("rule_stock_short", settings.rule_stock_short, field("quantity"), text);
    }
    let ours = product.price_per_unit;
    let tolerance = (ours.saturating_mul(settings.price_tolerance.0) / Decimal::ONE_HUNDRED).max(line.price_rounding);
    let difference = line.price_per_unit - ours;
    if difference.abs() > tolerance {
        let text =
            format!("Product `{code}`: the price is {} per unit, not {}", plain(ours), plain(line.price_per_unit));
        let (rule, action) = if difference.is_sign_negative() {
            ("rule_price_below", settings.rule_price_below)
        } else {
            ("rule_price_above", settings.rule_price_above)
        };
        decision.add(rule, action, field("price_per_unit"), text);
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
pub(super) mod tests;

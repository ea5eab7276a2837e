//! What practice systems refuse an invoice for, found before it is sent. Pure.

use super::payload::{Invoice, InvoiceLine};
use crate::values::plain;
use rust_decimal::Decimal;

/// Most decimals that a practice system keeps.
const MOST_DECIMALS: u32 = 6;
/// How far a line's tax may be from its rate: a cent, and what a rate of two decimals cannot say.
const TAX_TOLERANCE: Decimal = Decimal::from_parts(1, 0, 0, false, 2);
const RATE_TOLERANCE: Decimal = Decimal::from_parts(1, 0, 0, false, 4);

/// What the database knows of an invoice.
#[derive(Clone, Debug)]
pub struct Known {
    /// ezyVet's ids of the order's lines.
    pub items: Vec<String>,
    /// The number belongs to another shipment.
    pub number_taken: bool,
}

/// The tax codes of a setting's text: none named, all known.
pub fn tax_codes(setting: &str) -> Vec<&str> {
    setting.split(',').map(str::trim).filter(|code| !code.is_empty()).collect()
}

/// A mistake: a stable code, and words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    pub code: &'static str,
    pub text: String,
}

impl std::fmt::Display for Flaw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.text)
    }
}

/// Every mistake of an invoice.
pub fn check(invoice: &Invoice, known: &Known, tax_codes: &[&str]) -> Vec<Flaw> {
    let mut flaws = Vec::new();
    let mut flaw = |code, text: String| flaws.push(Flaw { code, text });
    if known.number_taken {
        flaw("duplicate_number", format!("number {} belongs to another shipment", invoice.invoice_number));
    }
    if invoice.ownership_id.trim().is_empty() {
        flaw("missing_business", "the order names no business (ownership_id)".into());
    }
    if invoice.lines.is_empty() {
        flaw("no_lines", "the invoice has no lines".into());
    }
    for (field, amount) in [("freight", invoice.freight), ("freight_tax", invoice.freight_tax)] {
        decimals(&mut flaw, field, amount);
    }
    for line in &invoice.lines {
        let item = line.purchase_order_item_id.as_str();
        let mut flaw = |code, text: String| flaw(code, format!("line {item}: {text}"));
        if !known.items.iter().any(|known| known == item) {
            flaw("unknown_line", "the order has no such line".into());
        }
        let code = line.tax_code.trim();
        if !(code.is_empty() || tax_codes.is_empty() || tax_codes.contains(&code)) {
            flaw("unknown_tax_code", format!("the site does not know the tax code {code}"));
        }
        check_line(&mut flaw, line);
    }
    flaws
}

fn check_line(flaw: &mut impl FnMut(&'static str, String), line: &InvoiceLine) {
    if line.quantity.is_zero() {
        flaw("zero_quantity", "the quantity is zero".into());
    }
    let amounts = [("quantity", line.quantity), ("price", line.price), ("tax", line.tax), ("tax_rate", line.tax_rate)];
    for (field, amount) in amounts {
        decimals(flaw, field, amount);
    }
    let wanted = line.price * line.tax_rate / Decimal::ONE_HUNDRED;
    if (wanted - line.tax).abs() > TAX_TOLERANCE + line.price.abs() * RATE_TOLERANCE {
        let (tax, rate, price) = (plain(line.tax), plain(line.tax_rate), plain(line.price));
        flaw("tax_mismatch", format!("the tax is {tax}, but {rate} % of {price} is {}", plain(wanted)));
    }
    for (code, field, text) in [
        ("missing_tax_code", "tax code", &line.tax_code),
        ("missing_location", "stock location (ownership_id of the order's line)", &line.location_id),
        ("missing_supplier_code", "supplier code", &line.supplier_code),
    ] {
        if text.trim().is_empty() {
            flaw(code, format!("there is no {field}"));
        }
    }
}

fn decimals(flaw: &mut impl FnMut(&'static str, String), field: &str, amount: Decimal) {
    if amount.normalize().scale() > MOST_DECIMALS {
        flaw("too_many_decimals", format!("{field} {} has more than {MOST_DECIMALS} decimals", plain(amount)));
    }
}

#[cfg(test)]
mod tests {
    use super::super::payload::tests::invoice;
    use super::*;

    fn codes(change: impl FnOnce(&mut Invoice)) -> Vec<&'static str> {
        let mut invoice = invoice();
        change(&mut invoice);
        let known = Known { items: vec!["9".into(), "10".into()], number_taken: false };
        check(&invoice, &known, &tax_codes("S, Z")).into_iter().map(|flaw| flaw.code).collect()
    }

    #[test]
    fn a_sound_invoice_has_no_flaw() {
        assert_eq!(codes(|_| {}), [""; 0]);
        assert_eq!(codes(|invoice| invoice.lines[0].tax = "0.4345".parse().unwrap()), [""; 0]);
    }

    #[test]
    fn every_mistake_has_its_own_code() {
        assert_eq!(codes(|invoice| invoice.lines[0].tax = "0.9".parse().unwrap()), ["tax_mismatch"]);
        assert_eq!(codes(|invoice| invoice.lines[0].quantity = "0.0000001".parse().unwrap()), ["too_many_decimals"]);
        assert_eq!(codes(|invoice| invoice.freight = "0.0000001".parse().unwrap()), ["too_many_decimals"]);
        assert_eq!(codes(|invoice| invoice.lines[0].quantity = Decimal::ZERO), ["zero_quantity"]);
        assert_eq!(codes(|invoice| invoice.lines[0].location_id.clear()), ["missing_location"]);
        assert_eq!(codes(|invoice| invoice.lines[0].tax_code = " ".into()), ["missing_tax_code"]);
        assert_eq!(codes(|invoice| invoice.lines[0].tax_code = "GST".into()), ["unknown_tax_code"]);
        assert_eq!(codes(|invoice| invoice.lines[0].supplier_code.clear()), ["missing_supplier_code"]);
        assert_eq!(codes(|invoice| invoice.lines[0].purchase_order_item_id = "8".into()), ["unknown_line"]);
        assert_eq!(codes(|invoice| invoice.lines.clear()), ["no_lines"]);
        assert_eq!(codes(|invoice| invoice.ownership_id.clear()), ["missing_business"]);
        let taken = Known { items: vec!["9".into(), "10".into()], number_taken: true };
        let words: Vec<_> = check(&invoice(), &taken, &[]).iter().map(ToString::to_string).collect();
        assert_eq!(words, ["duplicate_number: number INV-000001 belongs to another shipment"]);
    }
}

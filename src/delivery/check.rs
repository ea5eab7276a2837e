//! Checks an invoice before it is sent, for what practice systems refuse. Pure.

use super::payload::{Invoice, InvoiceLine};
use crate::values::plain;
use rust_decimal::Decimal;

/// How many decimals a practice system stores.
const MAX_DECIMALS: u32 = 6;
/// How far the tax of a line may be from its rate: one cent, plus the rounding of a rate to two decimals.
const TAX_TOLERANCE: Decimal = Decimal::from_parts(1, 0, 0, false, 2);
const RATE_TOLERANCE: Decimal = Decimal::from_parts(1, 0, 0, false, 4);

/// What an invoice is checked against.
#[derive(Clone, Debug)]
pub struct StoredFacts {
    /// ezyVet's ids of the order's lines.
    pub item_ids: Vec<String>,
    /// Another shipment has an invoice with this number.
    pub is_number_taken: bool,
}

/// Returns every problem of an invoice: a stable code and a sentence, `no_lines: the invoice has no lines`. Without
/// `known_tax_codes`, which are separated by commas, every tax code is permitted.
pub fn check(invoice: &Invoice, facts: &StoredFacts, known_tax_codes: &str) -> Vec<String> {
    let tax_codes: Vec<&str> = known_tax_codes.split(',').map(str::trim).filter(|code| !code.is_empty()).collect();
    let mut problems = Vec::new();
    let mut report = |code: &str, text: String| problems.push(format!("{code}: {text}"));
    if facts.is_number_taken {
        report("duplicate_number", format!("another shipment has the number {}", invoice.invoice_number));
    }
    if invoice.ownership_id.trim().is_empty() {
        report("missing_business", "the order names no business (ownership_id)".into());
    }
    if invoice.lines.is_empty() {
        report("no_lines", "the invoice has no lines".into());
    }
    for (field, amount) in [("freight", invoice.freight), ("freight_tax", invoice.freight_tax)] {
        check_decimals(&mut report, field, amount);
    }
    for line in &invoice.lines {
        let item = line.purchase_order_item_id.as_str();
        let mut report = |code: &str, text: String| report(code, format!("line {item}: {text}"));
        if !facts.item_ids.iter().any(|id| id == item) {
            report("unknown_line", "the order has no line with this id".into());
        }
        let code = line.tax_code.trim();
        if !(code.is_empty() || tax_codes.is_empty() || tax_codes.contains(&code)) {
            report("unknown_tax_code", format!("the tax code {code} is not in the site's setting `known_tax_codes`"));
        }
        check_line(&mut report, line);
    }
    problems
}

fn check_line(report: &mut impl FnMut(&str, String), line: &InvoiceLine) {
    if line.quantity.is_zero() {
        report("zero_quantity", "the quantity is zero".into());
    }
    let amounts = [("quantity", line.quantity), ("price", line.price), ("tax", line.tax), ("tax_rate", line.tax_rate)];
    for (field, amount) in amounts {
        check_decimals(report, field, amount);
    }
    let expected = line.price * line.tax_rate / Decimal::ONE_HUNDRED;
    if (expected - line.tax).abs() > TAX_TOLERANCE + line.price.abs() * RATE_TOLERANCE {
        let (tax, rate, price) = (plain(line.tax), plain(line.tax_rate), plain(line.price));
        report("tax_mismatch", format!("the tax is {tax}, but {rate} % of {price} is {}", plain(expected)));
    }
    for (code, field, text) in [
        ("missing_tax_code", "tax code", &line.tax_code),
        ("missing_location", "stock location (ownership_id of the order's line)", &line.location_id),
        ("missing_supplier_code", "supplier code", &line.supplier_code),
    ] {
        if text.trim().is_empty() {
            report(code, format!("the {field} is missing"));
        }
    }
}

fn check_decimals(report: &mut impl FnMut(&str, String), field: &str, amount: Decimal) {
    if amount.normalize().scale() > MAX_DECIMALS {
        report("too_many_decimals", format!("{field} {} has more than {MAX_DECIMALS} decimals", plain(amount)));
    }
}

#[cfg(test)]
mod tests {
    use super::super::payload::tests::invoice;
    use super::*;

    fn codes(change: impl FnOnce(&mut Invoice)) -> Vec<String> {
        let mut invoice = invoice();
        change(&mut invoice);
        let facts = StoredFacts { item_ids: vec!["9".into(), "10".into()], is_number_taken: false };
        let problems = check(&invoice, &facts, "S, Z");
        problems.iter().filter_map(|problem| Some(problem.split_once(':')?.0.to_owned())).collect()
    }

    #[test]
    fn a_correct_invoice_has_no_problem() {
        assert_eq!(codes(|_| {}), [""; 0]);
        assert_eq!(codes(|invoice| invoice.lines[0].tax = "0.4345".parse().unwrap()), [""; 0]);
    }

    #[test]
    fn every_problem_has_its_own_code() {
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
        let taken = StoredFacts { item_ids: vec!["9".into(), "10".into()], is_number_taken: true };
        assert_eq!(check(&invoice(), &taken, ""), ["duplicate_number: another shipment has the number INV-000001"]);
    }
}

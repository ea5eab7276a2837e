//! Which tax an invoice line bears. Pure.
//!
//! The rate, first found: the product's (catalogue), the clinic's (`clinic set ID tax_rate=`), what the order line says.
//! The code, first found: the product's, the clinic's (`tax_code=`), the site's (`SPSI_TAX_CODE`). A clinic that is taxed
//! otherwise than others whatever it buys (an export, say) has `tax_overrides_product=true`: then what it has goes before
//! the product's. A rate that comes from neither is worked out from the order line's amounts, so that the clinic is billed
//! what it ordered at.

use super::invoice::ShippedLine;
use rust_decimal::Decimal;

/// A clinic's own tax.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClinicTax {
    /// Empty: none.
    pub code: String,
    /// In percent.
    pub rate: Option<Decimal>,
    /// Goes before the product's.
    pub overrides_product: bool,
}

impl ClinicTax {
    /// Puts the clinic's tax on a line that bears the catalogue's.
    pub(super) fn apply(&self, line: &mut ShippedLine) {
        if line.tax_code.is_empty() || self.overrides_product && !self.code.is_empty() {
            line.tax_code.clone_from(&self.code);
        }
        line.tax_rate = if self.overrides_product { self.rate.or(line.tax_rate) } else { line.tax_rate.or(self.rate) };
    }
}

#[cfg(test)]
mod tests {
    use super::super::invoice::tests::{line, number, one_line};
    use super::*;

    const GST_15: (&str, &str) = ("GST", "15");

    /// Rate, tax of one unit at a price of 4, and code of a line whose product and clinic have these.
    fn taxed(product: (&str, &str), clinic: (&str, &str), overrides_product: bool) -> (Decimal, Decimal, String) {
        let rate = |text: &str| (!text.is_empty()).then(|| number(text));
        let mut line = ShippedLine { tax_code: product.0.into(), tax_rate: rate(product.1), ..line("9", "1") };
        ClinicTax { code: clinic.0.into(), rate: rate(clinic.1), overrides_product }.apply(&mut line);
        let line = one_line(line);
        (line.tax_rate, line.tax, line.tax_code)
    }

    fn tax(rate: &str, tax: &str, code: &str) -> (Decimal, Decimal, String) {
        (number(rate), number(tax), code.into())
    }

    #[test]
    fn the_product_goes_before_the_clinic_and_the_clinic_before_the_order_line() {
        assert_eq!(taxed(("", ""), ("", ""), false), tax("10", "0.4", "S"));
        assert_eq!(taxed(("", ""), GST_15, false), tax("15", "0.6", "GST"));
        assert_eq!(taxed(("", ""), ("", "15"), false), tax("15", "0.6", "S"));
        assert_eq!(taxed(("", ""), ("GST", ""), false), tax("10", "0.4", "GST"));
        assert_eq!(taxed(("Z", "0"), GST_15, false), tax("0", "0", "Z"));
        assert_eq!(taxed(("", "5"), GST_15, false), tax("5", "0.2", "GST"));
    }

    #[test]
    fn a_clinic_that_overrides_the_product_does_so_with_what_it_has() {
        assert_eq!(taxed(("S", "10"), ("Z", "0"), true), tax("0", "0", "Z"));
        assert_eq!(taxed(("S", "20"), ("", "0"), true), tax("0", "0", "S"));
        assert_eq!(taxed(("S", "20"), ("Z", ""), true), tax("20", "0.8", "Z"));
        assert_eq!(taxed(("S", "20"), ("", ""), true), tax("20", "0.8", "S"));
    }
}

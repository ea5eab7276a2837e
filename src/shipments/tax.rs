//! Chooses the tax of an invoice line. Pure.
//!
//! The rate is the first found of: the product's (catalogue), the clinic's (`clinic set ID tax_rate=`), the order line's.
//! The code is the first found of: the product's, the clinic's (`tax_code=`), the site's (`SPSI_TAX_CODE`). With
//! `tax_overrides_product=true` the clinic's tax takes precedence over the product's, for instance for exports. The order
//! line's rate is computed from its amounts, so that the clinic is invoiced as it ordered.

use super::invoice::ShippedLine;
use rust_decimal::Decimal;

/// A clinic's own tax.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClinicTax {
    /// Empty if the clinic has none.
    pub code: String,
    /// In percent.
    pub rate: Option<Decimal>,
    /// Whether it takes precedence over the product's tax.
    pub overrides_product: bool,
}

impl ClinicTax {
    /// Applies the clinic's tax to a line that has the catalogue's.
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
    fn the_products_tax_precedes_the_clinics_and_the_clinics_precedes_the_order_lines() {
        assert_eq!(taxed(("", ""), ("", ""), false), tax("10", "0.4", "S"));
        assert_eq!(taxed(("", ""), GST_15, false), tax("15", "0.6", "GST"));
        assert_eq!(taxed(("", ""), ("", "15"), false), tax("15", "0.6", "S"));
        assert_eq!(taxed(("", ""), ("GST", ""), false), tax("10", "0.4", "GST"));
        assert_eq!(taxed(("Z", "0"), GST_15, false), tax("0", "0", "Z"));
        assert_eq!(taxed(("", "5"), GST_15, false), tax("5", "0.2", "GST"));
    }

    #[test]
    fn an_overriding_clinic_replaces_only_the_code_or_rate_that_it_has() {
        assert_eq!(taxed(("S", "10"), ("Z", "0"), true), tax("0", "0", "Z"));
        assert_eq!(taxed(("S", "20"), ("", "0"), true), tax("0", "0", "S"));
        assert_eq!(taxed(("S", "20"), ("Z", ""), true), tax("20", "0.8", "Z"));
        assert_eq!(taxed(("S", "20"), ("", ""), true), tax("20", "0.8", "S"));
    }
}

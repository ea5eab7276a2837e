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
    use super::super::invoice::tests::{line, number};
    use super::*;

    /// Code and rate of a line whose product and clinic have these. Empty: none, so that the site's code and the order line's
    /// rate apply.
    fn taxed(product: [&str; 2], clinic: [&str; 2], overrides_product: bool) -> [String; 2] {
        let rate = |text: &str| (!text.is_empty()).then(|| number(text));
        let mut line = ShippedLine { tax_code: product[0].into(), tax_rate: rate(product[1]), ..line("9", "1") };
        ClinicTax { code: clinic[0].into(), rate: rate(clinic[1]), overrides_product }.apply(&mut line);
        [line.tax_code, line.tax_rate.map(|rate| rate.to_string()).unwrap_or_default()]
    }

    #[test]
    fn the_products_tax_precedes_the_clinics_unless_the_clinic_overrides_it() {
        for (product, clinic, overrides_product, expected) in [
            (["", ""], ["", ""], false, ["", ""]),
            (["", ""], ["GST", "15"], false, ["GST", "15"]),
            (["", ""], ["", "15"], false, ["", "15"]),
            (["", ""], ["GST", ""], false, ["GST", ""]),
            (["Z", "0"], ["GST", "15"], false, ["Z", "0"]),
            (["", "5"], ["GST", "15"], false, ["GST", "5"]),
            (["S", "10"], ["Z", "0"], true, ["Z", "0"]),
            (["S", "20"], ["", "0"], true, ["S", "0"]),
            (["S", "20"], ["Z", ""], true, ["Z", "20"]),
            (["S", "20"], ["", ""], true, ["S", "20"]),
        ] {
            assert_eq!(taxed(product, clinic, overrides_product), expected, "{product:?} {clinic:?}");
        }
    }
}

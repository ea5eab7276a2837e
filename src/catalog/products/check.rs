//! Checks the products of a request by the rules of the CSV file, and writes them for COPY.

use crate::catalog::import::cells::{
    self, CODE_CHARACTERS, CellError, TEXT_CHARACTERS, not_negative, percentage, positive,
};
use crate::catalog::import::copy::CopyLines;
use crate::catalog::import::problems::Problems;
use rust_decimal::Decimal;

/// The fields of a product to set. `None`: the product keeps its value, a new product gets the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProductChange {
    pub code: String,
    pub name: Option<String>,
    pub product_type: Option<String>,
    pub category: Option<String>,
    /// `Some(None)`: unknown, so the product cannot have a price.
    pub units_per_outer: Option<Option<Decimal>>,
    pub unit_of_measure: Option<String>,
    /// Per outer, without tax. `Some(None)`: not for sale.
    pub list_price: Option<Option<Decimal>>,
    pub barcode: Option<String>,
    /// On hand, in units.
    pub stock_available: Option<Decimal>,
    pub active: Option<bool>,
    pub related_urls: Option<Vec<String>>,
    pub manufacturer: Option<String>,
    pub tax_code: Option<String>,
    /// In percent. `Some(None)`: none.
    pub tax_rate: Option<Option<Decimal>>,
    pub restricted: Option<bool>,
}

/// Returns the lines for COPY, numbered by position, and reports every invalid field.
pub(super) fn lines(changes: &[ProductChange], problems: &mut Problems) -> Vec<u8> {
    let mut lines = CopyLines::default();
    for (position, change) in (0..).zip(changes) {
        Check { position, problems }.product(change, &mut lines);
    }
    lines.take()
}

/// Checks the fields of one product.
struct Check<'a> {
    position: u64,
    problems: &'a mut Problems,
}

impl Check<'_> {
    fn product(&mut self, change: &ProductChange, lines: &mut CopyLines) {
        let code = self.field("code", cells::required_text(change.code.trim(), CODE_CHARACTERS));
        let name = self.required("name", change.name.as_deref());
        let product_type = self.required("type", change.product_type.as_deref());
        let category = self.required("category", change.category.as_deref());
        let units = self.number("units_per_outer", change.units_per_outer.flatten(), positive);
        let measure = self.text("unit_of_measure", change.unit_of_measure.as_deref());
        let price = self.number("list_price", change.list_price.flatten(), not_negative);
        let barcode = change.barcode.as_deref().and_then(|value| self.field("barcode", cells::barcode(value.trim())));
        let stock = self.number("stock_available", change.stock_available, not_negative);
        let urls = change.related_urls.as_deref().map(|urls| self.addresses(urls));
        let manufacturer = self.text("manufacturer", change.manufacturer.as_deref());
        let tax_code = self.text("tax_code", change.tax_code.as_deref());
        let tax_rate = self.number("tax_rate", change.tax_rate.flatten(), percentage);
        let units_known = change.units_per_outer.map(|units| units.is_some());
        lines
            .plain(Some(self.position))
            .text(Some(code.unwrap_or_default()))
            .text(name)
            .text(product_type)
            .text(category);
        lines.number(units_known.map(|_| units.unwrap_or(Decimal::ONE))).boolean(units_known).text(measure);
        lines.number(price).boolean(Some(change.list_price.is_some()));
        lines
            .text(barcode)
            .number(stock)
            .boolean(change.active)
            .texts(urls.as_deref())
            .text(manufacturer)
            .text(tax_code);
        lines.number(tax_rate).boolean(Some(change.tax_rate.is_some())).boolean(change.restricted).end();
    }

    /// Returns the checked value. Reports an invalid one.
    fn field<T>(&mut self, name: &str, checked: Result<T, CellError>) -> Option<T> {
        checked.map_err(|reason| self.problems.add(self.position, name, "", reason)).ok()
    }

    fn text<'t>(&mut self, name: &str, value: Option<&'t str>) -> Option<&'t str> {
        self.field(name, cells::text(value?.trim(), TEXT_CHARACTERS))
    }

    fn required<'t>(&mut self, name: &str, value: Option<&'t str>) -> Option<&'t str> {
        self.field(name, cells::required_text(value?.trim(), TEXT_CHARACTERS))
    }

    fn number(
        &mut self,
        name: &str,
        value: Option<Decimal>,
        check: impl FnOnce(Decimal) -> Result<Decimal, CellError>,
    ) -> Option<Decimal> {
        self.field(name, check(value?))
    }

    fn addresses<'t>(&mut self, urls: &'t [String]) -> Vec<&'t str> {
        let mut addresses = Vec::new();
        for (index, url) in urls.iter().enumerate() {
            let checked = match cells::addresses(url) {
                Ok(found) if found.len() != 1 => Err(CellError::NotAnAddress),
                checked => checked,
            };
            addresses.extend(self.field(&format!("related_urls[{index}]"), checked).unwrap_or_default());
        }
        addresses
    }
}

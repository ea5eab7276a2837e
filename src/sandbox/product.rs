//! The clinic's own product list, linked to the supplier's catalogue by supplier code.

use std::collections::{HashMap, HashSet};

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{LONG_AGO, SUPPLIER_ID, check::Listed, clock::Chance, options::PriceBasis, wire::number};

/// A product of the clinic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClinicProduct {
    /// The id in orders.
    pub id: u64,
    /// The id in the inventory API.
    pub uid: String,
    /// The clinic's own code, different from the supplier's.
    pub code: String,
    /// Display name.
    pub name: String,
    /// The supplier's code.
    pub supplier_code: String,
    /// Inner units in an outer.
    pub units_per_outer: Decimal,
    /// `box`, `bottle`...
    pub unit_of_measure: String,
    /// Price of one inner unit, derived from the catalogue by [`PriceBasis`].
    pub price_per_unit: Decimal,
    /// List price as in the catalogue.
    pub list_price: Decimal,
    /// Contract price as in the catalogue, else the list price.
    pub contract_price: Decimal,
    /// The product can be ordered from the supplier.
    pub linked: bool,
}

/// Returns the clinic's price of one inner unit: its contract price, else the list price.
fn unit_price(listed: &Listed, basis: PriceBasis) -> Decimal {
    let price = listed.contract_price.unwrap_or(listed.list_price);
    match basis {
        PriceBasis::Unit => price,
        PriceBasis::Outer => price.checked_div(listed.units_per_outer).unwrap_or(price).round_dp(6),
    }
}

/// The effect of a pull on the clinic's product list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LinkSummary {
    /// Products in the answer.
    pub listed: usize,
    /// New links.
    pub linked: usize,
    /// Links with a new name, pack size or price.
    pub updated: usize,
    /// Links removed because the product is withdrawn or missing.
    pub unlinked: usize,
}

/// Applies a complete catalogue to the clinic's products: links, updates and unlinks them by supplier code.
pub(super) fn link_catalogue(
    products: &mut Vec<ClinicProduct>,
    catalogue: &[Listed],
    basis: PriceBasis,
) -> LinkSummary {
    let mut summary = LinkSummary { listed: catalogue.len(), ..LinkSummary::default() };
    let indices: HashMap<String, usize> =
        products.iter().enumerate().map(|(index, product)| (product.supplier_code.clone(), index)).collect();
    let mut active_codes = HashSet::new();
    for listed in catalogue.iter().filter(|listed| listed.active) {
        active_codes.insert(listed.code.as_str());
        if let Some(index) = indices.get(&listed.code) {
            let product = &mut products[*index];
            let updated = ClinicProduct::linked_to(listed, product.id, product.uid.clone(), basis);
            if !product.linked {
                summary.linked += 1;
            } else if *product != updated {
                summary.updated += 1;
            }
            *product = updated;
        } else {
            let id = 50_001 + products.len() as u64;
            let uid = format!("product_{}", Chance::new(id).letters(22));
            products.push(ClinicProduct::linked_to(listed, id, uid, basis));
            summary.linked += 1;
        }
    }
    for product in products.iter_mut() {
        if product.linked && !active_codes.contains(product.supplier_code.as_str()) {
            product.linked = false;
            summary.unlinked += 1;
        }
    }
    summary
}

impl ClinicProduct {
    fn linked_to(listed: &Listed, id: u64, uid: String, basis: PriceBasis) -> Self {
        Self {
            id,
            uid,
            code: format!("HV{id}"),
            name: listed.name.clone(),
            supplier_code: listed.code.clone(),
            units_per_outer: listed.units_per_outer,
            unit_of_measure: listed.unit_of_measure.clone(),
            price_per_unit: unit_price(listed, basis),
            list_price: listed.list_price,
            contract_price: listed.contract_price.unwrap_or(listed.list_price),
            linked: true,
        }
    }

    /// Returns the JSON of `GET /v2/product`.
    pub(super) fn as_product(&self) -> Value {
        json!({"id": self.id, "uid": self.uid, "active": 1, "code": self.code, "name": self.name, "created_at": LONG_AGO, "modified_at": LONG_AGO})
    }

    /// Returns the JSON of `GET /v2/productsupplier`.
    pub(super) fn as_product_supplier(&self) -> Value {
        json!({"id": self.id + 100_000, "active": u8::from(self.linked), "product_id": self.id,
            "supplier_contact_id": SUPPLIER_ID, "supplier_code": self.supplier_code,
            "units_per_outer": number(self.units_per_outer), "list_price": number(self.list_price),
            "contract_price": number(self.contract_price), "is_default": 1})
    }

    /// Returns the JSON of `GET /inventory/v1/products`.
    pub(super) fn as_inventory_product(&self) -> Value {
        json!({"id": self.uid, "name": self.name, "code": self.code, "unitType": self.unit_of_measure, "unitCount": number(self.units_per_outer), "batchTracked": true})
    }
}

#[cfg(test)]
pub(in crate::sandbox) mod tests {
    use super::*;

    pub(in crate::sandbox) fn listed(code: &str, active: bool) -> Listed {
        Listed {
            active,
            code: code.into(),
            name: format!("Product {code}"),
            units_per_outer: Decimal::TEN,
            list_price: Decimal::TWO,
            ..Listed::default()
        }
    }

    #[test]
    fn a_product_keeps_its_uid_when_it_is_unlinked_and_linked_again() {
        let mut products = Vec::new();
        let mut link = |catalogue: &[Listed]| {
            let LinkSummary { linked, updated, unlinked, .. } =
                link_catalogue(&mut products, catalogue, PriceBasis::Unit);
            ((linked, updated, unlinked), products.clone())
        };
        let (summary, first) = link(&[listed("A", true), listed("B", true), listed("C", false)]);
        assert_eq!(summary, (2, 0, 0));
        assert_eq!(link(&[listed("A", true), listed("B", false)]).0, (0, 0, 1));
        assert_eq!(link(&[Listed { list_price: Decimal::ONE, ..listed("A", true) }]).0, (0, 1, 0));
        assert_eq!(link(&[listed("B", true)]).0, (1, 0, 1));
        assert_eq!(link(&[listed("A", true), listed("B", true)]).1, first);
        assert_ne!(first[0].code, "A");
    }
}

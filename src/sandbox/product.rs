//! The clinic's own product list, linked to the supplier's catalogue by supplier code.

use std::collections::{HashMap, HashSet};

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{clock::Chance, options::PriceBasis, wire::Scalars, world::World};

/// A product of the clinic.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClinicProduct {
    /// What orders call it.
    pub id: u64,
    /// What the inventory API calls it.
    pub uid: String,
    /// The clinic's own code; never the supplier's.
    pub code: String,
    /// Name.
    pub name: String,
    /// The supplier's code.
    pub supplier_code: String,
    /// Inner units in an outer.
    pub units_per_outer: Decimal,
    /// `box`, `bottle`...
    pub unit_of_measure: String,
    /// Price of one inner unit, as the clinic understands the catalogue.
    pub price_per_unit: Decimal,
    /// List price as listed.
    pub list_price: Decimal,
    /// Contract price as listed, the list price where there is none.
    pub contract_price: Decimal,
    /// Whether it can be ordered from the supplier.
    pub linked: bool,
}

/// A product as the supplier lists it, already checked field by field.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    /// `active` = 1.
    pub active: bool,
    /// Supplier code.
    pub code: String,
    /// Name.
    pub name: String,
    /// Category.
    pub category: String,
    /// Inner units in an outer.
    pub units_per_outer: Decimal,
    /// `box`, `bottle`...
    pub unit_of_measure: String,
    /// Price of one inner unit.
    pub price_per_unit: Decimal,
    /// List price, on the basis of SPSI.md 5.2.
    pub list_price: Decimal,
    /// The clinic's own price; none where it has none.
    pub contract_price: Option<Decimal>,
    /// Stock in units.
    pub stock_available: Decimal,
}

impl Listed {
    /// What one inner unit costs this clinic: its contract price, else the list price.
    fn unit_price(&self, basis: PriceBasis) -> Decimal {
        let price = self.contract_price.unwrap_or(self.list_price);
        match basis {
            PriceBasis::Unit => price,
            PriceBasis::Outer => price.checked_div(self.units_per_outer).unwrap_or(price).round_dp(6),
        }
    }
}

/// What a pull did to the clinic's product list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LinkSummary {
    /// Products in the answer.
    pub listed: usize,
    /// New links.
    pub linked: usize,
    /// Links that changed in name, pack or price.
    pub updated: usize,
    /// Links that were dropped, because the product is withdrawn or missing.
    pub unlinked: usize,
}

impl World {
    /// Takes over a complete catalogue: links, updates, unlinks by supplier code.
    pub fn link_catalogue(&mut self, catalogue: &[Listed]) -> LinkSummary {
        let mut summary = LinkSummary { listed: catalogue.len(), ..LinkSummary::default() };
        let known: HashMap<String, usize> =
            self.products.iter().enumerate().map(|(at, product)| (product.supplier_code.clone(), at)).collect();
        let basis = self.settings.price_basis;
        let mut seen = HashSet::new();
        for listed in catalogue.iter().filter(|listed| listed.active) {
            seen.insert(listed.code.as_str());
            let fresh = |id: u64, uid: String| ClinicProduct {
                id,
                uid,
                code: format!("HV{id}"),
                name: listed.name.clone(),
                supplier_code: listed.code.clone(),
                units_per_outer: listed.units_per_outer,
                unit_of_measure: listed.unit_of_measure.clone(),
                price_per_unit: listed.unit_price(basis),
                list_price: listed.list_price,
                contract_price: listed.contract_price.unwrap_or(listed.list_price),
                linked: true,
            };
            if let Some(at) = known.get(&listed.code) {
                let product = &mut self.products[*at];
                let new = fresh(product.id, product.uid.clone());
                if !product.linked {
                    summary.linked += 1;
                } else if serde_json::to_value(&*product).ok() != serde_json::to_value(&new).ok() {
                    summary.updated += 1;
                }
                *product = new;
            } else {
                let id = self.number("product", 50_000);
                self.products.push(fresh(id, format!("product_{}", Chance::new(id).letters(22))));
                summary.linked += 1;
            }
        }
        for product in
            self.products.iter_mut().filter(|product| product.linked && !seen.contains(product.supplier_code.as_str()))
        {
            product.linked = false;
            summary.unlinked += 1;
        }
        self.version += 1;
        summary
    }

    /// The linked product of a supplier code.
    pub fn linked_product(&self, supplier_code: &str) -> Option<&ClinicProduct> {
        self.products.iter().find(|product| product.linked && product.supplier_code == supplier_code)
    }
}

impl ClinicProduct {
    /// `GET /v2/product`.
    pub(super) fn as_product(&self, scalars: Scalars) -> Value {
        json!({"id": scalars.whole(self.id), "uid": self.uid, "active": scalars.whole(1), "code": self.code, "name": self.name, "created_at": scalars.whole(1_700_000_000), "modified_at": scalars.whole(1_700_000_000)})
    }

    /// `GET /v2/productsupplier`.
    pub(super) fn as_product_supplier(&self, scalars: Scalars) -> Value {
        json!({"id": scalars.whole(self.id + 100_000), "active": scalars.whole(u64::from(self.linked)), "product_id": scalars.whole(self.id),
            "supplier_contact_id": scalars.whole(super::SUPPLIER_ID), "supplier_code": self.supplier_code,
            "units_per_outer": scalars.decimal(self.units_per_outer), "list_price": scalars.decimal(self.list_price),
            "contract_price": scalars.decimal(self.contract_price), "is_default": scalars.whole(1)})
    }

    /// `GET /inventory/v1/products`.
    pub(super) fn as_inventory_product(&self, scalars: Scalars) -> Value {
        json!({"id": self.uid, "name": self.name, "code": self.code, "unitType": self.unit_of_measure, "unitCount": scalars.decimal(self.units_per_outer), "batchTracked": true})
    }
}

#[cfg(test)]
pub(in crate::sandbox) mod tests {
    use super::*;
    use crate::sandbox::settings::Settings;

    pub(in crate::sandbox) fn listed(code: &str, active: bool) -> Listed {
        Listed {
            active,
            code: code.into(),
            name: format!("Product {code}"),
            category: "consumable".into(),
            units_per_outer: Decimal::TEN,
            unit_of_measure: "box".into(),
            price_per_unit: Decimal::TWO,
            list_price: Decimal::TWO,
            contract_price: None,
            stock_available: Decimal::TEN,
        }
    }

    #[test]
    fn products_are_linked_kept_and_unlinked_by_supplier_code() {
        let mut world = World::new(Settings::default(), 1);
        let first = world.link_catalogue(&[listed("A", true), listed("B", true), listed("C", false)]);
        assert_eq!(first, LinkSummary { listed: 3, linked: 2, updated: 0, unlinked: 0 });
        let uid = world.linked_product("A").map(|product| product.uid.clone());
        let second = world.link_catalogue(&[listed("A", true), listed("B", false)]);
        assert_eq!(second, LinkSummary { listed: 2, linked: 0, updated: 0, unlinked: 1 });
        let third = world.link_catalogue(&[listed("B", true)]);
        assert_eq!(third, LinkSummary { listed: 1, linked: 1, updated: 0, unlinked: 1 });
        world.link_catalogue(&[listed("A", true)]);
        assert_eq!(world.linked_product("A").map(|product| product.uid.clone()), uid);
        assert_ne!(world.linked_product("A").map(|product| product.code.as_str()), Some("A"));
    }
}

//! The clinic's purchase orders, built as ezyVet builds them (SPSI.md 1, /purchaseorder): every scalar a string.

use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{clock::Millis, faults::Fault, world::World};

/// What staff put on an order.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderLine {
    /// Supplier code.
    pub code: String,
    /// How many outers; negative for goods going back.
    pub outers: Decimal,
    /// The stock location that the goods go to.
    pub location: u64,
}

impl OrderLine {
    /// A line for `outers` whole outers.
    pub fn new(code: impl Into<String>, outers: i64, location: u64) -> Self {
        Self { code: code.into(), outers: outers.into(), location }
    }
}

/// An order that the clinic sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PurchaseOrder {
    /// ezyVet's id, unique in the site.
    pub id: u64,
    /// `purchase_order_number`.
    pub number: String,
    /// When it was written.
    pub created: Millis,
    /// The request, word for word.
    pub body: Value,
    /// The lines.
    pub items: Vec<OrderItem>,
    /// How often it was sent.
    pub sent: u32,
    /// Whether the supplier declined it.
    pub declined: bool,
    /// Why, in the supplier's words.
    pub reasons: Vec<String>,
    /// The supplier's number, once it accepted.
    pub supplier_order_number: Option<String>,
}

/// A line of an order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OrderItem {
    /// ezyVet's id, unique in the site.
    pub id: u64,
    /// The clinic's product.
    pub product_id: u64,
    /// The supplier's code.
    pub supplier_code: String,
    /// The clinic's name for it.
    pub name: String,
    /// Units ordered.
    pub quantity: Decimal,
    /// The stock location.
    pub location_id: u64,
    /// Units on approved invoices.
    pub received: Decimal,
}

/// Tax that the clinic's country puts on everything, in percent.
const TAX_PERCENT: Decimal = Decimal::TEN;
const BUSINESS: u64 = 2;
const SHIPPING_ADDRESS: u64 = 2;

impl World {
    /// Writes an order for linked products and keeps it, so that invoices can refer to it.
    ///
    /// # Errors
    /// No lines, a code that is not linked, a location that does not exist, nothing ordered.
    pub fn write_order(&mut self, now: Millis, lines: &[OrderLine]) -> Result<PurchaseOrder, String> {
        self.write_order_with(now, lines, "")
    }

    /// [`Self::write_order`], with comments. Magic values in them switch faults on for the calls about this order:
    /// `sandbox:fault=cut-after:jobqueuex1`.
    ///
    /// # Errors
    /// As there, and a magic value that is no fault.
    pub fn write_order_with(
        &mut self,
        now: Millis,
        lines: &[OrderLine],
        comments: &str,
    ) -> Result<PurchaseOrder, String> {
        let magic = comments.split_whitespace().filter_map(|word| word.strip_prefix("sandbox:fault="));
        let faults = magic.map(str::parse::<Fault>).collect::<Result<Vec<_>, _>>()?;
        if lines.is_empty() {
            return Err("an order needs at least one line".into());
        }
        for line in lines {
            self.linked_product(&line.code)
                .ok_or_else(|| format!("{} is not linked at the clinic; pull the catalogue first", line.code))?;
            if !self.separations.iter().any(|part| part.id == line.location && part.kind == "Location") {
                return Err(format!("{} is no stock location of this site", line.location));
            }
            if line.outers.is_zero() {
                return Err(format!("nothing of {} is ordered", line.code));
            }
        }
        let id = self.number("order", 11);
        let number = self.number("purchase_order_number", 15_000_031).to_string();
        let (mut items, mut list) = (Vec::new(), Vec::new());
        let (mut net, mut tax) = (Decimal::ZERO, Decimal::ZERO);
        for line in lines {
            let item_id = self.number("order_item", 8);
            let Some(product) = self.linked_product(&line.code) else { continue };
            let quantity = line.outers * product.units_per_outer;
            let price = product.price_per_unit;
            let total = cents(price * quantity);
            let total_tax = cents(total * TAX_PERCENT / Decimal::ONE_HUNDRED);
            let tax_per_unit = (price * TAX_PERCENT / Decimal::ONE_HUNDRED).round_dp(6);
            (net, tax) = (net + total, tax + total_tax);
            list.push(json!({
                "id": item_id.to_string(), "product_id": product.id.to_string(), "supplier_code": product.supplier_code, "outers": plain(line.outers),
                "units_per_outer": plain(product.units_per_outer), "price_per_unit": plain(price), "tax_per_unit": plain(tax_per_unit),
                "quantity": plain(quantity), "total": plain(total), "total_tax": plain(total_tax), "ownership_id": line.location.to_string(),
            }));
            items.push(OrderItem {
                id: item_id,
                product_id: product.id,
                supplier_code: product.supplier_code.clone(),
                name: product.name.clone(),
                quantity,
                location_id: line.location,
                received: Decimal::ZERO,
            });
        }
        let at = (now / 1000).to_string();
        let midnight = (now / 1000 / 86_400 * 86_400).to_string();
        let body = json!({"purchaseorder": {
            "id": id.to_string(), "active": "1", "created_at": at, "modified_at": at, "date": midnight, "shipping_address_id": SHIPPING_ADDRESS.to_string(),
            "comments": comments, "freight": "0", "freight_tax": "0", "tax": plain(tax), "total": plain(net + tax), "client_id": "2", "supplier_id": super::SUPPLIER_ID.to_string(),
            "status": "Approved", "supplier_order_number": "", "supplier_account_number": "", "purchase_order_number": number, "ownership_id": BUSINESS.to_string(),
            "purchase_order_item_list": list,
        }});
        let order = PurchaseOrder {
            id,
            number,
            created: now,
            body,
            items,
            sent: 0,
            declined: false,
            reasons: Vec::new(),
            supplier_order_number: None,
        };
        for fault in faults {
            self.faults.add(Fault { order: Some(id), ..fault });
        }
        self.orders.push(order.clone());
        self.version += 1;
        Ok(order)
    }

    /// Notes what the supplier answered.
    pub(super) fn note_answer(&mut self, id: u64, supplier_order_number: Option<String>, reasons: &[String]) {
        if let Some(order) = self.orders.iter_mut().find(|order| order.id == id) {
            order.declined = supplier_order_number.is_none() && !reasons.is_empty();
            order.reasons = reasons.to_vec();
            order.supplier_order_number = supplier_order_number.or_else(|| order.supplier_order_number.take());
        }
        self.version += 1;
    }

    /// Notes that an order goes out, before it does.
    pub(super) fn note_sent(&mut self, id: u64) {
        self.orders.iter_mut().filter(|order| order.id == id).for_each(|order| order.sent += 1);
        self.version += 1;
    }
}

fn cents(amount: Decimal) -> Decimal {
    amount.round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero)
}

fn plain(number: Decimal) -> String {
    number.normalize().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::{product::tests::listed, settings::Settings};

    #[test]
    fn an_order_adds_up_and_every_scalar_is_text() {
        let mut world = World::new(Settings::default(), 1);
        world.link_catalogue(&[listed("A", true), listed("B", true)]);
        let order = world
            .write_order(1_514_493_886_000, &[OrderLine::new("A", 1, 3), OrderLine::new("B", -2, 4)])
            .unwrap_or_else(|why| panic!("{why}"));
        let head = &order.body["purchaseorder"];
        assert_eq!(
            (&head["id"], &head["purchase_order_number"], &head["created_at"], &head["date"]),
            (&json!("12"), &json!("15000032"), &json!("1514493886"), &json!("1514419200"))
        );
        assert_eq!((&head["tax"], &head["total"]), (&json!("-2"), &json!("-22")));
        let line = &head["purchase_order_item_list"][0];
        assert_eq!(
            (&line["id"], &line["quantity"], &line["total"], &line["total_tax"], &line["ownership_id"]),
            (&json!("9"), &json!("10"), &json!("20"), &json!("2"), &json!("3"))
        );
        assert!(line.as_object().into_iter().flatten().all(|(_, value)| value.is_string()));
    }

    #[test]
    fn magic_values_in_the_comments_switch_faults_on() {
        let mut world = World::new(Settings::default(), 1);
        world.link_catalogue(&[listed("A", true)]);
        let lines = [OrderLine::new("A", 1, 3)];
        let comments = "Please hurry sandbox:fault=cut-after:jobqueuex1 sandbox:fault=hang:suppliedx2";
        let order = world.write_order_with(0, &lines, comments).unwrap_or_else(|why| panic!("{why}"));
        assert_eq!(order.body["purchaseorder"]["comments"], comments);
        let faults: Vec<_> = world.faults.list().iter().map(|(_, fault)| fault.to_string()).collect();
        assert_eq!(faults, ["cut-after:jobqueuex1 of order 12", "hang:suppliedx2 of order 12"]);
        assert!(world.write_order_with(0, &lines, "sandbox:fault=nonsense").is_err());
        assert_eq!(world.orders.len(), 1);
    }

    #[test]
    fn an_order_for_something_unknown_is_not_written() {
        let mut world = World::new(Settings::default(), 1);
        world.link_catalogue(&[listed("A", true)]);
        for line in [OrderLine::new("B", 1, 3), OrderLine::new("A", 1, 2), OrderLine::new("A", 0, 3)] {
            assert!(world.write_order(0, &[line]).is_err());
        }
        assert!(world.write_order(0, &[]).is_err());
        assert!(world.orders.is_empty());
    }
}

//! The clinic's purchase orders, built as ezyVet builds them (SPSI.md 1, /purchaseorder): every scalar a string.

use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    SUPPLIER_ID,
    clock::Millis,
    product::ClinicProduct,
    separation::{self, Separation},
};

/// A line of an order as staff enter it.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderLine {
    /// Supplier code.
    pub code: String,
    /// Outers ordered; negative for a return.
    pub outers: Decimal,
    /// Id of the stock location that receives the goods.
    pub location: u64,
}

impl OrderLine {
    /// Creates a line for a whole number of outers.
    pub fn new(code: impl Into<String>, outers: i64, location: u64) -> Self {
        Self { code: code.into(), outers: outers.into(), location }
    }

    /// Returns the product that the line orders.
    fn check<'a>(
        &self,
        products: &'a [ClinicProduct],
        separations: &[Separation],
    ) -> Result<&'a ClinicProduct, String> {
        let Self { code, outers, location } = self;
        if separation::location(separations, *location).is_none() {
            return Err(format!("{location} is not a stock location of this site"));
        }
        if outers.is_zero() {
            return Err(format!("the line for supplier code `{code}` orders 0 outers"));
        }
        let mut linked = products.iter().filter(|product| product.linked);
        linked.find(|product| product.supplier_code == *code).ok_or_else(|| {
            format!("supplier code `{code}` is not linked to a product of the clinic; pull the catalogue first")
        })
    }
}

/// An order of the clinic.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PurchaseOrder {
    /// ezyVet's id, unique in the site.
    pub id: u64,
    /// `purchase_order_number`.
    pub number: String,
    /// Time of creation.
    pub created: Millis,
    /// The exact body of `POST /purchaseorder`.
    pub body: Value,
    /// The lines.
    pub items: Vec<OrderItem>,
    /// Number of times it was sent.
    pub sent: u32,
    /// The supplier's latest answer declines it.
    pub declined: bool,
    /// The supplier's reasons for declining.
    pub reasons: Vec<String>,
    /// The supplier's number; `None` unless its latest answer accepts the order.
    pub supplier_order_number: Option<String>,
}

/// A line of an order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OrderItem {
    /// ezyVet's id, unique in the site.
    pub id: u64,
    /// Id of the clinic's product.
    pub product_id: u64,
    /// The supplier's code.
    pub supplier_code: String,
    /// The clinic's product name.
    pub name: String,
    /// Units ordered.
    pub quantity: Decimal,
    /// Id of the stock location.
    pub location_id: u64,
    /// Units on approved invoices.
    pub received: Decimal,
}

/// Tax rate of every product, in percent.
const TAX_PERCENT: Decimal = Decimal::TEN;
const BUSINESS: u64 = 2;
const SHIPPING_ADDRESS: u64 = 2;

impl PurchaseOrder {
    /// Builds the next order after `orders`, for linked products, as ezyVet does.
    ///
    /// # Errors
    /// The order has no lines, a code is not linked, a stock location does not exist, or a line orders nothing.
    pub(super) fn build(
        now: Millis,
        lines: &[OrderLine],
        comments: &str,
        products: &[ClinicProduct],
        separations: &[Separation],
        orders: &[Self],
    ) -> Result<Self, String> {
        if lines.is_empty() {
            return Err("an order needs at least one line".into());
        }
        let count = orders.len() as u64;
        let (id, number) = (12 + count, (15_000_032 + count).to_string());
        let first_item = 9 + orders.iter().map(|order| order.items.len() as u64).sum::<u64>();
        let (mut items, mut list) = (Vec::new(), Vec::new());
        let (mut net, mut tax) = (Decimal::ZERO, Decimal::ZERO);
        for (line, item_id) in lines.iter().zip(first_item..) {
            let product = line.check(products, separations)?;
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
        let created_at = (now / 1000).to_string();
        let midnight = (now / 1000 / 86_400 * 86_400).to_string();
        let body = json!({"purchaseorder": {
            "id": id.to_string(), "active": "1", "created_at": created_at, "modified_at": created_at, "date": midnight, "shipping_address_id": SHIPPING_ADDRESS.to_string(),
            "comments": comments, "freight": "0", "freight_tax": "0", "tax": plain(tax), "total": plain(net + tax), "client_id": "2", "supplier_id": SUPPLIER_ID.to_string(),
            "status": "Approved", "supplier_order_number": "", "supplier_account_number": "", "purchase_order_number": number, "ownership_id": BUSINESS.to_string(),
            "purchase_order_item_list": list,
        }});
        Ok(Self { id, number, created: now, body, items, ..Self::default() })
    }

    /// Records the supplier's answer: its order number, or the reasons for declining.
    pub(super) fn record_answer(&mut self, answer: Result<String, Vec<String>>) {
        self.declined = answer.is_err();
        (self.supplier_order_number, self.reasons) = match answer {
            Ok(number) => (Some(number), Vec::new()),
            Err(reasons) => (None, reasons),
        };
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
    use crate::sandbox::{Options, World, product::tests::listed};

    fn world() -> World {
        let mut world = World::new(Options::default());
        world.link_catalogue(&[listed("A", true), listed("B", true)]);
        world
    }

    #[test]
    fn an_order_adds_up_and_every_scalar_is_a_string() {
        let order = world()
            .write_order(1_514_493_886_000, &[OrderLine::new("A", 1, 3), OrderLine::new("B", -2, 4)], "")
            .unwrap_or_else(|reason| panic!("{reason}"));
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
    fn an_order_with_an_invalid_line_is_not_written() {
        let mut world = world();
        for line in [OrderLine::new("C", 1, 3), OrderLine::new("A", 1, 2), OrderLine::new("A", 0, 3)] {
            assert!(world.write_order(0, &[line], "").is_err());
        }
        assert!(world.write_order(0, &[], "").is_err());
        assert!(world.write_order(0, &[OrderLine::new("A", 1, 3)], "sandbox:fault=nonsense").is_err());
        assert!(world.orders.is_empty());
    }
}

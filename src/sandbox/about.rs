//! Which orders a call is about, for the faults that an order brings.
//!
//! A job names its order's lines, a look-up the invoice number of a job before it. A `supplied` call names products, a
//! location and batches, and a product look-up the product: where two orders want the same product at the same location
//! and no batch tells them apart, such a call is about both, for nobody can tell.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    faults::Endpoint,
    form,
    order::PurchaseOrder,
    wire::{Request, list_of, text_of},
    world::World,
};

impl World {
    /// The orders that a call is about; nobody asks while no fault is an order's.
    pub(super) fn about(&mut self, endpoint: Endpoint, request: &Request) -> BTreeSet<u64> {
        if !self.faults.some_are_of_orders() {
            return BTreeSet::new();
        }
        match endpoint {
            Endpoint::JobQueue => self.job_is_about(request),
            Endpoint::ReceiveInvoice => {
                let number = request.parameter("invoice_number").unwrap_or_default();
                self.heard.get(&number).cloned().unwrap_or_default()
            }
            Endpoint::Product => {
                let id = request.path.strip_prefix("/v2/product/").map(str::to_owned);
                let id = id.or_else(|| request.parameter("id")).unwrap_or_default();
                self.orders_with(|order| order.items.iter().any(|item| item.product_id.to_string() == id))
            }
            Endpoint::Supplied => self.supplied_is_about(request),
            _ => BTreeSet::new(),
        }
    }

    fn job_is_about(&mut self, request: &Request) -> BTreeSet<u64> {
        let job = if request.content_type.contains("json") {
            serde_json::from_slice(&request.body).unwrap_or_default()
        } else {
            form::read(&request.body, self.settings.max_input_vars).value
        };
        let body = &job["data"]["body"];
        let lines = list_of(&body["line_item"]).unwrap_or_default();
        let items: BTreeSet<_> = lines.iter().filter_map(|line| text_of(&line["purchase_order_item_id"])).collect();
        let about = self.orders_with(|order| order.items.iter().any(|item| items.contains(&item.id.to_string())));
        if let Some(number) = text_of(&body["invoice_number"]) {
            self.heard.entry(number).or_default().extend(&about);
        }
        about
    }

    fn supplied_is_about(&self, request: &Request) -> BTreeSet<u64> {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let location = request.parameter("locationUID").unwrap_or_default();
        let location = self.separations.iter().find(|part| part.uid == location).map(|part| part.id);
        let product = |uid: &Value| self.products.iter().find(|product| uid == &product.uid).map(|product| product.id);
        let lines: Vec<_> = body.as_array().into_iter().flatten().collect();
        let wants = |order: &PurchaseOrder, line: &Value| {
            let product = product(&line["productId"]);
            let mut items = order.items.iter();
            items.any(|item| Some(item.product_id) == product && Some(item.location_id) == location)
        };
        let ships = |order: &PurchaseOrder, line: &Value| {
            text_of(&line["batch"]["code"]).is_some_and(|batch| self.has_sent(order, &batch))
        };
        let about = self.orders_with(|order| !lines.is_empty() && lines.iter().all(|line| wants(order, line)));
        let by_batch =
            self.orders_with(|order| about.contains(&order.id) && lines.iter().any(|line| ships(order, line)));
        if by_batch.is_empty() { about } else { by_batch }
    }

    /// Whether a job for this order brought goods of this batch.
    fn has_sent(&self, order: &PurchaseOrder, batch: &str) -> bool {
        let lines = self.jobs.iter().flat_map(|job| list_of(&job.body["line_item"]).unwrap_or_default());
        let of_order = lines.filter(|line| {
            let item = text_of(&line["purchase_order_item_id"]);
            order.items.iter().any(|own| Some(own.id.to_string()) == item)
        });
        of_order
            .flat_map(|line| list_of(&line["batch"]).unwrap_or_default())
            .any(|sent| text_of(&sent["name"]).as_deref() == Some(batch))
    }

    fn orders_with(&self, wanted: impl Fn(&PurchaseOrder) -> bool) -> BTreeSet<u64> {
        self.orders.iter().filter(|order| wanted(order)).map(|order| order.id).collect()
    }
}

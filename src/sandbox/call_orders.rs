//! Finds the orders that a call is about, for faults that strike only the calls about one order.
//!
//! A job names the lines of its order; an invoice look-up names the invoice number of an earlier job. A `supplied` call
//! names products, a location and batches; a product look-up names a product. If two orders contain the same product for
//! the same location and no batch distinguishes them, the call is about both orders.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    faults::Endpoint,
    form,
    order::PurchaseOrder,
    separation,
    wire::{Request, text_of},
    world::World,
};

/// Returns the ids of the orders that a call is about; empty while no fault belongs to an order.
pub(super) fn orders_of_call(world: &mut World, endpoint: Endpoint, request: &Request) -> BTreeSet<u64> {
    if !world.faults.has_order_faults() {
        return BTreeSet::new();
    }
    match endpoint {
        Endpoint::JobQueue => orders_of_job(world, request),
        Endpoint::ReceiveInvoice => {
            let number = request.parameter("invoice_number").unwrap_or_default();
            world.orders_by_invoice_number.get(&number).cloned().unwrap_or_default()
        }
        Endpoint::Product => {
            let id = request.path.strip_prefix("/v2/product/").map(str::to_owned);
            let id = id.or_else(|| request.parameter("id")).unwrap_or_default();
            orders_where(world, |order| order.items.iter().any(|item| item.product_id.to_string() == id))
        }
        Endpoint::Supplied => orders_of_supplied(world, request),
        _ => BTreeSet::new(),
    }
}

fn orders_of_job(world: &mut World, request: &Request) -> BTreeSet<u64> {
    let job = form::read_body(request, world.options.max_input_vars).value;
    let body = &job["data"]["body"];
    let lines = body["line_item"].as_array().into_iter().flatten();
    let items: BTreeSet<_> = lines.filter_map(|line| text_of(&line["purchase_order_item_id"])).collect();
    let orders = orders_where(world, |order| order.items.iter().any(|item| items.contains(&item.id.to_string())));
    if let Some(number) = text_of(&body["invoice_number"]) {
        world.orders_by_invoice_number.entry(number).or_default().extend(&orders);
    }
    orders
}

fn orders_of_supplied(world: &World, request: &Request) -> BTreeSet<u64> {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let lines = body.as_array().map(Vec::as_slice).unwrap_or_default();
    let location = request.parameter("locationUID").unwrap_or_default();
    let location = separation::location_by_uid(&world.separations, &location).map(|location| location.id);
    let has_line = |order: &PurchaseOrder, line: &Value| {
        let product = world.products.iter().find(|product| line["productId"] == product.uid).map(|product| product.id);
        order.items.iter().any(|item| Some(item.product_id) == product && Some(item.location_id) == location)
    };
    let has_batch = |order: &PurchaseOrder, line: &Value| {
        text_of(&line["batch"]["code"]).is_some_and(|batch| was_batch_invoiced(world, order, &batch))
    };
    let orders = orders_where(world, |order| !lines.is_empty() && lines.iter().all(|line| has_line(order, line)));
    let by_batch =
        orders_where(world, |order| orders.contains(&order.id) && lines.iter().any(|line| has_batch(order, line)));
    if by_batch.is_empty() { orders } else { by_batch }
}

/// Returns whether a job for this order invoiced goods of this batch.
fn was_batch_invoiced(world: &World, order: &PurchaseOrder, batch: &str) -> bool {
    let lines = world.jobs.iter().filter_map(|job| job.body["line_item"].as_array()).flatten();
    let mut lines_of_order = lines.filter(|line| {
        let id = text_of(&line["purchase_order_item_id"]);
        order.items.iter().any(|item| Some(item.id.to_string()) == id)
    });
    lines_of_order.any(|line| {
        let mut batches = line["batch"].as_array().into_iter().flatten();
        batches.any(|invoiced| text_of(&invoiced["name"]).as_deref() == Some(batch))
    })
}

fn orders_where(world: &World, is_chosen: impl Fn(&PurchaseOrder) -> bool) -> BTreeSet<u64> {
    world.orders.iter().filter(|order| is_chosen(order)).map(|order| order.id).collect()
}

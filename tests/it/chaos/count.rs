//! Counts the final state of both sides.

use super::scene::Site;
use crate::support::database::{in_own_runtime, open_pool};
use serde_json::Value;
use spsi_partner::db::Page;
use spsi_partner::delivery::staff::{self, Delivery, Filter};
use spsi_partner::shipments::{self, Shipment};
use std::collections::{BTreeMap, BTreeSet};

/// The final state of the product's database.
pub struct Count {
    pub shipments: usize,
    url: String,
    listed: Vec<Shipment>,
    deliveries: Vec<Delivery>,
    /// Deliveries of invoices that wait for staff although their state is `unclear`.
    held: BTreeSet<i64>,
    /// Clinic, ezyVet's id, and our number.
    orders: Vec<((i64, String), String)>,
}

impl Count {
    pub fn take(url: &str) -> Self {
        in_own_runtime(|| async {
            let pool = open_pool(url);
            let listed = shipments::list(
                &mut pool.begin().await.expect("a connection"),
                &shipments::Filter::default(),
                Page::default(),
            )
            .await
            .expect("shipments");
            let deliveries =
                staff::list(&mut pool.begin().await.expect("a connection"), &Filter::default(), Page::default())
                    .await
                    .expect("deliveries");
            let held = "select id from delivery where state = 'unclear' and kind = 'receive_invoice' and looks > 2";
            let held: Vec<i64> = sqlx::query_scalar(held).fetch_all(&pool).await.expect("held");
            let orders = "select clinic_id, ezyvet_id, supplier_order_number from purchase_order";
            let orders: Vec<(i64, String, String)> = sqlx::query_as(orders).fetch_all(&pool).await.expect("orders");
            pool.close().await;
            Self {
                shipments: listed.len(),
                url: url.to_owned(),
                listed,
                deliveries,
                held: held.into_iter().collect(),
                orders: orders.into_iter().map(|(clinic, id, number)| ((clinic, id), number)).collect(),
            }
        })
    }

    /// Returns the number of deliveries in progress by state, or an empty text if there are none.
    pub fn in_progress(&self) -> String {
        let mut open = BTreeMap::<&str, u32>::new();
        for delivery in &self.deliveries {
            let done = match (delivery.state.as_str(), delivery.kind.as_str()) {
                // Without a time it waits for another delivery, which is counted itself.
                ("waiting", _) => delivery.due_at.is_none(),
                ("unclear", "receive_invoice") => self.held.contains(&delivery.id.0),
                ("delivered", "receive_invoice") | ("sending", _) => false,
                _ => true,
            };
            if !done {
                *open.entry(&delivery.state).or_default() += 1;
            }
        }
        if open.is_empty() { String::new() } else { format!("{open:?}") }
    }

    /// Returns every call that was made for an invoice.
    fn history(&self, number: &str) -> String {
        let calls =
            "select concat_ws(' ', a.purpose, a.started_at, a.finished_at, a.outcome, a.detail) from delivery_attempt a
                     join delivery d on d.id = a.delivery_id
                     where d.invoice_number = $1 and d.kind = 'receive_invoice' order by a.id";
        let calls: Vec<String> = in_own_runtime(|| async {
            let pool = open_pool(&self.url);
            sqlx::query_scalar(calls).bind(number).fetch_all(&pool).await.expect("calls")
        });
        calls.join("\n")
    }

    /// Returns the number of deliveries by kind and state.
    pub fn states(&self) -> String {
        let mut states = BTreeMap::<String, u32>::new();
        for delivery in &self.deliveries {
            *states.entry(format!("{} {}", delivery.kind, delivery.state)).or_default() += 1;
        }
        format!("{states:?}")
    }

    /// Fails if a delivery needs staff and has no reason.
    pub fn assert_reasons(&self) {
        for delivery in &self.deliveries {
            let reason = delivery.last_error.as_deref().unwrap_or_default();
            let good = matches!(delivery.state.as_str(), "delivered" | "confirmed");
            assert!(good || !reason.is_empty(), "no reason: {delivery:?}");
        }
    }

    /// Fails unless exactly the acknowledged orders are stored, once each, under the acknowledged number.
    pub fn assert_orders(&self, acknowledged: &[(i64, (String, String))]) {
        let ours: BTreeMap<_, _> = self.orders.iter().cloned().collect();
        assert_eq!(ours.len(), self.orders.len());
        for (clinic, (id, number)) in acknowledged {
            assert_eq!(ours.get(&(*clinic, id.clone())), Some(number), "order {id} of clinic {clinic}");
        }
        assert_eq!(ours.len(), acknowledged.len(), "orders that no clinic sent are stored");
    }

    /// Fails unless every shipment has exactly one invoice at the site, with its lines, and stock was counted at most once, and
    /// exactly once for each delivery in state `delivered`. Returns figures.
    pub fn assert_site(&self, site: &Site) -> String {
        let world = site.control("GET", "world", &Value::Null).expect(200);
        let own: Vec<_> = self.listed.iter().filter(|shipment| shipment.clinic_id == site.clinic_id).collect();
        let list = |key: &str| world[key].as_array().expect("a list");
        let mut invoices = BTreeMap::<&str, Vec<String>>::new();
        for invoice in list("invoices") {
            let batches =
                invoice["lines"].as_array().expect("lines").iter().map(|line| text(&line["batch"][0]["name"]));
            let other = invoices.insert(invoice["invoice_number"].as_str().expect("a number"), batches.collect());
            let number = invoice["invoice_number"].as_str().expect("a number");
            assert!(other.is_none(), "the site has invoice {number} twice\n{}", self.history(number));
        }
        for shipment in &own {
            let expected: Vec<_> = shipment.lines.iter().map(|line| line.batch.clone()).collect();
            assert_eq!(invoices.remove(shipment.invoice_number.as_str()), Some(expected), "{shipment:?}");
            assert_eq!(shipment.state, "received", "{shipment:?}");
        }
        assert!(invoices.is_empty(), "the site has invoices without a shipment: {invoices:?}");
        let mut counted = BTreeSet::new();
        for call in list("supplied") {
            for line in call["body"].as_array().expect("lines") {
                assert!(counted.insert(text(&line["batch"]["code"])), "counted twice: {line}");
            }
        }
        let mut held = 0;
        for delivery in self.deliveries.iter().filter(|delivery| delivery.kind == "supplied") {
            let Some(shipment) = own.iter().find(|shipment| shipment.id.0 == delivery.shipment) else { continue };
            let lines = shipment.lines.iter().filter(|line| Some(&line.location_id) == delivery.location_id.as_ref());
            let counted_lines = lines.filter(|line| counted.contains(&line.batch)).count();
            match delivery.state.as_str() {
                "delivered" => assert!(counted_lines > 0, "the site did not count this delivery: {delivery:?}"),
                "unclear" => held += 1,
                other => panic!("{other}: {delivery:?}"),
            }
        }
        let mut events = BTreeMap::<String, u32>::new();
        for event in list("events") {
            *events.entry(text(&event["kind"])).or_default() += 1;
        }
        assert!(!events.contains_key("doubled_invoice"), "{:?}", world["events"]);
        let figures = [("invoices", own.len()), ("supplied lines", counted.len()), ("supplied held for staff", held)];
        format!("{figures:?}; calls {}; unexpected {events:?}", world["totals"])
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

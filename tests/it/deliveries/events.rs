//! The events of deliveries: each is recorded once, and reads back into the struct that documents it.

use super::scene::Scene;
use super::{MINUTE, SENT};
use crate::support::ezyvet::Fault;
use serde::de::DeserializeOwned;
use spsi_partner::db::in_transaction;
use spsi_partner::delivery::staff;
use spsi_partner::events::{self, DeliveryEvent, InvoiceDiffers, OrderEvent, ShipmentEvent, SiteUnreachable};
use std::time::Duration;

async fn kinds(scene: &Scene) -> Vec<String> {
    recorded(scene).await.into_iter().map(|event| event.kind).collect()
}

/// Returns every event, after reading its data into the struct of its type.
async fn recorded(scene: &Scene) -> Vec<events::Event> {
    let all = events::list(scene.pool(), None, &[], 10_000).await.expect("listed");
    for event in &all {
        match event.kind.split_once('.').expect("noun and verb") {
            ("order", _) => read::<OrderEvent>(event),
            ("shipment", _) => read::<ShipmentEvent>(event),
            ("delivery", _) => read::<DeliveryEvent>(event),
            ("invoice", _) => read::<InvoiceDiffers>(event),
            ("site", _) => read::<SiteUnreachable>(event),
            (other, _) => panic!("{other}"),
        }
    }
    all
}

fn read<T: DeserializeOwned + serde::Serialize>(event: &events::Event) {
    let data: T = serde_json::from_value(event.data.clone()).unwrap_or_else(|error| panic!("{error}: {event:?}"));
    // Nothing is stored that the struct does not document.
    assert_eq!(serde_json::to_value(data).expect("JSON"), event.data);
}

#[tokio::test]
async fn a_shipment_is_told_from_its_creation_to_the_clinics_approval() {
    let scene = Scene::open().await;
    scene.shipped().await;
    assert_eq!(kinds(&scene).await, ["shipment.created"]);
    scene.step().await;
    assert_eq!(scene.states().await, SENT);
    let mut expected = vec!["shipment.created", "delivery.delivered", "delivery.delivered", "delivery.delivered"];
    assert_eq!(kinds(&scene).await, expected);
    {
        let mut world = scene.ezyvet.world();
        world.approved = vec!["INV-000001".into()];
        world.shown = serde_json::json!({ "freight": "7.50" });
    }
    scene.step_after(60 * MINUTE).await;
    // In the order of their facts: the delivery is settled, then compared, then its shipment is complete.
    expected.extend(["delivery.confirmed", "invoice.differs", "shipment.received"]);
    let events = recorded(&scene).await;
    assert_eq!(events.iter().map(|event| event.kind.as_str()).collect::<Vec<_>>(), expected);
    assert_eq!(events[5].data["differences"][0]["stored"], "7.50");
    assert!(events.iter().all(|event| event.clinic_id == Some(1)));
}

#[tokio::test]
async fn a_delivery_that_needs_staff_is_told_once() {
    let scene = Scene::open().await;
    scene.ezyvet.break_next("jobqueue", [Fault::Answer(422, r#"{"messages":["No."]}"#, vec![])]);
    scene.shipped().await;
    scene.step().await;
    scene.step_after(MINUTE).await;
    let events = recorded(&scene).await;
    let attention: Vec<_> = events.iter().filter(|event| event.kind == "delivery.attention").collect();
    assert_eq!(attention.len(), 1, "{events:?}");
    assert_eq!(
        (attention[0].data["state"].as_str(), attention[0].data["attempts"].as_i64()),
        (Some("attention"), Some(1))
    );
    // Cancelling it leaves those that follow it to staff.
    let id = scene.deliveries().await[0].id;
    let cancel = async |c: &mut _| staff::cancel(c, scene.clock.now(), "test", id, None).await;
    in_transaction(scene.pool(), cancel).await.expect("cancelled");
    let all = kinds(&scene).await;
    assert!(all.iter().filter(|kind| *kind == "delivery.attention").count() >= 2, "{all:?}");
}

#[tokio::test]
async fn stock_that_a_dead_worker_was_sending_needs_staff() {
    let scene = Scene::open_with(&["--call-timeout", "1h"]).await;
    scene.ezyvet.break_next("supplied", [Fault::Hang]);
    scene.shipped().await;
    let worker = scene.worker.clone();
    let dying = tokio::spawn(async move { worker.run_once().await });
    while scene.ezyvet.count("POST /inventory/v1/supplied") == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    dying.abort();
    scene.step_after(61 * MINUTE).await;
    scene.step_after(MINUTE).await;
    assert_eq!(scene.states().await, ["receive_invoice delivered", "supplied unclear", "supplied delivered"]);
    let events = recorded(&scene).await;
    let attention: Vec<_> = events.iter().filter(|event| event.kind == "delivery.attention").collect();
    assert_eq!(attention.len(), 1, "{events:?}");
    assert_eq!(attention[0].data["state"], "unclear");
}

#[tokio::test]
async fn a_shipment_of_a_clinic_without_a_site_needs_staff_at_once() {
    let scene = Scene::open().await;
    let order = scene.order(2).await;
    scene.ship(&order, &[]).await.expect("shipped");
    let events = recorded(&scene).await;
    let attention: Vec<_> = events.iter().filter(|event| event.kind == "delivery.attention").collect();
    assert_eq!(attention.len(), 3, "{events:?}");
    assert!(attention[0].data["site"].is_null());
}

#[tokio::test]
async fn an_outage_of_a_site_is_told_once_until_the_site_answers_again() {
    let scene = Scene::open_with(&["--breaker-failures", "2", "--lease", "10d"]).await;
    for _ in 0..4 {
        scene.shipped().await;
    }
    let failures = || std::iter::repeat_n(Fault::Answer(503, "", vec![]), 400);
    for endpoint in ["token", "jobqueue", "receiveinvoice"] {
        scene.ezyvet.break_next(endpoint, failures());
    }
    let unreachable = async || kinds(&scene).await.iter().filter(|kind| *kind == "site.unreachable").count();
    for _ in 0..5 {
        scene.step_after(5 * MINUTE).await;
    }
    assert_eq!(unreachable().await, 1);
}

//! An outage of an ezyVet site costs staff a handful of deliveries; everything else is sent when the outage ends.

use super::MINUTE;
use super::scene::Scene;
use crate::support::ezyvet::{Ezyvet, Fault};
use spsi_partner::delivery::staff::Delivery;
use spsi_partner::shutdown;
use std::collections::BTreeSet;
use std::time::Duration;

const SHIPMENTS: usize = 200;
const FLAGS: [&str; 8] = [
    "--rate-per-endpoint",
    "1000000",
    "--rate-per-site",
    "1000000",
    "--worker-poll",
    "5ms",
    // The test clock jumps by minutes: no lease may end before its holder releases the site.
    "--lease",
    "10d",
];

fn server_errors() -> impl Iterator<Item = Fault> {
    std::iter::repeat_n(Fault::Answer(500, r#"{"messages":["Oops."]}"#, vec![]), 20_000)
}

fn is_for_staff(delivery: &Delivery) -> bool {
    delivery.state == "attention" || delivery.state == "unclear" && delivery.kind == "supplied"
}

async fn set_address(scene: &Scene, url: &str) {
    sqlx::query("update site set base_url = $1").bind(url).execute(scene.pool()).await.unwrap();
}

/// Opens a scene whose site has as many invoices and as many `supplied` waiting. Its token and uids are stored.
async fn open_with_backlog(shipments: usize) -> Scene {
    let scene = Scene::open_with(&FLAGS).await;
    scene.shipped().await;
    scene.step().await;
    for _ in 0..shipments {
        scene.shipped().await;
    }
    let release = "update delivery set after_id = null, due_at = created_at
                   where kind = 'supplied' and state = 'waiting' and location_id = '3'";
    sqlx::raw_sql(release).execute(scene.pool()).await.unwrap();
    scene
}

/// Checks what an outage left, and that each invoice and each other `supplied` arrived exactly once.
async fn check_end(scene: &Scene, broken: &Ezyvet) {
    let deliveries = scene.deliveries().await;
    let for_staff: Vec<_> = deliveries.iter().filter(|delivery| is_for_staff(delivery)).collect();
    println!("an hour of 500s left {} of {} deliveries to staff", for_staff.len(), deliveries.len());
    assert!(for_staff.len() <= 5, "{for_staff:?}");
    let others = deliveries.iter().filter(|delivery| !is_for_staff(delivery));
    for delivery in others {
        assert_eq!(delivery.state, "delivered", "{delivery:?}");
    }
    let numbers = scene.ezyvet.invoice_numbers();
    assert_eq!(numbers.len(), SHIPMENTS + 1);
    assert_eq!(numbers.iter().collect::<BTreeSet<_>>().len(), numbers.len());
    assert_eq!(scene.ezyvet.world().supplied.len(), 2 * (SHIPMENTS + 1) - for_staff.len());
    assert!(broken.world().jobs.is_empty() && broken.world().supplied.is_empty());
}

async fn break_everything() -> Ezyvet {
    let broken = Ezyvet::start();
    for endpoint in ["token", "jobqueue", "receiveinvoice", "separation", "product", "products", "supplied"] {
        broken.break_next(endpoint, server_errors());
    }
    broken
}

#[tokio::test]
async fn an_hour_of_500s_leaves_a_handful_to_staff_and_the_rest_arrives_once() {
    let (scene, broken) = (open_with_backlog(SHIPMENTS).await, break_everything().await);
    set_address(&scene, &broken.url).await;
    for _ in 0..60 {
        scene.step_after(MINUTE).await;
    }
    // While the circuit is open, only reads test the site.
    let sends = broken.count("POST /v2/jobqueue") + broken.count("POST /inventory");
    assert!(sends <= 5 && broken.count("GET /v2/receiveinvoice") >= 10, "{sends}");
    set_address(&scene, &scene.ezyvet.url).await;
    for _ in 0..90 {
        scene.step_after(MINUTE).await;
    }
    check_end(&scene, &broken).await;
}

#[tokio::test]
async fn an_hour_of_500s_leaves_a_handful_to_staff_with_many_calls_at_once() {
    let (scene, broken) = (open_with_backlog(SHIPMENTS).await, break_everything().await);
    set_address(&scene, &broken.url).await;
    let (trigger, shutdown) = shutdown::channel();
    let worker = scene.worker.clone();
    let running = tokio::spawn(async move { worker.run(shutdown).await });
    let pass = async |minutes: usize| {
        for _ in 0..minutes {
            scene.clock.advance(MINUTE);
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
    };
    pass(60).await;
    set_address(&scene, &scene.ezyvet.url).await;
    let is_done = |delivery: &Delivery| delivery.state == "delivered" || is_for_staff(delivery);
    for _ in 0..60 {
        pass(10).await;
        if scene.deliveries().await.iter().all(is_done) {
            break;
        }
    }
    trigger.pull();
    running.await.unwrap();
    check_end(&scene, &broken).await;
}

#[tokio::test]
async fn an_hour_of_500s_of_the_supplied_endpoint_alone_leaves_a_handful_to_staff() {
    let scene = open_with_backlog(40).await;
    scene.ezyvet.break_next("supplied", server_errors());
    for _ in 0..60 {
        scene.step_after(MINUTE).await;
    }
    let deliveries = scene.deliveries().await;
    let for_staff = deliveries.iter().filter(|delivery| is_for_staff(delivery)).count();
    assert!((2..=6).contains(&for_staff), "{for_staff}");
    // Invoices are not delayed.
    assert_eq!(scene.ezyvet.invoice_numbers().len(), 41);
    let waiting = deliveries.iter().find(|delivery| delivery.state == "waiting").unwrap();
    assert!(waiting.last_error.as_ref().unwrap().contains("the next try is at"), "{waiting:?}");
}

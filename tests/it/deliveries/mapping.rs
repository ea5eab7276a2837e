//! A `supplied` whose uids are not found: when lists are read again, and what continues without a command.

use super::MINUTE;
use super::scene::Scene;
use crate::support::ezyvet::Fault;
use spsi_partner::ids::SiteId;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

/// Ships 5 units of a product to location 4: one invoice, one `supplied`.
async fn ship_product(scene: &Scene, product_id: &str) {
    let order = scene.order(1).await;
    let product = "update purchase_order_line l set product_id = $2 from purchase_order o
                   where o.id = l.order_id and o.supplier_order_number = $1 and l.ezyvet_id = '2'";
    sqlx::query(product).bind(&order).bind(product_id).execute(scene.pool()).await.unwrap();
    scene.ship(&order, &[("2", 5)]).await.unwrap();
}

async fn supplied_states(scene: &Scene) -> Vec<String> {
    let deliveries = scene.deliveries().await;
    deliveries.into_iter().filter(|delivery| delivery.kind == "supplied").map(|delivery| delivery.state).collect()
}

async fn last_error(scene: &Scene) -> String {
    scene.deliveries().await.pop().unwrap().last_error.unwrap()
}

#[tokio::test]
async fn a_product_younger_than_the_stored_list_waits_for_the_next_reading_and_blocks_no_other() {
    let scene = Scene::open().await;
    scene.shipped().await;
    scene.step().await;
    scene.ezyvet.world().inventory.extend([("product_c", "CODE-50003"), ("product_d", "CODE-50004")]);
    scene.clock.advance(MINUTE);
    ship_product(&scene, "50003").await;
    ship_product(&scene, "50004").await;
    scene.step().await;
    assert_eq!(supplied_states(&scene).await[2..], ["waiting", "waiting"]);
    let error = last_error(&scene).await;
    for part in ["CODE-50004", "read at 2026-11-21 12:00:00 UTC", "waits until 2026-11-21 12:10:00 UTC"] {
        assert!(error.contains(part), "{error}");
    }
    scene.shipped().await;
    scene.step().await;
    assert_eq!(supplied_states(&scene).await[4..], ["delivered", "delivered"]);
    assert_eq!(scene.ezyvet.count("GET /inventory"), 1);
    scene.step_after(9 * MINUTE).await;
    // One reading serves both.
    assert_eq!(supplied_states(&scene).await, ["delivered"; 6]);
    assert_eq!(scene.ezyvet.count("GET /inventory"), 2);
}

#[tokio::test]
async fn an_unmapped_delivery_stays_visible_and_continues_within_a_day_of_the_correction() {
    let scene = Scene::open().await;
    scene.ezyvet.world().inventory.truncate(1);
    scene.shipped().await;
    scene.step().await;
    assert_eq!(supplied_states(&scene).await, ["delivered", "attention"]);
    scene.step_after(24 * HOUR).await;
    assert_eq!(supplied_states(&scene).await, ["delivered", "attention"]);
    assert_eq!(scene.ezyvet.count("GET /inventory"), 2);
    scene.ezyvet.world().inventory.push(("product_b", "CODE-50002"));
    scene.step_after(23 * HOUR).await;
    assert_eq!(supplied_states(&scene).await, ["delivered", "attention"]);
    scene.step_after(HOUR).await;
    assert_eq!(supplied_states(&scene).await, ["delivered", "delivered"]);
    assert_eq!(scene.ezyvet.world().supplied.len(), 2);
}

#[tokio::test]
async fn a_reading_for_one_delivery_serves_every_unmapped_delivery_of_the_site() {
    let scene = Scene::open().await;
    scene.ezyvet.world().inventory.clear();
    for _ in 0..3 {
        scene.shipped().await;
    }
    scene.step().await;
    // A list that is empty counts as read.
    assert_eq!(supplied_states(&scene).await, ["attention"; 6]);
    assert_eq!([scene.ezyvet.count("GET /inventory"), scene.ezyvet.count("GET /v2/product/")], [1, 2]);
    for _ in 0..9 {
        scene.clock.advance(MINUTE);
        scene.shipped().await;
        scene.step().await;
    }
    assert_eq!(scene.ezyvet.count("GET /inventory"), 1);
    scene.ezyvet.world().inventory = vec![("product_a", "CODE-50001"), ("product_b", "CODE-50002")];
    scene.step_after(MINUTE).await;
    assert_eq!(supplied_states(&scene).await, ["delivered"; 24]);
    assert_eq!(scene.ezyvet.count("GET /inventory"), 2);
}

#[tokio::test]
async fn a_pin_continues_the_delivery_and_a_retry_reads_the_list_at_once() {
    let scene = Scene::open().await;
    scene.ezyvet.world().inventory.clear();
    scene.shipped().await;
    scene.step().await;
    scene.pin(SiteId(1), "50001", "product_a").await;
    scene.step().await;
    assert_eq!(supplied_states(&scene).await, ["delivered", "attention"]);
    scene.ezyvet.world().inventory.push(("product_b", "CODE-50002"));
    scene.retry(2, false).await.unwrap();
    scene.step().await;
    assert_eq!(supplied_states(&scene).await, ["delivered", "delivered"]);
}

#[tokio::test]
async fn a_location_without_a_separation_is_checked_again_daily_by_one_reading() {
    let scene = Scene::open().await;
    for _ in 0..3 {
        let order = scene.order(1).await;
        sqlx::raw_sql("update purchase_order_line set location_id = '9'").execute(scene.pool()).await.unwrap();
        scene.ship(&order, &[("1", 10)]).await.unwrap();
    }
    scene.step().await;
    assert_eq!(supplied_states(&scene).await, ["attention"; 3]);
    assert!(last_error(&scene).await.contains("`spsi site separations 1`"));
    assert_eq!(scene.ezyvet.count("GET /v2/separation"), 1);
    scene.step_after(24 * HOUR).await;
    assert_eq!(scene.ezyvet.count("GET /v2/separation"), 2);
}

#[tokio::test]
async fn a_supplied_that_ezyvet_refused_is_never_retried_without_staff() {
    let scene = Scene::open().await;
    let refused = Fault::Answer(422, r#"{"messages":["No."]}"#, vec![]);
    scene.ezyvet.break_next("supplied", [refused.clone(), refused.clone(), refused.clone(), refused]);
    scene.shipped().await;
    scene.step().await;
    assert_eq!(supplied_states(&scene).await, ["attention"; 2]);
    for _ in 0..3 {
        scene.step_after(24 * HOUR).await;
    }
    assert_eq!(supplied_states(&scene).await, ["attention"; 2]);
    assert_eq!(scene.ezyvet.count("POST /inventory"), 4);
}

//! Deliveries reach ezyVet exactly once in effect, whatever ezyVet does (DESIGN.md 2.4 to 2.7).

mod candidates;
mod events;
mod mapping;
mod outage;
mod scene;
mod site;
mod tax;

use crate::support::database::is_skipped_without_sessions;
use crate::support::ezyvet::Fault;
use scene::Scene;
use spsi_partner::clock::Clock;
use spsi_partner::db::{Page, in_transaction};
use spsi_partner::delivery::staff::{self, StaffError};
use spsi_partner::shipments::{self, ShipError};
use spsi_partner::shutdown;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
const SENT: [&str; 3] = ["receive_invoice delivered", "supplied delivered", "supplied delivered"];

#[tokio::test]
async fn a_shipment_becomes_an_invoice_and_stock_and_is_received_when_the_clinic_approves() {
    let scene = Scene::open().await;
    let order = scene.order(1).await;
    let first = scene.ship(&order, &[("1", 4)]).await.unwrap();
    assert_eq!(scene.order_state(&order).await, "part_shipped");
    let second = scene.ship(&order, &[]).await.unwrap();
    assert_eq!(scene.order_state(&order).await, "shipped");
    assert_eq!([&*first.invoice_number, &*second.invoice_number], ["INV-000001", "INV-000002"]);
    scene.step().await;
    {
        let world = scene.ezyvet.world();
        let job = &world.jobs[0];
        for (field, value) in [
            ("type", "ReceiveInvoice"),
            ("data[method]", "POST"),
            ("data[body][comments]", "For PO 15001."),
            ("data[body][line_item][0][quantity]", "4"),
            ("data[body][line_item][0][location_id]", "3"),
            ("data[body][line_item][0][tax_rate]", "10"),
            ("data[body][line_item][0][batch][0][name]", "B1"),
            ("data[body][line_item][0][batch][0][expiry]", "1830297600"),
        ] {
            assert_eq!(job.get(field).map(String::as_str), Some(value), "{field}");
        }
        assert_eq!(world.supplied[0].0, "ownershipSeparation_3");
        let batch = serde_json::json!({ "code": "B1", "expireAt": "2028-01-01" });
        assert_eq!(
            world.supplied[0].1,
            serde_json::json!([{ "productId": "product_a", "supplied": 4, "batch": batch }])
        );
        let locations: Vec<_> = world.supplied.iter().map(|call| call.0.as_str()).collect();
        assert_eq!(locations, ["ownershipSeparation_3", "ownershipSeparation_3", "ownershipSeparation_4"]);
        assert_eq!(world.tokens, 1);
    }
    // The uids are looked up once.
    assert_eq!(scene.ezyvet.count("GET /v2/product/"), 2);
    assert_eq!(scene.ezyvet.count("GET /v2/separation"), 1);
    scene.step_after(15 * MINUTE).await;
    assert_eq!(scene.deliveries().await[0].state, "delivered");
    scene.ezyvet.world().approved = vec![first.invoice_number, second.invoice_number];
    scene.step_after(60 * MINUTE).await;
    assert_eq!(scene.deliveries().await.iter().filter(|d| d.state == "confirmed").count(), 2);
    assert_eq!(
        shipments::find(&mut scene.pool().begin().await.unwrap(), &first.id.to_string()).await.unwrap().state,
        "received"
    );
    assert_eq!(scene.order_state(&order).await, "received");
}

#[tokio::test]
async fn an_invoice_whose_answer_was_cut_off_is_found_and_not_sent_again() {
    let scene = Scene::open().await;
    scene.ezyvet.world().approve_at_once = true;
    scene.ezyvet.break_next("jobqueue", [Fault::DoneThenCut]);
    scene.shipped().await;
    scene.step().await;
    assert_eq!(scene.states().await, ["receive_invoice confirmed", "supplied delivered", "supplied delivered"]);
    assert_eq!(scene.ezyvet.invoice_numbers(), ["INV-000001"]);
}

#[tokio::test]
async fn an_invoice_that_never_arrived_is_looked_up_twice_and_sent_again_once_under_its_number() {
    let scene = Scene::open().await;
    scene.ezyvet.break_next("jobqueue", [Fault::Hang]);
    scene.shipped().await;
    scene.step().await;
    assert_eq!(scene.states().await, ["receive_invoice unclear", "supplied waiting", "supplied waiting"]);
    assert_eq!(scene.ezyvet.count("GET /v2/receiveinvoice"), 1);
    scene.step_after(14 * MINUTE).await;
    assert_eq!(scene.ezyvet.count("POST /v2/jobqueue"), 1);
    scene.step_after(2 * MINUTE).await;
    assert_eq!(scene.states().await, SENT);
    assert_eq!(scene.ezyvet.count("GET /v2/receiveinvoice"), 2);
    assert_eq!(scene.ezyvet.invoice_numbers(), ["INV-000001"]);
}

#[tokio::test]
async fn an_invoice_that_stays_unclear_is_sent_at_most_twice_and_then_held() {
    let scene = Scene::open().await;
    scene.ezyvet.break_next("jobqueue", [Fault::DoneThenCut, Fault::DoneThenCut]);
    scene.shipped().await;
    for _ in 0..6 {
        scene.step_after(20 * MINUTE).await;
    }
    assert_eq!(scene.ezyvet.count("POST /v2/jobqueue"), 2);
    let deliveries = scene.deliveries().await;
    assert_eq!(deliveries[0].state, "unclear");
    assert!(deliveries[1].last_error.as_ref().unwrap().contains("waits for delivery 1, which is in state unclear"));
    // The clinic's approval is noticed.
    scene.ezyvet.world().approved.push("INV-000001".into());
    scene.step_after(24 * 60 * MINUTE).await;
    assert_eq!(scene.states().await, ["receive_invoice confirmed", "supplied delivered", "supplied delivered"]);
}

#[tokio::test]
async fn an_unclear_invoice_is_left_to_staff_if_the_site_is_set_to_hold() {
    let scene = Scene::open_with(&["--unclear", "hold"]).await;
    scene.ezyvet.break_next("jobqueue", [Fault::Hang]);
    scene.shipped().await;
    for _ in 0..4 {
        scene.step_after(20 * MINUTE).await;
    }
    assert_eq!(scene.deliveries().await[0].state, "unclear");
    assert_eq!(scene.ezyvet.count("POST /v2/jobqueue"), 1);
    scene.retry(0, false).await.unwrap();
    scene.step().await;
    assert_eq!(scene.states().await, SENT);
}

#[tokio::test]
async fn an_unclear_supplied_waits_until_staff_confirm_that_it_did_not_arrive() {
    let scene = Scene::open().await;
    scene.ezyvet.break_next("supplied", [Fault::Hang]);
    scene.shipped().await;
    scene.step().await;
    scene.step_after(24 * 60 * MINUTE).await;
    assert_eq!(scene.states().await, ["receive_invoice delivered", "supplied unclear", "supplied delivered"]);
    assert!(matches!(scene.retry(1, false).await, Err(StaffError::MightCountTwice(_))));
    scene.retry(1, true).await.unwrap();
    scene.step().await;
    assert_eq!(scene.states().await, SENT);
    assert_eq!(scene.ezyvet.world().supplied.len(), 2);
}

#[tokio::test]
async fn an_expired_token_is_replaced_once_and_the_call_repeated_once() {
    let scene = Scene::open().await;
    scene.ezyvet.break_next("jobqueue", [Fault::TokenKilled]);
    scene.shipped().await;
    scene.step().await;
    assert_eq!(scene.states().await, SENT);
    assert_eq!(scene.ezyvet.world().tokens, 2);
    assert_eq!(scene.ezyvet.count("POST /v2/jobqueue"), 2);
    assert_eq!(scene.ezyvet.invoice_numbers().len(), 1);
    // The next run uses the stored token.
    scene.shipped().await;
    scene.step().await;
    assert_eq!(scene.ezyvet.world().tokens, 2);
}

#[tokio::test]
async fn refused_credentials_are_not_tried_again_for_every_delivery() {
    let scene = Scene::open().await;
    let refused = Fault::Answer(401, r#"{"error":"invalid_client"}"#, vec![]);
    scene.ezyvet.break_next("token", [refused.clone(), refused]);
    for _ in 0..5 {
        scene.shipped().await;
    }
    scene.step().await;
    assert_eq!(scene.ezyvet.count("POST /oauth/token"), 1);
    let error = scene.deliveries().await[0].last_error.clone().unwrap();
    assert!(error.contains("invalid_client") && error.contains("spsi site test 1"), "{error}");
    scene.step_after(MINUTE).await;
    assert_eq!(scene.ezyvet.count("POST /oauth/token"), 2);
    scene.step_after(5 * MINUTE).await;
    assert_eq!(scene.ezyvet.invoice_numbers().len(), 5);
}

#[tokio::test]
async fn after_a_429_the_site_waits_exactly_until_the_reset() {
    let scene = Scene::open().await;
    scene.ezyvet.break_next("jobqueue", [Fault::Answer(429, "{}", vec![("x-ratelimit-reset", "17")])]);
    scene.shipped().await;
    scene.step().await;
    let calls = scene.ezyvet.world().calls.len();
    scene.step_after(Duration::from_millis(16_900)).await;
    assert_eq!(scene.ezyvet.world().calls.len(), calls);
    scene.step_after(Duration::from_millis(100)).await;
    assert_eq!(scene.states().await, SENT);
    assert_eq!(scene.deliveries().await[0].attempts, 1);
}

#[tokio::test]
async fn a_refused_delivery_shows_staff_ezyvets_text_and_blocks_no_other() {
    let scene = Scene::open().await;
    let words = r#"{"messages":[{"level":"error","type":"x","text":"No such supplier code."}]}"#;
    scene.ezyvet.break_next("jobqueue", [Fault::Answer(200, words, vec![])]);
    scene.shipped().await;
    scene.shipped().await;
    scene.step().await;
    let deliveries = scene.deliveries().await;
    assert_eq!(deliveries[0].state, "attention");
    assert!(deliveries[0].last_error.as_ref().unwrap().contains("No such supplier code."));
    assert!(deliveries[1].last_error.as_ref().unwrap().contains("waits for delivery 1"));
    assert_eq!(deliveries[3].state, "delivered");
    assert!(matches!(scene.retry(1, false).await, Err(StaffError::WaitsForOther { .. })));
    scene.retry(0, false).await.unwrap();
    scene.step().await;
    assert_eq!(scene.states().await, [SENT, SENT].concat());
}

#[tokio::test]
async fn after_a_503_an_invoice_is_looked_up_and_sent_again() {
    let scene = Scene::open().await;
    let busy = Fault::Answer(503, r#"{"messages":["Busy."]}"#, vec![]);
    scene.ezyvet.break_next("jobqueue", [busy.clone(), busy.clone()]);
    scene.ezyvet.break_next("supplied", [busy]);
    scene.shipped().await;
    for _ in 0..4 {
        scene.step_after(MINUTE).await;
    }
    assert_eq!(scene.states().await, SENT);
    assert_eq!(scene.ezyvet.count("GET /v2/receiveinvoice"), 2);
    assert_eq!(scene.ezyvet.world().supplied.len(), 2);
}

#[tokio::test]
async fn without_the_inventory_scopes_a_supplied_is_skipped_and_the_next_day_tries_them_again() {
    let scene = Scene::open().await;
    scene.ezyvet.break_next("products", [Fault::Answer(403, r#"{"messages":["Scope."]}"#, vec![])]);
    scene.shipped().await;
    scene.step().await;
    assert_eq!(scene.states().await, ["receive_invoice delivered", "supplied skipped", "supplied skipped"]);
    scene.shipped().await;
    scene.step().await;
    assert_eq!(scene.ezyvet.count("GET /inventory"), 1);
    scene.clock.advance(25 * 60 * MINUTE);
    scene.shipped().await;
    scene.step().await;
    assert_eq!(scene.states().await[6..], SENT);
}

#[tokio::test]
async fn a_product_that_cannot_be_mapped_holds_only_its_own_delivery_until_it_is_pinned() {
    let scene = Scene::open().await;
    scene.ezyvet.world().inventory = vec![("product_a", "CODE-50001"), ("product_x", "TP2")];
    scene.shipped().await;
    scene.step().await;
    assert_eq!(scene.states().await, ["receive_invoice delivered", "supplied delivered", "supplied attention"]);
    let error = scene.deliveries().await[2].last_error.clone().unwrap();
    assert!(
        error.contains("CODE-50002") && error.contains("spsi site unmapped 1") && error.contains("spsi site pin 1"),
        "{error}"
    );
    let site = scene.deliveries().await[0].site_id.map(spsi_partner::ids::SiteId).unwrap();
    let unmapped = staff::unmapped(scene.pool(), site).await.unwrap();
    assert_eq!((unmapped.len(), unmapped[0].id.as_str(), unmapped[0].deliveries.len()), (1, "50002", 1));
    let likely = serde_json::json!([{ "uid": "product_x", "code": "TP2", "name": "TP2", "by": "code" }]);
    assert_eq!(unmapped[0].candidates, likely);
    scene.pin(site, "50002", "product_x").await;
    scene.retry(2, false).await.unwrap();
    scene.step().await;
    assert_eq!(scene.states().await, SENT);
    assert_eq!(scene.ezyvet.world().supplied[1].1[0]["productId"], "product_x");
}

#[tokio::test]
async fn a_worker_that_dies_during_a_call_loses_and_doubles_nothing() {
    for (endpoint, fault) in [("jobqueue", Fault::DoneThenCut), ("jobqueue", Fault::Hang)] {
        let scene = Scene::open_with(&["--call-timeout", "1h"]).await;
        scene.ezyvet.world().approve_at_once = true;
        let done = matches!(fault, Fault::DoneThenCut);
        // The answer never comes; the worker is dropped while it waits.
        scene.ezyvet.break_next(endpoint, [Fault::Hang]);
        if done {
            scene.ezyvet.world().approved.push("INV-000001".into());
        }
        scene.shipped().await;
        {
            let mut dying = Box::pin(scene.worker.run_once());
            while scene.ezyvet.count("POST /v2/jobqueue") == 0 {
                let short = Duration::from_millis(5);
                assert!(tokio::time::timeout(short, &mut dying).await.is_err(), "it ended");
            }
        }
        assert_eq!(scene.deliveries().await[0].state, "sending");
        scene.step_after(Duration::from_secs(59)).await;
        assert_eq!(scene.deliveries().await[0].state, "sending");
        scene.step_after(Duration::from_secs(2)).await;
        let expected = if done { "confirmed" } else { "unclear" };
        assert_eq!(scene.deliveries().await[0].state, expected);
        scene.step_after(16 * MINUTE).await;
        assert_eq!(scene.ezyvet.invoice_numbers().len(), usize::from(!done));
        assert_eq!(scene.ezyvet.world().supplied.len(), 2);
    }
}

#[tokio::test]
async fn an_answer_that_comes_after_the_lease_was_lost_still_counts() {
    let scene = Scene::open_with(&["--call-timeout", "1h"]).await;
    scene.ezyvet.break_next("jobqueue", [Fault::DoneLate(Duration::from_millis(1500))]);
    scene.shipped().await;
    let slow = scene.worker.clone();
    let slow = tokio::spawn(async move { slow.run_once().await });
    while scene.ezyvet.count("POST /v2/jobqueue") == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    scene.step_after(Duration::from_secs(61)).await;
    assert_eq!(scene.deliveries().await[0].state, "unclear");
    slow.await.expect("no panic there").ok();
    assert_eq!(scene.deliveries().await[0].state, "delivered");
    scene.step_after(16 * MINUTE).await;
    assert_eq!(scene.states().await, SENT);
    assert_eq!(scene.ezyvet.invoice_numbers().len(), 1);
}

#[tokio::test]
async fn an_invoice_that_differs_in_ezyvet_is_flagged_with_the_differences() {
    let scene = Scene::open().await;
    scene.ezyvet.world().approve_at_once = true;
    scene.ezyvet.world().shown = serde_json::json!({ "freight": "7.50", "ownership_id": 1 });
    scene.shipped().await;
    scene.step().await;
    scene.step_after(16 * MINUTE).await;
    let invoice = scene.deliveries().await.remove(0);
    assert_eq!((invoice.state.as_str(), invoice.differs, invoice.stale), ("confirmed", true, false));
    let detail = scene.shown(invoice.id).await;
    let expected = serde_json::json!([{ "what": "freight", "sent": "0", "stored": "7.50" }]);
    assert_eq!(detail.differences, expected);
    let differing = staff::Filter { differing: true, ..staff::Filter::default() };
    assert_eq!(
        staff::list(&mut scene.pool().begin().await.expect("a connection"), &differing, Page::default())
            .await
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn an_invoice_that_the_clinic_never_approves_becomes_stale() {
    let scene = Scene::open_with(&["--receipt-give-up", "1h"]).await;
    scene.shipped().await;
    for _ in 0..8 {
        scene.step_after(30 * MINUTE).await;
    }
    let stale = staff::Filter { stale: true, ..staff::Filter::default() };
    let found =
        staff::list(&mut scene.pool().begin().await.expect("a connection"), &stale, Page::default()).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].state.as_str(), found[0].stale, found[0].due_at), ("delivered", true, None));
}

#[tokio::test]
async fn an_invoice_has_the_clinics_tax_code_and_waits_for_staff_if_the_site_does_not_know_it() {
    let scene = Scene::open_with(&["--known-tax-codes", "S,GST"]).await;
    let clinic_tax_code = async |code: &str| {
        scene.set_clinic(&[&format!("tax_code={code}")]).await.unwrap();
    };
    for (code, state) in [("GST", "delivered"), ("", "delivered"), ("VAT", "attention")] {
        clinic_tax_code(code).await;
        let order = scene.order(1).await;
        scene.ship(&order, &[("1", 1)]).await.unwrap();
        scene.step().await;
        let deliveries = scene.deliveries().await;
        let invoice = deliveries.iter().rfind(|delivery| delivery.kind == "receive_invoice").unwrap();
        assert_eq!(invoice.state, state, "{code}: {invoice:?}");
        let sent = scene.shown(invoice.id).await;
        let expected = if code.is_empty() { "S" } else { code };
        assert_eq!(serde_json::to_value(&sent).unwrap()["payload"]["lines"][0]["tax_code"], expected);
    }
}

#[tokio::test]
async fn an_invoice_that_practice_systems_refuse_is_not_sent_unless_staff_turn_the_check_off() {
    let scene = Scene::open().await;
    let order = scene.order(1).await;
    let blank = "update purchase_order_line set location_id = ' ' where ezyvet_id = '2'";
    sqlx::raw_sql(blank).execute(scene.pool()).await.unwrap();
    scene.ship(&order, &[]).await.unwrap();
    scene.step().await;
    let invoice = scene.deliveries().await.remove(0);
    assert_eq!((invoice.state.as_str(), invoice.attempts), ("attention", 0));
    assert!(invoice.last_error.as_ref().unwrap().contains("missing_location: line 2:"), "{invoice:?}");
    assert_eq!(scene.ezyvet.count("POST /v2/jobqueue"), 0);
    sqlx::raw_sql("update site set settings = '{\"check_invoices\": \"off\"}'").execute(scene.pool()).await.unwrap();
    scene.retry(0, false).await.unwrap();
    scene.step().await;
    assert_eq!(scene.deliveries().await[0].state, "delivered");
}

#[tokio::test]
async fn an_invoice_that_did_not_arrive_is_reissued_under_a_new_number_and_its_supplied_follow() {
    let scene = Scene::open_with(&["--unclear", "hold"]).await;
    scene.ezyvet.break_next("jobqueue", [Fault::Hang]);
    let shipment = scene.shipped().await;
    for _ in 0..3 {
        scene.step_after(20 * MINUTE).await;
    }
    let old = scene.deliveries().await.remove(0);
    assert_eq!(old.state, "unclear");
    let reissue = async |known_absent| {
        let (defaults, now) = (&scene.settings.site, scene.clock.now());
        let reissue = async |c: &mut _| shipments::reissue(c, defaults, now, "test", old.id, known_absent, None).await;
        in_transaction(scene.pool(), reissue).await
    };
    assert!(matches!(reissue(false).await, Err(ShipError::Delivery(StaffError::MightArriveTwice { .. }))));
    assert_eq!(reissue(true).await.unwrap().invoice_number, "INV-000002");
    // A second reissue is refused and uses up no number.
    assert!(reissue(true).await.is_err() && scene.retry(0, true).await.is_err());
    scene.step().await;
    assert_eq!(scene.ezyvet.invoice_numbers(), ["INV-000002"]);
    let [states, sent] = [scene.states().await, SENT.map(str::to_owned).to_vec()];
    assert_eq!(states, ["receive_invoice cancelled", &sent[1], &sent[2], &sent[0]]);
    assert!(scene.deliveries().await[0].last_error.as_ref().unwrap().contains("INV-000002"));
    let numbers = shipments::find(&mut scene.pool().begin().await.unwrap(), &shipment.id.to_string())
        .await
        .unwrap()
        .invoice_numbers;
    assert_eq!(numbers, ["INV-000001", "INV-000002"]);
    assert_eq!(scene.shipped().await.invoice_number, "INV-000003");
}

#[tokio::test]
async fn deliveries_are_counted_and_retried_by_a_filter() {
    let scene = Scene::open().await;
    let refused = Fault::Answer(422, r#"{"messages":["No."]}"#, vec![]);
    scene.ezyvet.break_next("jobqueue", [refused.clone(), refused]);
    for _ in 0..3 {
        scene.shipped().await;
    }
    scene.step().await;
    let counts =
        staff::count(&mut scene.pool().begin().await.expect("a connection"), &staff::Filter::default()).await.unwrap();
    let counts: Vec<_> = counts.iter().map(|c| (c.state.as_str(), c.count, c.receive_invoice, c.supplied)).collect();
    assert_eq!(counts, [("attention", 2, 2, 0), ("delivered", 3, 1, 2), ("waiting", 4, 0, 4)]);
    let filter = |states: &[&str], site: &str| staff::Filter {
        states: states.iter().map(|state| (*state).to_owned()).collect(),
        site: Some(site.into()),
        ..staff::Filter::default()
    };
    let retry_all = async |filter| {
        let now = scene.clock.now();
        let retry = async |c: &mut _| staff::retry_all(c, now, "test", &filter, false).await;
        in_transaction(scene.pool(), retry).await.unwrap()
    };
    let none = retry_all(filter(&["attention"], "elsewhere")).await;
    assert_eq!((none.retried.len(), none.left.len()), (0, 0));
    // Oldest first: a delivery that follows another retried one is not retried, and reported.
    let bulk = retry_all(filter(&["attention", "waiting"], "harbour")).await;
    assert_eq!((bulk.retried.len(), bulk.left.len()), (2, 4));
    scene.step().await;
    assert_eq!(scene.states().await, [SENT, SENT, SENT].concat());
}

#[tokio::test]
async fn a_gateway_error_is_unclear_whatever_its_body() {
    let scene = Scene::open().await;
    let gateway = Fault::Answer(502, r#"{"messages":[{"level":"error","text":"Bad gateway."}]}"#, vec![]);
    scene.ezyvet.break_next("jobqueue", [gateway.clone()]);
    scene.ezyvet.break_next("supplied", [gateway]);
    scene.shipped().await;
    scene.step_after(MINUTE).await;
    assert_eq!(scene.deliveries().await[0].state, "unclear");
    scene.step_after(16 * MINUTE).await;
    assert_eq!(scene.states().await, ["receive_invoice delivered", "supplied unclear", "supplied delivered"]);
}

#[tokio::test]
async fn a_site_that_cannot_be_reached_is_probed_until_it_answers() {
    let scene = Scene::open().await;
    for _ in 0..3 {
        scene.shipped().await;
    }
    let unreachable = "update site set base_url = 'http://127.0.0.1:1'";
    sqlx::raw_sql(unreachable).execute(scene.pool()).await.unwrap();
    scene.step().await;
    scene.step_after(MINUTE).await;
    let first = scene.deliveries().await.remove(0);
    assert_eq!(first.state, "waiting");
    assert!(first.last_error.as_ref().unwrap().contains("not reached"), "{first:?}");
    sqlx::query("update site set base_url = $1").bind(&scene.ezyvet.url).execute(scene.pool()).await.unwrap();
    scene.step_after(10 * MINUTE).await;
    assert_eq!(scene.states().await, [SENT, SENT, SENT].concat());
}

#[tokio::test]
async fn a_payload_of_a_newer_version_waits_and_delays_no_other() {
    let scene = Scene::open().await;
    scene.shipped().await;
    scene.shipped().await;
    let newer = "update delivery set payload = payload || '{\"format\": \"receive_invoice/9\"}' where id = 1";
    sqlx::raw_sql(newer).execute(scene.pool()).await.unwrap();
    scene.step().await;
    scene.step().await;
    let deliveries = scene.deliveries().await;
    assert_eq!(deliveries[0].state, "waiting");
    assert!(deliveries[0].last_error.as_ref().unwrap().contains("receive_invoice/9"));
    assert_eq!(deliveries[3].state, "delivered");
}

#[tokio::test]
async fn several_workers_at_once_deliver_everything_once() {
    let scene = Scene::open_with(&["--rate-per-endpoint", "1000", "--rate-per-site", "3000"]).await;
    for _ in 0..12 {
        scene.shipped().await;
    }
    let others: Vec<_> = (0..3).map(|_| scene.worker.clone()).collect();
    let runs = others.iter().map(|worker| worker.run_once());
    for run in futures_util::future::join_all(runs).await {
        run.unwrap();
    }
    scene.step().await;
    let mut numbers = scene.ezyvet.invoice_numbers();
    numbers.sort();
    assert_eq!(numbers, (1..=12).map(|n| format!("INV-{n:06}")).collect::<Vec<_>>());
    assert_eq!(scene.ezyvet.world().supplied.len(), 24);
    assert_eq!(scene.ezyvet.world().tokens, 1);
}

#[tokio::test]
async fn a_running_worker_sends_a_new_shipment_at_once_and_releases_its_sites_on_shutdown() {
    if is_skipped_without_sessions() {
        return;
    }
    // The poll is too rare: only the notification wakes the worker in time.
    let scene = Scene::open_at(&["--worker-poll", "30s"], Clock::System).await;
    let (trigger, shutdown) = shutdown::channel();
    let worker = scene.worker.clone();
    let running = tokio::spawn(async move { worker.run(shutdown).await });
    // The first shipment proves that the worker runs; the second is timed.
    for expected in 1..=2 {
        let shipped_at = scene.clock.now();
        scene.shipped().await;
        while scene.ezyvet.world().supplied.len() < expected * 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
            assert!(scene.clock.now() - shipped_at < Duration::from_secs(if expected == 1 { 20 } else { 3 }));
        }
    }
    trigger.pull();
    running.await.unwrap();
    let free = "select lease_until is null from site_lease";
    assert!(sqlx::query_scalar::<_, bool>(free).fetch_one(scene.pool()).await.unwrap());
}

#[tokio::test]
async fn outstanding_goods_leave_once_even_if_two_ship_at_the_same_time() {
    let scene = Scene::open().await;
    let order = scene.order(1).await;
    let (one, other) = tokio::join!(scene.ship(&order, &[("1", 6)]), scene.ship(&order, &[("1", 6)]));
    let refused = [&one, &other].into_iter().filter(|result| matches!(result, Err(ShipError::Invalid(_)))).count();
    assert_eq!(refused, 1);
    assert_eq!(scene.ship(&order, &[("1", 4)]).await.unwrap().invoice_number, "INV-000002");
    assert!(matches!(scene.ship(&order, &[("9", 1)]).await, Err(ShipError::Invalid(_))));
}

#[tokio::test]
async fn deliveries_of_a_clinic_without_a_site_wait_for_staff() {
    let scene = Scene::open().await;
    let order = scene.order(2).await;
    scene.ship(&order, &[]).await.unwrap();
    assert!(scene.deliveries().await.iter().all(|delivery| delivery.state == "attention"));
    assert!(matches!(scene.retry(0, false).await, Err(StaffError::NoSite(2))));
    sqlx::raw_sql("update clinic set site_id = 1 where id = 2").execute(scene.pool()).await.unwrap();
    for index in 0..3 {
        scene.retry(index, false).await.ok();
        scene.step().await;
    }
    assert_eq!(scene.states().await, SENT);
}

#[tokio::test]
async fn staff_commands_use_the_stored_token_and_attempts_show_no_secret() {
    let scene = Scene::open().await;
    scene.shipped().await;
    scene.step().await;
    let check = scene.worker.test_site(spsi_partner::ids::SiteId(1)).await.unwrap();
    assert!(check.ok && check.checks.len() == 3, "{check:?}");
    assert_eq!(scene.worker.separations(spsi_partner::ids::SiteId(1)).await.unwrap().len(), 3);
    assert_eq!(scene.ezyvet.world().tokens, 1);
    let first = scene.deliveries().await[0].id;
    let detail = scene.shown(first).await;
    let text = serde_json::to_string(&detail).unwrap();
    assert!(text.contains("$EZYVET_TOKEN") && !text.contains("token-1") && !text.contains("s3cret"), "{text}");
    assert_eq!(detail.history.len(), 1);
}

#[tokio::test]
async fn attempts_are_deleted_after_a_time_if_their_delivery_is_done() {
    let scene = Scene::open_with(&["--attempts-kept-for", "30d", "--receipt-give-up", "1h"]).await;
    let refused = Fault::Answer(422, r#"{"messages":["No."]}"#, vec![]);
    scene.shipped().await;
    scene.step().await;
    scene.ezyvet.break_next("jobqueue", [refused]);
    scene.shipped().await;
    for _ in 0..8 {
        scene.step_after(30 * MINUTE).await;
    }
    let attempts = async || {
        let mut counts = Vec::new();
        for delivery in scene.deliveries().await {
            counts.push(scene.shown(delivery.id).await.history.len());
        }
        counts
    };
    let before = attempts().await;
    scene.worker.prune().await;
    assert_eq!(attempts().await, before);
    scene.clock.advance(31 * 24 * 60 * MINUTE);
    scene.worker.prune().await;
    // The refused invoice waits for staff and keeps its history.
    assert_eq!(attempts().await, [0, 0, 0, 1, 0, 0]);
    assert_eq!(scene.states().await[3], "receive_invoice attention");
    scene.retry(3, false).await.unwrap();
    scene.step().await;
    assert_eq!(scene.states().await[3..], SENT);
}

//! `/staff/v1/deliveries` and `/staff/v1/invoices`: what accounts do with invoices on their way to ezyVet.

use crate::support::ezyvet::{Ezyvet, Fault};
use crate::support::order::documented;
use crate::support::staff::Staff;
use crate::support::supplier::{Clinic, Supplier};
use crate::support::until;
use serde_json::{Value, json};
use std::time::Duration;

/// A supplier with a scripted ezyVet, and a clinic that the site belongs to.
struct Scene {
    supplier: Supplier,
    ezyvet: Ezyvet,
    clinic: Clinic,
}

impl Scene {
    fn open() -> Self {
        let settings = [("SPSI_UNCLEAR", "hold"), ("SPSI_RECEIPT_POLL", "1h"), ("SPSI_CALL_TIMEOUT", "1s")];
        let (supplier, ezyvet) = (Supplier::start(&settings), Ezyvet::start());
        ezyvet.world().inventory.push(("product_c", "CODE-50002"));
        let add =
            ["site", "add", "--name", "harbour", "--base-url", &ezyvet.url, "--partner-id", "p", "--client-id", "c"];
        let add =
            supplier.spsi(add.into_iter().chain(["--site-uid", "u"])).env("SPSI_SITE_CLIENT_SECRET", "s3cret").run();
        assert_eq!(add.code, Some(0), "{}{}", add.stdout, add.stderr);
        let clinic = supplier.clinic_with(&["site=harbour"]);
        Self { supplier, ezyvet, clinic }
    }

    /// Orders and ships. Returns the shipment.
    fn ship(&self, id: &str) -> Value {
        ship(&self.supplier, &self.clinic, id)
    }
}

fn ship(supplier: &Supplier, clinic: &Clinic, id: &str) -> Value {
    let answer = supplier.order(clinic, &documented(id)).expect(200);
    let number = answer["purchaseorder"]["supplier_order_number"].as_str().expect("a number").to_owned();
    supplier.run(["shipment", "create", &number])
}

/// Waits until the delivery of an invoice is in a state, and returns the delivery.
#[track_caller]
fn becomes(staff: &Staff<'_>, invoice: &str, state: &str) -> Value {
    until(&format!("{invoice} is {state}"), Duration::from_secs(20), || {
        let delivery = staff.get(&format!("/deliveries/{invoice}")).expect(200);
        (delivery["state"] == state).then_some(delivery)
    })
}

fn invoice_number(shipment: &Value) -> &str {
    shipment["invoice_number"].as_str().expect("a number")
}

#[test]
fn a_refused_invoice_is_shown_with_its_attempts_and_sent_again() {
    let scene = Scene::open();
    let accounts = scene.supplier.staff("billing");
    scene.ezyvet.break_next("jobqueue", [Fault::Answer(422, r#"{"messages":["Unknown supplier."]}"#, vec![])]);
    let shipment = scene.ship("1");
    let invoice = invoice_number(&shipment);
    let refused = becomes(&accounts, invoice, "attention");
    assert!(refused["last_error"].as_str().is_some_and(|text| text.contains("Unknown supplier.")), "{refused}");
    let attempt = &refused["history"][0];
    assert_eq!((&attempt["purpose"], &attempt["status"]), (&json!("send"), &json!(422)));
    assert_eq!(refused["payload"]["invoice_number"], invoice);
    assert_eq!(refused, scene.supplier.run(["delivery", "show", &refused["id"].to_string()]), "as on the command line");

    let path = format!("/deliveries/{}", refused["id"]);
    let tag = accounts.get(&path).header("etag").expect("a tag").to_owned();
    let retry =
        |tag: &str| accounts.request("POST", &format!("{path}/retry")).header("if-match", tag).json(&json!({})).send();
    retry("\"attention-7\"").refused(412);
    assert_eq!(retry(&tag).expect(200)["state"], "waiting");
    let delivered = becomes(&accounts, invoice, "delivered");
    assert_eq!(scene.ezyvet.invoice_numbers(), [invoice]);
    retry(&tag).refused(412);
    for verb in ["retry", "cancel"] {
        let (detail, _) = accounts.post(&format!("{path}/{verb}"), &json!({})).refused(409);
        assert!(detail.contains("is delivered") && !detail.contains("spsi "), "{detail}");
    }
    let audit = scene.supplier.run(["audit", "list"]);
    let entry = audit.as_array().expect("entries").iter().find(|entry| entry["action"] == "delivery.retry");
    assert_eq!(entry.expect("an entry")["actor"], format!("key:{}", accounts.name));

    let shown = accounts.get(&format!("/invoices/{invoice}")).expect(200);
    assert_eq!((&shown["state"], &shown["delivery"]), (&json!("delivered"), &delivered["id"]));
    assert_eq!((&shown["payload"], &shown["differences"]), (&delivered["payload"], &json!([])));
    assert_eq!(shown["deliveries"].as_array().map(Vec::len), Some(2), "the invoice and its stock movement");
}

#[test]
fn deliveries_and_invoices_are_found_by_every_filter() {
    let supplier = Supplier::start(&[]);
    let (clinic, other) = (supplier.clinic(), supplier.clinic());
    let viewer = supplier.staff("viewer");
    let shipments = [ship(&supplier, &clinic, "1"), ship(&supplier, &clinic, "2"), ship(&supplier, &other, "3")];
    let count = |path: &str| viewer.get(path).expect(200)["data"].as_array().expect("data").len();
    let (order, invoice) = (shipments[0]["order"].as_str().expect("a number"), invoice_number(&shipments[1]));
    // A clinic without a site: every delivery waits for staff.
    for (query, deliveries, invoices) in [
        (String::new(), 6, 3),
        ("state=attention".into(), 6, 3),
        ("state=delivered".into(), 0, 0),
        (format!("clinic={}", clinic.client_id), 4, 2),
        (format!("order={order}"), 2, 1),
        (format!("shipment={}", shipments[2]["id"]), 2, 1),
        ("stale=true".into(), 0, 0),
        ("differing=true".into(), 0, 0),
        ("stale=false&limit=2".into(), 2, 2),
    ] {
        assert_eq!(count(&format!("/deliveries?{query}")), deliveries, "{query}");
        assert_eq!(count(&format!("/invoices?{query}")), invoices, "{query}");
    }
    for (query, deliveries) in [
        ("state=attention,unclear".to_owned(), 6),
        ("kind=supplied".into(), 3),
        (format!("invoice_number={invoice}"), 2),
        ("site=nowhere".into(), 0),
    ] {
        assert_eq!(count(&format!("/deliveries?{query}")), deliveries, "{query}");
    }
    let counts = viewer.get("/deliveries/counts?kind=supplied").expect(200);
    assert_eq!(counts["data"], supplier.run(["delivery", "list", "--counts", "--kind", "supplied"]));
    assert_eq!(counts["data"][0]["count"], 3);
    for (query, field) in
        [("state=lost", "state"), ("kind=x", "kind"), ("shipment=x", "shipment"), ("stale=1", "stale")]
    {
        assert_eq!(viewer.get(&format!("/deliveries?{query}")).refused(400).1, [field], "{query}");
    }
    for path in ["/deliveries/INV-NONE", "/deliveries/99999999", "/invoices/INV-NONE"] {
        let (detail, _) = viewer.get(path).refused(404);
        assert!(!detail.contains("spsi "), "{detail}");
    }
    let walked = |path: &str| {
        let first = viewer.get(path).expect(200);
        let next =
            viewer.get(&format!("{path}&cursor={}", first["next_cursor"].as_str().expect("a cursor"))).expect(200);
        [first, next].map(|page| page["data"][0]["id"].as_i64().expect("an id"))
    };
    for path in ["/deliveries?limit=1", "/invoices?limit=1"] {
        let [first, next] = walked(path);
        assert_eq!(first - next, 1, "{path}");
    }
}

#[test]
fn a_delivery_is_cancelled_once() {
    let supplier = Supplier::shared();
    let (clinic, accounts) = (supplier.clinic(), supplier.staff("billing"));
    let shipment = ship(&supplier, &clinic, "1");
    let path = format!("/deliveries/{}", invoice_number(&shipment));
    let (detail, _) = accounts.post(&format!("{path}/retry"), &json!({})).refused(409);
    assert!(detail.contains("no ezyVet site") && !detail.contains("spsi "), "{detail}");
    assert_eq!(accounts.post(&format!("{path}/cancel"), &json!({})).expect(200)["state"], "cancelled");
    let (detail, _) = accounts.post(&format!("{path}/cancel"), &json!({})).refused(409);
    assert!(detail.contains("is cancelled"), "{detail}");
    accounts.post("/deliveries/99999999/cancel", &json!({})).refused(404);
    accounts.post("/deliveries/99999999/retry", &json!({"yes_resend": true})).refused(404);
    assert_eq!(accounts.post(&format!("{path}/retry"), &json!({"yes_resend": "no"})).refused(422).1, ["yes_resend"]);
    for role in ["viewer", "orders", "warehouse"] {
        let (detail, _) = supplier.staff(role).post(&format!("{path}/retry"), &json!({})).refused(403);
        assert!(detail.contains("`billing`"), "{detail}");
    }
}

#[test]
fn deliveries_are_retried_by_a_filter_and_those_left_are_listed() {
    let scene = Scene::open();
    let accounts = scene.supplier.staff("billing");
    let refused = Fault::Answer(422, r#"{"messages":["No."]}"#, vec![]);
    scene.ezyvet.break_next("jobqueue", [refused.clone(), refused]);
    let (first, second) = (scene.ship("1"), scene.ship("2"));
    let invoices = [invoice_number(&first), invoice_number(&second)];
    invoices.iter().for_each(|invoice| drop(becomes(&accounts, invoice, "attention")));
    assert_eq!(accounts.post("/deliveries/retry", &json!({})).refused(422).1, ["(body)"]);
    let filter = json!({"states": ["attention", "waiting", "delivered"], "site": "harbour"});
    let bulk = accounts.post("/deliveries/retry", &filter).expect(200);
    assert_eq!((bulk["retried"].as_array().map(Vec::len), bulk["left"].as_array().map(Vec::len)), (Some(2), Some(2)));
    let reason = bulk["left"][0]["reason"].as_str().expect("a reason");
    assert!(reason.contains("waits for delivery") && bulk["left"][0]["id"].is_i64(), "{bulk}");
    invoices.iter().for_each(|invoice| drop(becomes(&accounts, invoice, "delivered")));
    assert_eq!(accounts.post("/deliveries/retry", &json!({"states": ["lost"], "x": 1})).refused(422).1.len(), 2);
}

#[test]
fn an_invoice_is_reissued_under_a_new_number_after_a_look() {
    let scene = Scene::open();
    let accounts = scene.supplier.staff("billing");
    scene.ezyvet.break_next("jobqueue", [Fault::Answer(422, r#"{"messages":["No."]}"#, vec![])]);
    let shipment = scene.ship("1");
    let old = invoice_number(&shipment).to_owned();
    becomes(&accounts, &old, "attention");
    let path = format!("/invoices/{old}/reissue");
    let (detail, _) = accounts.post(&path, &json!({})).refused(409);
    assert!(detail.contains("is attention") && detail.contains("yes_resend") && !detail.contains("--"), "{detail}");
    let tag = accounts.get(&format!("/invoices/{old}")).header("etag").expect("a tag").to_owned();
    let reissue = |tag: &str| {
        let request = accounts.request("POST", &path).header("if-match", tag).header("idempotency-key", "r1");
        request.json(&json!({"yes_resend": true})).send()
    };
    reissue("\"attention-9\"").refused(412);
    let send = || reissue(&tag);
    let new = send().expect(200);
    assert_eq!((send().expect(200), &new["part"]), (new.clone(), &json!(2)), "once under its key");
    let number = new["invoice_number"].as_str().expect("a number");
    assert!(number != old && new["payload"]["invoice_number"] == number, "{new}");
    becomes(&accounts, number, "delivered");
    assert_eq!(scene.ezyvet.invoice_numbers(), [number]);
    assert_eq!(accounts.get(&format!("/invoices/{old}")).expect(200)["state"], "cancelled");
    let (detail, _) = accounts.post(&path, &json!({"yes_resend": true})).refused(409);
    assert!(detail.contains("is cancelled"), "{detail}");
    accounts.post("/invoices/INV-NONE/reissue", &json!({})).refused(404);
}

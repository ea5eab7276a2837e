//! Decisions by the supplier's system: orders that wait for its answer, and the order hook.

mod hook;
mod hook_server;

use crate::support::order::{documented, with};
use crate::support::supplier::{Clinic, Options, Supplier};
use crate::support::until;
use serde_json::{Value, json};
use std::time::Duration;

/// Longer than a deadline and a poll of the worker together.
const SOON: Duration = Duration::from_secs(20);

fn number(answer: &Value) -> String {
    answer["purchaseorder"]["supplier_order_number"].as_str().expect("a number").to_owned()
}

fn place(supplier: &Supplier, clinic: &Clinic, id: &str) -> String {
    number(&supplier.order(clinic, &documented(id)).expect(200))
}

fn show(supplier: &Supplier, number: &str) -> Value {
    supplier.run(["order", "show", number])
}

/// The findings of an order as `rule action`, without the notes that every documented order gets.
fn findings(order: &Value) -> Vec<String> {
    let findings = order["findings"].as_array().expect("findings").iter();
    let findings = findings.filter(|finding| finding["rule"] != "rule_ship_to_unmapped");
    findings.map(|it| format!("{} {}", it["rule"].as_str().unwrap(), it["action"].as_str().unwrap())).collect()
}

fn actions(order: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let entries = order["audit"].as_array().expect("a list").iter();
    entries.map(|entry| (text(&entry["action"]), text(&entry["actor"]))).collect()
}

fn asked(supplier: &Supplier) -> Vec<String> {
    let orders = supplier.run(["order", "list", "--asked"]);
    let numbers = orders.as_array().expect("a list").iter().map(|order| order["supplier_order_number"].clone());
    numbers.map(|number| number.as_str().expect("a number").to_owned()).collect()
}

#[test]
fn an_order_that_is_asked_about_is_held_until_somebody_decides() {
    let supplier = Supplier::start(&[("SPSI_RULE_ASK", "ask")]);
    let clinic = supplier.clinic();
    let [first, second, third] = ["1", "2", "3"].map(|id| place(&supplier, &clinic, id));
    let order = show(&supplier, &first);
    assert_eq!((&order["state"], &order["decide_default"]), (&json!("held"), &json!("hold")));
    assert_eq!(findings(&order), ["rule_ask ask"]);
    let time = |field: &str| {
        let text = order[field].as_str().expect("a time");
        time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).expect("RFC 3339")
    };
    assert_eq!(time("decide_by") - time("received_at"), time::Duration::hours(4));
    assert_eq!(asked(&supplier), [third.clone(), second.clone(), first.clone()]);

    supplier.run(["order", "accept", &first]);
    supplier.run(["order", "decline", &second, "--reason", "no credit left"]);
    supplier.run(["order", "cancel", &third, "--reason", "closed"]);
    assert_eq!(asked(&supplier), [""; 0]);
    for (number, state) in [(first, "accepted"), (second, "declined"), (third, "cancelled")] {
        let order = show(&supplier, &number);
        assert_eq!((&order["state"], &order["decide_by"]), (&json!(state), &Value::Null));
    }
    let declined = supplier.order(&clinic, &documented("2")).expect(422);
    assert_eq!(declined["messages"][0]["text"], json!("no credit left"));
}

#[test]
fn orders_that_another_rule_holds_or_declines_are_not_asked_about() {
    let supplier = Supplier::start(&[("SPSI_RULE_ASK", "ask"), ("SPSI_RULE_REPEATED_NUMBER", "hold")]);
    let clinic = supplier.clinic();
    supplier.order(&clinic, &with("1", "/purchase_order_item_list/0/supplier_code", json!("NOPE"))).expect(422);
    place(&supplier, &clinic, "2");
    let repeated = with("3", "/purchase_order_number", json!("15002"));
    let held = number(&supplier.order(&clinic, &repeated).expect(200));
    let order = show(&supplier, &held);
    assert_eq!((&order["state"], &order["decide_by"]), (&json!("held"), &Value::Null));
    assert_eq!(findings(&order), ["rule_repeated_number hold"]);
    assert_eq!(asked(&supplier).len(), 1);
    let other = supplier.clinic_with(&["rule_ask=off"]);
    assert_eq!(show(&supplier, &place(&supplier, &other, "1"))["state"], json!("accepted"));
}

#[test]
fn a_return_is_asked_about_like_any_order() {
    let supplier = Supplier::start(&[("SPSI_RULE_ASK", "ask"), ("SPSI_RULE_RETURN", "note")]);
    let clinic = supplier.clinic();
    let mut order = documented("1");
    let line = &mut order["purchaseorder"]["purchase_order_item_list"][0];
    for (field, value) in [("outers", "-1"), ("quantity", "-1"), ("total", "-4"), ("total_tax", "-0.4")] {
        line[field] = json!(value);
    }
    (order["purchaseorder"]["tax"], order["purchaseorder"]["total"]) = (json!("-0.4"), json!("-4.4"));
    let number = number(&supplier.order(&clinic, &order).expect(200));
    assert_eq!(findings(&show(&supplier, &number)), ["rule_return note", "rule_ask ask"]);
    assert_eq!(asked(&supplier), [number]);
}

#[test]
fn a_revision_is_asked_about_again_with_a_new_deadline() {
    let supplier = Supplier::start(&[("SPSI_RULE_ASK", "ask")]);
    let clinic = supplier.clinic();
    let number = place(&supplier, &clinic, "1");
    let first = show(&supplier, &number)["decide_by"].clone();
    assert_eq!(place(&supplier, &clinic, "1"), number, "the same content changes nothing");
    assert_eq!(show(&supplier, &number)["decide_by"], first);
    supplier.order(&clinic, &with("1", "/comments", json!("urgent"))).expect(200);
    let second = show(&supplier, &number)["decide_by"].clone();
    assert!(second.as_str() > first.as_str(), "{second} {first}");
    supplier.run(["order", "accept", &number]);
    supplier.order(&clinic, &with("1", "/comments", json!("very urgent"))).expect(200);
    let order = show(&supplier, &number);
    assert_eq!((&order["state"], &order["revision"]), (&json!("held"), &json!(3)));
    assert_eq!(asked(&supplier), [number]);
}

#[test]
fn without_a_decision_in_time_the_default_follows() {
    let supplier =
        Supplier::start(&[("SPSI_RULE_ASK", "ask"), ("SPSI_ASK_WITHIN", "1s"), ("SPSI_WORKER_POLL", "100ms")]);
    for (default, state, action) in [
        ("hold", "held", "order.hold"),
        ("accept", "accepted", "order.accept"),
        ("decline", "declined", "order.decline"),
    ] {
        let clinic = supplier.clinic_with(&[&format!("ask_default={default}")]);
        let number = place(&supplier, &clinic, "1");
        let order =
            until("the default", SOON, || Some(show(&supplier, &number)).filter(|order| order["decide_by"].is_null()));
        assert_eq!(order["state"], json!(state));
        let entries = actions(&order);
        assert_eq!(entries.len(), 2, "{entries:?}");
        assert_eq!(entries[1], (action.to_owned(), "spsi".to_owned()));
        if default == "decline" {
            let declined = supplier.order(&clinic, &documented("1")).expect(422);
            assert_eq!(declined["messages"][0]["text"], json!("The supplier did not confirm the order in time"));
        }
        // What was held is now left to staff.
        if default == "hold" {
            supplier.run(["order", "accept", &number]);
        }
    }
    assert_eq!(asked(&supplier), [""; 0]);
}

#[test]
fn several_workers_apply_each_default_once_though_one_is_killed() {
    let settings = [
        ("SPSI_RULE_ASK", "ask"),
        ("SPSI_ASK_WITHIN", "2s"),
        ("SPSI_ASK_DEFAULT", "accept"),
        ("SPSI_WORKER_POLL", "50ms"),
    ];
    let supplier = Supplier::start(&settings);
    let again = || Supplier::on(supplier.database.clone(), Options { settings: &settings, ..Options::default() });
    let (second, third) = (again(), again());
    let clinic = supplier.clinic();
    let numbers: Vec<String> = (0..60).map(|id| place(&supplier, &clinic, &id.to_string())).collect();
    let accepted = || {
        let orders = supplier.run(["order", "list", "--state", "accepted"]);
        orders.as_array().map_or(0, Vec::len)
    };
    until("a first default", SOON, || (accepted() > 0).then_some(()));
    // Dropping a server sends SIGKILL.
    drop(second);
    until("every default", SOON, || (accepted() == numbers.len()).then_some(()));
    drop(third);
    for number in &numbers {
        let entries = actions(&show(&supplier, number));
        assert_eq!(entries.iter().filter(|(action, _)| action == "order.accept").count(), 1, "{entries:?}");
    }
}

#[test]
fn the_suppliers_system_finds_the_orders_and_decides_by_the_api() {
    let supplier = Supplier::start(&[("SPSI_RULE_ASK", "ask")]);
    let clinic = supplier.clinic();
    let added = supplier.run(["key", "add", "--role", "orders", "--name", "erp"]);
    let key = added["key"].as_str().expect("a key");
    let [first, second] = ["1", "2"].map(|id| place(&supplier, &clinic, id));
    let waiting = || {
        let page = supplier.request("GET", "/staff/v1/orders?asked=true").bearer(key).send().expect(200);
        page["data"].as_array().expect("a list").clone()
    };
    let orders = waiting();
    assert_eq!(orders.len(), 2);
    assert!(
        orders.iter().all(|order| order["decide_by"].is_string() && order["decide_default"] == "hold"),
        "{orders:?}"
    );
    let post = |path: &str, body: Value| {
        supplier.request("POST", format!("/staff/v1/orders/{path}")).bearer(key).json(&body).send().expect(200)
    };
    assert_eq!(post(&format!("{first}/accept"), json!({}))["state"], json!("accepted"));
    assert_eq!(post(&format!("{second}/decline"), json!({"reason": "no credit left"}))["state"], json!("declined"));
    assert_eq!(waiting(), [Value::Null; 0]);
    assert_eq!(actions(&show(&supplier, &first))[1], ("order.accept".to_owned(), "key:erp".to_owned()));
    let events = supplier.request("GET", "/staff/v1/events").bearer(key).send().expect(200);
    let kinds: Vec<&Value> = events["data"].as_array().expect("a list").iter().map(|event| &event["type"]).collect();
    for kind in ["order.held", "order.accepted", "order.declined"] {
        assert!(kinds.contains(&&json!(kind)), "{kind}: {kinds:?}");
    }
}

//! Events and webhooks as a supplier's own systems see them: a real server, a real receiver.

mod addresses;
mod crash;
mod http;
mod log;
mod receiver;

use crate::support::order::documented;
use crate::support::supplier::{Clinic, Supplier};
use crate::support::until;
use receiver::{Answer, Received, Receiver};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);
/// Retries within a test's patience.
const FAST: [(&str, &str); 2] = [("SPSI_WEBHOOK_ALLOW_PRIVATE", "true"), ("SPSI_WEBHOOK_RETRIES", "200ms,200ms,200ms")];

fn supplier() -> Supplier {
    Supplier::start(&FAST)
}

fn supplier_with(setting: (&str, &str)) -> Supplier {
    Supplier::start(&[FAST[0], FAST[1], setting])
}

/// Adds a webhook. Returns its id and its secret.
fn add(supplier: &Supplier, receiver: &Receiver, options: &[&str]) -> (String, String) {
    let added = supplier.run(["webhook", "add", "--url", &receiver.url].into_iter().chain(options.iter().copied()));
    assert_eq!((added["state"].as_str(), added["url"].as_str()), (Some("active"), Some(receiver.url.as_str())));
    (added["id"].to_string(), added["secret"].as_str().expect("a secret").to_owned())
}

/// Places an order. Returns the supplier's number.
fn place(supplier: &Supplier, clinic: &Clinic, id: &str) -> String {
    let answer = supplier.order(clinic, &documented(id)).expect(200);
    answer["purchaseorder"]["supplier_order_number"].as_str().expect("a number").to_owned()
}

fn wait_for(receiver: &Receiver, what: &str, is_there: impl Fn(&[Received]) -> bool) -> Vec<Received> {
    until(what, SOON, || Some(receiver.received()).filter(|received| is_there(received)))
}

fn webhook(supplier: &Supplier, id: &str) -> Value {
    supplier.run(["webhook", "show", id])
}

#[test]
fn an_order_arrives_as_a_signed_message_and_in_the_log() {
    let (supplier, receiver) = (supplier(), Receiver::start());
    let (id, secret) = add(&supplier, &receiver, &["--description", "erp"]);
    let clinic = supplier.clinic();
    let number = place(&supplier, &clinic, "1");
    let received = wait_for(&receiver, "the event", |received| !received.is_empty());
    let [message] = &received[..] else { panic!("{received:?}") };
    assert!(message.verifies(&secret), "{message:?}");
    assert!(!message.verifies("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"));
    assert_eq!(message.headers["content-type"], "application/json");
    assert_eq!((message.kind(), message.order()), ("order.accepted", number.as_str()));
    let keys: Vec<_> = message.body.as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["id", "type", "created_at", "data"]);
    assert_eq!(message.body["id"], message.id());
    let data = &message.body["data"];
    assert_eq!((data["version"].as_i64(), data["state"].as_str()), (Some(1), Some("accepted")));
    assert_eq!((data["ezyvet_id"].as_str(), data["total"].as_str()), (Some("1"), Some("4.4")));
    assert_eq!(data["clinic_id"].to_string(), clinic.id);
    // Nothing is only in a webhook.
    let listed = supplier.run(["event", "list"]);
    let listed = listed.as_array().expect("rows");
    assert!(listed.contains(&message.body), "{listed:?}");
    assert_eq!(listed[0]["type"], "catalog.imported");
    assert_eq!(supplier.run(["event", "show", message.id()]), message.body);
    let attempts = supplier.run(["webhook", "attempts", &id]);
    assert_eq!(attempts[0]["event"], message.id());
    assert_eq!((attempts[0]["status"].as_i64(), attempts[0]["response"].as_str()), (Some(200), Some("ok")));
    assert!(!webhook(&supplier, &id)["last_delivered_at"].is_null());
    let secret_is_shown = supplier.run(["webhook", "list"]).to_string().contains("whsec_");
    assert!(!secret_is_shown);
}

#[test]
fn events_of_an_order_arrive_in_order_and_one_that_fails_delays_no_other_order() {
    let (supplier, receiver) = (supplier_with(("SPSI_WEBHOOK_RETRIES", "1s,1s,1s")), Receiver::start());
    let clinic = supplier.clinic();
    add(&supplier, &receiver, &[]);
    let mut refusals = 2;
    receiver.answer(move |message| {
        let is_first = message.kind() == "order.accepted" && message.body["data"]["ezyvet_id"] == "1";
        if is_first && refusals > 0 {
            refusals -= 1;
            return Answer::Status(500);
        }
        Answer::Status(204)
    });
    let slow = place(&supplier, &clinic, "1");
    supplier.run(["order", "hold", &slow, "--reason", "stock"]);
    supplier.run(["order", "accept", &slow]);
    supplier.run(["order", "cancel", &slow, "--reason", "gone"]);
    let other = place(&supplier, &clinic, "2");
    let received = wait_for(&receiver, "every event", |received| received.len() >= 7);
    let of = |number: &str| {
        let of_order = received.iter().filter(|message| message.order() == number);
        of_order.map(|message| message.kind().to_owned()).collect::<Vec<_>>()
    };
    let accepted = ["order.accepted"; 3];
    assert_eq!(of(&slow), [&accepted[..], &["order.held", "order.accepted", "order.cancelled"]].concat());
    assert_eq!(of(&other), ["order.accepted"]);
    let place_of = |number: &str, kind: &str| {
        received.iter().position(|message| message.order() == number && message.kind() == kind)
    };
    assert!(place_of(&other, "order.accepted") < place_of(&slow, "order.held"), "the other order waited");
    let ids: BTreeSet<_> = received.iter().filter(|message| message.order() == slow).map(Received::id).collect();
    assert_eq!(ids.len(), 4, "a repeated message keeps its id");
    let reasons: Vec<_> = received.iter().map(|message| message.body["data"]["reason"].clone()).collect();
    assert!(reasons.contains(&json!("stock")) && reasons.contains(&json!("gone")), "{reasons:?}");
}

#[test]
fn after_a_rotation_the_old_secret_signs_for_the_overlap_only() {
    let (supplier, receiver) = (supplier(), Receiver::start());
    let (id, old) = add(&supplier, &receiver, &[]);
    let rotated = supplier.run(["webhook", "rotate-secret", &id, "--overlap", "1h"]);
    let new = rotated["secret"].as_str().expect("a secret").to_owned();
    supplier.run(["webhook", "test", &id]);
    let message = receiver.received().pop().expect("the test message");
    assert_eq!(message.kind(), "webhook.test");
    assert!(message.verifies(&old) && message.verifies(&new));
    let rotated = supplier.run(["webhook", "rotate-secret", &id, "--overlap", "0s"]);
    supplier.run(["webhook", "test", &id]);
    let message = receiver.received().pop().expect("the test message");
    assert!(message.verifies(rotated["secret"].as_str().expect("a secret")) && !message.verifies(&new));
}

#[test]
fn a_webhook_gets_only_the_types_and_the_clinic_that_it_wants() {
    let (supplier, receiver, all) = (supplier(), Receiver::start(), Receiver::start());
    let (one, other) = (supplier.clinic(), supplier.clinic());
    add(&supplier, &receiver, &["--events", "order.held", "--clinic", &one.client_id]);
    add(&supplier, &all, &[]);
    for clinic in [&one, &other] {
        let number = place(&supplier, clinic, "1");
        supplier.run(["order", "hold", &number, "--reason", "x"]);
    }
    wait_for(&all, "all four events", |received| received.len() == 4);
    let received = wait_for(&receiver, "one event", |received| !received.is_empty());
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].body["data"]["clinic_id"].to_string(), one.id);
    for (arguments, word) in [
        (&["--url", "https://example.com", "--events", "order.lost,x"][..], "order.lost"),
        (&["--url", "https://example.com", "--clinic", "nobody"], "nobody"),
        (&["--url", "nonsense", "--events", "x"], "nonsense\"; events"),
    ] {
        let refused = supplier.spsi(["webhook", "add"].into_iter().chain(arguments.iter().copied())).run();
        assert_eq!(refused.code, Some(1), "{}", refused.stderr);
        let _ = word;
    }
}

#[test]
fn a_message_that_is_refused_to_the_end_is_given_up_and_can_be_replayed() {
    let (supplier, receiver) = (supplier(), Receiver::start());
    let clinic = supplier.clinic();
    let (id, _) = add(&supplier, &receiver, &["--events", "order.accepted,order.held"]);
    receiver.answer(|_| Answer::Status(503));
    let number = place(&supplier, &clinic, "1");
    wait_for(&receiver, "four attempts", |received| received.len() == 4);
    until("the last attempt is stored", SOON, || {
        (supplier.run(["webhook", "attempts", &id]).as_array().expect("rows").len() == 4).then_some(())
    });
    assert_eq!(webhook(&supplier, &id)["failures"], 4);
    receiver.answer(|_| Answer::Status(200));
    // The order's next event is no longer held up.
    supplier.run(["order", "hold", &number, "--reason", "x"]);
    let received = wait_for(&receiver, "the next event", |received| received.len() == 5);
    assert_eq!(received[4].kind(), "order.held");
    let first = received[0].id().to_owned();
    supplier.run(["webhook", "replay", &id, "--event", &first]);
    let received = wait_for(&receiver, "the event again", |received| received.len() == 6);
    assert_eq!(received[5].id(), first);
    supplier.run(["webhook", "replay", &id, "--from", &first]);
    let received = wait_for(&receiver, "both again", |received| received.len() == 8);
    assert_eq!((received[6].id(), received[7].id()), (first.as_str(), received[4].id()));
    let since = received[0].body["created_at"].as_str().expect("a time");
    supplier.run(["webhook", "replay", &id, "--since", since]);
    wait_for(&receiver, "both a third time", |received| received.len() == 10);
    assert_eq!(webhook(&supplier, &id)["failures"], 0);
}

#[test]
fn a_webhook_that_fails_for_too_long_is_switched_off_and_catches_up_when_it_is_active_again() {
    let (supplier, receiver) = (supplier_with(("SPSI_WEBHOOK_DISABLE_AFTER", "100ms")), Receiver::start());
    let clinic = supplier.clinic();
    let (id, _) = add(&supplier, &receiver, &[]);
    receiver.answer(|_| Answer::Status(500));
    place(&supplier, &clinic, "1");
    let shown = until("the webhook is off", SOON, || {
        Some(webhook(&supplier, &id)).filter(|shown| shown["state"] == "disabled")
    });
    let reason = shown["disabled_reason"].as_str().expect("a reason");
    assert!(reason.contains("every call has failed since") && reason.contains("answered 500"), "{reason}");
    let audit = supplier.run(["audit", "list"]);
    let audit = audit.as_array().expect("rows").iter().find(|entry| entry["action"] == "webhook.disable");
    assert_eq!(audit.expect("an entry")["actor"], "server:webhooks");
    receiver.answer(|_| Answer::Status(200));
    let missed = place(&supplier, &clinic, "2");
    let before = receiver.received().len();
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(receiver.received().len(), before, "a webhook that is off gets nothing");
    supplier.run(["webhook", "set", &id, "state=active"]);
    let received = wait_for(&receiver, "what it missed", |received| received.len() >= before + 2);
    let orders: BTreeSet<_> = received[before..].iter().map(Received::order).collect();
    assert!(orders.len() == 2 && orders.contains(missed.as_str()), "{orders:?}");
}

#[test]
fn an_answer_of_410_switches_the_webhook_off_at_once() {
    let (supplier, receiver) = (supplier(), Receiver::start());
    let clinic = supplier.clinic();
    let (id, _) = add(&supplier, &receiver, &[]);
    receiver.answer(|_| Answer::Status(410));
    place(&supplier, &clinic, "1");
    let shown = until("the webhook is off", SOON, || {
        Some(webhook(&supplier, &id)).filter(|shown| shown["state"] == "disabled")
    });
    assert_eq!(shown["disabled_reason"], "the receiver answered 410 Gone");
    assert_eq!(receiver.received().len(), 1);
}

#[test]
fn a_paused_webhook_gets_nothing_until_it_is_active_and_a_removed_one_nothing_more() {
    let (supplier, receiver) = (supplier(), Receiver::start());
    let clinic = supplier.clinic();
    let (id, _) = add(&supplier, &receiver, &[]);
    supplier.run(["webhook", "set", &id, "state=paused", "description=night"]);
    place(&supplier, &clinic, "1");
    std::thread::sleep(Duration::from_millis(1500));
    assert!(receiver.received().is_empty());
    supplier.run(["webhook", "set", &id, "state=active"]);
    wait_for(&receiver, "the event", |received| received.len() == 1);
    let removed = supplier.run(["webhook", "remove", &id]);
    assert_eq!(removed["description"], "night");
    place(&supplier, &clinic, "2");
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(receiver.received().len(), 1);
    assert_eq!(supplier.spsi(["webhook", "show", &id]).run().code, Some(1));
}

#[test]
fn receivers_that_hang_do_not_delay_the_others() {
    let supplier = Supplier::start(&[
        FAST[0],
        ("SPSI_WEBHOOK_TIMEOUT", "5s"),
        ("SPSI_WEBHOOK_CALLS", "4"),
        ("SPSI_WEBHOOK_SLOW_CALLS", "8"),
    ]);
    let clinic = supplier.clinic();
    let hanging = Receiver::start();
    hanging.answer(|_| Answer::Hang(Duration::from_secs(30)));
    for _ in 0..6 {
        add(&supplier, &hanging, &[]);
    }
    let healthy = Receiver::start();
    add(&supplier, &healthy, &[]);
    for id in 1..=5 {
        place(&supplier, &clinic, &id.to_string());
    }
    let began = std::time::Instant::now();
    wait_for(&healthy, "five events", |received| received.len() == 5);
    // The fast class is full of calls that hang, for a second at most at a time.
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
}

#[test]
fn secrets_are_sealed_again_with_a_new_key() {
    let (supplier, receiver) = (supplier(), Receiver::start());
    let (id, secret) = add(&supplier, &receiver, &[]);
    let keys = supplier.run(["key", "rotate"]);
    let encryption = keys["SPSI_ENCRYPTION_KEYS"].as_str().expect("keys");
    let resealed = supplier.spsi(["key", "reseal", "--output", "json"]).env("SPSI_ENCRYPTION_KEYS", encryption).run();
    assert!(resealed.stdout.contains("1"), "{}{}", resealed.stdout, resealed.stderr);
    let newest = encryption.split(',').next().expect("a key");
    let sent = supplier.spsi(["webhook", "test", &id]).env("SPSI_ENCRYPTION_KEYS", newest).run();
    assert_eq!(sent.code, Some(0), "{}", sent.stderr);
    assert!(receiver.received()[0].verifies(&secret));
}

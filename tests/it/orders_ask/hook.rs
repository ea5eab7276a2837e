//! The order hook (`rule_ask=hook`).

use super::hook_server::{Behaviour, HookServer, Received};
use super::{actions, asked, findings, number, place, show};
use crate::support::order::{documented, with};
use crate::support::supplier::Supplier;
use crate::support::until;
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const KEY: &[u8] = b"a secret of thirty-two bytes....";

fn supplier(hook: &HookServer, settings: &[(&str, &str)]) -> Supplier {
    let secret = format!("whsec_{}", BASE64_STANDARD.encode(KEY));
    let own = [
        ("SPSI_RULE_ASK", "hook"),
        ("SPSI_ORDER_HOOK_URL", hook.url.as_str()),
        ("SPSI_ORDER_HOOK_SECRET", secret.as_str()),
        ("SPSI_WEBHOOK_ALLOW_PRIVATE", "true"),
        ("SPSI_ORDER_HOOK_TIMEOUT", "10s"),
    ];
    // Later settings replace earlier ones.
    Supplier::start(&own.iter().chain(settings).copied().collect::<Vec<_>>())
}

fn answer(body: Value) -> Behaviour {
    Behaviour::Answer(200, body)
}

/// Verifies a request as the libraries of Standard Webhooks do.
fn assert_signed(request: &Received) {
    let header = |name: &str| request.headers.get(name).unwrap_or_else(|| panic!("no {name}")).clone();
    let content = format!("{}.{}.{}", header("webhook-id"), header("webhook-timestamp"), request.body);
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, KEY);
    let tag = aws_lc_rs::hmac::sign(&key, content.as_bytes());
    assert_eq!(header("webhook-signature"), format!("v1,{}", BASE64_STANDARD.encode(tag.as_ref())));
    header("webhook-timestamp").parse::<i64>().expect("seconds");
}

#[test]
fn the_hook_accepts_declines_or_holds_with_its_reason() {
    let hook = HookServer::start(answer(json!({"decision": "accept", "reason": "credit is fine"})));
    let supplier = supplier(&hook, &[]);
    let clinic = supplier.clinic();
    let order = show(&supplier, &place(&supplier, &clinic, "1"));
    assert_eq!((&order["state"], findings(&order)), (&json!("accepted"), vec!["hook note".to_owned()]));
    assert!(order["audit"][0]["detail"].to_string().contains("credit is fine"));

    hook.behave(answer(
        json!({"decision": "decline", "reason": "no credit left", "lines": [{"item": "9", "reason": "sold out"}]}),
    ));
    let declined = supplier.order(&clinic, &documented("2")).expect(422);
    assert_eq!(declined["message"], json!("The order was declined: no credit left; sold out"));
    assert_eq!(
        (&declined["messages"][0]["type"], &declined["messages"][0]["text"]),
        (&json!("hook"), &json!("no credit left"))
    );
    assert_eq!(declined["messages"][1]["fields"], json!(["purchaseorder.purchase_order_item_list[0]"]));

    hook.decide("hold");
    let held = show(&supplier, &place(&supplier, &clinic, "3"));
    assert_eq!(
        (&held["state"], &held["decide_by"], findings(&held)),
        (&json!("held"), &Value::Null, vec!["hook hold".to_owned()])
    );
    hook.decide("ask");
    let waiting = place(&supplier, &clinic, "4");
    assert_eq!(findings(&show(&supplier, &waiting)), ["hook note", "rule_ask ask"]);
    assert_eq!(asked(&supplier), [waiting]);
}

#[test]
fn the_request_is_signed_and_tells_the_order() {
    let hook = HookServer::start(answer(json!({"decision": "accept"})));
    let supplier = supplier(&hook, &[]);
    let clinic = supplier.clinic();
    place(&supplier, &clinic, "77");
    let received = hook.received();
    assert_eq!(received.len(), 1);
    assert_signed(&received[0]);
    let body: Value = serde_json::from_str(&received[0].body).expect("JSON");
    assert_eq!((&body["type"], &body["id"]), (&json!("order.decide"), &json!(received[0].headers["webhook-id"])));
    let order = &body["data"];
    assert_eq!(order["clinic_id"].to_string(), clinic.id);
    assert_eq!(
        (&order["ezyvet_id"], &order["total"], &order["is_return"]),
        (&json!("77"), &json!("4.4"), &json!(false))
    );
    assert_eq!((&order["items"][0]["item"], &order["items"][0]["quantity"]), (&json!("9"), &json!("1")));
    assert_eq!(order["purchaseorder"], documented("77")["purchaseorder"]);
}

#[test]
fn a_known_order_is_not_asked_about_again_but_a_changed_one_is() {
    let hook = HookServer::start(answer(json!({"decision": "decline", "reason": "no"})));
    let supplier = supplier(&hook, &[]);
    let clinic = supplier.clinic();
    let first = supplier.order(&clinic, &documented("1"));
    hook.decide("accept");
    let again = supplier.order(&clinic, &documented("1"));
    assert_eq!((again.status, again.text()), (422, first.text()), "the first answer");
    assert_eq!(hook.received().len(), 1);
    let changed = with("1", "/comments", json!("with credit"));
    let number = number(&supplier.order(&clinic, &changed).expect(200));
    assert_eq!(hook.received().len(), 2);
    let order = show(&supplier, &number);
    assert_eq!((&order["state"], &order["revision"]), (&json!("accepted"), &json!(2)));
    supplier.order(&clinic, &changed).expect(200);
    assert_eq!(hook.received().len(), 2);
    // The rules decide about this one.
    supplier.order(&clinic, &with("2", "/purchase_order_item_list/0/supplier_code", json!("NOPE"))).expect(422);
    assert_eq!(hook.received().len(), 2);
}

#[test]
fn copies_that_arrive_together_are_asked_about_once() {
    let hook = HookServer::start(Behaviour::Late(Duration::from_millis(500), json!({"decision": "accept"})));
    let supplier = supplier(&hook, &[]);
    let clinic = supplier.clinic();
    let answers: Vec<String> = std::thread::scope(|scope| {
        let copies: Vec<_> = (0..6).map(|_| scope.spawn(|| place(&supplier, &clinic, "1"))).collect();
        copies.into_iter().map(|copy| copy.join().expect("an answer")).collect()
    });
    assert!(answers.iter().all(|number| *number == answers[0]), "{answers:?}");
    assert_eq!(hook.received().len(), 1);
}

#[test]
fn each_default_applies_when_the_hook_hangs_and_ezyvet_gets_its_answer_in_time() {
    for (default, status, state, waits) in [
        ("ask", 200, "held", true),
        ("accept", 200, "accepted", false),
        ("hold", 200, "held", false),
        ("decline", 422, "declined", false),
    ] {
        let hook = HookServer::start(Behaviour::Hang);
        let supplier = supplier(&hook, &[("SPSI_ORDER_HOOK_TIMEOUT", "300ms"), ("SPSI_ORDER_HOOK_DEFAULT", default)]);
        let clinic = supplier.clinic();
        let began = Instant::now();
        supplier.order(&clinic, &documented("1")).expect(status);
        let waited = began.elapsed();
        assert!(waited >= Duration::from_millis(300) && waited < Duration::from_secs(8), "{waited:?}");
        let order = supplier.run(["order", "list"])[0].clone();
        assert_eq!((&order["state"], order["decide_by"].is_null()), (&json!(state), !waits));
        assert!(order["findings"].to_string().contains("no answer within the deadline"), "{order}");
    }
}

#[test]
fn nonsense_and_errors_are_no_answer() {
    let hook = HookServer::start(answer(json!("yes")));
    let supplier = supplier(&hook, &[("SPSI_ORDER_HOOK_DEFAULT", "hold"), ("SPSI_ORDER_HOOK_FAILURES", "100")]);
    let clinic = supplier.clinic();
    let behaviours = [
        answer(json!("yes")),
        answer(json!({"decision": "perhaps"})),
        Behaviour::Answer(500, json!({"decision": "accept"})),
        Behaviour::Answer(302, json!({"decision": "accept"})),
        answer(json!({"decision": "accept", "reason": "x".repeat(70_000)})),
        answer(json!({"decision": "decline", "lines": [{"item": "404", "reason": "x"}]})),
    ];
    for (id, behaviour) in behaviours.into_iter().enumerate() {
        hook.behave(behaviour.clone());
        let order = show(&supplier, &place(&supplier, &clinic, &id.to_string()));
        assert_eq!(order["state"], json!("held"), "{behaviour:?}");
    }
}

#[test]
fn an_open_breaker_spares_orders_the_wait_and_a_probe_closes_it() {
    let hook = HookServer::start(Behaviour::Hang);
    let settings = [
        ("SPSI_ORDER_HOOK_TIMEOUT", "200ms"),
        ("SPSI_ORDER_HOOK_FAILURES", "2"),
        ("SPSI_ORDER_HOOK_PAUSE", "3s"),
        ("SPSI_ORDER_HOOK_DEFAULT", "hold"),
    ];
    let supplier = supplier(&hook, &settings);
    let clinic = supplier.clinic();
    place(&supplier, &clinic, "1");
    place(&supplier, &clinic, "2");
    let opened = Instant::now();
    let third = place(&supplier, &clinic, "3");
    assert_eq!(hook.received().len(), 2, "not asked");
    assert!(show(&supplier, &third)["findings"].to_string().contains("the circuit breaker is open"));
    hook.decide("accept");
    let mut id = 3;
    until("the breaker closes", Duration::from_secs(20), || {
        id += 1;
        let order = show(&supplier, &place(&supplier, &clinic, &id.to_string()));
        (order["state"] == "accepted").then_some(())
    });
    assert!(opened.elapsed() >= Duration::from_secs(2), "before the pause was over");
    assert_eq!(hook.received().len(), 3, "one probe");
    let order = show(&supplier, &place(&supplier, &clinic, "last"));
    assert_eq!(order["state"], json!("accepted"));
}

#[test]
fn an_order_whose_sender_has_gone_is_stored_and_its_repetition_gets_the_first_answer() {
    let hook =
        HookServer::start(Behaviour::Late(Duration::from_secs(1), json!({"decision": "decline", "reason": "late"})));
    let supplier = supplier(&hook, &[]);
    let clinic = supplier.clinic();
    let body = documented("1").to_string();
    let head = format!(
        "POST /purchaseorder HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        clinic.token,
        body.len()
    );
    let address = supplier.url().trim_start_matches("http://").to_owned();
    let mut gone = std::net::TcpStream::connect(address).expect("connected");
    std::io::Write::write_all(&mut gone, format!("{head}{body}").as_bytes()).expect("sent");
    until("the hook is asked", Duration::from_secs(10), || (hook.received().len() == 1).then_some(()));
    drop(gone);
    let order = until("it is stored", Duration::from_secs(10), || {
        supplier.run(["order", "list"]).as_array().expect("a list").first().cloned()
    });
    assert_eq!(order["state"], json!("declined"));
    hook.decide("accept");
    let declined = supplier.order(&clinic, &documented("1")).expect(422);
    assert_eq!(declined["messages"][0]["text"], json!("late"));
    assert_eq!(hook.received().len(), 1);
    let number = order["supplier_order_number"].as_str().expect("a number");
    assert_eq!(actions(&show(&supplier, number)).len(), 1);
}

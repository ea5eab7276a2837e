//! `/staff/v1/events` and `/staff/v1/webhooks`.

use super::receiver::Receiver;
use super::{place, supplier, wait_for};
use crate::support::client::{Request, Response};
use crate::support::supplier::Supplier;
use serde_json::{Value, json};

struct Api<'a> {
    supplier: &'a Supplier,
    key: String,
}

impl<'a> Api<'a> {
    fn of(supplier: &'a Supplier, role: &str) -> Self {
        let added = supplier.run(["key", "add", "--role", role, "--name", role]);
        Self { supplier, key: added["key"].as_str().expect("a key").to_owned() }
    }

    fn request(&self, method: &str, path: &str) -> Request {
        self.supplier.request(method, format!("/staff/v1{path}")).bearer(&self.key)
    }

    fn get(&self, path: &str) -> Response {
        self.request("GET", path).send()
    }

    fn post(&self, path: &str, body: &Value) -> Response {
        self.request("POST", path).json(body).send()
    }
}

#[test]
fn events_are_pulled_in_pages_without_a_gap() {
    let supplier = supplier();
    let (api, clinic) = (Api::of(&supplier, "viewer"), supplier.clinic());
    for id in 1..=5 {
        place(&supplier, &clinic, &id.to_string());
    }
    let all = api.get("/events").expect(200);
    let all = all["data"].as_array().expect("rows");
    assert_eq!((all.len(), all[0]["type"].as_str()), (6, Some("catalog.imported")));
    assert!(all[1..].iter().all(|event| event["type"] == "order.accepted"), "{all:?}");
    let (mut pulled, mut path) = (Vec::new(), "/events?limit=2".to_owned());
    loop {
        let page = api.get(&path).expect(200);
        pulled.extend(page["data"].as_array().expect("rows").clone());
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/events?limit=2&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(&pulled, all);
    let last = all[5]["id"].as_str().expect("an id");
    assert_eq!(api.get(&format!("/events?after={last}")).expect(200), json!({"data": [], "next_cursor": null}));
    place(&supplier, &clinic, "6");
    let new = api.get(&format!("/events?after={last}&type=order.accepted,order.held")).expect(200);
    assert_eq!(new["data"][0]["data"]["ezyvet_id"], "6");
    assert_eq!(api.get(&format!("/events?after={last}&type=order.held")).expect(200)["data"], json!([]));
    assert_eq!(api.get(&format!("/events/{last}")).expect(200), all[5]);
    for (path, status, field) in [
        ("/events?type=order.lost,x", 400, "type"),
        ("/events?after=nonsense", 400, "after"),
        ("/events?limit=0", 400, "limit"),
        ("/events?colour=red", 400, "colour"),
        ("/events/evt_999", 404, ""),
        ("/events?after=evt_999", 404, ""),
    ] {
        let problem = api.get(path).expect(status);
        assert_eq!(problem["errors"][0]["field"].as_str().unwrap_or_default(), field, "{problem}");
    }
}

#[test]
fn a_webhook_is_added_changed_tested_replayed_and_removed_by_the_api() {
    let (supplier, receiver) = (supplier(), Receiver::start());
    let (api, clinic) = (Api::of(&supplier, "admin"), supplier.clinic());
    let body = json!({"url": receiver.url, "events": ["order.accepted"], "clinic": clinic.client_id});
    let added = api.request("POST", "/webhooks").header("idempotency-key", "k1").json(&body).send();
    let again = api.request("POST", "/webhooks").header("idempotency-key", "k1").json(&body).send();
    let webhook = added.expect(201);
    assert_eq!(again.expect(201), webhook, "the first answer, with the secret");
    let secret = webhook["secret"].as_str().expect("a secret");
    let path = format!("/webhooks/{}", webhook["id"]);
    assert_eq!(added.header("location"), Some(format!("/staff/v1{path}").as_str()));
    assert_eq!(api.get("/webhooks").expect(200)["data"].as_array().expect("rows").len(), 1);
    place(&supplier, &clinic, "1");
    let received = wait_for(&receiver, "the event", |received| received.len() == 1);
    assert!(received[0].verifies(secret));
    let shown = api.get(&path);
    assert!(shown.expect(200).get("secret").is_none());
    let etag = shown.header("etag").expect("a version").to_owned();
    let change = |etag: &str, body: &Value| api.request("PATCH", &path).header("if-match", etag).json(body).send();
    let changed = change(&etag, &json!({"clinic": null, "state": "paused"})).expect(200);
    assert_eq!((changed["clinic"].clone(), changed["state"].as_str()), (Value::Null, Some("paused")));
    assert_eq!(changed["events"], json!(["order.accepted"]), "an absent field stays");
    change(&etag, &json!({"state": "active"})).expect(412);
    change("*", &json!({"state": "active"})).expect(200);
    let tested = api.post(&format!("{path}/test"), &json!({})).expect(200);
    assert_eq!((tested["outcome"].as_str(), tested["type"].as_str()), (Some("delivered"), Some("webhook.test")));
    let rotated = api.post(&format!("{path}/rotate-secret"), &json!({"overlap": "1h"})).expect(200);
    assert_ne!(rotated["secret"], webhook["secret"]);
    let first = received[0].id();
    api.post(&format!("{path}/replay"), &json!({"event": first})).expect(200);
    wait_for(&receiver, "the event again", |received| received.len() == 3);
    api.post(&format!("{path}/replay"), &json!({"from": first})).expect(200);
    wait_for(&receiver, "the event a third time", |received| received.len() == 4);
    let attempts = api.get(&format!("{path}/attempts?limit=2")).expect(200);
    assert_eq!(attempts["data"].as_array().expect("rows").len(), 2);
    assert!(attempts["next_cursor"].is_string());
    assert_eq!(api.request("DELETE", &path).send().status, 204);
    api.get(&path).expect(404);
    let audit = supplier.run(["audit", "list"]);
    let actions: Vec<_> =
        audit.as_array().expect("rows").iter().filter(|entry| entry["actor"] == "key:admin").collect();
    assert!(actions.iter().any(|entry| entry["action"] == "webhook.replay"), "{audit}");
}

#[test]
fn every_invalid_field_of_a_webhook_is_named_at_once_and_only_admin_may_add_one() {
    let supplier = Supplier::start(&[]);
    let admin = Api::of(&supplier, "admin");
    let body = json!({"url": "https://10.0.0.1/", "events": ["order.lost"], "clinic": "nobody"});
    let problem = admin.post("/webhooks", &body).expect(422);
    let fields: Vec<_> =
        problem["errors"].as_array().expect("errors").iter().map(|error| error["field"].as_str()).collect();
    assert_eq!(fields, [Some("url"), Some("events"), Some("clinic")], "{problem}");
    let problem = admin.post("/webhooks", &json!({"url": "http://erp.example.com/", "x": 1})).expect(422);
    assert_eq!(problem["errors"][0]["field"], "x");
    let added = admin.post("/webhooks", &json!({"url": "https://erp.example.com/"})).expect(201);
    let replay = format!("/webhooks/{}/replay", added["id"]);
    for (body, status) in [
        (json!({}), 422),
        (json!({"from": "evt_1", "event": "evt_1"}), 422),
        (json!({"since": "yesterday"}), 422),
        (json!({"event": "evt_999"}), 404),
        (json!({"since": "2099-01-01T00:00:00Z"}), 200),
    ] {
        admin.post(&replay, &body).expect(status);
    }
    admin.get("/webhooks/x").expect(404);
    let viewer = Api::of(&supplier, "viewer");
    let problem = viewer.post("/webhooks", &body).expect(403);
    assert!(problem["detail"].as_str().expect("a text").contains("admin"), "{problem}");
    assert!(viewer.get("/events").status == 200 && viewer.get("/webhooks").status == 403);
}

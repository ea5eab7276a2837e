//! The site without HTTP, one call after the other.

mod over_http;

use serde_json::{Value, json};

use super::{
    World,
    event::EventKind,
    form::tests::write,
    job::JobState,
    options::{Approve, DuplicateInvoice, InventoryGrant, Options, ScopeSeparator},
    order::OrderLine,
    product::tests::listed,
    rate::Limits,
    routes::{self, Served, Transfer},
    wire::{Answer, Request},
};

const NOW: i64 = 1_700_000_000_000;
const SCOPES: &str =
    "read-receiveinvoice read-separation write-jobqueue write-receiveinvoice inventory-management read-productsupplier";

/// A site with an order for two locations, and the token of a partner.
struct Scene {
    world: World,
    now: i64,
    token: String,
}

impl Scene {
    fn new(options: &Options) -> Self {
        let mut world = World::new(options.clone());
        world.link_catalogue(&[listed("A", true), listed("B", true)]);
        if let Err(reason) = world.write_order(NOW, &[OrderLine::new("A", 1, 3), OrderLine::new("B", 2, 4)], "") {
            panic!("{reason}");
        }
        Self { world, now: NOW, token: String::new() }
    }

    fn standard() -> Self {
        let mut scene = Self::new(&Options::default());
        scene.log_in();
        scene
    }

    fn request_token(&mut self, changes: Value) -> Answer {
        let mut body = json!({"partner_id": "sandbox-partner", "client_id": "sandbox-client", "client_secret": "sandbox-secret", "site_uid": "sandbox-site", "grant_type": "client_credentials", "scope": SCOPES});
        changes.as_object().into_iter().flatten().for_each(|(key, value)| body[key] = value.clone());
        self.send("POST", "/oauth/token", "application/json", body.to_string()).answer
    }

    fn log_in(&mut self) {
        let answer = self.request_token(json!({}));
        assert_eq!(answer.status, 200, "{answer:?}");
        self.token = answer.body["access_token"].as_str().unwrap_or_default().to_owned();
    }

    fn send(&mut self, method: &str, target: &str, content_type: &str, body: String) -> Served {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let bearer = (!self.token.is_empty()).then(|| self.token.clone());
        let request = Request {
            method: method.into(),
            path: path.into(),
            query: query.into(),
            bearer,
            content_type: content_type.into(),
            body: body.into_bytes(),
        };
        routes::serve(&mut self.world, self.now, &request)
    }

    fn get(&mut self, target: &str) -> Answer {
        self.send("GET", target, "", String::new()).answer
    }

    fn queue(&mut self, invoice: &Value) -> Answer {
        let job = json!({"type": "ReceiveInvoice", "action": "ApiRequest", "data": {"method": "POST", "endpoint": "v2/receiveinvoice", "body": invoice}});
        self.send("POST", "/v2/jobqueue", "application/x-www-form-urlencoded; charset=utf-8", write(&job)).answer
    }

    fn supply(&mut self, location: usize, lines: Value) -> Answer {
        let uid = &self.world.separations[location - 1].uid;
        let target = format!("/inventory/v1/supplied?locationUID={uid}");
        self.send("POST", &target, "application/json", lines.to_string()).answer
    }

    fn kinds(&self) -> Vec<EventKind> {
        self.world.events.iter().map(|event| event.kind).collect()
    }
}

fn invoice(number: &str) -> Value {
    json!({"invoice_number": number, "date": 1_700_000_000, "due_date": 1_702_000_000, "comments": "For PO 15000032.", "freight": 4, "freight_tax": 10, "ownership_id": 2,
        "line_item": [{"quantity": 10, "price": 2, "tax": 0.2, "tax_rate": 10, "tax_code": "S", "supplier_code": "A", "location_id": 3, "purchase_order_item_id": 9,
            "batch": [{"name": "777-3321", "expiry": 1_800_000_000}]}]})
}

fn header(answer: &Answer, name: &str) -> Option<String> {
    answer.headers.iter().find(|(other, _)| *other == name).map(|(_, value)| value.clone())
}

#[test]
fn a_job_waits_until_its_automatic_approval_and_becomes_an_invoice() {
    let mut scene = Scene::standard();
    let queued = scene.queue(&invoice("INV-1"));
    assert_eq!((queued.status, &queued.body["items"][0]["jobqueue"]["status"]), (200, &json!("Pending")));
    assert_eq!(scene.get("/v2/receiveinvoice?invoice_number=INV-1").body["items"], json!([]));
    scene.now += 2000;
    let found = scene.get("/v2/receiveinvoice?invoice_number=INV-1").body;
    let item = &found["items"][0]["receiveinvoice"];
    assert_eq!(
        (&item["freight"], &item["line_item"][0]["tax"], &item["line_item"][0]["batch"][0]["name"]),
        (&json!(4), &json!(0.2), &json!("777-3321"))
    );
    assert_eq!(found["meta"]["items_total"], 1);
    assert_eq!(scene.get("/v2/receiveinvoice?invoice_number=INV-2").body["items"], json!([]));
    assert_eq!(scene.world.orders[0].items[0].received.to_string(), "10");
    assert!(scene.world.stock.is_empty());
    assert!(scene.world.finish().is_ok(), "{:?}", scene.world.events);
}

#[test]
fn staff_approve_and_reject_by_hand() {
    let mut scene = Scene::new(&Options { approve: Approve::Manual, ..Options::default() });
    scene.log_in();
    scene.queue(&invoice("INV-1"));
    scene.now += 3_600_000;
    scene.world.tick(scene.now);
    assert!(scene.world.invoices.is_empty());
    assert_eq!(scene.world.reject(scene.now, 9001), Ok(()));
    assert!(scene.world.approve(scene.now, 9001).is_err());
    // The number of a rejected job may be sent again.
    scene.queue(&invoice("INV-1"));
    assert_eq!(scene.world.approve_all(scene.now), 1);
    let states: Vec<_> = scene.world.jobs.iter().map(|job| job.state).collect();
    assert_eq!((states, scene.kinds()), (vec![JobState::Rejected, JobState::Approved], vec![]));
}

#[test]
fn an_invalid_invoice_makes_its_job_fail_with_the_reason() {
    let mistakes = [
        ("/line_item/0/purchase_order_item_id", json!(99), "is not a line of an open order"),
        ("/line_item/0/location_id", json!(2), "is not a stock location"),
        ("/line_item/0/location_id", json!(4), "the order line says 3"),
        ("/line_item/0/supplier_code", json!("B"), "the order line says A"),
        ("/line_item/0/quantity", json!("two"), "line_item[0].quantity: must be a number"),
        ("/line_item/0/price", json!("2.1234567"), "decimals"),
        ("/line_item/0/tax", json!(2), "10 % of 2 is 0.2"),
        ("/line_item/0/tax_code", json!(""), "tax_code"),
        ("/line_item/0/batch", json!("777"), "batch"),
        ("/line_item/0/batch/0/expiry", json!("2024-01-23"), "epoch seconds"),
        ("/line_item", json!([]), "missing field `line_item`"),
        ("/ownership_id", json!(3), "is not a business"),
        ("/date", json!("2024-01-23"), "epoch seconds"),
        ("/invoice_number", Value::Null, "missing field `invoice_number`"),
    ];
    for (pointer, value, reason) in mistakes {
        let mut scene = Scene::standard();
        let mut body = invoice("INV-1");
        if let Some(field) = body.pointer_mut(pointer) {
            *field = value;
        }
        assert_eq!(scene.queue(&body).status, 200);
        scene.world.tick(scene.now + 2000);
        let job = &scene.world.jobs[0];
        assert_eq!(job.state, JobState::Failed, "{pointer}");
        assert!(job.error.contains(reason), "{pointer}: {}", job.error);
        assert_eq!(scene.kinds(), [EventKind::JobFailed]);
    }
}

#[test]
fn a_repeated_invoice_number_is_recorded_and_refused_on_request() {
    let mut scene = Scene::standard();
    scene.queue(&invoice("INV-1"));
    scene.queue(&invoice("INV-1"));
    scene.world.tick(scene.now + 2000);
    assert_eq!((scene.world.invoices.len(), scene.world.doubled_invoices()), (2, vec!["INV-1".to_owned()]));
    assert_eq!(scene.kinds(), [EventKind::DoubledInvoice]);

    let mut scene = Scene::new(&Options { duplicate_invoice: DuplicateInvoice::Reject, ..Options::default() });
    scene.log_in();
    scene.queue(&invoice("INV-1"));
    scene.queue(&invoice("INV-1"));
    scene.world.tick(scene.now + 2000);
    assert_eq!((scene.world.invoices.len(), scene.world.jobs[1].state), (1, JobState::Failed));
}

#[test]
fn a_job_with_too_many_fields_is_recorded() {
    let mut scene = Scene::standard();
    let mut body = invoice("INV-1");
    let line = body["line_item"][0].clone();
    body["line_item"] = json!(vec![line; 120]);
    scene.queue(&body);
    assert_eq!(scene.kinds().first(), Some(&EventKind::FieldsDropped));
}

#[test]
fn supplied_moves_stock_at_its_location_and_refuses_mistakes() {
    let mut scene = Scene::standard();
    let uid = scene.world.products[0].uid.clone();
    let lines = json!([{"productId": uid, "supplied": 5, "batch": {"code": "777-3321", "expireAt": "2024-01-23"}}, {"productId": uid, "supplied": 2.5}]);
    let answer = scene.supply(3, lines.clone());
    assert_eq!((answer.status, &answer.body["data"]), (200, &lines));
    scene.supply(3, lines);
    let location = scene.world.separations[2].uid.clone();
    assert_eq!(scene.world.stock[&location][&uid].to_string(), "15.0");
    assert_eq!((scene.world.supplied.len(), scene.world.repeated_supplied()), (2, 1));
    assert!(scene.world.finish().is_ok());

    let requirements = scene.get(&format!("/inventory/v1/requirements?locationUID={location}")).body;
    assert_eq!((&requirements["data"][0]["available"], &requirements["data"][0]["required"]), (&json!(15), &json!(10)));
    for (location, lines) in [
        (2, json!([{"productId": uid, "supplied": 5}])),
        (3, json!([{"productId": "50001", "supplied": 5}])),
        (3, json!([{"productId": uid, "supplied": "5"}])),
        (3, json!([{"productId": uid, "supplied": 5, "batch": {"code": "x", "expireAt": 1_700_000_000}}])),
        (3, json!({"productId": uid, "supplied": 5})),
    ] {
        assert_eq!(scene.supply(location, lines).status, 422);
    }
    assert_eq!(scene.kinds(), [EventKind::Refused; 5]);
}

#[test]
fn a_new_token_replaces_the_old_one() {
    let mut scene = Scene::standard();
    let old = scene.token.clone();
    assert_eq!(scene.get("/v2/separation").status, 200);
    scene.log_in();
    assert_eq!(scene.get("/v2/separation").status, 200);
    scene.token = old;
    assert_eq!(scene.get("/v2/separation").status, 401);
    assert_eq!(scene.kinds(), [EventKind::BadToken]);
}

#[test]
fn using_a_dead_token_is_no_mistake_before_a_newer_one_is_issued() {
    let mut scene = Scene::standard();
    scene.world.kill_tokens();
    assert_eq!(scene.get("/v2/separation").status, 401);
    scene.log_in();
    scene.now += 8 * 3_600_000;
    assert_eq!(scene.get("/v2/separation").status, 401);
    assert!(scene.world.finish().is_ok());
    scene.token = "invented".into();
    assert_eq!(scene.get("/v2/separation").status, 401);
    assert_eq!(scene.kinds(), [EventKind::BadToken]);
}

#[test]
fn wrong_credentials_and_scopes_are_refused() {
    let mut scene = Scene::new(&Options::default());
    assert_eq!(scene.request_token(json!({"client_secret": "wrong"})).status, 401);
    assert_eq!(scene.request_token(json!({"site_uid": ""})).status, 400);
    assert_eq!(scene.request_token(json!({"scope": "read-separation,write-jobqueue"})).status, 400);
    assert_eq!(scene.request_token(json!({"grant_type": "password"})).status, 400);
    assert_eq!(
        scene.kinds(),
        [EventKind::BadCredentials, EventKind::MalformedBody, EventKind::BadCredentials, EventKind::MalformedBody]
    );

    let mut scene = Scene::new(&Options { scope_separator: ScopeSeparator::Comma, ..Options::default() });
    assert_eq!(scene.request_token(json!({"scope": "read-separation,write-jobqueue"})).status, 200);
}

#[test]
fn a_site_without_inventory_withholds_or_refuses_its_scopes() {
    let mut scene = Scene::new(&Options { inventory: InventoryGrant::Withhold, ..Options::default() });
    scene.log_in();
    assert_eq!(scene.get("/inventory/v1/products").status, 403);
    assert_eq!(scene.get("/v2/separation").status, 200);
    let mut scene = Scene::new(&Options { inventory: InventoryGrant::Refuse, ..Options::default() });
    assert_eq!(scene.request_token(json!({})).status, 400);
}

#[test]
fn every_answer_carries_the_rate_headers_and_a_provoked_429_is_recorded() {
    let mut scene =
        Scene::new(&Options { limits: Limits { per_endpoint: 3, per_site: 5, window: 60_000 }, ..Options::default() });
    scene.log_in();
    let first = scene.get("/v2/separation");
    let headers = ["limit", "remaining", "reset"].map(|name| header(&first, &format!("x-ratelimit-{name}")));
    assert_eq!(headers, ["3", "2", "60"].map(|value| Some(value.to_owned())));
    scene.get("/v2/separation");
    scene.get("/v2/separation");
    assert_eq!(scene.get("/v2/separation").status, 429);
    assert_eq!(header(&scene.get("/v2/productsupplier"), "x-ratelimit-limit"), Some("5".into()));
    assert_eq!(scene.get("/v2/receiveinvoice").status, 429);
    assert_eq!(scene.kinds(), [EventKind::RateLimitProvoked; 2]);
    scene.now += 60_000;
    assert_eq!(scene.get("/v2/separation").status, 200);
}

#[test]
fn an_injected_429_is_no_fault_of_the_partner_but_calls_before_its_reset_are() {
    let mut scene = Scene::standard();
    scene.world.faults.add("rate-limit:separationx1".parse().unwrap_or_else(|reason: String| panic!("{reason}")));
    let limited = scene.get("/v2/separation");
    assert_eq!(
        (limited.status, header(&limited, "x-ratelimit-remaining"), header(&limited, "x-ratelimit-reset")),
        (429, Some("0".into()), Some("60".into()))
    );
    assert!(scene.world.finish().is_ok());
    scene.now += 59_000;
    assert_eq!(scene.get("/v2/separation").status, 429);
    assert_eq!(scene.kinds(), [EventKind::RateLimitProvoked]);
    scene.now += 1000;
    assert_eq!(scene.get("/v2/separation").status, 200);
}

#[test]
fn a_fault_either_prevents_the_call_or_only_spoils_its_answer() {
    for (fault, status, transfer, done) in [
        ("status:jobqueue=503x1", 503, Transfer::Whole, false),
        ("status-after:jobqueue=500x1", 500, Transfer::Whole, true),
        ("error-in-200:jobqueuex1", 200, Transfer::Whole, false),
        ("redirect:jobqueuex1", 307, Transfer::Whole, false),
        ("cut-before:jobqueuex1", 0, Transfer::Cut, false),
        ("cut-after:jobqueuex1", 200, Transfer::Cut, true),
        ("hang:jobqueuex1", 0, Transfer::Hang, false),
        ("bad-json:jobqueuex1", 200, Transfer::Garbled, true),
        ("huge-body:jobqueue=2x1", 200, Transfer::Huge(2), true),
        ("token-killed:jobqueuex1", 401, Transfer::Whole, false),
        ("delay:jobqueue=5sx1", 200, Transfer::Whole, true),
    ] {
        let mut scene = Scene::standard();
        scene.world.faults.add(fault.parse().unwrap_or_else(|reason: String| panic!("{reason}")));
        let job = json!({"type": "ReceiveInvoice", "data": {"method": "POST", "endpoint": "v2/receiveinvoice", "body": invoice("INV-1")}});
        let served = scene.send("POST", "/v2/jobqueue", "application/json", job.to_string());
        assert_eq!(
            (served.answer.status, served.transfer, scene.world.jobs.len() == 1),
            (status, transfer, done),
            "{fault}"
        );
        assert!(scene.world.faults.list().is_empty() && scene.world.finish().is_ok(), "{fault}");
    }
}

#[test]
fn product_look_ups_lead_from_an_order_line_to_the_inventory_uid() {
    let mut scene = Scene::standard();
    let id = scene.world.orders[0].items[0].product_id;
    let code = scene.get(&format!("/v2/product/{id}")).body["items"][0]["product"]["code"].clone();
    assert_ne!(code, "A");
    let listed = scene.get("/inventory/v1/products?limit=1&page=1").body;
    assert_eq!((&listed["data"][0]["code"], &listed["meta"]["items_page_total"]), (&code, &json!(2)));
    let supplier = scene.get(&format!("/v2/productsupplier?product_id={id}&supplier_contact_id=10006")).body;
    assert_eq!(
        (&supplier["items"][0]["productsupplier"]["supplier_code"], &supplier["meta"]["items_total"]),
        (&json!("A"), &json!(1))
    );
    assert!(scene.world.finish().is_ok());
    scene.get("/v2/product/1");
    scene.get("/v2/nowhere");
    scene.send("DELETE", "/v2/jobqueue", "", String::new());
    scene.get("/v2/separation?colour=red");
    assert_eq!(
        scene.kinds(),
        [EventKind::UnknownRecord, EventKind::UnknownRoute, EventKind::WrongMethod, EventKind::MalformedBody]
    );
}

#[test]
fn secrets_appear_neither_in_the_view_nor_in_the_log() {
    let mut scene = Scene::standard();
    scene.get("/v2/separation");
    let view = scene.world.view().to_string();
    assert!(!view.contains("sandbox-secret") && !view.contains(&scene.token));
}

//! `/staff/v1/orders` and `/staff/v1/shipments`: what an ERP and a warehouse system do with orders.

use crate::support::staff::Staff;
use crate::support::supplier::{Clinic, Supplier};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Sends an order of 10 `TP1` (line 9) and 5 `BND` (line 10). Returns the supplier's number.
#[track_caller]
fn place(supplier: &Supplier, clinic: &Clinic, id: &str) -> String {
    let line = |id: &str, code: &str, quantity: i64, price: i64| {
        json!({"id": id, "product_id": format!("5000{id}"), "supplier_code": code, "outers": quantity, "units_per_outer": 1,
               "quantity": quantity, "price_per_unit": price, "total": quantity * price, "ownership_id": "3"})
    };
    let order = json!({"purchaseorder": {
        "id": id, "purchase_order_number": format!("P-{id}"), "ownership_id": "1", "shipping_address_id": "2", "total": 50,
        "comments": format!("please ring {id}"), "purchase_order_item_list": [line("9", "TP1", 10, 4), line("10", "BND", 5, 2)]}});
    let answer = supplier.order(clinic, &order).expect(200);
    answer["purchaseorder"]["supplier_order_number"].as_str().expect("a number").to_owned()
}

fn ids(list: &Value) -> Vec<i64> {
    list["data"].as_array().expect("data").iter().map(|row| row["id"].as_i64().expect("an id")).collect()
}

/// Follows the cursors of a list, and calls `between` after each page. Returns the ids.
#[track_caller]
fn walk(staff: &Staff<'_>, path: &str, mut between: impl FnMut()) -> Vec<i64> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = staff.get(&format!("{path}{cursor}")).expect(200);
        all.append(&mut ids(&page));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
        between();
    }
}

#[test]
fn an_order_is_held_accepted_cancelled_in_part_and_declined() {
    let supplier = Supplier::shared();
    let (clinic, erp) = (supplier.clinic(), supplier.staff("orders"));
    let number = place(&supplier, &clinic, "1");
    let post = |verb: &str, body: &Value| erp.post(&format!("/orders/{number}/{verb}"), body).expect(200);
    assert_eq!(post("hold", &json!({"reason": "waiting for the licence"}))["state"], "held");
    assert_eq!(post("accept", &json!({}))["state"], "accepted");
    let line = json!({"reason": "discontinued", "lines": [{"item": "10", "quantity": "2"}, {"item": "9"}]});
    let order = post("cancel", &line);
    assert_eq!((&order["state"], &order["items"][0]["cancelled"]), (&json!("accepted"), &json!("10")));
    assert_eq!(order["items"][1]["cancelled"], "2");
    let declined = post("decline", &json!({"reason": "the rest is gone, too"}));
    assert_eq!(declined["state"], "declined");

    let shown = erp.get(&format!("/orders/{}", declined["id"]));
    let record = shown.expect(200);
    let actions: Vec<_> = record["audit"].as_array().expect("entries").iter().map(|entry| &entry["action"]).collect();
    assert_eq!(actions, ["order.place", "order.hold", "order.accept", "order.cancel", "order.decline"]);
    assert_eq!(record["audit"][4]["actor"], format!("key:{}", erp.name));
    assert_eq!(record["audit"][4]["detail"]["reason"], "the rest is gone, too");
    assert_eq!((record["revisions"].as_array().map(Vec::len), &record["shipments"]), (Some(1), &json!([])));
    assert_eq!(record, supplier.run(["order", "show", &number]), "as on the command line");
    assert!(shown.header("etag").is_some_and(|tag| tag.starts_with('"')));
}

#[test]
fn a_state_that_does_not_allow_a_decision_is_named() {
    let supplier = Supplier::shared();
    let (clinic, erp) = (supplier.clinic(), supplier.staff("orders"));
    let number = place(&supplier, &clinic, "1");
    let (detail, _) = erp.post(&format!("/orders/{number}/accept"), &json!({})).refused(409);
    assert!(detail.contains("is accepted") && detail.contains("held"), "{detail}");
    assert!(!detail.contains("spsi "), "no command: {detail}");
    supplier.run(["shipment", "create", &number]);
    let reason = json!({"reason": "no"});
    for verb in ["decline", "hold", "cancel"] {
        let (detail, _) = erp.post(&format!("/orders/{number}/{verb}"), &reason).refused(409);
        assert!(detail.contains("is shipped"), "{detail}");
    }
    erp.get("/orders/SO%00").refused(400);
    for path in ["/orders/SO-NONE", "/orders/99999999", "/orders/99999999999999999999999"] {
        let (detail, _) = erp.get(path).refused(404);
        assert!(detail.contains(path.rsplit('/').next().expect("a part")) && !detail.contains("spsi "), "{detail}");
        erp.post(&format!("{path}/cancel"), &reason).refused(404);
    }
}

#[test]
fn a_decision_on_a_stale_version_is_refused() {
    let supplier = Supplier::shared();
    let (clinic, erp) = (supplier.clinic(), supplier.staff("orders"));
    let path = format!("/orders/{}", place(&supplier, &clinic, "1"));
    let read = erp.get(&path).header("etag").expect("a tag").to_owned();
    let change = |tag: &str, verb: &str, body: &Value| {
        erp.request("POST", &format!("{path}/{verb}")).header("if-match", tag).json(body).send()
    };
    let part = json!({"reason": "less", "lines": [{"item": "9", "quantity": "1"}]});
    let changed = change(&read, "cancel", &part);
    changed.expect(200);
    change(&read, "cancel", &part).refused(412);
    change(&read, "accept", &json!({})).refused(412);
    let current = changed.header("etag").expect("a tag").to_owned();
    assert_ne!(current, read);
    change(&current, "hold", &json!({"reason": "wait"})).expect(200);
    change("*", "accept", &json!({})).expect(200);
    assert_eq!(erp.get(&path).expect(200)["items"][0]["cancelled"], "1", "the refused one changed nothing");
}

#[test]
fn every_wrong_field_of_a_cancellation_is_reported() {
    let supplier = Supplier::shared();
    let (clinic, erp) = (supplier.clinic(), supplier.staff("orders"));
    let path = format!("/orders/{}/cancel", place(&supplier, &clinic, "1"));
    let lines = json!([{"item": "9", "quantity": "11"}, {"item": "77"}, {"item": "10", "quantity": "0"}]);
    let (_, fields) = erp.post(&path, &json!({"reason": "x", "lines": lines})).refused(422);
    assert_eq!(fields, ["lines[0].quantity", "lines[1].item", "lines[2].quantity"]);
    let (_, mut fields) = erp.post(&path, &json!({"lines": [{"quantity": 5}], "colour": "red"})).refused(422);
    fields.sort();
    assert_eq!(fields, ["colour", "lines[0].item", "lines[0].quantity", "reason"]);
    assert_eq!(erp.post(&path, &json!({"reason": ""})).refused(422).1, ["reason"]);
    erp.request("POST", &path).header("content-type", "application/json").body("{").send().refused(400);
}

#[test]
fn orders_are_found_by_every_filter() {
    let supplier = Supplier::start(&[]);
    let (clinic, other) = (supplier.clinic(), supplier.clinic());
    let viewer = supplier.staff("viewer");
    let (first, second) = (place(&supplier, &clinic, "1"), place(&supplier, &clinic, "2"));
    let third = place(&supplier, &other, "3");
    supplier.run(["order", "hold", &first, "--reason", "x"]);
    supplier.run(["shipment", "create", &second]);
    let numbers = |query: &str| -> Vec<String> {
        let list = viewer.get(&format!("/orders?{query}")).expect(200);
        let text = |row: &Value| row["supplier_order_number"].as_str().expect("a number").to_owned();
        list["data"].as_array().expect("data").iter().map(text).collect()
    };
    assert_eq!(numbers(""), [third.as_str(), &second, &first], "newest first");
    assert_eq!(numbers("state=held"), [first.as_str()]);
    assert_eq!(numbers(&format!("clinic={}", clinic.client_id)), [second.as_str(), &first]);
    assert_eq!(numbers(&format!("clinic={}&state=shipped", clinic.id)), [second.as_str()]);
    assert_eq!((numbers("product=TP1").len(), numbers("product=VAC").len()), (3, 0));
    // The clinic has no site, so the second order's invoice waits for staff.
    assert_eq!(numbers("attention=true"), [second.as_str(), &first]);
    assert_eq!(numbers("attention=false").len(), 3);
    assert_eq!(numbers("unmapped=true"), [third.as_str(), &first]);
    assert_eq!(numbers("text=ring%203"), [third.as_str()]);
    assert_eq!((numbers("since=2026-01-01").len(), numbers("until=2026-01-01").len()), (3, 0));
    for (query, field) in [
        ("state=lost", "state"),
        ("since=yesterday", "since"),
        ("attention=maybe", "attention"),
        ("limit=0", "limit"),
        ("cursor=abc", "cursor"),
        ("colour=red", "colour"),
        ("text=%00", "text"),
    ] {
        assert_eq!(viewer.get(&format!("/orders?{query}")).refused(400).1, [field], "{query}");
    }
}

#[test]
fn pages_of_orders_miss_and_repeat_nothing_while_orders_arrive() {
    let supplier = Supplier::shared();
    let (clinic, viewer) = (supplier.clinic(), supplier.staff("viewer"));
    for id in 0..12 {
        place(&supplier, &clinic, &id.to_string());
    }
    let before = ids(&viewer.get(&format!("/orders?clinic={}", clinic.id)).expect(200));
    assert_eq!(before.len(), 12);
    let mut arrived = 100;
    let seen = walk(&viewer, &format!("/orders?clinic={}&limit=5", clinic.id), || {
        arrived += 1;
        place(&supplier, &clinic, &arrived.to_string());
    });
    assert_eq!(seen, before, "every order once, newest first");
    let exact = walk(&viewer, &format!("/orders?clinic={}&limit=7", clinic.id), || {});
    assert_eq!(exact.len(), 14, "12 and those that arrived");
}

#[test]
fn back_orders_and_rules_are_listed() {
    let supplier = Supplier::start(&[]);
    let clinic = supplier.clinic_with(&["rule_stock_short=hold"]);
    let viewer = supplier.staff("viewer");
    assert_eq!(viewer.get("/orders/back-orders").expect(200), json!({"data": [], "next_cursor": null}));
    let rules = viewer.get(&format!("/orders/rules?clinic={}", clinic.client_id)).expect(200);
    assert_eq!(rules["data"], supplier.run(["order", "rules", "--clinic", &clinic.id]));
    viewer.get("/orders/rules?clinic=nobody").refused(404);
}

#[test]
fn a_shipment_is_previewed_created_listed_and_shown() {
    let supplier = Supplier::shared();
    let (clinic, warehouse) = (supplier.clinic(), supplier.staff("warehouse"));
    let number = place(&supplier, &clinic, "1");
    let request = json!({"order": number, "freight": "5.50", "lines": [
        {"item": "9", "quantity": "4", "batch": "B1", "expiry": "2028-01-31"}, {"item": "9", "quantity": "6", "batch": "B2"}],
        "prices": [{"item": "9", "price": "3.95"}]});
    let preview = warehouse.post("/shipments/preview", &request).expect(200);
    assert_eq!(
        (&preview["shipment"]["freight"], &preview["payloads"][0]["lines"][0]["price"]),
        (&json!("5.5"), &json!("3.95"))
    );
    let path = format!("/shipments?order={number}");
    assert_eq!(warehouse.get(&path).expect(200)["data"], json!([]), "a preview stores nothing");

    let created = warehouse.post("/shipments", &request);
    let shipment = created.expect(201);
    assert_eq!(shipment["lines"][0]["expiry"], "2028-01-31");
    let location = format!("/staff/v1/shipments/{}", shipment["id"]);
    assert_eq!(created.header("location"), Some(location.as_str()));
    let invoice = shipment["invoice_number"].as_str().expect("a number");
    for which in [invoice.to_owned(), shipment["id"].to_string()] {
        assert_eq!(warehouse.get(&format!("/shipments/{which}")).expect(200), shipment);
    }
    let order = warehouse.get(&format!("/orders/{number}")).expect(200);
    assert_eq!((&order["state"], &order["shipments"]), (&json!("part_shipped"), &json!([shipment])));
    assert_eq!(order["audit"][1]["actor"], format!("key:{}", warehouse.name));

    let rest = warehouse.post("/shipments", &json!({"order": number})).expect(201);
    assert_eq!((&rest["lines"][0]["item"], &rest["lines"][0]["quantity"]), (&json!("10"), &json!("5")));
    assert_eq!(ids(&warehouse.get(&path).expect(200)).len(), 2);
    let mine = format!("/shipments?clinic={}&limit=1", clinic.id);
    assert_eq!(walk(&warehouse, &mine, || {}).len(), 2);
    warehouse.get("/shipments/INV-NONE").refused(404);
}

#[test]
fn every_wrong_field_of_a_shipment_is_reported_and_nothing_is_stored() {
    let supplier = Supplier::shared();
    let (clinic, warehouse) = (supplier.clinic(), supplier.staff("warehouse"));
    let number = place(&supplier, &clinic, "1");
    let used =
        warehouse.post("/shipments", &json!({"order": number, "lines": [{"item": "9", "quantity": "1"}]})).expect(201);
    let request = json!({"order": number, "freight": "-1", "invoice_number": used["invoice_number"],
        "lines": [{"item": "9", "quantity": "10"}, {"item": "8", "quantity": "1"}, {"item": "10", "quantity": "-1"},
                  {"item": "10", "quantity": "0"}, {"item": "10", "quantity": "1", "expiry": "2028-01-31"}],
        "prices": [{"item": "77", "price": "-1"}]});
    for path in ["/shipments", "/shipments/preview"] {
        let (detail, fields) = warehouse.post(path, &request).refused(422);
        assert_eq!(
            fields,
            [
                "lines[1].item",
                "lines[2].quantity",
                "lines[3].quantity",
                "lines[4].expiry",
                "lines[0].quantity",
                "prices[0].price",
                "prices[0].item",
                "freight",
                "invoice_number"
            ]
        );
        assert!(detail.contains("allow_excess") && !detail.contains("--"), "{detail}");
    }
    let malformed =
        json!({"lines": [{"item": "9", "quantity": 1}, {"quantity": "1e3", "expiry": "soon"}], "freight": "x"});
    let (_, mut fields) = warehouse.post("/shipments", &malformed).refused(422);
    fields.sort();
    assert_eq!(
        fields,
        ["freight", "lines[0].quantity", "lines[1].expiry", "lines[1].item", "lines[1].quantity", "order"]
    );
    for bad in ["", "a b", "line\nbreak", "\u{0}"] {
        let request = json!({"order": number, "invoice_number": bad});
        assert_eq!(warehouse.post("/shipments", &request).refused(422).1, ["invoice_number"], "{bad:?}");
    }
    let zero = json!({"order": number, "lines": [{"item": "9", "quantity": "1", "batch": "\u{0}"}]});
    warehouse.post("/shipments", &zero).refused(422);
    assert_eq!(warehouse.post("/shipments", &json!({"order": "SO-NONE"})).refused(422).1, ["order"]);
    assert_eq!(ids(&warehouse.get(&format!("/shipments?order={number}")).expect(200)).len(), 1);

    let excess = json!({"order": number, "allow_excess": true, "lines": [{"item": "9", "quantity": "20"}]});
    warehouse.post("/shipments", &excess).expect(201);
}

#[test]
fn an_order_that_is_not_open_is_not_shipped() {
    let supplier = Supplier::shared();
    let (clinic, warehouse) = (supplier.clinic(), supplier.staff("warehouse"));
    let number = place(&supplier, &clinic, "1");
    supplier.run(["order", "hold", &number, "--reason", "x"]);
    for path in ["/shipments", "/shipments/preview"] {
        let (detail, _) = warehouse.post(path, &json!({"order": number})).refused(409);
        assert!(detail.contains("is held"), "{detail}");
    }
}

#[test]
fn a_request_sent_again_under_its_key_ships_once() {
    let supplier = Supplier::shared();
    let (clinic, warehouse) = (supplier.clinic(), supplier.staff("warehouse"));
    let number = place(&supplier, &clinic, "1");
    let send = |key: &str, request: &Value| {
        warehouse.request("POST", "/shipments").header("idempotency-key", key).json(request).send()
    };
    let request = json!({"order": number, "lines": [{"item": "9", "quantity": "1"}]});
    // A refused request keeps no key: corrected, it may be sent again under the same one.
    send(&number, &json!({"order": number, "lines": [{"item": "9", "quantity": "99"}]})).refused(422);
    let answers: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| send(&number, &request))).collect();
        threads.into_iter().map(|thread| thread.join().expect("an answer")).collect()
    });
    let first = answers[0].expect(201);
    for answer in &answers {
        assert_eq!((answer.status, answer.json()), (201, first.clone()));
        assert!(answer.header("location").is_some());
    }
    assert_eq!(answers.iter().filter(|answer| answer.header("idempotent-replayed").is_none()).count(), 1);
    assert_eq!(
        ids(&warehouse.get(&format!("/shipments?order={number}")).expect(200)),
        [first["id"].as_i64().expect("an id")]
    );
    let other = json!({"order": number, "lines": [{"item": "9", "quantity": "2"}]});
    send(&number, &other).refused(422);
    assert_ne!(send(&format!("{number}-2"), &request).expect(201)["id"], first["id"]);
}

#[test]
fn orders_are_decided_and_goods_shipped_by_their_own_roles() {
    let supplier = Supplier::shared();
    let (clinic, admin) = (supplier.clinic(), supplier.staff("admin"));
    let number = place(&supplier, &clinic, "1");
    let hold = |staff: &Staff<'_>| staff.post(&format!("/orders/{number}/hold"), &json!({"reason": "x"}));
    let ship = |staff: &Staff<'_>| staff.post("/shipments/preview", &json!({"order": number}));
    let mut needed = BTreeSet::new();
    for role in ["viewer", "orders", "warehouse", "catalogue", "billing"] {
        let staff = supplier.staff(role);
        staff.get(&format!("/orders/{number}")).expect(200);
        if role != "orders" {
            needed.insert(hold(&staff).refused(403).0.contains("`orders`"));
        }
        if role != "warehouse" {
            needed.insert(ship(&staff).refused(403).0.contains("`warehouse`"));
        }
    }
    assert_eq!(needed, BTreeSet::from([true]), "the role that is needed is named");
    ship(&admin).expect(200);
    hold(&admin).expect(200);
}

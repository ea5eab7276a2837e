//! `POST /purchaseorder` over HTTP (SPSI.md 1, 4 and 5; DESIGN.md 2.1 and 2.7), and staff commands on orders.

use crate::support::client::Response;
use crate::support::database::{TestDatabase, in_own_runtime};
use crate::support::database_proxy::DatabaseProxy;
use crate::support::order::{documented, form, with};
use crate::support::supplier::{CATALOGUE, Clinic, Options, SOON, Supplier};
use crate::support::until;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::io::{Read, Write};
use std::sync::Arc;

fn number(answer: &Value) -> String {
    let number = answer["purchaseorder"]["supplier_order_number"].as_str().expect("a text");
    assert!(!number.is_empty());
    number.to_owned()
}

/// A clinic's orders as `spsi order list` prints them.
fn stored(supplier: &Supplier, clinic: &Clinic) -> Vec<Value> {
    supplier.run(["order", "list", "--clinic", &clinic.id]).as_array().expect("a list").clone()
}

#[test]
fn the_documented_order_is_accepted_and_echoed_with_the_suppliers_number() {
    let supplier = Supplier::shared();
    let clinic = supplier.clinic();
    let mut sent = documented("12");
    sent["purchaseorder"]["x_unknown"] = json!({"a": [1, null, "b"]});
    sent["purchaseorder"]["purchase_order_item_list"][0]["x_note"] = json!(5);
    let answer = supplier.order(&clinic, &sent).expect(200);
    let number = number(&answer);
    sent["purchaseorder"]["supplier_order_number"] = json!(number);
    assert_eq!(answer, sent, "word for word, unknown fields too");
    let rows = stored(&supplier, &clinic);
    assert_eq!(rows.len(), 1);
    let row = &rows[0];
    assert_eq!(
        (&row["state"], &row["ezyvet_id"], &row["is_return"]),
        (&json!("accepted"), &json!("12"), &json!(false))
    );
    assert_eq!((&row["supplier_order_number"], &row["purchase_order_number"]), (&json!(number), &json!("150012")));
}

#[test]
fn every_documented_scalar_is_echoed_as_a_string() {
    let supplier = Supplier::shared();
    let clinic = supplier.clinic();
    let mut sent = documented("0");
    let order = sent["purchaseorder"].as_object_mut().expect("an object");
    order.extend([("id".into(), json!(77)), ("total".into(), json!(4.4)), ("active".into(), json!(true))]);
    order.extend([("comments".into(), Value::Null), ("tax".into(), json!(0.1 + 0.2 + 0.1))]);
    let line = order["purchase_order_item_list"][0].as_object_mut().expect("an object");
    line.extend([("quantity".into(), json!(1)), ("price_per_unit".into(), json!(4.0)), ("outers".into(), json!(1))]);
    let answer = supplier.order(&clinic, &sent).expect(200);
    let order = answer["purchaseorder"].as_object().expect("an object");
    let line = order["purchase_order_item_list"][0].as_object().expect("an object");
    for (key, value) in order.iter().chain(line).filter(|(key, _)| *key != "purchase_order_item_list") {
        assert!(value.is_string(), "{key}: {value}");
    }
    assert_eq!((&order["id"], &order["active"], &order["comments"]), (&json!("77"), &json!("1"), &json!("")));
}

#[test]
fn a_second_submission_gets_the_first_answer() {
    let supplier = Supplier::shared();
    let clinic = supplier.clinic();
    let first = supplier.order(&clinic, &documented("1"));
    let keys = |text: &str| text.find("\"active\"").expect("active") < text.find("\"status\"").expect("status");
    assert!(keys(&first.text()), "in the order of the document: {}", first.text());
    assert_eq!(supplier.order(&clinic, &documented("1")).text(), first.text(), "word for word");
    let first = first.expect(200);
    let spelt_otherwise = with("1", "/total", json!(4.40));
    assert_eq!(supplier.order(&clinic, &spelt_otherwise).expect(200), first);
    let sent_later = with("1", "/modified_at", json!("1514499999"));
    assert_eq!(supplier.order(&clinic, &sent_later).expect(200), first);
    assert_eq!(stored(&supplier, &clinic).len(), 1);
    let other = supplier.clinic();
    let others = supplier.order(&other, &documented("1")).expect(200);
    assert_ne!(number(&others), number(&first), "ids are unique within a clinic's site only");
}

#[test]
fn fifty_copies_sent_together_are_one_order() {
    let supplier = Supplier::shared();
    let clinic = supplier.clinic();
    let answers: Vec<Value> = std::thread::scope(|scope| {
        let copies: Vec<_> =
            (0..50).map(|_| scope.spawn(|| supplier.order(&clinic, &documented("5")).expect(200))).collect();
        copies.into_iter().map(|copy| copy.join().expect("an answer")).collect()
    });
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!(stored(&supplier, &clinic).len(), 1);
}

#[test]
fn orders_sent_together_get_different_numbers() {
    let supplier = Supplier::shared();
    let clinic = supplier.clinic();
    let numbers: HashSet<String> = std::thread::scope(|scope| {
        let (supplier, clinic) = (&supplier, &clinic);
        let orders: Vec<_> = (0..30)
            .map(|id| scope.spawn(move || number(&supplier.order(clinic, &documented(&id.to_string())).expect(200))))
            .collect();
        orders.into_iter().map(|order| order.join().expect("an answer")).collect()
    });
    assert_eq!((numbers.len(), stored(&supplier, &clinic).len()), (30, 30));
}

#[test]
fn changed_content_is_a_revision_or_refused_as_the_setting_says() {
    let supplier = Supplier::shared();
    let clinic = supplier.clinic();
    let first = supplier.order(&clinic, &documented("1")).expect(200);
    let mut changed = documented("1");
    changed["purchaseorder"]["comments"] = json!("two, please");
    changed["purchaseorder"]["total"] = json!("8.8");
    changed["purchaseorder"]["tax"] = json!("0.8");
    let line = changed["purchaseorder"]["purchase_order_item_list"][0].as_object_mut().expect("an object");
    for (key, value) in [("quantity", "2"), ("outers", "2"), ("total", "8"), ("total_tax", "0.8")] {
        line.insert(key.into(), json!(value));
    }
    let second = supplier.order(&clinic, &changed).expect(200);
    assert_eq!(number(&second), number(&first), "the number stays");
    assert_eq!(second["purchaseorder"]["comments"], "two, please");
    let rows = stored(&supplier, &clinic);
    assert_eq!((rows.len(), &rows[0]["revision"]), (1, &json!(2)), "{rows:?}");
    let shown = supplier.run(["order", "show", &number(&first)]);
    assert_eq!(shown["items"][0]["quantity"], "2");
    let strict = supplier.clinic_with(&["changed_order=refuse"]);
    supplier.order(&strict, &documented("1")).expect(200);
    assert_eq!(supplier.order(&strict, &changed).problem(409), ["purchaseorder.id"]);
    supplier.order(&strict, &documented("1")).expect(200);
}

#[test]
fn a_decline_is_answered_in_each_form_of_the_setting() {
    let supplier = Supplier::shared();
    let unknown = with("1", "/purchase_order_item_list/0/supplier_code", json!("NO-SUCH"));
    for status in [422, 400, 409] {
        let clinic = supplier.clinic_with(&[&format!("decline_answer={status}")]);
        let answer = supplier.order(&clinic, &unknown);
        assert_eq!(answer.problem(status), ["purchaseorder.purchase_order_item_list[0].supplier_code"]);
        let body = answer.json();
        assert!(body["message"].as_str().is_some_and(|text| text.contains("NO-SUCH")), "{body}");
        assert_eq!(supplier.order(&clinic, &unknown).json(), body, "the same again");
        assert_eq!(stored(&supplier, &clinic)[0]["state"], "declined");
    }
    let clinic = supplier.clinic_with(&["decline_answer=200"]);
    let order = supplier.order(&clinic, &unknown).expect(200)["purchaseorder"].clone();
    assert_eq!(order["status"], "Cancelled");
    assert!(order["comments"].as_str().is_some_and(|text| text.contains("NO-SUCH")), "{order}");
    assert_eq!(stored(&supplier, &clinic)[0]["state"], "declined");
    let default = supplier.order(&supplier.clinic(), &unknown);
    assert_eq!(default.problem(422).len(), 1);
}

#[test]
fn a_clinic_cannot_order_a_product_that_it_does_not_see() {
    let supplier = Supplier::shared();
    let clinic = supplier.clinic_with(&["hidden_products=TP1"]);
    let hidden = supplier.order(&clinic, &documented("1"));
    let unknown = supplier.order(&clinic, &with("2", "/purchase_order_item_list/0/supplier_code", json!("NO-SUCH")));
    hidden.problem(422);
    let words = |answer: &Response| answer.text().replace("TP1", "?").replace("NO-SUCH", "?");
    assert_eq!(words(&hidden), words(&unknown), "a hidden product looks like an unknown one");
    for code in ["KET", "OLD", "NOP"] {
        let order = with("3", "/purchase_order_item_list/0/supplier_code", json!(code));
        assert_eq!(supplier.order(&clinic, &order).status, 422, "{code}");
    }
}

#[test]
fn an_order_parses_to_the_same_content_however_it_is_written() {
    let supplier = Supplier::shared();
    let clinic = supplier.clinic();
    let plain = documented("1");
    let first = supplier.order(&clinic, &plain).expect(200);
    let mut indexed = plain.clone();
    let line = plain["purchaseorder"]["purchase_order_item_list"][0].clone();
    indexed["purchaseorder"]["purchase_order_item_list"] = json!({"2": line});
    let json = plain.to_string();
    let (spaced, marked) = (format!(" \r\n\t{json}\n"), format!("\u{feff}{json}"));
    for (content_type, body) in [
        ("application/json", json.clone()),
        ("application/json; charset=utf-8", json.clone()),
        ("APPLICATION/JSON", json.clone()),
        ("application/x-www-form-urlencoded", json.clone()),
        ("text/plain", json.clone()),
        ("nonsense", json.clone()),
        ("", json.clone()),
        ("application/json", spaced),
        ("application/json", marked),
        ("application/json", indexed.to_string()),
        ("application/x-www-form-urlencoded", form(&plain)),
        ("application/x-www-form-urlencoded; charset=UTF-8", form(&plain)),
        ("application/json", form(&plain)),
        ("", form(&plain).replace("%5B", "[").replace("%5D", "]")),
    ] {
        let mut request = supplier.request("POST", "/purchaseorder").bearer(&clinic.token).body(&body);
        if !content_type.is_empty() {
            request = request.header("content-type", content_type);
        }
        let answer = request.send();
        assert_eq!((answer.status, answer.json()), (200, first.clone()), "{content_type}: {body}");
    }
    assert_eq!(stored(&supplier, &clinic).len(), 1);
}

#[test]
fn chunked_bodies_and_expect_continue_are_accepted() {
    let supplier = Supplier::shared();
    let clinic = supplier.clinic();
    let body = documented("1").to_string();
    let chunks: String = body
        .as_bytes()
        .chunks(100)
        .map(|part| format!("{:x}\r\n{}\r\n", part.len(), String::from_utf8_lossy(part)))
        .collect();
    let request = supplier.request("POST", "/purchaseorder").bearer(&clinic.token);
    let chunked = request.clone().header("transfer-encoding", "chunked").body(chunks + "0\r\n\r\n").send();
    chunked.expect(200);
    let expecting = request.header("expect", "100-continue").body(&body);
    let mut stream = expecting.connect();
    stream.write_all(&expecting.head()).expect("the head goes out");
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).expect("an answer before the body");
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(body.as_bytes()).expect("the body goes out");
    assert_eq!(Response::read(&mut stream, "POST").expect(200), chunked.json());
}

#[test]
fn a_malformed_order_is_refused_by_field_and_not_stored() {
    let supplier = Supplier::shared();
    let clinic = supplier.clinic();
    let line = "purchaseorder.purchase_order_item_list[0]";
    let at = |pointer: &str, value: Value| with("1", pointer, value);
    for (order, field) in [
        (json!({}), "purchaseorder"),
        (json!({"purchaseorder": []}), "purchaseorder"),
        (json!({"purchaseorder": "x"}), "purchaseorder"),
        (at("/id", json!("")), "purchaseorder.id"),
        (at("/id", json!(null)), "purchaseorder.id"),
        (at("/id", json!({"a": 1})), "purchaseorder.id"),
        (at("/id", json!("a\u{0}b")), "purchaseorder.id"),
        (at("/id", json!("9".repeat(2_000))), "purchaseorder.id"),
        (at("/total", json!("four")), "purchaseorder.total"),
        (at("/total", json!("1e999999999")), "purchaseorder.total"),
        (at("/total", json!("NaN")), "purchaseorder.total"),
        (at("/total", json!("0x10")), "purchaseorder.total"),
        (at("/total", json!([4])), "purchaseorder.total"),
        (at("/total", json!("9".repeat(40))), "purchaseorder.total"),
        (at("/date", json!("yesterday")), "purchaseorder.date"),
        (at("/date", json!("999999999999")), "purchaseorder.date"),
        (at("/purchase_order_number", json!("a\u{0}")), "purchaseorder.purchase_order_number"),
        (at("/status", json!("a\u{0}")), "purchaseorder.status"),
        (at("/x_unknown", json!({"a": ["b", "\u{0}"]})), "purchaseorder.x_unknown.a[1]"),
        (at("/purchase_order_item_list", json!([])), "purchaseorder.purchase_order_item_list"),
        (at("/purchase_order_item_list", json!({})), "purchaseorder.purchase_order_item_list"),
        (at("/purchase_order_item_list", json!(null)), "purchaseorder.purchase_order_item_list"),
        (at("/purchase_order_item_list", json!("x")), "purchaseorder.purchase_order_item_list"),
        (at("/purchase_order_item_list", json!({"a": {}})), "purchaseorder.purchase_order_item_list"),
        (at("/purchase_order_item_list/0", json!(7)), line),
        (at("/purchase_order_item_list/0/id", json!("")), "purchaseorder.purchase_order_item_list[0].id"),
        (at("/purchase_order_item_list/0/quantity", json!("")), "purchaseorder.purchase_order_item_list[0].quantity"),
        (at("/purchase_order_item_list/0/quantity", json!("0")), "purchaseorder.purchase_order_item_list[0].quantity"),
        (
            at("/purchase_order_item_list/0/quantity", json!("1e400")),
            "purchaseorder.purchase_order_item_list[0].quantity",
        ),
        (
            at("/purchase_order_item_list/0/units_per_outer", json!("0")),
            "purchaseorder.purchase_order_item_list[0].units_per_outer",
        ),
        (
            at("/purchase_order_item_list/0/price_per_unit", json!("-")),
            "purchaseorder.purchase_order_item_list[0].price_per_unit",
        ),
        (
            at("/purchase_order_item_list/0/supplier_code", json!(["TP1"])),
            "purchaseorder.purchase_order_item_list[0].supplier_code",
        ),
    ] {
        let answer = supplier.order(&clinic, &order);
        let fields = answer.problem(400);
        assert!(fields.contains(&field.to_owned()), "{order} named {fields:?}: {}", answer.text());
    }
    let mut twice = documented("1");
    let copied = twice["purchaseorder"]["purchase_order_item_list"][0].clone();
    twice["purchaseorder"]["purchase_order_item_list"].as_array_mut().expect("a list").push(copied);
    assert_eq!(supplier.order(&clinic, &twice).problem(400), ["purchaseorder.purchase_order_item_list[1].id"]);
    let mut both = with("1", "/total", json!("x"));
    both["purchaseorder"]["purchase_order_item_list"][0]["quantity"] = json!("y");
    assert_eq!(supplier.order(&clinic, &both).problem(400).len(), 2, "all at once");
    assert_eq!(stored(&supplier, &clinic), Vec::<Value>::new());
}

#[test]
fn no_body_causes_an_internal_error() {
    let supplier = Supplier::shared();
    let clinic = supplier.clinic();
    let order = documented("1").to_string();
    let deep = format!("{{\"purchaseorder\":{}", "[".repeat(50_000));
    let nested = format!("purchaseorder{}=1", "[a]".repeat(10_000));
    let lone = order.replace("\"...\"", "\"\\ud800\"");
    let twice_named = order.replacen("\"id\":\"1\"", "\"id\":\"1\",\"id\":[]", 1);
    let bodies: Vec<&[u8]> = vec![
        b"",
        b" ",
        b"\0",
        b"\xff\xfe\xfd",
        b"null",
        b"[]",
        b"\"x\"",
        b"{",
        b"{}{}",
        b"purchaseorder",
        b"purchaseorder=1",
        b"purchaseorder[id]=1",
        b"purchaseorder[id]=%ff",
        b"purchaseorder[[[=1",
        b"a=b&c",
        b"<?xml version=\"1.0\"?><purchaseorder/>",
        b"--x\r\nContent-Disposition: form-data; name=\"purchaseorder\"\r\n\r\n{}\r\n--x--",
        deep.as_bytes(),
        nested.as_bytes(),
        lone.as_bytes(),
        twice_named.as_bytes(),
        &order.as_bytes()[..order.len() - 1],
        &order.as_bytes()[..order.len() / 2],
    ];
    for body in bodies {
        for content_type in ["application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
        {
            let request = supplier.request("POST", "/purchaseorder").bearer(&clinic.token);
            let answer = request.header("content-type", content_type).body(body).send();
            let start = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
            assert!((400..500).contains(&answer.status), "{}: {start}", answer.status);
            answer.problem(answer.status);
        }
    }
    // Each field with each kind of value gives a 4xx in the envelope or a stored order, never a 5xx.
    let template = documented("1");
    let fields = template["purchaseorder"].as_object().expect("an object").keys();
    let line = template["purchaseorder"]["purchase_order_item_list"][0].as_object().expect("an object").keys();
    let pointers =
        fields.map(|key| format!("/{key}")).chain(line.map(|key| format!("/purchase_order_item_list/0/{key}")));
    let values = [
        json!(null),
        json!(true),
        json!(-1),
        json!(1e300),
        json!(0.1),
        json!(u64::MAX),
        json!(""),
        json!(" "),
        json!("-0"),
        json!("1e5"),
        json!("1,5"),
        json!("999999999999.999999"),
        json!("\u{0}"),
        json!("é😀"),
        json!([]),
        json!({}),
        json!([[1]]),
        json!("'; drop table purchase_order; --"),
    ];
    let mut id = 1_000;
    for pointer in pointers {
        for value in &values {
            id += 1;
            let order = with(&id.to_string(), &pointer, value.clone());
            let answer = supplier.order(&clinic, &order);
            assert!(answer.status < 500, "{} {pointer} {value}: {}", answer.status, answer.text());
            if answer.status != 200 {
                answer.problem(answer.status);
            }
        }
    }
    assert!(!supplier.log().contains("panicked"), "{}", supplier.log());
}

#[test]
fn an_order_that_is_too_large_is_refused() {
    let supplier = Supplier::start(&[("SPSI_MAX_ORDER_LINES", "3"), ("SPSI_MAX_BODY_BYTES", "20000")]);
    let clinic = supplier.clinic();
    let of_lines = |count: usize| {
        let mut order = documented("1");
        let line = order["purchaseorder"]["purchase_order_item_list"][0].clone();
        let lines = (0..count).map(|id| {
            let mut line = line.clone();
            line["id"] = json!(id.to_string());
            line
        });
        order["purchaseorder"]["purchase_order_item_list"] = lines.collect();
        order
    };
    assert_eq!(supplier.order(&clinic, &of_lines(4)).problem(413), ["purchaseorder.purchase_order_item_list"]);
    supplier.order(&clinic, &with("1", "/comments", json!("x".repeat(20_000)))).problem(413);
    let claimed = supplier.request("POST", "/purchaseorder").bearer(&clinic.token);
    let endless =
        claimed.header("transfer-encoding", "chunked").body(format!("ffff\r\n{}\r\n0\r\n\r\n", "x".repeat(0xffff)));
    endless.send().problem(413);
    assert_eq!(stored(&supplier, &clinic), Vec::<Value>::new());
    assert_eq!(supplier.order(&clinic, &of_lines(3)).status, 200);
}

#[test]
fn an_order_of_thousands_of_lines_is_stored() {
    let supplier = Supplier::shared();
    let clinic = supplier.clinic();
    let mut order = documented("1");
    let line = order["purchaseorder"]["purchase_order_item_list"][0].clone();
    let lines = (0..5_000).map(|id| {
        let mut line = line.clone();
        line["id"] = json!(id.to_string());
        line
    });
    order["purchaseorder"]["purchase_order_item_list"] = lines.collect();
    let answer = supplier.order(&clinic, &order).expect(200);
    assert_eq!(answer["purchaseorder"]["purchase_order_item_list"].as_array().expect("lines").len(), 5_000);
    let shown = supplier.run(["order", "show", &number(&answer)]);
    assert_eq!(shown["items"].as_array().expect("items").len(), 5_000);
}

#[test]
fn a_return_is_held_for_staff() {
    let supplier = Supplier::shared();
    let clinic = supplier.clinic();
    let mut back = documented("1");
    let order = back["purchaseorder"].as_object_mut().expect("an object");
    order.extend([("total".into(), json!("-4.4")), ("tax".into(), json!("-0.4"))]);
    let line = order["purchase_order_item_list"][0].as_object_mut().expect("an object");
    for (key, value) in [("quantity", "-1"), ("outers", "-1"), ("total", "-4"), ("total_tax", "-0.4")] {
        line.insert(key.into(), json!(value));
    }
    supplier.order(&clinic, &back).expect(200);
    let rows = stored(&supplier, &clinic);
    assert_eq!((&rows[0]["is_return"], &rows[0]["state"]), (&json!(true), &json!("held")));
}

#[test]
fn staff_accept_and_decline_held_orders() {
    let supplier = Supplier::shared();
    let clinic = supplier.clinic_with(&["on_hold=true"]);
    let numbers = ["1", "2"].map(|id| number(&supplier.order(&clinic, &documented(id)).expect(200)));
    assert!(stored(&supplier, &clinic).iter().all(|row| row["state"] == "held"));
    assert_eq!(supplier.run(["order", "accept", &numbers[0]])["state"], "accepted");
    let declined = supplier.run(["order", "decline", &numbers[1], "--reason", "gone for good"]);
    assert_eq!(declined["state"], "declined");
    let again = supplier.spsi(["order", "accept", &numbers[1]]).run();
    assert_eq!(again.code, Some(1), "{}", again.stderr);
    assert!(again.stderr.contains("declined"), "{}", again.stderr);
    supplier.order(&clinic, &documented("1")).expect(200);
    let answer = supplier.order(&clinic, &documented("2"));
    answer.problem(422);
    assert!(answer.text().contains("gone for good"), "{}", answer.text());
    assert_eq!(supplier.spsi(["order", "show", "SO-NONE"]).run().code, Some(1));
}

#[test]
fn orders_get_503_while_the_database_is_down_and_service_resumes_by_itself() {
    let database = Arc::new(in_own_runtime(TestDatabase::new));
    let proxy = DatabaseProxy::to(database.url());
    let settings = [("SPSI_DB_TIMEOUT", "1s")];
    let options = Options { catalogue: Some(CATALOGUE), settings: &settings, database_url: Some(proxy.url()) };
    let supplier = Supplier::on(database, options);
    let clinic = supplier.clinic();
    supplier.order(&clinic, &documented("1")).expect(200);
    for _ in 0..2 {
        proxy.cut();
        for _ in 0..3 {
            let answer = supplier.order(&clinic, &documented("2"));
            answer.problem(503);
            let wait = answer.header("retry-after").expect("how long");
            assert!(wait.parse::<u32>().is_ok_and(|seconds| seconds > 0), "{wait}");
        }
        let age = || supplier.get(&clinic, "/readyz").expect(503)["catalogue"]["checked_seconds_ago"].as_u64();
        until("the catalogue ages", SOON, || age().filter(|age| *age > 3));
        assert_eq!(supplier.get(&clinic, "/healthz").status, 200);
        supplier.get(&clinic, "/products").expect(200);
        supplier.token(&clinic);
        proxy.restore();
        until("it is ready again", SOON, || (supplier.get(&clinic, "/readyz").status == 200).then_some(()));
        supplier.order(&clinic, &documented("2")).expect(200);
    }
    assert_eq!(stored(&supplier, &clinic).len(), 2);
    // Changes made while notifications could not arrive are noticed by polling.
    supplier.run(["clinic", "suspend", &clinic.id]);
    until("the suspension is seen", SOON, || (supplier.get(&clinic, "/products").status == 401).then_some(()));
}

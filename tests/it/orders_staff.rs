//! Staff commands on orders: rules, revisions, addresses, exports, returns.

use crate::support::order::{documented, with};
use crate::support::supplier::Supplier;
use serde_json::{Value, json};

fn number(answer: &Value) -> String {
    answer["purchaseorder"]["supplier_order_number"].as_str().expect("a number").to_owned()
}

fn rules(supplier: &Supplier, arguments: &[&str]) -> Value {
    supplier.run(["order", "rules"].into_iter().chain(arguments.iter().copied()))
}

#[test]
fn order_rules_shows_each_rules_action_and_where_it_is_set() {
    let supplier = Supplier::start(&[("SPSI_RULE_BROKEN_PACK", "decline")]);
    let clinic = supplier.clinic_with(&["rule_stock_short=hold"]);
    let of = |rules: &Value, id: &str| {
        let rule = rules.as_array().expect("a list").iter().find(|rule| rule["id"] == id).expect("the rule").clone();
        (rule["setting"].clone(), rule["default"].clone(), rule["set_by"].clone())
    };
    let all = rules(&supplier, &[]);
    assert_eq!(of(&all, "rule_broken_pack"), (json!("decline"), json!("hold"), json!("deployment")));
    assert_eq!(of(&all, "rule_stock_short"), (json!("note"), json!("note"), json!("default")));
    let own = rules(&supplier, &["--clinic", &clinic.id]);
    assert_eq!(of(&own, "rule_stock_short"), (json!("hold"), json!("note"), json!("clinic")));
}

#[test]
fn an_address_is_mapped_once_and_shown_on_every_later_order() {
    let supplier = Supplier::start(&[]);
    let clinic = supplier.clinic();
    let first = number(&supplier.order(&clinic, &documented("1")).expect(200));
    let unmapped = supplier.run(["order", "list", "--unmapped"]);
    assert_eq!(unmapped.as_array().map(Vec::len), Some(1), "an open order without a known address");
    let unknown = supplier.run(["clinic", "mappings", "--unmapped"]);
    let ids: Vec<_> = unknown.as_array().expect("a list").iter().map(|row| [&row["kind"], &row["ezyvet_id"]]).collect();
    assert_eq!(ids, [[&json!("account"), &json!("1")], [&json!("ship_to"), &json!("2")]]);

    let address = "12 Harbour St, Dunedin";
    supplier.run(["clinic", "map", &clinic.id, "--ship-to", &format!("2={address}"), "--account", "1=ACC-77"]);
    assert_eq!(supplier.run(["order", "list", "--unmapped"]), json!([]));
    let shown = supplier.run(["order", "show", &first]);
    assert_eq!((&shown["ship_to"], &shown["account_number"]), (&json!(address), &json!("ACC-77")));
    let second = number(&supplier.order(&clinic, &documented("2")).expect(200));
    let notes = supplier.run(["order", "show", &second])["findings"].to_string();
    assert!(!notes.contains("rule_ship_to_unmapped"), "{notes}");

    let lines = supplier.run(["order", "export", "--clinic", &clinic.id]);
    assert_eq!(lines.as_array().map(Vec::len), Some(2));
    assert_eq!(
        (&lines[0]["item"], &lines[0]["outstanding"], &lines[0]["ship_to"]),
        (&json!("9"), &json!("1"), &json!(address))
    );
    let file = supplier.spsi(["order", "export"]).run();
    assert_eq!(file.stdout.lines().count(), 3, "a header and two lines: {}", file.stdout);

    supplier.run(["clinic", "map", &clinic.id, "--ship-to", "2="]);
    assert_eq!(supplier.run(["order", "show", &first])["ship_to"], Value::Null);
    let strict = supplier.clinic_with(&["rule_ship_to_unmapped=decline"]);
    let declined = supplier.order(&strict, &documented("1")).expect(422);
    assert_eq!(declined["messages"][0]["type"], json!("ship_to_unmapped"));
}

#[test]
fn order_show_lists_the_changes_of_each_revision_and_the_audit_lists_every_command() {
    let supplier = Supplier::start(&[]);
    let clinic = supplier.clinic();
    let first = number(&supplier.order(&clinic, &documented("1")).expect(200));
    supplier.order(&clinic, &with("1", "/comments", json!("urgent"))).expect(200);
    supplier.run(["order", "hold", &first, "--reason", "ask the clinic"]);
    supplier.run(["order", "accept", &first, "--reason", "they called"]);
    supplier.run(["shipment", "create", &first]);
    supplier.order(&clinic, &with("1", "/comments", json!("late"))).expect(409);
    let order = supplier.run(["order", "show", &first]);
    assert_eq!((&order["state"], &order["revision"]), (&json!("shipped"), &json!(2)));
    assert_eq!(order["revisions"][0]["changes"], json!([]));
    let change = json!([{"change": "changed", "item": null, "supplier_code": null, "field": "comments", "before": "...", "after": "urgent"}]);
    assert_eq!(order["revisions"][1]["changes"], change);
    let deeds: Vec<_> = order["audit"].as_array().expect("a list").iter().map(|deed| deed["action"].clone()).collect();
    assert_eq!(deeds, ["order.place", "order.revise", "order.hold", "order.accept", "shipment.create"]);
    assert_eq!(order["audit"][2]["detail"]["reason"], json!("ask the clinic"));
    assert_eq!(order["shipments"].as_array().map(Vec::len), Some(1));
    assert!(order["deliveries"].as_array().is_some_and(|deliveries| !deliveries.is_empty()));
    // The clinic has no site, so the delivery needs attention.
    assert_eq!(supplier.run(["order", "list", "--attention"])[0]["supplier_order_number"], json!(first));
    let day = order["received_at"].as_str().expect("a time")[..10].to_owned();
    let of_day = supplier.run(["order", "list", "--since", &day, "--until", &day]);
    assert_eq!(of_day.as_array().map(Vec::len), Some(1));
    assert_eq!(supplier.run(["order", "list", "--until", "2020-01-01"]), json!([]));
}

#[test]
fn a_part_cancelled_order_cannot_be_revised() {
    let supplier = Supplier::start(&[]);
    let clinic = supplier.clinic();
    let mut order = documented("1");
    let line = &mut order["purchaseorder"]["purchase_order_item_list"][0];
    (line["outers"], line["quantity"], line["total"]) = (json!("3"), json!("3"), json!("12"));
    let number = number(&supplier.order(&clinic, &order).expect(200));
    supplier.run(["order", "cancel", &number, "--line", "9:1", "--reason", "broken"]);
    let mut revised = order.clone();
    revised["purchaseorder"]["comments"] = json!("more");
    supplier.order(&clinic, &revised).expect(409);
    assert_eq!(supplier.order(&clinic, &order).expect(200)["purchaseorder"]["supplier_order_number"], json!(number));
}

#[test]
fn a_shipped_return_becomes_a_credit() {
    let supplier = Supplier::start(&[]);
    let clinic = supplier.clinic();
    let mut order = documented("1");
    let line = &mut order["purchaseorder"]["purchase_order_item_list"][0];
    for (field, value) in [("outers", "-2"), ("quantity", "-2"), ("total", "-8"), ("total_tax", "-0.8")] {
        line[field] = json!(value);
    }
    (order["purchaseorder"]["tax"], order["purchaseorder"]["total"]) = (json!("-0.8"), json!("-8.8"));
    let number = number(&supplier.order(&clinic, &order).expect(200));
    let shown = supplier.run(["order", "show", &number]);
    assert_eq!((&shown["state"], &shown["is_return"]), (&json!("held"), &json!(true)));
    supplier.run(["order", "accept", &number]);
    let shipment = supplier.run(["shipment", "create", &number]);
    assert_eq!(shipment["lines"][0]["quantity"], json!("-2"));
    let deliveries = supplier.run(["order", "show", &number])["deliveries"].clone();
    let of_kind = |kind: &str| {
        let delivery = deliveries.as_array().expect("a list").iter().find(|delivery| delivery["kind"] == kind);
        let id = delivery.unwrap_or_else(|| panic!("no {kind}"))["id"].to_string();
        supplier.run(["delivery", "show", &id])["payload"].to_string()
    };
    let invoice = of_kind("receive_invoice");
    assert!(invoice.contains("-2"), "{invoice}");
    assert_eq!(supplier.run(["order", "show", &number])["state"], json!("shipped"));
}

#[test]
fn a_second_submission_gets_the_same_bytes() {
    let supplier = Supplier::shared();
    let clinic = supplier.clinic();
    let mut order = documented("1");
    order["purchaseorder"]["zz"] = json!({"long_name": 1, "b": [], "a": null});
    let first = supplier.order(&clinic, &order);
    let again = supplier.order(&clinic, &order);
    assert_eq!(again.text(), first.text(), "the order of keys too");
}

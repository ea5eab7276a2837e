//! Files for systems that read no API: exports with a cursor, and imports of shipments.

use crate::support::client::Response;
use crate::support::database::in_own_runtime;
use crate::support::order::documented;
use crate::support::supplier::{Clinic, Supplier};
use serde_json::{Value, json};
use std::path::Path;

fn place(supplier: &Supplier, clinic: &Clinic, id: &str) -> String {
    let answer = supplier.order(clinic, &documented(id)).expect(200);
    answer["purchaseorder"]["supplier_order_number"].as_str().expect("a number").to_owned()
}

fn key(supplier: &Supplier, role: &str) -> String {
    let added = supplier.run(["key", "add", "--role", role, "--name", role]);
    added["key"].as_str().expect("a key").to_owned()
}

/// Runs an export and returns its lines.
fn lines(supplier: &Supplier, arguments: &[&str]) -> Vec<String> {
    let ended = supplier.spsi(arguments.iter().copied()).run();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("next cursor: "), "{}", ended.stderr);
    ended.stdout.lines().map(str::to_owned).collect()
}

/// The values of one field of JSON lines.
fn field(lines: &[String], name: &str) -> Vec<String> {
    let value = |line: &String| serde_json::from_str::<Value>(line).expect("JSON")[name].clone();
    lines.iter().map(|line| value(line).as_str().expect("a text").to_owned()).collect()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn a_nightly_export_takes_what_is_new_or_changed() {
    let supplier = Supplier::start(&[]);
    let clinic = supplier.clinic();
    let [first, second] = ["1", "2"].map(|id| place(&supplier, &clinic, id));
    let file = supplier.file("unused", "").with_file_name("orders.cursor");
    let export = || lines(&supplier, &["order", "export", "--format", "jsonl", "--cursor-file", text(&file)]);
    assert_eq!(field(&export(), "supplier_order_number"), [first.clone(), second.clone()]);
    assert_eq!(export(), [""; 0], "nothing is new");
    let third = place(&supplier, &clinic, "3");
    supplier.run(["order", "hold", &first, "--reason", "wait"]);
    let changed = export();
    assert_eq!(field(&changed, "supplier_order_number"), [first, third]);
    assert_eq!(field(&changed, "state"), ["held", "accepted"]);
    supplier.run(["shipment", "create", &second]);
    let shipped = export();
    assert_eq!(
        (field(&shipped, "supplier_order_number"), field(&shipped, "shipped")),
        (vec![second], vec!["1".into()])
    );
    let header = lines(&supplier, &["order", "export", "--cursor-file", text(&file)]);
    assert!(header.len() == 1 && header[0].starts_with("id,supplier_order_number,state,"), "{header:?}");
}

#[test]
fn a_failed_export_leaves_the_cursor_file_as_it_was() {
    let supplier = Supplier::start(&[]);
    let file = supplier.file("orders.cursor", "tomorrow\n");
    let ended = supplier.spsi(["order", "export", "--cursor-file", text(&file)]).run();
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    assert!(ended.stderr.contains("`tomorrow` is not a cursor"), "{}", ended.stderr);
    assert_eq!(std::fs::read_to_string(&file).expect("the file"), "tomorrow\n");
    let foreign = supplier.spsi(["order", "export", "--since-cursor", "99999999"]).run();
    assert_eq!(foreign.code, Some(1), "a cursor of another database: {}", foreign.stderr);
}

#[test]
fn shipments_and_invoices_are_exported_by_line() {
    let supplier = Supplier::start(&[]);
    let clinic = supplier.clinic();
    let [first, second] = ["1", "2"].map(|id| place(&supplier, &clinic, id));
    supplier.run(["shipment", "create", &first, "--line", "9:1@B1/2028-01-31", "--freight", "5.50"]);
    let shipments = lines(&supplier, &["shipment", "export"]);
    assert_eq!(shipments.len(), 2, "{shipments:?}");
    let invoice_number = supplier.run(["shipment", "list"])[0]["invoice_number"].as_str().expect("a number").to_owned();
    for part in [first.as_str(), invoice_number.as_str(), ",5.5,", "B1,2028-01-31"] {
        assert!(shipments[1].contains(part), "{part}: {}", shipments[1]);
    }
    let files = ["shipments.cursor", "invoices.cursor"].map(|name| supplier.file("unused", "").with_file_name(name));
    let export = |noun: usize| {
        let nouns = ["shipment", "invoice"];
        lines(&supplier, &[nouns[noun], "export", "--format", "jsonl", "--cursor-file", text(&files[noun])])
    };
    assert_eq!(field(&export(0), "order"), std::slice::from_ref(&first));
    let invoices = export(1);
    assert_eq!(field(&invoices, "invoice_number"), [invoice_number]);
    assert_eq!((field(&invoices, "item"), field(&invoices, "price")), (vec!["9".into()], vec!["4".into()]));
    // The clinic has no site.
    assert_eq!(field(&invoices, "state"), ["attention"]);
    supplier.run(["shipment", "create", &second]);
    assert_eq!((field(&export(0), "order"), field(&export(1), "order")), (vec![second.clone()], vec![second]));
    assert_eq!((export(0).len(), export(1).len()), (0, 0));
}

#[test]
fn the_api_streams_the_same_rows_and_returns_the_next_cursor() {
    let supplier = Supplier::start(&[]);
    let clinic = supplier.clinic();
    let viewer = key(&supplier, "viewer");
    let numbers = ["1", "2", "3"].map(|id| place(&supplier, &clinic, id));
    let get = |query: &str| supplier.request("GET", format!("/staff/v1/exports/{query}")).bearer(&viewer).send();
    let first = get("orders?format=jsonl");
    assert_eq!((first.status, first.header("content-type")), (200, Some("application/jsonl")), "{}", first.text());
    let rows: Vec<String> = first.text().lines().map(str::to_owned).collect();
    assert_eq!(field(&rows, "supplier_order_number"), numbers);
    let command = lines(&supplier, &["order", "export", "--format", "jsonl"]);
    assert_eq!(rows, command);
    let next = |answer: &Response| answer.header("x-next-cursor").expect("a cursor").to_owned();
    supplier.run(["order", "hold", &numbers[1], "--reason", "wait"]);
    let second = get(&format!("orders?format=jsonl&since={}", next(&first)));
    let rows: Vec<String> = second.text().lines().map(str::to_owned).collect();
    assert_eq!(field(&rows, "supplier_order_number"), [numbers[1].clone()]);
    assert_eq!(get(&format!("orders?format=jsonl&since={}", next(&second))).text(), "");
    let csv = get("shipments");
    assert_eq!((csv.header("content-type"), csv.text().lines().count()), (Some("text/csv; charset=utf-8"), 1));
    assert_eq!(get("invoices").status, 200);
    for (query, parameter) in
        [("orders?format=xml", "format"), ("orders?since=x", "since"), ("orders?since=99999999", "since")]
    {
        let answer = get(query);
        assert_eq!(
            (answer.status, &answer.json()["errors"][0]["field"]),
            (400, &json!(parameter)),
            "{}",
            answer.text()
        );
    }
}

#[test]
fn a_large_export_arrives_whole_and_in_order() {
    const ORDERS: usize = 20_000;
    let supplier = Supplier::start(&[]);
    let clinic = supplier.clinic();
    let viewer = key(&supplier, "viewer");
    in_own_runtime(async || {
        let insert = "with placed as (
                 insert into purchase_order (clinic_id, ezyvet_id, supplier_order_number, purchase_order_number, state, is_return, body,
                     answer_status, answer_body, ownership_id, shipping_address_id, freight, freight_tax, tax, total, received_at, changed_at)
                 select $1, 'e' || n, 'X-' || n, '', 'accepted', false, '{}', 200, '{}', '1', '0', 0, 0, 0, 4, now(), now()
                 from generate_series(1, $2) n returning id)
             insert into purchase_order_line (order_id, position, ezyvet_id, product_id, supplier_code, outers, units_per_outer,
                 price_per_unit, tax_per_unit, quantity, total, total_tax, location_id)
             select id, 1, '9', '1', 'TP1', 1, 1, 4, 0, 1, 4, 0, '3' from placed";
        let clinic: i64 = clinic.id.parse().expect("an id");
        let mut connection = supplier.database.connect().await;
        sqlx::query(insert).bind(clinic).bind(ORDERS as i32).execute(&mut connection).await.expect("inserted");
    });
    let answer = supplier.request("GET", "/staff/v1/exports/orders?format=csv").bearer(&viewer).send();
    let text = answer.text();
    assert_eq!(text.lines().count(), ORDERS + 1);
    let ids: Vec<i64> =
        text.lines().skip(1).map(|row| row.split(',').next().expect("an id").parse().expect("a number")).collect();
    assert!(ids.is_sorted());
    assert_eq!(lines(&supplier, &["order", "export"]).join("\n"), text.trim_end());
}

const HEADER: &str = "order,item,quantity,batch,expiry,freight,invoice_number\n";

fn upload(supplier: &Supplier, key: &str, query: &str, file: &str) -> Response {
    let request = supplier.request("POST", format!("/staff/v1/shipments/import{query}"));
    request.bearer(key).header("content-type", "text/csv").body(file).send()
}

#[test]
fn a_file_of_shipments_is_imported_once_and_reports_all_errors() {
    let supplier = Supplier::start(&[]);
    let clinic = supplier.clinic();
    let warehouse = key(&supplier, "warehouse");
    let numbers = ["1", "2", "3"].map(|id| place(&supplier, &clinic, id));
    let [first, second, third] = &numbers;
    let wrong = format!("{HEADER}{first},9,x,,,,\n{second},8,1,,,,\nSO-NONE,9,1,,,,\n{third},9,5,,,,\n");
    let refused = upload(&supplier, &warehouse, "", &wrong);
    assert_eq!(refused.status, 422, "{}", refused.text());
    let errors = refused.json()["errors"].clone();
    let fields: Vec<&Value> = errors.as_array().expect("a list").iter().map(|error| &error["field"]).collect();
    assert_eq!(
        fields,
        [&json!("line 2, quantity"), &json!("line 3, item"), &json!("line 4, order"), &json!("line 5, quantity")]
    );
    assert_eq!(supplier.run(["shipment", "list"]), json!([]), "nothing is shipped");

    let good = format!("{HEADER}{first},9,1,B1,2028-01-31,5.50,\n{second},9,1,,,,INV-X\n");
    let dry = upload(&supplier, &warehouse, "?dry_run=true", &good).expect(200);
    assert_eq!((&dry["dry_run"], dry["shipments"].as_array().map(Vec::len)), (&json!(true), Some(2)));
    assert_eq!(supplier.run(["shipment", "list"]), json!([]));
    let done = upload(&supplier, &warehouse, "?name=monday.csv", &good).expect(200);
    assert_eq!(done["shipments"][1]["invoice_number"], json!("INV-X"));
    let again = upload(&supplier, &warehouse, "", &good);
    assert_eq!(again.status, 409, "{}", again.text());
    let detail = again.json()["detail"].as_str().expect("a text").to_owned();
    assert!(detail.contains("monday.csv") && detail.contains("key:warehouse"), "{detail}");
    // Nothing is outstanding, so even `again` ships nothing.
    assert_eq!(upload(&supplier, &warehouse, "?again=true", &good).status, 422);
    assert_eq!(supplier.run(["shipment", "list"]).as_array().map(Vec::len), Some(2));

    assert_eq!(upload(&supplier, &warehouse, "", "order,item\n").status, 422);
    assert_eq!(upload(&supplier, &warehouse, "", HEADER).status, 422, "no rows");
    let request = supplier.request("POST", "/staff/v1/shipments/import").bearer(&warehouse);
    assert_eq!(request.header("content-type", "application/json").body("{}").send().status, 415);
    let viewer = key(&supplier, "viewer");
    assert_eq!(upload(&supplier, &viewer, "", &good).status, 403);
}

#[test]
fn the_command_refuses_the_same_file_unless_told_again() {
    let supplier = Supplier::start(&[]);
    let clinic = supplier.clinic();
    let mut order = documented("1");
    let line = &mut order["purchaseorder"]["purchase_order_item_list"][0];
    (line["outers"], line["quantity"], line["total"]) = (json!("3"), json!("3"), json!("12"));
    let answer = supplier.order(&clinic, &order).expect(200);
    let number = answer["purchaseorder"]["supplier_order_number"].as_str().expect("a number");
    let content = format!("{HEADER}{number},9,1,,,,\n");
    let import = |name: &str, more: &[&str]| {
        let file = supplier.file(name, &content);
        let arguments = ["shipment", "import", text(&file)].into_iter().chain(more.iter().copied());
        supplier.spsi(arguments.collect::<Vec<_>>()).run()
    };
    assert_eq!(import("a.csv", &["--dry-run"]).code, Some(0));
    assert_eq!(import("a.csv", &[]).code, Some(0), "a dry run imports nothing");
    let refused = import("b.csv", &[]);
    assert_eq!(refused.code, Some(1), "the same content under another name");
    assert!(refused.stderr.contains("a.csv") && refused.stderr.contains("--again"), "{}", refused.stderr);
    assert_eq!(import("b.csv", &["--again"]).code, Some(0));
    assert_eq!(supplier.run(["shipment", "list"]).as_array().map(Vec::len), Some(2));
}

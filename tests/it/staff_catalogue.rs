//! `/staff/v1/products`, `/price-lists`, `/clinics/{id}/prices` and `/imports`: what an ERP does with the catalogue.

use crate::support::client::Response;
use crate::support::staff::Staff;
use crate::support::supplier::{Clinic, Options, SOON, Supplier};
use crate::support::until;
use serde_json::{Value, json};

const HEADER: &str = "code,name,type,category,units_per_outer,unit_of_measure,list_price";
const PRODUCTS: &str = "code,name,type,category,units_per_outer,unit_of_measure,list_price,barcode,stock_available\n\
                        A,Amoxicillin,medication,consumable,10,box,25,871,40\nB,Bandage,medication,consumable,1,box,2,,7\n\
                        C,Cannula,medication,consumable,1,box,3,,9\n";

/// Starts a supplier with three products, A, B and C.
fn supplier() -> Supplier {
    Supplier::with(Options { catalogue: Some(PRODUCTS), ..Options::default() })
}

/// Returns the products as clinics see them: `A 2.5 40`, with the price of a unit.
fn seen(supplier: &Supplier, clinic: &Clinic) -> Vec<String> {
    let body = supplier.get(clinic, "/products").expect(200);
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let product = |item: &Value| {
        format!("{} {} {}", text(&item["code"]), text(&item["list_price"]), text(&item["stock_available"]))
    };
    body["products"].as_array().unwrap_or_else(|| panic!("{body}")).iter().map(product).collect()
}

#[track_caller]
fn fields(response: &Response) -> Vec<(String, String)> {
    let body = response.expect(422);
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    body["errors"].as_array().expect("errors").iter().map(|e| (text(&e["field"]), text(&e["message"]))).collect()
}

fn export(supplier: &Supplier) -> String {
    let ended = supplier.spsi(["catalog", "export"]).run();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended.stdout
}

/// Uploads one file as `text/csv`.
fn upload(staff: &Staff<'_>, query: &str, content: &str) -> Response {
    staff.request("POST", &format!("/imports{query}")).header("content-type", "text/csv").body(content).send()
}

#[test]
fn a_product_is_put_shown_listed_and_reaches_the_clinics() {
    let supplier = supplier();
    let staff = supplier.staff("catalogue");
    let clinic = supplier.clinic();
    let new = json!({ "name": "Drip set", "type": "medication", "category": "fluids", "units_per_outer": "5",
        "unit_of_measure": "box", "list_price": "12.50", "stock_available": "3", "related_urls": ["https://d.example"] });
    let added = staff.put("/products/D", &new);
    let body = added.expect(201);
    assert_eq!(added.header("location"), Some("/staff/v1/products/D"));
    assert_eq!((&body["list_price"], &body["units_per_outer"]), (&json!("12.5"), &json!("5")));
    assert_eq!((&body["state"], &body["stock_available"]), (&json!("active"), &json!("3")));
    let shown = staff.get("/products/D");
    assert_eq!(shown.expect(200), body);
    assert_eq!(shown.header("etag"), added.header("etag"));
    until("the new product at the clinic", SOON, || (seen(&supplier, &clinic).len() == 4).then_some(()));

    let changed = staff.put("/products/D", &json!({ "list_price": null })).expect(200);
    assert_eq!(
        (&changed["state"], &changed["name"], &changed["barcode"]),
        (&json!("not_for_sale"), &json!("Drip set"), &json!(""))
    );
    let states: Vec<_> = ["active", "not_for_sale", "withdrawn"]
        .iter()
        .map(|state| staff.get(&format!("/products?state={state}")).expect(200)["data"].as_array().expect("data").len())
        .collect();
    assert_eq!(states, [3, 1, 0]);
    let first = staff.get("/products?limit=2&category=consumable").expect(200);
    let codes = |page: &Value| {
        let data = page["data"].as_array().expect("data").iter();
        data.map(|product| product["code"].as_str().expect("a code").to_owned()).collect::<Vec<_>>()
    };
    let mut found = codes(&first);
    // A product that is added in the meantime moves nothing.
    staff.put("/products/E", &json!({ "name": "e", "type": "t", "category": "consumable" })).expect(201);
    let cursor = first["next_cursor"].as_str().expect("a cursor");
    found.extend(codes(&staff.get(&format!("/products?limit=2&category=consumable&cursor={cursor}")).expect(200)));
    found.sort();
    assert_eq!(found, ["A", "B", "C"]);
    assert_eq!(codes(&staff.get("/products?limit=1").expect(200)), ["E"]);
    assert_eq!(codes(&staff.get("/products?text=banD").expect(200)), ["B"]);
    staff.get("/products/none").refused(404);
    staff.get("/products?state=gone").refused(400);
}

#[test]
fn a_change_based_on_an_old_version_is_refused() {
    let supplier = supplier();
    let staff = supplier.staff("catalogue");
    let old = staff.get("/products/A").header("etag").expect("a version").to_owned();
    let put = |version: &str, name: &str| {
        staff.request("PUT", "/products/A").header("if-match", version).json(&json!({ "name": name })).send()
    };
    let new = put(&old, "one").header("etag").expect("a version").to_owned();
    assert_ne!(old, new);
    put(&old, "two").refused(412);
    assert_eq!(staff.get("/products/A").expect(200)["name"], "one");
    staff.post("/products/stock", &json!({ "stock": [{ "code": "A", "change": "1" }] })).expect(200);
    put(&new, "three").expect(200);
    put("\"x\"", "new").refused(412);
    staff.request("PUT", "/products/new").header("if-match", "\"x\"").json(&json!({})).send().refused(412);
}

#[test]
fn a_bulk_upsert_changes_all_products_or_names_every_invalid_field() {
    let supplier = supplier();
    let staff = supplier.staff("catalogue");
    let before = export(&supplier);
    let bad = json!({ "products": [
        { "code": "A", "list_price": "-1", "tax_rate": "200" },
        { "code": "N", "name": "New" },
        { "name": "no code" },
        { "code": "A", "barcode": "8.71E+12" },
    ] });
    let found: Vec<_> = fields(&staff.post("/products/bulk", &bad)).into_iter().map(|(field, _)| field).collect();
    let expected = [
        "products[0].list_price",
        "products[0].tax_rate",
        "products[1].category",
        "products[1].type",
        "products[2].code",
        "products[3].barcode",
        "products[3].code",
    ];
    assert_eq!(found, expected);
    let typed =
        json!({ "products": [{ "code": "A", "list_price": 5, "colour": "red" }, { "code": "B", "active": "yes" }] });
    let mut found: Vec<_> = fields(&staff.post("/products/bulk", &typed)).into_iter().map(|(field, _)| field).collect();
    found.sort();
    assert_eq!(found, ["products[0].colour", "products[0].list_price", "products[1].active"]);
    staff.post("/products/bulk", &json!({ "products": [] })).refused(422);
    assert_eq!(export(&supplier), before);
    let good = json!({ "products": [
        { "code": "A", "list_price": "30" },
        { "code": "B", "active": false },
        { "code": "C" },
        { "code": "N", "name": "New", "type": "t", "category": "c", "units_per_outer": "1", "list_price": "4" },
    ] });
    let done = staff.post("/products/bulk", &good).expect(200);
    assert_eq!(done, json!({ "new": 1, "changed": 1, "unchanged": 1, "withdrawn": 1, "relisted": 0 }));
    let expected = "A,Amoxicillin,medication,consumable,10,box,30,871,40,1,,,,\nB,Bandage,medication,consumable,1,box,2,,7,0,,,,\n\
                    C,Cannula,medication,consumable,1,box,3,,9,1,,,,\nN,New,t,c,1,,4,,0,1,,,,\n";
    assert_eq!(export(&supplier).split_once('\n').expect("a header").1, expected);
    let audit = supplier.run(["audit", "list"]);
    assert_eq!(audit[0]["action"], "product.upsert");
    assert_eq!(audit[0]["actor"], format!("key:{}", staff.name));
}

#[test]
fn stock_reaches_the_clinics_and_a_repeated_request_counts_once() {
    let supplier = supplier();
    let staff = supplier.staff("catalogue");
    let clinic = supplier.clinic();
    let change = json!({ "stock": [{ "code": "A", "change": "-3" }, { "code": "B", "stock_available": "100" }] });
    let post = || staff.request("POST", "/products/stock").header("idempotency-key", "k1").json(&change).send();
    let first = post();
    assert_eq!(
        first.expect(200)["data"],
        json!([{ "code": "A", "stock_available": "37", "stock_reserved": "0" },
               { "code": "B", "stock_available": "100", "stock_reserved": "0" }])
    );
    let again = post();
    assert_eq!((again.expect(200), again.header("idempotent-replayed")), (first.expect(200), Some("true")));
    let expected = ["A 2.5 37", "B 2 100", "C 3 9"];
    until("the new stock at the clinic", SOON, || (seen(&supplier, &clinic) == expected).then_some(()));
    let bad = json!({ "stock": [{ "code": "A", "change": "-38" }, { "code": "X", "stock_available": "1" }, { "code": "C" }] });
    let found = fields(&staff.post("/products/stock", &bad));
    assert_eq!(found[0], ("stock[0].change".into(), "exceeds the stock on hand, 37".into()));
    let found: Vec<_> = found.into_iter().map(|(field, _)| field).collect();
    assert_eq!(found, ["stock[0].change", "stock[1].code", "stock[2].stock_available"]);
    assert_eq!(staff.get("/products/A").expect(200)["stock_available"], "37");
}

#[test]
fn a_product_is_withdrawn_once_and_relisted_once() {
    let supplier = supplier();
    let staff = supplier.staff("catalogue");
    assert!(staff.post("/products/A/relist", &json!({})).refused(409).0.contains("active"));
    assert_eq!(staff.post("/products/A/withdraw", &json!({})).expect(200)["state"], "withdrawn");
    assert!(staff.post("/products/A/withdraw", &json!({})).refused(409).0.contains("withdrawn"));
    assert_eq!(staff.post("/products/A/relist", &json!({})).expect(200)["state"], "active");
    staff.post("/products/X/withdraw", &json!({})).refused(404);
}

#[test]
fn contract_prices_of_lists_and_clinics_are_set_listed_and_deleted() {
    let supplier = supplier();
    let staff = supplier.staff("catalogue");
    let clinic = supplier.clinic_with(&["price_list=gold"]);
    let own = format!("/clinics/{}/prices", clinic.id);
    let prices = json!({ "prices": [{ "code": "A", "contract_price": "20" },
        { "code": "B", "contract_price": "1.50", "valid_from": "2020-01-01", "valid_until": "2099-12-31" }] });
    let done = staff.put("/price-lists/gold/prices", &prices).expect(200);
    assert_eq!(done, json!({ "new": 2, "changed": 0, "unchanged": 0, "removed": 0 }));
    staff.put(&own, &json!({ "prices": [{ "code": "C", "contract_price": "2" }] })).expect(200);
    assert_eq!(
        staff.get("/price-lists/gold").expect(200),
        json!({ "id": staff.get("/price-lists").expect(200)["data"][0]["id"], "name": "gold", "prices": 2, "clinics": 1 })
    );
    let first = staff.get("/price-lists/gold/prices?limit=1").expect(200);
    assert_eq!(
        first["data"],
        json!([{ "code": "A", "name": "Amoxicillin", "contract_price": "20", "valid_from": null, "valid_until": null }])
    );
    let cursor = first["next_cursor"].as_str().expect("a cursor");
    let second = staff.get(&format!("/price-lists/gold/prices?limit=1&cursor={cursor}")).expect(200);
    assert_eq!((&second["data"][0]["code"], &second["data"][0]["valid_from"]), (&json!("B"), &json!("2020-01-01")));
    assert_eq!(staff.get(&own).expect(200)["data"][0]["contract_price"], "2");
    let contract = |code: &str| supplier.product(&clinic, code).expect("the product")["contract_price"].clone();
    until("the contract prices at the clinic", SOON, || (contract("B") == 1.5 && contract("A") == 2).then_some(()));
    assert_eq!(contract("C"), 2);
    let bad = json!({ "prices": [{ "code": "A", "contract_price": "1" }, { "code": "A" }, { "code": "X", "contract_price": "-1" },
        { "code": "B", "contract_price": "1", "valid_from": "2021-01-01", "valid_until": "2020-01-01" }] });
    let found: Vec<_> =
        fields(&staff.put("/price-lists/gold/prices", &bad)).into_iter().map(|(field, _)| field).collect();
    assert_eq!(found, ["prices[1].code", "prices[2].code", "prices[2].contract_price", "prices[3].valid_until"]);
    assert!(staff.delete("/price-lists/gold").refused(409).0.contains("1 clinics use"));
    assert_eq!(staff.delete("/price-lists/gold/prices/B?valid_from=2020-01-01").expect(200)["removed"], 1);
    staff.delete("/price-lists/gold/prices/B").refused(404);
    staff.delete("/price-lists/none/prices/B").refused(404);
    assert_eq!(staff.delete(&format!("{own}/C")).expect(200)["removed"], 1);
    supplier.run(["clinic", "set", &clinic.id, "price_list="]);
    assert_eq!(staff.delete("/price-lists/gold").status, 204);
    staff.get("/price-lists/gold").refused(404);
    staff.get("/clinics/none/prices").refused(404);
    staff.get("/price-lists/none/prices").refused(404);
}

#[test]
fn an_upload_is_shown_applied_and_rolled_back() {
    let supplier = supplier();
    let staff = supplier.staff("catalogue");
    let clinic = supplier.clinic();
    let before = export(&supplier);
    let file = format!(
        "{HEADER}\nA,Amoxicillin,medication,consumable,10,box,30\nC,Cannula,medication,consumable,1,box,3\nN,New,t,c,1,box,9\n"
    );
    let uploaded = upload(&staff, "?name=march.csv", &file);
    let import = uploaded.expect(201);
    let path = format!("/imports/{}", import["id"]);
    assert_eq!(uploaded.header("location"), Some(format!("/staff/v1{path}").as_str()));
    assert_eq!((&import["state"], &import["file"]), (&json!("checked"), &json!("march.csv")));
    assert_eq!((&import["new"], &import["changed"], &import["withdrawn"]), (&json!(1), &json!(1), &json!(1)));
    assert_eq!(import["needs_allow_withdrawals"], true);
    assert_eq!(export(&supplier), before);
    let changes = staff.get(&format!("{path}/changes?limit=2")).expect(200);
    assert_eq!(
        changes["data"],
        json!([
            { "code": "A", "change": "changed", "clinic": null, "price_list": null, "valid_from": null,
              "fields": [{ "field": "list_price", "before": "25", "after": "30" }] },
            { "code": "B", "change": "withdrawn", "clinic": null, "price_list": null, "valid_from": null,
              "fields": [{ "field": "active", "before": "1", "after": "0" }] },
        ])
    );
    let cursor = changes["next_cursor"].as_str().expect("a cursor");
    let rest = staff.get(&format!("{path}/changes?limit=2&cursor={cursor}")).expect(200);
    assert_eq!((&rest["data"][0]["code"], &rest["data"][0]["change"]), (&json!("N"), &json!("new")));
    assert!(rest["next_cursor"].is_null());

    assert!(staff.post(&format!("{path}/apply"), &json!({})).refused(409).0.contains("off sale"));
    assert_eq!(staff.get(&path).expect(200)["state"], "checked");
    staff.put("/products/C", &json!({ "name": "Cannula, blue" })).expect(200);
    let permitted = json!({ "allow_withdrawals": true });
    assert!(staff.post(&format!("{path}/apply"), &permitted).refused(409).0.contains("has changed since"));
    let old_version = staff.get(&path).header("etag").expect("a version").to_owned();
    assert_eq!(staff.post(&format!("{path}/check"), &json!({})).expect(200)["changed"], 2);
    let apply = |version: &str| {
        staff.request("POST", &format!("{path}/apply")).header("if-match", version).json(&permitted).send()
    };
    apply(&old_version).refused(412);
    let version = staff.get(&path).header("etag").expect("a version").to_owned();
    assert_eq!(apply(&version).expect(200)["state"], "applied");
    assert!(staff.post(&format!("{path}/apply"), &permitted).refused(409).0.contains("applied"));
    staff.post(&format!("{path}/check"), &json!({})).refused(409);
    until("the new price at the clinic", SOON, || {
        seen(&supplier, &clinic).contains(&"A 3 40".to_owned()).then_some(())
    });

    let done = staff.post(&format!("{path}/roll-back"), &json!({})).expect(200);
    assert_eq!(done["state"], "rolled_back");
    assert_eq!(done["roll_back"], json!({ "restored": 3, "deleted": 1, "withdrawn": 0, "prices": 0 }));
    assert_eq!(
        export(&supplier),
        before.replace("Cannula", "Cannula, blue").replace("Cannula, blue,", "\"Cannula, blue\",")
    );
    assert!(staff.post(&format!("{path}/roll-back"), &json!({})).refused(409).0.contains("rolled_back"));
    let list = staff.get("/imports?limit=1").expect(200);
    assert_eq!((&list["data"][0]["id"], list["next_cursor"].is_string()), (&import["id"], true));
    staff.get("/imports/99").refused(404);
    staff.get("/imports/x").refused(404);
    staff.post("/imports/99/apply", &json!({})).refused(404);
    staff.post("/imports/99/roll-back", &json!({})).refused(404);
}

#[test]
fn an_ordered_product_is_withdrawn_by_a_roll_back() {
    let supplier = supplier();
    let staff = supplier.staff("catalogue");
    let clinic = supplier.clinic();
    let import = upload(&staff, "", &format!("{PRODUCTS}N,New,t,c,1,box,9,,5\n")).expect(201);
    staff.post(&format!("/imports/{}/apply", import["id"]), &json!({})).expect(200);
    until("the new product at the clinic", SOON, || (seen(&supplier, &clinic).len() == 4).then_some(()));
    supplier
        .order(&clinic, &crate::support::order::with("77", "/purchase_order_item_list/0/supplier_code", json!("N")))
        .expect(200);
    let done = staff.post(&format!("/imports/{}/roll-back", import["id"]), &json!({})).expect(200);
    assert_eq!(done["roll_back"], json!({ "restored": 0, "deleted": 0, "withdrawn": 1, "prices": 0 }));
    assert_eq!(staff.get("/products/N").expect(200)["state"], "withdrawn");
}

#[test]
fn a_refused_upload_names_every_error_of_every_file() {
    let supplier = supplier();
    let staff = supplier.staff("catalogue");
    let form = format!(
        "--x\r\nContent-Disposition: form-data; name=\"products\"; filename=\"p.csv\"\r\n\r\n{HEADER}\nA,a,t,c,0,box,x\n\r\n\
         --x\r\nContent-Disposition: form-data; name=\"prices\"; filename=\"q.csv\"\r\n\r\nclinic,code,contract_price\nnobody,Z,1\n\r\n\
         --x--\r\n"
    );
    let send = |form: &str| {
        staff.request("POST", "/imports").header("content-type", "multipart/form-data; boundary=x").body(form).send()
    };
    let found: Vec<_> = fields(&send(&form)).into_iter().map(|(field, _)| field).collect();
    assert_eq!(found, ["p.csv[2].list_price", "p.csv[2].units_per_outer", "q.csv[2].clinic", "q.csv[2].code"]);
    let options = "--x\r\nContent-Disposition: form-data; name=\"kind\"\r\n\r\nall\r\n\
                   --x\r\nContent-Disposition: form-data; name=\"colour\"\r\n\r\nred\r\n--x--\r\n";
    let mut found: Vec<_> = fields(&send(options)).into_iter().map(|(field, _)| field).collect();
    found.sort();
    assert_eq!(found, ["colour", "kind"]);
    let found = fields(&upload(&staff, "?decimal=dot&encoding=ebcdic", PRODUCTS));
    assert_eq!(found.iter().map(|(field, _)| field.as_str()).collect::<Vec<_>>(), ["encoding", "decimal"]);
    assert_eq!(fields(&upload(&staff, "", "code,name\nA,a\n"))[0].0, "products.csv[1]");
    send("--x--\r\n").refused(422);
    upload(&staff, "?colour=red", PRODUCTS).refused(400);
    staff.request("POST", "/imports").header("content-type", "application/pdf").body("x").send().refused(415);
    assert_eq!(staff.get("/imports").expect(200)["data"].as_array().expect("data").len(), 1);
    let stock = upload(&staff, "?kind=stock&name=stock.csv", "code;stock_available\nA;12,5\n").expect(201);
    let applied = staff.post(&format!("/imports/{}/apply", stock["id"]), &json!({})).expect(200);
    assert_eq!((&applied["changed"], &applied["withdrawn"]), (&json!(1), &json!(0)));
    assert_eq!(staff.get("/products/A").expect(200)["stock_available"], "12.5");
}

#[test]
fn a_file_above_the_limit_is_refused() {
    let settings = [("SPSI_MAX_UPLOAD_BYTES", "2048")];
    let supplier = Supplier::with(Options { catalogue: Some(PRODUCTS), settings: &settings, ..Options::default() });
    let staff = supplier.staff("catalogue");
    upload(&staff, "", &format!("{PRODUCTS}{}", " ".repeat(2048))).refused(413);
}

#[test]
fn the_roles_of_the_catalogue_are_enforced() {
    let supplier = supplier();
    let viewer = supplier.staff("viewer");
    for path in ["/products", "/products/A", "/price-lists", "/imports", "/imports/1", "/imports/1/changes"] {
        viewer.get(path).expect(200);
    }
    for (method, path) in [
        ("PUT", "/products/A"),
        ("POST", "/products/bulk"),
        ("POST", "/products/stock"),
        ("POST", "/products/A/withdraw"),
        ("POST", "/products/A/relist"),
        ("PUT", "/price-lists/gold/prices"),
        ("DELETE", "/price-lists/gold"),
        ("PUT", "/clinics/1/prices"),
        ("POST", "/imports"),
        ("POST", "/imports/1/check"),
        ("POST", "/imports/1/apply"),
        ("POST", "/imports/1/roll-back"),
    ] {
        for role in ["viewer", "warehouse"] {
            let detail = supplier.staff(role).send(method, path, &json!({})).refused(403).0;
            assert!(detail.contains("catalogue"), "{method} {path}: {detail}");
        }
    }
    assert_eq!(supplier.request("GET", "/staff/v1/products").send().status, 401);
}

#[test]
fn the_command_line_lists_imports_and_rolls_the_last_one_back() {
    let supplier = supplier();
    let before = export(&supplier);
    assert_eq!(supplier.import(&format!("{HEADER}\nA,a,t,c,1,box,1\n")).code, Some(0));
    let imports = supplier.run(["catalog", "imports"]);
    assert_eq!((&imports[0]["state"], &imports[0]["withdrawn"]), (&json!("applied"), &json!(2)));
    let (last, first) = (imports[0]["id"].to_string(), imports[1]["id"].to_string());
    let ended = supplier.spsi(["catalog", "roll-back", &first]).run();
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("was applied after") && ended.stderr.contains("hint:"), "{}", ended.stderr);
    assert_eq!(supplier.run(["catalog", "roll-back", &last])["state"], "rolled_back");
    assert_eq!(export(&supplier), before);
    // After the roll-back of the only import there is no catalogue again, and no clinic is sent an empty list.
    let clinic = supplier.clinic();
    supplier.run(["catalog", "roll-back", &first]);
    until("no catalogue", SOON, || (supplier.get(&clinic, "/products").status == 503).then_some(()));
}

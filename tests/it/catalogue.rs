//! `GET /categories` and `GET /products` over the wire: fields, visibility, prices, HTTP (SPSI.md 1 and 5; DESIGN.md 2.2, 2.3
//! and 3). `catalogue_queries` tests the query parameters.

use crate::support::client::{Request, Response};
use crate::support::supplier::{CATALOGUE, Options, SOON, Supplier};
use crate::support::until;
use serde_json::{Value, json};
use std::io::Read;

/// The codes of [`CATALOGUE`] that a clinic without the licence for restricted products sees, in byte order.
pub const VISIBLE: [&str; 11] = ["AMX", "BND", "BND-1", "CAFE", "DEC", "OLD", "THIRD", "TP1", "VAC", "WATER", "[X]"];

#[test]
fn a_product_has_the_documented_fields_and_types() {
    let supplier = Supplier::shared();
    let clinic = supplier.clinic();
    let answer = supplier.get(&clinic, "/products?code=BND");
    assert!(answer.header("content-type").is_some_and(|media| media.starts_with("application/json")));
    let bandage = json!({"active": 1, "code": "BND", "name": "2m-bandage", "type": "medication", "category": "consumable",
        "units_per_outer": "1", "unit_of_measure": "box", "price_per_unit": "2", "list_price": 2, "contract_price": 2,
        "barcode": 6587, "stock_available": 20, "related_urls": ["https://example.com/bandage"]});
    let body = answer.expect(200);
    assert_eq!(body["products"][0], bandage);
    assert_eq!(body.as_object().expect("an object").len(), 1, "no envelope: {body}");
    let keys: Vec<&String> = body["products"][0].as_object().expect("an object").keys().collect();
    assert_eq!(keys, bandage.as_object().expect("an object").keys().collect::<Vec<_>>(), "in the documented order");
}

#[test]
fn decimals_have_no_trailing_zeros_and_prices_are_per_unit() {
    let supplier = Supplier::shared();
    let clinic = supplier.clinic();
    let text = supplier.get(&clinic, "/products").text();
    let of = |code: &str| {
        let start = text.find(&format!("\"code\":\"{code}\"")).unwrap_or_else(|| panic!("{code}: {text}"));
        &text[start..start + text[start..].find('}').expect("an end")]
    };
    let amoxicillin = of("AMX");
    assert!(
        amoxicillin.contains("\"price_per_unit\":\"2.5\",\"list_price\":2.5,\"contract_price\":2.5,"),
        "{amoxicillin}"
    );
    assert!(amoxicillin.contains("\"units_per_outer\":\"10\""), "{amoxicillin}");
    let powder = of("DEC");
    assert!(powder.contains("\"units_per_outer\":\"2.5\""), "{powder}");
    assert!(powder.contains("\"price_per_unit\":\"4\",\"list_price\":4,"), "{powder}");
    assert!(powder.contains("\"stock_available\":1.5,"), "{powder}");
    let third = of("THIRD");
    assert!(third.contains("\"price_per_unit\":\"3.3333"), "at least four decimals: {third}");
}

#[test]
fn a_barcode_is_a_json_number_only_if_no_digit_is_lost() {
    let supplier = Supplier::shared();
    let (clinic, strings) = (supplier.clinic(), supplier.clinic_with(&["barcode=string"]));
    let barcode = |clinic, code| supplier.product(clinic, code).expect(code)["barcode"].clone();
    for (code, expected) in [
        ("BND", json!(6587)),
        ("AMX", json!("09876543210987")),
        ("TP1", json!("99999999999999999")),
        ("CAFE", json!("")),
    ] {
        assert_eq!(barcode(&clinic, code), expected, "{code}");
    }
    assert_eq!(barcode(&strings, "BND"), json!("6587"));
    assert_eq!(
        supplier.product(&clinic, "CAFE").expect("CAFE")["stock_available"],
        json!(0),
        "unknown stock is sent as 0"
    );
}

#[test]
fn a_product_without_a_price_is_not_listed_and_a_withdrawn_one_is_listed_as_inactive() {
    let supplier = Supplier::shared();
    let clinic = supplier.clinic();
    assert_eq!(supplier.codes(&clinic, "/products"), VISIBLE);
    assert_eq!(supplier.product(&clinic, "OLD").expect("OLD")["active"], 0);
    let strict = supplier.clinic_with(&["withdrawn_for=0s"]);
    assert!(!supplier.codes(&strict, "/products").contains(&"OLD".to_owned()));
}

#[test]
fn a_clinic_gets_each_category_of_its_visible_products_once_in_byte_order() {
    let supplier = Supplier::shared();
    let clinic = supplier.clinic();
    let body = supplier.get(&clinic, "/categories").expect(200);
    let expected = json!({"categories": ["Diät", "FLUIDS, IV", "POWDER", "TABLET", "VACCINE", "consumable"]});
    assert_eq!(body, expected, "CONTROLLED needs the licence");
    let licensed = supplier.clinic_with(&["restricted_licence=true", "hidden_categories=consumable,TABLET"]);
    let body = supplier.get(&licensed, "/categories").expect(200);
    assert_eq!(body, json!({"categories": ["CONTROLLED", "Diät", "FLUIDS, IV", "POWDER", "VACCINE"]}));
}

#[test]
fn a_contract_price_holds_within_its_dates_and_the_clinics_own_overrides_its_price_list() {
    let supplier = Supplier::start(&[]);
    let (member, other) = (supplier.clinic(), supplier.clinic());
    let own = format!(
        "clinic,code,contract_price,valid_from,valid_until\n\
         {0},BND,1.9,2000-01-01,2000-12-31\n{0},BND,1.8,2001-01-01,2999-12-31\n{0},BND,1.7,3000-01-01,\n\
         {0},TP1,3,2000-01-01,2000-12-31\n{0},VAC,90,3000-01-01,\n",
        member.client_id
    );
    let list = "price_list,code,contract_price,valid_from,valid_until\ngold,BND,1.5,,\ngold,TP1,3.5,2001-01-01,\ngold,WATER,4,,2000-12-31\n";
    for (name, content) in [("list.csv", list), ("own.csv", own.as_str())] {
        let file = supplier.file(name, content);
        supplier.run(["catalog", "import", "--prices", file.to_str().expect("UTF-8")]);
    }
    for clinic in [&member, &other] {
        supplier.run(["clinic", "set", &clinic.id, "price_list=gold"]);
    }
    let price = |clinic, code| supplier.product(clinic, code).map(|product| product["contract_price"].clone());
    until("the prices are visible", SOON, || (price(&other, "BND") == Some(json!(1.5))).then_some(()));
    until("the clinic's own price is visible", SOON, || (price(&member, "BND") == Some(json!(1.8))).then_some(()));
    assert_eq!(price(&member, "TP1"), Some(json!(3.5)), "its own price has ended; the price list's applies");
    assert_eq!(price(&member, "VAC"), Some(json!(4)), "its own price has not begun; the list price of a dose applies");
    assert_eq!(price(&other, "WATER"), Some(json!(5)), "the price list's price has ended");
}

#[test]
fn a_clinic_never_sees_the_prices_or_visibility_of_another() {
    let supplier = Supplier::start(&[]);
    let (gold, plain) = (supplier.clinic(), supplier.clinic());
    let prices = format!("clinic,code,contract_price\n{},BND,1.25\n{},AMX,20\n", gold.client_id, gold.id);
    let file = supplier.file("prices.csv", prices);
    supplier.run(["catalog", "import", "--prices", file.to_str().expect("UTF-8")]);
    supplier.run(["clinic", "set", &gold.id, "hidden_products=VAC", "restricted_licence=true"]);
    supplier.run(["clinic", "set", &plain.id, "hidden_categories=TABLET"]);
    let price = |clinic, code| supplier.product(clinic, code).map(|product| product["contract_price"].clone());
    until("the prices are visible", SOON, || (price(&gold, "BND") == Some(json!(1.25))).then_some(()));
    assert_eq!(price(&gold, "AMX"), Some(json!(2)), "20 an outer of ten");
    assert_eq!(price(&plain, "BND"), Some(json!(2)), "the list price");
    until("the new visibility applies", SOON, || supplier.product(&gold, "VAC").is_none().then_some(()));
    assert!(supplier.product(&gold, "KET").is_some());
    until("the new visibility applies", SOON, || supplier.product(&plain, "AMX").is_none().then_some(()));
    assert!(supplier.product(&plain, "KET").is_none());
    assert!(supplier.product(&plain, "VAC").is_some());
    assert_eq!(supplier.codes(&plain, "/products?code=KET"), Vec::<String>::new(), "a search does not show it either");
    let tag = |clinic| supplier.get(clinic, "/products").header("etag").expect("an ETag").to_owned();
    let asked = supplier.request("GET", "/products").bearer(&plain.token).header("if-none-match", &tag(&gold)).send();
    assert_eq!(asked.status, 200, "another clinic's ETag does not match");
}

#[test]
fn the_clinics_settings_choose_the_price_basis_and_the_form_of_a_missing_contract_price() {
    let supplier = Supplier::shared();
    let amoxicillin = |settings: &[&str]| supplier.product(&supplier.clinic_with(settings), "AMX").expect("AMX");
    let outer = amoxicillin(&["price_basis=outer"]);
    assert_eq!((&outer["list_price"], &outer["contract_price"]), (&json!(25), &json!(25)));
    assert_eq!(outer["price_per_unit"], "2.5", "always per unit");
    assert_eq!(amoxicillin(&["missing_contract_price=null"])["contract_price"], Value::Null);
    let omitted = amoxicillin(&["missing_contract_price=omit"]);
    assert!(!omitted.as_object().expect("an object").contains_key("contract_price"));
    assert_eq!(amoxicillin(&["missing_contract_price=list"])["contract_price"], json!(2.5));
}

#[test]
fn an_etag_answers_304_until_the_clinics_answer_changes() {
    let supplier = Supplier::shared();
    let clinic = supplier.clinic();
    for target in ["/products", "/products?limit=[2]", "/categories"] {
        let first = supplier.get(&clinic, target);
        let tag = first.header("etag").expect("an ETag");
        assert_eq!(first.header("cache-control"), Some("private"));
        let vary = first.header("vary").expect("vary").to_ascii_lowercase();
        assert!(vary.contains("authorization") && vary.contains("accept-encoding"), "{vary}");
        let ask =
            |tags: &str| supplier.request("GET", target).bearer(&clinic.token).header("if-none-match", tags).send();
        for tags in [tag.to_owned(), format!("\"other\", {tag}"), tag.trim_start_matches("W/").to_owned(), "*".into()] {
            let again = ask(&tags);
            assert_eq!((again.status, again.body.len()), (304, 0), "{target} {tags}");
            assert_eq!(again.header("etag"), Some(tag));
        }
        assert_eq!(ask("\"other\"").status, 200);
        supplier.run([
            "clinic",
            "set",
            &clinic.id,
            if target == "/categories" { "hidden_categories=TABLET" } else { "barcode=string" },
        ]);
        until("the change is visible", SOON, || (ask(tag).status == 200).then_some(()));
        supplier.run(["clinic", "set", &clinic.id, "barcode=", "hidden_categories="]);
        until("the first state is visible again", SOON, || (ask(tag).status == 304).then_some(()));
    }
}

#[test]
fn head_answers_as_get_without_a_body() {
    let supplier = Supplier::shared();
    let clinic = supplier.clinic();
    for target in ["/products", "/categories", "/products?limit=[1]"] {
        let head = supplier.request("HEAD", target).bearer(&clinic.token).send();
        let get = supplier.get(&clinic, target);
        assert_eq!((head.status, head.body.len()), (200, 0));
        assert_eq!(head.header("etag"), get.header("etag"));
        assert_eq!(head.header("content-length").expect("a length"), get.body.len().to_string(), "{target}");
    }
}

#[test]
fn a_whole_catalogue_has_a_content_length_so_that_clients_notice_a_truncated_answer() {
    let rows: String = (0..3_000).map(|i| format!("P{i:05},Product {i},t,c,1,box,{i}.25\n")).collect();
    let catalogue = format!("code,name,type,category,units_per_outer,unit_of_measure,list_price\n{rows}");
    let supplier = Supplier::with(Options { catalogue: Some(&catalogue), ..Options::default() });
    let clinic = supplier.clinic();
    let whole = supplier.get(&clinic, "/products");
    assert_eq!(whole.header("content-length").expect("a length"), whole.body.len().to_string());
    assert!(whole.body.len() > 300_000, "longer than one write");
    assert_eq!(whole.expect(200)["products"].as_array().expect("products").len(), 3_000);
    let compressed =
        supplier.request("GET", "/products").bearer(&clinic.token).header("accept-encoding", "gzip").send();
    assert_eq!(decompressed(&compressed), whole.body);
    assert!(compressed.body.len() * 5 < whole.body.len(), "{} of {}", compressed.body.len(), whole.body.len());
    let head = supplier.request("HEAD", "/products").bearer(&clinic.token).header("accept-encoding", "gzip").send();
    assert_eq!((head.status, head.body.len(), head.header("content-encoding")), (200, 0, Some("gzip")));
}

fn decompressed(answer: &Response) -> Vec<u8> {
    let compressed = answer.body.as_slice();
    let mut reader: Box<dyn Read> = match answer.header("content-encoding") {
        Some("gzip") => Box::new(flate2::read::GzDecoder::new(compressed)),
        Some("br") => Box::new(brotli::Decompressor::new(compressed, 4096)),
        Some("zstd") => Box::new(zstd::Decoder::new(compressed).expect("zstd")),
        other => panic!("content-encoding: {other:?}"),
    };
    let mut plain = Vec::new();
    reader.read_to_end(&mut plain).expect("a complete body");
    plain
}

#[test]
fn answers_are_compressed_with_the_coding_that_the_client_prefers() {
    let supplier = Supplier::shared();
    let clinic = supplier.clinic();
    let plain = supplier.get(&clinic, "/products");
    assert_eq!(plain.header("content-encoding"), None);
    let ask = |accepted: &str| {
        supplier.request("GET", "/products").bearer(&clinic.token).header("accept-encoding", accepted).send()
    };
    for (accepted, coding) in [
        ("gzip", "gzip"),
        ("br", "br"),
        ("zstd", "zstd"),
        ("gzip;q=0.5, br", "br"),
        ("gzip, deflate", "gzip"),
        ("br;q=0.5, zstd, gzip", "gzip"),
        ("gzip;q=0, br", "br"),
    ] {
        let compressed = ask(accepted);
        assert_eq!((compressed.status, compressed.header("content-encoding")), (200, Some(coding)), "{accepted}");
        assert_eq!(decompressed(&compressed), plain.body, "{accepted}");
        let vary = compressed.header("vary").expect("vary").to_ascii_lowercase();
        assert!(vary.contains("accept-encoding") && vary.contains("authorization"), "{vary}");
    }
    for accepted in ["identity", "", "x-unknown, identity", "gzip;q=0"] {
        assert_eq!(ask(accepted).body, plain.body, "{accepted}");
    }
}

#[test]
fn an_unsupported_method_is_refused_with_the_supported_ones() {
    let supplier = Supplier::shared();
    let clinic = supplier.clinic();
    for (method, target, allowed) in [
        ("POST", "/products", "GET, HEAD"),
        ("DELETE", "/categories", "GET, HEAD"),
        ("GET", "/accesstoken", "POST"),
        ("PUT", "/purchaseorder", "POST"),
    ] {
        let answer = supplier.request(method, target).bearer(&clinic.token).send();
        answer.problem(405);
        assert_eq!(answer.header("allow"), Some(allowed), "{method} {target}");
    }
}

#[test]
fn an_unknown_route_is_answered_404_in_ezyvets_envelope() {
    let supplier = Supplier::shared();
    for target in ["/nothing", "/products/", "/Products", "/products/BND", "/%00", "/..", "//products"] {
        let answer = supplier.request("GET", target).send();
        answer.problem(404);
    }
}

#[test]
fn every_answer_carries_the_clients_request_id_or_a_new_one() {
    let supplier = Supplier::shared();
    let clinic = supplier.clinic();
    for target in ["/products", "/nothing", "/healthz", "/products?limit=x"] {
        let answer = supplier.request("GET", target).bearer(&clinic.token).header("x-request-id", "abc-123").send();
        assert_eq!(answer.header("x-request-id"), Some("abc-123"), "{target}");
    }
    let generated = |answer: Response| answer.header("x-request-id").expect("an id").to_owned();
    let (one, other) = (generated(supplier.get(&clinic, "/products")), generated(supplier.get(&clinic, "/products")));
    assert!(one != other && !one.is_empty());
    let unsafe_id =
        supplier.request("GET", "/products").bearer(&clinic.token).header("x-request-id", "a b\u{1}").send();
    assert_ne!(unsafe_id.header("x-request-id"), Some("a b\u{1}"));
}

#[test]
fn an_import_is_visible_on_every_replica_within_seconds() {
    let supplier = Supplier::start(&[]);
    let replica = supplier.replica();
    let clinic = supplier.clinic();
    let count = |url: &str| {
        let body = Request::new("GET", url, "/products?code=NEW-1").bearer(&clinic.token).send().expect(200);
        body["products"].as_array().expect("products").len()
    };
    until("the replica knows the clinic", SOON, || {
        (Request::new("GET", replica.url(), "/products").bearer(&clinic.token).send().status == 200).then_some(())
    });
    assert_eq!((count(supplier.url()), count(replica.url())), (0, 0));
    let ended = supplier.import(&format!("{CATALOGUE}NEW-1,New,medication,consumable,1,box,1,,,1,,0\n"));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    for url in [supplier.url(), replica.url()] {
        until("the new product is visible", SOON, || (count(url) == 1).then_some(()));
    }
    assert_eq!(supplier.import(CATALOGUE).code, Some(0));
    for url in [supplier.url(), replica.url()] {
        until("the product that the file lacks is withdrawn", SOON, || {
            let body = Request::new("GET", url, "/products?code=NEW-1").bearer(&clinic.token).send().expect(200);
            (body["products"][0]["active"] == 0).then_some(())
        });
    }
}

#[test]
fn a_catalogue_that_was_never_imported_is_answered_503_instead_of_an_empty_list() {
    let supplier = Supplier::with(Options::default());
    let clinic = supplier.clinic();
    for target in ["/products", "/categories", "/products?limit=[1]"] {
        let answer = supplier.get(&clinic, target);
        assert_eq!(answer.status, 503, "{target} {}", answer.text());
        assert!(answer.header("retry-after").is_some_and(|seconds| seconds.parse::<u32>().is_ok()), "{target}");
    }
    supplier.get(&clinic, "/products").problem(503);
    assert_eq!(supplier.get(&clinic, "/healthz").status, 200);
    assert_eq!(supplier.import(CATALOGUE).code, Some(0));
    until("the catalogue is visible", SOON, || (supplier.get(&clinic, "/products").status == 200).then_some(()));
    assert_eq!(supplier.get(&clinic, "/readyz").status, 200);
}

#[test]
fn the_partner_routes_are_also_served_under_the_base_path() {
    let supplier = Supplier::start(&[("SPSI_BASE_PATH", "/spsi/v1/")]);
    let clinic = supplier.clinic();
    for path in ["", "/spsi/v1"] {
        assert_eq!(supplier.codes(&clinic, format!("{path}/products?code=[TP1]")), ["TP1"], "{path}");
        supplier.get(&clinic, format!("{path}/categories")).expect(200);
        supplier.request("POST", format!("{path}/accesstoken")).body("x").send().expect(400);
        supplier.request("POST", format!("{path}/purchaseorder")).bearer(&clinic.token).body("{}").send().problem(400);
    }
    assert_eq!(supplier.get(&clinic, "/other/products").status, 404);
    let document = supplier.request("GET", "/openapi.json").send().expect(200);
    assert_eq!(document["servers"][0]["url"], "/spsi/v1");
}

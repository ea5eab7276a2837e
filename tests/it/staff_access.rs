//! Access to the staff API: keys, roles, limits, the `Idempotency-Key`, and errors that every operation shares.

use crate::support::client::{Request, Response};
use crate::support::database::in_own_runtime;
use crate::support::order::with;
use crate::support::supplier::{SOON, Supplier};
use crate::support::until;
use serde_json::{Value, json};
use spsi_partner::auth::api_keys::Role;
use spsi_partner::staff::{OPERATIONS, Operation, ROOT};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};

/// Issues a key with the command line.
pub fn key(supplier: &Supplier, role: &str) -> String {
    static NUMBERS: AtomicU32 = AtomicU32::new(0);
    let name = format!("{role}-{}", NUMBERS.fetch_add(1, Ordering::Relaxed));
    let added = supplier.run(["key", "add", "--role", role, "--name", &name]);
    added["key"].as_str().expect("a key").to_owned()
}

/// Checks the status, the media type and the shape of a problem, and returns it.
#[track_caller]
pub fn problem(answer: &Response, status: u16, code: &str) -> Value {
    let text = answer.text();
    assert_eq!(answer.status, status, "{text}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{text}");
    let body = answer.json();
    assert_eq!(body["type"], format!("urn:spsi:problem:{code}"), "{text}");
    assert_eq!(body["status"], status, "{text}");
    assert!(body["title"].as_str().is_some_and(|title| !title.is_empty()), "{text}");
    assert!(body["detail"].is_string() && body["errors"].is_array(), "{text}");
    body
}

/// A request for an operation, with an id that does not exist.
fn request(supplier: &Supplier, operation: &Operation) -> Request {
    let mut path = String::new();
    for (index, part) in operation.path.split(['{', '}']).enumerate() {
        path.push_str(if index % 2 == 0 { part } else { "none" });
    }
    let request = supplier.request(operation.method, format!("{ROOT}{path}"));
    if operation.method == "GET" { request } else { request.json(&json!({})) }
}

#[test]
fn every_operation_requires_a_live_key() {
    let supplier = Supplier::start(&[]);
    let admin = key(&supplier, "admin");
    let revoked = key(&supplier, "admin");
    let prefix: String = revoked.rsplit_once('_').expect("parts").0.to_owned();
    supplier.run(["key", "revoke", &prefix]);
    let forged = format!("{}x", &admin[..admin.len() - 1]);
    let promoted = key(&supplier, "viewer").replace("spsi_viewer_", "spsi_admin_");
    for operation in OPERATIONS {
        for dead in [None, Some(revoked.as_str()), Some(&forged), Some(&promoted), Some("spsi_admin_x_y"), Some("")] {
            let request = request(&supplier, operation);
            let answer = match dead {
                Some(key) => request.bearer(key).send(),
                None => request.send(),
            };
            // After many dead keys the address is slowed down.
            if answer.status != 429 {
                problem(&answer, 401, "unauthorised");
                assert!(answer.header("www-authenticate").is_some_and(|scheme| scheme.starts_with("Bearer")));
            }
        }
    }
}

#[test]
fn dead_keys_are_slowed_down_and_do_not_block_a_live_key_at_the_same_address() {
    let supplier = Supplier::start(&[]);
    let admin = key(&supplier, "admin");
    let send = |key: &str| supplier.request("GET", "/staff/v1/keys").bearer(key).send();
    let refused = (0..400).map(|_| send("nonsense")).find(|answer| answer.status == 429).expect("slowed down");
    problem(&refused, 429, "too_many_requests");
    assert!(refused.header("retry-after").is_some());
    assert_eq!(send(&admin).status, 200);
}

#[test]
fn every_operation_names_the_role_that_it_needs_and_permits_no_other() {
    let supplier = Supplier::start(&[]);
    for role in Role::ALL {
        let key = key(&supplier, role.as_str());
        for operation in OPERATIONS {
            let answer = request(&supplier, operation).bearer(&key).send();
            if role.may(operation.role) {
                assert!(![401, 403, 405].contains(&answer.status), "{operation:?} with {role}: {}", answer.text());
                assert!(answer.status < 500, "{operation:?} with {role}: {}", answer.text());
            } else {
                let problem = problem(&answer, 403, "forbidden");
                let needed = format!("`{}`", operation.role);
                assert!(problem["detail"].as_str().is_some_and(|text| text.contains(&needed)), "{problem}");
            }
        }
    }
}

#[test]
fn the_document_has_exactly_the_operations_of_the_table() {
    let supplier = Supplier::shared();
    let document = supplier.request("GET", "/staff/openapi.json").send().expect(200);
    let mut documented = BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            documented.insert(format!("{} {path}", method.to_ascii_uppercase()));
            for status in ["401", "403", "429"] {
                assert!(operation["responses"][status].is_object(), "{method} {path} documents {status}");
            }
            let success = operation["responses"].as_object().expect("responses").keys().any(|key| key.starts_with('2'));
            assert!(success, "{method} {path} documents a success");
        }
    }
    let table: BTreeSet<_> =
        OPERATIONS.iter().map(|operation| format!("{} {ROOT}{}", operation.method, operation.path)).collect();
    assert_eq!(documented, table);
    let page = supplier.request("GET", "/staff/docs/").send();
    assert_eq!(page.status, 200);
}

/// Returns the ids of a list, read in pages.
fn ids(supplier: &Supplier, key: &str, path: &str, limit: usize) -> Vec<Value> {
    let (mut ids, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("{ROOT}{path}?limit={limit}{cursor}");
        let page = supplier.request("GET", &path).bearer(key).send().expect(200);
        let rows = page["data"].as_array().expect("rows");
        assert!(rows.len() <= limit, "{path}: {page}");
        ids.extend(rows.iter().map(|row| json!([row["id"], row["kind"], row["ezyvet_id"], row["supplier_code"]])));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return ids,
        }
    }
}

#[test]
fn every_list_is_read_in_pages() {
    let supplier = Supplier::start(&[]);
    let document = supplier.request("GET", "/staff/openapi.json").send().expect(200);
    let mut lists = 0;
    for (path, item) in document["paths"].as_object().expect("paths") {
        let schema = &item["get"]["responses"]["200"]["content"]["application/json"]["schema"]["$ref"];
        let name = schema.as_str().and_then(|name| name.strip_prefix("#/components/schemas/")).unwrap_or_default();
        if document["components"]["schemas"][name]["properties"]["next_cursor"].is_null() {
            continue;
        }
        lists += 1;
        let parameters = item["get"]["parameters"].as_array().expect("parameters");
        for wanted in ["limit", "cursor"] {
            assert!(parameters.iter().any(|parameter| parameter["name"] == wanted), "{path} takes no `{wanted}`");
        }
    }
    assert!(lists > 20, "{lists}");
    let (clinic, _other) = (supplier.clinic(), supplier.clinic());
    let (admin, _viewer) = (key(&supplier, "admin"), key(&supplier, "viewer"));
    for (id, ship_to, code) in [("1", "7", "TP1"), ("2", "12", "BND"), ("3", "9", "WATER")] {
        let mut order = with(id, "/purchase_order_item_list/0/supplier_code", json!(code));
        order["purchaseorder"]["shipping_address_id"] = json!(ship_to);
        order["purchaseorder"]["purchase_order_number"] = json!(id);
        supplier.order(&clinic, &order).expect(200);
    }
    supplier.run(["clinic", "map", &clinic.id, "--ship-to", "12=W-12"]);
    in_own_runtime(async || {
        // All three are short, two of them by the same number.
        let stock = "update product set stock_available = case code when 'BND' then 0.25 else 0 end";
        sqlx::raw_sql(stock).execute(&mut supplier.database.connect().await).await.expect("no stock");
    });
    let mappings = format!("/clinics/{}/mappings", clinic.id);
    let mut sizes = Vec::new();
    let whole = ["/keys", "/orders/rules", "/orders/back-orders", &mappings];
    for path in whole.into_iter().chain(["/orders", "/clinics", "/audit", "/events", "/products"]) {
        let all = ids(&supplier, &admin, path, 500);
        assert_eq!(ids(&supplier, &admin, path, 1), all, "{path}");
        assert_eq!(ids(&supplier, &admin, path, 2), all, "{path}");
        sizes.push(all.len());
    }
    assert!(sizes.iter().all(|size| *size > 1) && sizes[2] == 3, "{sizes:?}");
    let answer = supplier.request("GET", "/staff/v1/keys?cursor=nonsense").bearer(&admin).send();
    problem(&answer, 400, "bad_request");
}

#[test]
fn unknown_paths_and_methods_are_refused_with_what_there_is() {
    let supplier = Supplier::shared();
    let key = key(&supplier, "viewer");
    problem(&supplier.request("GET", "/staff/v1/nonsense").bearer(&key).send(), 404, "not_found");
    let answer = supplier.request("DELETE", "/staff/v1/keys").bearer(&key).send();
    problem(&answer, 405, "method_not_allowed");
    assert_eq!(answer.header("allow"), Some("GET, POST, HEAD"));
}

#[test]
fn a_key_is_shown_once_and_expires() {
    let supplier = Supplier::shared();
    let admin = key(&supplier, "admin");
    let new = json!({"name": "scanner", "role": "warehouse", "expires_in": "1s"});
    let added = supplier.request("POST", "/staff/v1/keys").bearer(&admin).json(&new).send().expect(201);
    let scanner = added["key"].as_str().expect("a key").to_owned();
    assert!(scanner.starts_with("spsi_warehouse_"), "{added}");
    let list = supplier.request("GET", "/staff/v1/keys").bearer(&admin).send();
    assert!(!list.text().contains(&scanner));
    let again = supplier.request("POST", "/staff/v1/keys").bearer(&admin).json(&new).send();
    problem(&again, 409, "conflict");
    let expired = until("the key expires", SOON, || {
        let answer = supplier.request("GET", "/staff/v1/nonsense").bearer(&scanner).send();
        (answer.status == 401).then_some(answer)
    });
    problem(&expired, 401, "unauthorised");
    let list = supplier.request("GET", "/staff/v1/keys").bearer(&admin).send().expect(200);
    let row = list["data"].as_array().expect("rows").iter().find(|row| row["name"] == "scanner").expect("the key");
    assert_eq!(row["state"], "expired");
    let stored: Vec<String> =
        supplier.run(["key", "list"]).as_array().expect("rows").iter().map(Value::to_string).collect();
    assert!(stored.iter().all(|row| !row.contains(scanner.rsplit('_').next().expect("a secret"))));
}

#[test]
fn a_write_repeated_under_its_idempotency_key_is_done_once() {
    let supplier = Supplier::start(&[]);
    let admin = key(&supplier, "admin");
    let add = |idempotency: &str, name: &str| {
        let body = json!({"name": name, "role": "viewer"});
        let request = supplier.request("POST", "/staff/v1/keys").bearer(&admin).json(&body);
        request.header("idempotency-key", idempotency).send()
    };
    let first = add("one", "till");
    assert_eq!(first.status, 201, "{}", first.text());
    let again = add("one", "till");
    assert_eq!((again.status, again.text()), (201, first.text()));
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.header("location"), first.header("location"));
    problem(&add("one", "other"), 422, "idempotency_key_reused");
    // A refused request leaves its key unused.
    problem(&add("two", "till"), 409, "conflict");
    assert_eq!(add("two", "till-2").status, 201);
    problem(&add("", "x"), 400, "bad_request");
    let other_key = key(&supplier, "admin");
    let body = json!({"name": "till-3", "role": "viewer"});
    let request = supplier.request("POST", "/staff/v1/keys").bearer(&other_key).json(&body);
    assert_eq!(request.header("idempotency-key", "one").send().status, 201, "keys of another caller are its own");
    let names: Vec<_> =
        supplier.run(["key", "list"]).as_array().expect("rows").iter().map(|row| row["name"].clone()).collect();
    assert_eq!(names.iter().filter(|name| *name == "till").count(), 1);
    // The stored answer shows the secret to nobody who reads the database.
    let stored: Vec<Option<Vec<u8>>> = in_own_runtime(|| async {
        let mut connection = supplier.database.connect().await;
        sqlx::query_scalar("select body from idempotent_answer").fetch_all(&mut connection).await.expect("rows")
    });
    let secret = first.json()["key"].as_str().expect("a key").to_owned();
    assert!(!stored.is_empty());
    for body in stored.into_iter().flatten() {
        assert!(!String::from_utf8_lossy(&body).contains(&secret));
    }
}

#[test]
fn concurrent_requests_under_one_idempotency_key_do_the_work_once() {
    let supplier = Supplier::start(&[]);
    let admin = key(&supplier, "admin");
    let answers: Vec<Response> = std::thread::scope(|scope| {
        let send = || {
            let body = json!({"name": "burst", "role": "viewer"});
            supplier
                .request("POST", "/staff/v1/keys")
                .bearer(&admin)
                .json(&body)
                .header("idempotency-key", "burst")
                .send()
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(send)).collect();
        threads.into_iter().map(|thread| thread.join().expect("an answer")).collect()
    });
    let texts: BTreeSet<String> = answers.iter().map(Response::text).collect();
    assert!(answers.iter().all(|answer| answer.status == 201), "{texts:?}");
    assert_eq!(texts.len(), 1, "{texts:?}");
    let replayed = answers.iter().filter(|answer| answer.header("idempotent-replayed").is_some()).count();
    assert_eq!(replayed, 7);
}

#[test]
fn a_key_above_its_limit_is_told_when_to_come_back() {
    let supplier = Supplier::start(&[("SPSI_STAFF_RATE", "3")]);
    let admin = key(&supplier, "admin");
    for remaining in (0..3).rev() {
        let answer = supplier.request("GET", "/staff/v1/keys").bearer(&admin).send();
        assert_eq!(answer.status, 200);
        let limit = answer.header("ratelimit").expect("a header");
        assert!(limit.starts_with(&format!("\"key\";r={remaining};t=")), "{limit}");
        assert_eq!(answer.header("ratelimit-policy"), Some("\"key\";q=3;w=60"));
    }
    let answer = supplier.request("GET", "/staff/v1/keys").bearer(&admin).send();
    problem(&answer, 429, "too_many_requests");
    let seconds: u64 = answer.header("retry-after").expect("a header").parse().expect("seconds");
    assert!((1..=20).contains(&seconds), "{seconds}");
    assert_eq!(answer.header("ratelimit"), Some(format!("\"key\";r=0;t={seconds}").as_str()));
    let other = key(&supplier, "admin");
    assert_eq!(supplier.request("GET", "/staff/v1/keys").bearer(&other).send().status, 200);
}

#[test]
fn bad_bodies_get_the_status_that_says_why() {
    let supplier = Supplier::start(&[("SPSI_STAFF_MAX_BODY_BYTES", "1024")]);
    let admin = key(&supplier, "admin");
    let post = || supplier.request("POST", "/staff/v1/keys").bearer(&admin);
    problem(&post().header("content-type", "application/json").body("{").send(), 400, "bad_request");
    problem(&post().header("content-type", "text/csv").body("a,b").send(), 415, "unsupported_media_type");
    problem(&post().json(&json!({"name": "x".repeat(2000), "role": "viewer"})).send(), 413, "too_large");
    let invalid = problem(&post().json(&json!({"name": "", "role": "boss", "colour": 1})).send(), 422, "invalid");
    let fields: BTreeSet<_> = invalid["errors"]
        .as_array()
        .expect("errors")
        .iter()
        .map(|error| error["field"].as_str().expect("a field"))
        .collect();
    assert_eq!(fields, BTreeSet::from(["colour", "name", "role"]), "{invalid}");
    problem(&supplier.request("GET", "/staff/v1/keys?colour=1").bearer(&admin).send(), 400, "bad_request");
    assert_eq!(supplier.run(["key", "list"]).as_array().map(Vec::len), Some(1));
}

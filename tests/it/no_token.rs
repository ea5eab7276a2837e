//! Every operation of the OpenAPI document refuses requests without a valid token (DESIGN.md 3 and 6).

use crate::support::order::documented;
use crate::support::supplier::{Clinic, SOON, Supplier};
use crate::support::until;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::Value;
use std::collections::BTreeSet;

/// Method and path of the operations that require a token. A new operation must be added here.
const OPERATIONS: [(&str, &str); 3] = [("GET", "/categories"), ("GET", "/products"), ("POST", "/purchaseorder")];
/// The operations that require no token.
const OPEN: [(&str, &str); 1] = [("POST", "/accesstoken")];

/// Sends every operation with this Authorization header, or without one. Expects 401 with ezyVet's envelope and the scheme.
#[track_caller]
fn assert_refused(supplier: &Supplier, authorization: Option<&str>) {
    for (method, path) in OPERATIONS {
        let mut request = supplier.request(method, path);
        if method == "POST" {
            request = request.json(&documented("1"));
        }
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        let answer = request.send();
        assert_eq!(answer.status, 401, "{method} {path} {authorization:?}: {}", answer.text());
        answer.problem(401);
        let scheme = answer.header("www-authenticate").expect("a scheme");
        assert!(scheme.starts_with("Bearer"), "{scheme}");
        assert!(answer.header("etag").is_none());
    }
}

fn assert_no_orders(supplier: &Supplier, clinic: &Clinic) {
    let orders = supplier.run(["order", "list", "--clinic", &clinic.id]);
    assert_eq!(orders.as_array().map(Vec::len), Some(0), "{orders}");
}

#[test]
fn every_operation_of_the_openapi_document_requires_a_token() {
    let supplier = Supplier::shared();
    let document = supplier.request("GET", "/openapi.json").send().expect(200);
    let mut found = BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let method = method.to_ascii_uppercase();
            let is_open = OPEN.contains(&(method.as_str(), path.as_str()));
            let schemes: &[Value] = operation["security"].as_array().map_or(&[], Vec::as_slice);
            let requires_token = schemes.iter().any(|scheme| scheme.get("token").is_some());
            assert_eq!(requires_token, !is_open, "{method} {path}: {operation}");
            if !is_open {
                assert!(operation["responses"]["401"].is_object(), "{method} {path} documents 401");
                found.insert((method, path.clone()));
            }
        }
    }
    let expected: BTreeSet<_> =
        OPERATIONS.iter().map(|(method, path)| ((*method).to_owned(), (*path).to_owned())).collect();
    assert_eq!(found, expected);
}

#[test]
fn requests_without_a_token_are_refused() {
    let supplier = Supplier::shared();
    assert_refused(&supplier, None);
    for invalid in ["", "Bearer", "Bearer ", "Bearer x", "Bearer a.b.c", "Basic YTpi", "Token abc", "Bearer \u{e9}"] {
        assert_refused(&supplier, Some(invalid));
    }
    let head = supplier.request("HEAD", "/products").send();
    assert_eq!(head.status, 401);
}

#[test]
fn a_token_that_was_tampered_with_is_refused() {
    let supplier = Supplier::shared();
    let clinic = supplier.clinic();
    let parts: Vec<&str> = clinic.token.split('.').collect();
    let [head, claims, signature] = parts[..] else { panic!("{}", clinic.token) };
    let decoded = |part: &str| -> Value {
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).expect("base64")).expect("JSON")
    };
    let encoded = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let with = |part: &str, key: &str, value: Value| {
        let mut changed = decoded(part);
        changed[key] = value;
        encoded(&changed)
    };
    let other = supplier.clinic();
    let mut flipped = signature.as_bytes().to_vec();
    flipped[5] = if flipped[5] == b'A' { b'B' } else { b'A' };
    for token in [
        format!("{head}.{}.{signature}", with(claims, "sub", other.client_id.clone().into())),
        format!("{head}.{}.{signature}", with(claims, "exp", 99_999_999_999_u64.into())),
        format!("{}.{claims}.", with(head, "alg", "none".into())),
        format!("{}.{claims}.{signature}", with(head, "alg", "none".into())),
        format!("{}.{claims}.{signature}", with(head, "alg", "HS512".into())),
        format!("{}.{claims}.{signature}", with(head, "kid", "other".into())),
        format!("{head}.{claims}."),
        format!("{head}.{claims}.{}", String::from_utf8(flipped).expect("ASCII")),
        format!("{head}.{claims}"),
        format!("{}.x", clinic.token),
    ] {
        assert_refused(&supplier, Some(&format!("Bearer {token}")));
    }
    assert_no_orders(&supplier, &clinic);
    assert_eq!(supplier.get(&clinic, "/products").status, 200);
}

#[test]
fn a_token_of_another_supplier_is_refused() {
    let supplier = Supplier::shared();
    let ended = supplier.spsi(["key", "generate", "--output", "json"]).run();
    let keys: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    let elsewhere = Supplier::start(&[("SPSI_TOKEN_KEYS", keys["SPSI_TOKEN_KEYS"].as_str().expect("keys"))]);
    let (mine, theirs) = (supplier.clinic(), elsewhere.clinic());
    assert_refused(&supplier, Some(&format!("Bearer {}", theirs.token)));
    assert_refused(&elsewhere, Some(&format!("Bearer {}", mine.token)));
}

#[test]
fn a_token_is_accepted_while_its_key_is_in_the_key_ring() {
    let supplier = Supplier::shared();
    let clinic = supplier.clinic();
    let at = |replica: &crate::support::binary::RunningServer| {
        crate::support::client::Request::new("GET", replica.url(), "/products").bearer(&clinic.token).send().status
    };
    let rotated = supplier.run(["key", "rotate"])["SPSI_TOKEN_KEYS"].as_str().expect("keys").to_owned();
    let serve = |keys: &str| supplier.spsi(["serve", "--bind", "127.0.0.1:0"]).env("SPSI_TOKEN_KEYS", keys).serve();
    assert_eq!(at(&serve(&rotated)), 200, "{rotated}");
    let (newest, _) = rotated.split_once(',').expect("two keys");
    assert_eq!(at(&serve(newest)), 401);
}

#[test]
fn an_expired_token_is_refused() {
    let supplier = Supplier::start(&[("SPSI_TOKEN_TTL", "1s")]);
    let clinic = supplier.clinic();
    until("the token has expired", SOON, || (supplier.get(&clinic, "/products").status == 401).then_some(()));
    assert_refused(&supplier, Some(&format!("Bearer {}", clinic.token)));
    assert_no_orders(&supplier, &clinic);
}

#[test]
fn the_token_of_a_suspended_clinic_is_refused() {
    let supplier = Supplier::shared();
    let clinic = supplier.clinic();
    supplier.run(["clinic", "suspend", &clinic.id]);
    until("the suspension is seen", SOON, || (supplier.get(&clinic, "/products").status == 401).then_some(()));
    assert_refused(&supplier, Some(&format!("Bearer {}", clinic.token)));
    assert_no_orders(&supplier, &clinic);
}

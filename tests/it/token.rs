//! `POST /accesstoken` (SPSI.md 1 and 4; RFC 6749 5.2).

use crate::support::client::{Request, Response};
use crate::support::supplier::{Clinic, SOON, Supplier, token_at};
use crate::support::until;
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};

const FORM: &str = "application/x-www-form-urlencoded";

fn json_request(clinic: &Clinic) -> String {
    json!({"client_id": clinic.client_id, "client_secret": clinic.client_secret, "grant_type": "client_credentials"})
        .to_string()
}

fn form_request(clinic: &Clinic) -> String {
    format!("grant_type=client_credentials&client_id={}&client_secret={}", clinic.client_id, clinic.client_secret)
}

fn basic(clinic: &Clinic) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{}:{}", clinic.client_id, clinic.client_secret)))
}

fn assert_refused(answer: &Response, status: u16, code: &str) {
    let body = answer.expect(status);
    assert_eq!(body["error"], code, "{body}");
    assert!(body["error_description"].as_str().is_some_and(|words| !words.is_empty()), "{body}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[test]
fn a_token_is_issued_for_every_request_format() {
    let supplier = Supplier::shared();
    let clinic = supplier.clinic();
    let part =
        |name: &str, value: &str| format!("--B\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    let multipart = part("client_id", &clinic.client_id)
        + &part("client_secret", &clinic.client_secret)
        + &part("grant_type", "client_credentials")
        + "--B--\r\n";
    let (json, form) = (json_request(&clinic), form_request(&clinic));
    for (content_type, body) in [
        ("application/json", &json),
        ("application/json; charset=utf-8", &json),
        (FORM, &json),
        ("text/plain", &json),
        ("", &json),
        (FORM, &form),
        ("application/x-www-form-urlencoded; charset=UTF-8", &form),
        ("", &form),
        ("multipart/form-data; boundary=B", &multipart),
    ] {
        let mut request = supplier.request("POST", "/accesstoken").body(body);
        if !content_type.is_empty() {
            request = request.header("content-type", content_type);
        }
        let answer = request.send().expect(200);
        assert_eq!(answer["token_type"], "Bearer", "{content_type}");
        let with_it = supplier.request("GET", "/categories").bearer(answer["access_token"].as_str().expect("a token"));
        assert_eq!(with_it.send().status, 200, "{content_type} {body}");
    }
    let answer = supplier
        .request("POST", "/accesstoken")
        .header("authorization", &basic(&clinic))
        .header("content-type", FORM)
        .body("grant_type=client_credentials")
        .send();
    answer.expect(200);
}

#[test]
fn a_token_states_its_lifetime_and_forbids_caching() {
    let supplier = Supplier::shared();
    let answer = token_at(supplier.url(), &supplier.clinic());
    let body = answer.expect(200);
    assert_eq!(body["expires_in"], 28_800, "8 h (SPSI.md 5.13)");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert!(answer.header("content-type").is_some_and(|media| media.starts_with("application/json")));
}

#[test]
fn a_token_names_the_key_that_signed_it() {
    let supplier = Supplier::shared();
    let clinic = supplier.clinic();
    let parts: Vec<&str> = clinic.token.split('.').collect();
    assert_eq!(parts.len(), 3, "a JWT");
    let head: Value = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(parts[0]).expect("base64")).expect("JSON");
    assert!(head["kid"].as_str().is_some_and(|id| !id.is_empty()), "{head}");
}

#[test]
fn refusals_carry_the_error_codes_of_rfc_6749() {
    let supplier = Supplier::shared();
    let clinic = supplier.clinic();
    let ask = |body: &str| supplier.request("POST", "/accesstoken").header("content-type", FORM).body(body).send();
    assert_refused(&ask(""), 400, "invalid_request");
    assert_refused(&ask("client_id=a&client_secret=b"), 400, "invalid_request");
    assert_refused(&ask("grant_type=client_credentials&client_secret=b"), 400, "invalid_request");
    assert_refused(&ask("grant_type=client_credentials&client_id=a"), 400, "invalid_request");
    assert_refused(
        &ask("grant_type=client_credentials&client_id=a&client_id=b&client_secret=c"),
        400,
        "invalid_request",
    );
    assert_refused(&ask("{\"grant_type\":"), 400, "invalid_request");
    assert_refused(&ask("grant_type=password&client_id=a&client_secret=b"), 400, "unsupported_grant_type");
    let mut wrong = clinic.clone();
    wrong.client_secret.push('x');
    let wrong_secret = token_at(supplier.url(), &wrong);
    assert_refused(&wrong_secret, 401, "invalid_client");
    assert!(wrong_secret.header("www-authenticate").is_some_and(|scheme| scheme.starts_with("Basic")));
    wrong.client_id = "no-such-client".into();
    let unknown = token_at(supplier.url(), &wrong);
    assert_refused(&unknown, 401, "invalid_client");
    assert_eq!(wrong_secret.body, unknown.body, "the answer does not reveal whether a client id exists");
}

#[test]
fn malformed_token_requests_get_a_4xx_and_never_a_5xx() {
    let supplier = Supplier::shared();
    let deep = "[".repeat(20_000);
    let bodies: [&[u8]; 12] = [
        b"{}",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"{\"client_id\": {\"a\": 1}, \"client_secret\": [], \"grant_type\": \"client_credentials\"}",
        b"{\"client_id\": null, \"client_secret\": null, \"grant_type\": null}",
        b"{\"client_id\": \"a\\u0000b\", \"client_secret\": \"c\", \"grant_type\": \"client_credentials\"}",
        b"grant_type=client_credentials&client_id=%00&client_secret=%00",
        b"grant_type=client_credentials&client_id=%ff&client_secret=%zz",
        b"--B\r\nContent-Disposition: form-data; name=\"client_id\"\r\n\r\na",
        b"&&&===",
        deep.as_bytes(),
    ];
    for body in bodies {
        for content_type in ["application/json", FORM, "multipart/form-data; boundary=B", "multipart/form-data"] {
            let request = supplier.request("POST", "/accesstoken").header("content-type", content_type).body(body);
            let status = request.send().status;
            assert!([400, 401].contains(&status), "{status} {content_type} {:?}", String::from_utf8_lossy(body));
        }
    }
    let basic = supplier.request("POST", "/accesstoken").header("authorization", "Basic !!!");
    assert_refused(&basic.body("grant_type=client_credentials").send(), 400, "invalid_request");
    let huge = supplier.request("POST", "/accesstoken").body("a".repeat(1 << 20)).send();
    huge.problem(413);
}

#[test]
fn a_clinic_may_hold_several_valid_tokens() {
    let supplier = Supplier::shared();
    let clinic = supplier.clinic();
    let second = supplier.token(&clinic);
    for token in [&clinic.token, &second, &supplier.token(&clinic)] {
        assert_eq!(supplier.request("GET", "/products").bearer(token).send().status, 200);
    }
}

#[test]
fn a_token_is_refused_after_its_expiry() {
    let supplier = Supplier::start(&[("SPSI_TOKEN_TTL", "2s")]);
    let clinic = supplier.clinic();
    assert_eq!(token_at(supplier.url(), &clinic).expect(200)["expires_in"], 2);
    until("the token has expired", SOON, || (supplier.get(&clinic, "/products").status == 401).then_some(()));
}

#[test]
fn a_suspended_clinic_is_refused_by_every_replica_within_seconds() {
    let supplier = Supplier::shared();
    let second = supplier.replica();
    let (clinic, other) = (supplier.clinic(), supplier.clinic());
    let at = |url: &str| Request::new("GET", url, "/products").bearer(&clinic.token).send().status;
    for url in [supplier.url(), second.url()] {
        until("the new clinic is known", SOON, || (at(url) == 200).then_some(()));
    }
    supplier.run(["clinic", "suspend", &clinic.id]);
    for url in [supplier.url(), second.url()] {
        until("its token is dead", SOON, || (at(url) == 401).then_some(()));
        assert_refused(&token_at(url, &clinic), 401, "invalid_client");
    }
    assert_eq!(supplier.get(&other, "/products").status, 200, "another clinic is not touched");
    supplier.run(["clinic", "resume", &clinic.id]);
    for url in [supplier.url(), second.url()] {
        until("it is let in again", SOON, || (token_at(url, &clinic).status == 200).then_some(()));
    }
}

#[test]
fn a_rotated_secret_revokes_the_older_tokens_at_once_or_after_the_overlap() {
    let supplier = Supplier::shared();
    let second = supplier.replica();
    let mut clinic = supplier.clinic();
    let old = clinic.clone();
    let dead = |token: &str, url: &str| {
        until("the token is dead", SOON, || {
            (Request::new("GET", url, "/products").bearer(token).send().status == 401).then_some(())
        });
    };
    clinic.client_secret =
        supplier.run(["clinic", "rotate-secret", &clinic.id])["client_secret"].as_str().expect("a secret").to_owned();
    for url in [supplier.url(), second.url()] {
        dead(&old.token, url);
        assert_refused(&token_at(url, &old), 401, "invalid_client");
        token_at(url, &clinic).expect(200);
    }
    let before = clinic.clone();
    let rotated = supplier.run(["clinic", "rotate-secret", &clinic.id, "--overlap", "1h"]);
    clinic.client_secret = rotated["client_secret"].as_str().expect("a secret").to_owned();
    for url in [supplier.url(), second.url()] {
        until("the new secret is good", SOON, || (token_at(url, &clinic).status == 200).then_some(()));
        token_at(url, &before).expect(200);
        assert_refused(&token_at(url, &old), 401, "invalid_client");
    }
}

#[test]
fn failed_guesses_are_limited_and_the_clinic_itself_is_not() {
    let supplier = Supplier::start(&[("SPSI_TOKEN_TRIES_PER_CLIENT", "3"), ("SPSI_TOKEN_TRIES_PER_ADDRESS", "1000")]);
    let (clinic, other) = (supplier.clinic(), supplier.clinic());
    let mut wrong = clinic.clone();
    wrong.client_secret = "wrong".into();
    for _ in 0..3 {
        assert_refused(&token_at(supplier.url(), &wrong), 401, "invalid_client");
    }
    let slowed = token_at(supplier.url(), &wrong);
    assert_refused(&slowed, 429, "slow_down");
    let wait: u64 = slowed.header("retry-after").expect("how long").parse().expect("seconds");
    assert!((1..=60).contains(&wait), "{wait}");
    token_at(supplier.url(), &clinic).expect(200);
    token_at(supplier.url(), &other).expect(200);
}

#[test]
fn an_address_that_guesses_at_many_clinics_is_limited() {
    let supplier = Supplier::start(&[("SPSI_TOKEN_TRIES_PER_ADDRESS", "5")]);
    let mut clinic = supplier.clinic();
    clinic.client_secret = "wrong".into();
    let mut guess = |name: String| {
        clinic.client_id = name;
        token_at(supplier.url(), &clinic)
    };
    (0..5).for_each(|number| assert_refused(&guess(format!("nobody-{number}")), 401, "invalid_client"));
    assert_refused(&guess("nobody-5".into()), 429, "slow_down");
}

//! `/staff/v1/clinics` and `/staff/v1/audit`: what an ERP does with clinics.

use crate::support::supplier::{Clinic, SOON, Supplier, token_at};
use crate::support::until;
use serde_json::{Value, json};

/// The names of tests share a database.
fn unique(name: &str) -> String {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    format!("{name} {}", COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
}

fn credentials(issued: &Value) -> Clinic {
    let text = |key: &str| issued[key].as_str().unwrap_or_else(|| panic!("{key}: {issued}")).to_owned();
    let (client_id, client_secret) = (text("client_id"), text("client_secret"));
    Clinic { id: issued["id"].to_string(), client_id, client_secret, token: String::new() }
}

/// Waits until the server gives the clinic a token, or refuses it one.
#[track_caller]
fn wait_for_token(supplier: &Supplier, clinic: &Clinic, status: u16) {
    until("the status of a token request", SOON, || (token_at(supplier.url(), clinic).status == status).then_some(()));
}

#[test]
fn a_clinic_is_added_and_shown_by_id_client_id_and_name_and_its_secret_never_again() {
    let supplier = Supplier::shared();
    let admin = supplier.staff("admin");
    let name = unique("Harbour");
    let added = admin.post("/clinics", &json!({ "name": name }));
    let issued = added.expect(201);
    let clinic = credentials(&issued);
    assert_eq!(added.header("location"), Some(format!("/staff/v1/clinics/{}", clinic.id).as_str()));
    wait_for_token(&supplier, &clinic, 200);
    for which in [&clinic.id, &clinic.client_id, &name.replace(' ', "%20")] {
        let shown = admin.get(&format!("/clinics/{which}"));
        let body = shown.expect(200);
        assert_eq!(
            (body["id"].to_string(), &body["name"], &body["state"]),
            (clinic.id.clone(), &json!(name), &json!("active"))
        );
        assert_eq!(body["settings_in_force"]["decline_answer"], "422");
        assert!(!shown.text().contains(&clinic.client_secret) && !shown.text().contains("secret_hash"), "{body}");
        assert!(shown.header("etag").is_some_and(|tag| tag.starts_with('"')));
    }
    let list = admin.get("/clinics?limit=1000");
    assert!(list.text().contains(&clinic.client_id) && !list.text().contains(&clinic.client_secret));
    assert!(!supplier.log().contains(&clinic.client_secret));
}

#[test]
fn the_settings_of_a_clinic_are_changed_and_null_removes_them() {
    let supplier = Supplier::shared();
    let admin = supplier.staff("admin");
    let clinic = supplier.clinic();
    let path = format!("/clinics/{}", clinic.id);
    let changes = json!({
        "price_list": "gold", "hidden_categories": ["FLUIDS, IV", "VACCINE"], "on_hold": true, "restricted_licence": true,
        "tax_code": "GST", "tax_rate": "12.50", "settings": { "decline_answer": "409", "minimum_order": 50 },
    });
    let changed = admin.patch(&path, &changes).expect(200);
    for (key, value) in [
        ("price_list", json!("gold")),
        ("hidden_categories", json!(["FLUIDS, IV", "VACCINE"])),
        ("on_hold", json!(true)),
        ("restricted_licence", json!(true)),
        ("tax_code", json!("GST")),
        ("tax_rate", json!("12.5")),
        ("settings", json!({ "decline_answer": "409", "minimum_order": "50" })),
    ] {
        assert_eq!(changed[key], value, "{key}");
    }
    assert_eq!(changed["settings_in_force"]["decline_answer"], "409");
    let removed = json!({
        "price_list": null, "hidden_categories": null, "on_hold": false, "tax_rate": null, "settings": { "decline_answer": null },
    });
    let changed = admin.patch(&path, &removed).expect(200);
    assert_eq!(changed["settings"], json!({ "minimum_order": "50" }));
    assert_eq!(changed["settings_in_force"]["decline_answer"], "422");
    assert_eq!((&changed["price_list"], &changed["hidden_categories"]), (&Value::Null, &json!([])));
    assert_eq!(
        (&changed["tax_rate"], &changed["tax_code"], &changed["on_hold"]),
        (&Value::Null, &json!("GST"), &json!(false))
    );
    let changed = admin.patch(&path, &json!({ "settings": null })).expect(200);
    assert_eq!((&changed["settings"], &changed["settings_in_force"]["minimum_order"]), (&json!({}), &json!("0")));
    assert_eq!(admin.get(&path).expect(200), changed);
    assert_eq!(supplier.run(["clinic", "show", &clinic.id]), changed, "the command line shows the same");
}

#[test]
fn every_invalid_field_of_a_clinic_is_named_and_nothing_is_changed() {
    let supplier = Supplier::shared();
    let admin = supplier.staff("admin");
    let clinic = supplier.clinic();
    let path = format!("/clinics/{}", clinic.id);
    let before = admin.get(&path).expect(200);
    let changes = json!({
        "name": " ", "site": "nowhere", "tax_rate": "200", "on_hold": true,
        "settings": { "decline_answer": "teapot", "nonsense": "1", "name": "x", "barcode": ["a"], "minimum_order": "5" },
    });
    let (detail, mut fields) = admin.patch(&path, &changes).refused(422);
    fields.sort();
    assert_eq!(
        fields,
        [
            "name",
            "settings.barcode",
            "settings.decline_answer",
            "settings.name",
            "settings.nonsense",
            "site",
            "tax_rate"
        ]
    );
    assert!(detail.contains("teapot") && !detail.contains("spsi "), "{detail}");
    let (_, mut fields) = admin.patch(&path, &json!({ "on_hold": "maybe", "colour": 1, "tax_rate": 15 })).refused(422);
    fields.sort();
    assert_eq!(fields, ["colour", "on_hold", "tax_rate"]);
    assert_eq!(admin.get(&path).expect(200), before);
    let (_, mut fields) =
        admin.post("/clinics", &json!({ "name": "\u{7}", "client_id": "17", "site": "nowhere" })).refused(422);
    fields.sort();
    assert_eq!(fields, ["client_id", "name", "site"]);
    assert_eq!(admin.post("/clinics", &json!({})).refused(422).1, ["name"]);
    let rotation = format!("{path}/rotate-secret");
    for overlap in ["soon", "999999999999d"] {
        assert_eq!(admin.post(&rotation, &json!({ "overlap": overlap })).refused(422).1, ["overlap"], "{overlap}");
    }
}

#[test]
fn a_taken_name_or_client_id_is_a_conflict() {
    let supplier = Supplier::shared();
    let admin = supplier.staff("admin");
    let name = unique("Taken");
    let first = admin.post("/clinics", &json!({ "name": name })).expect(201);
    assert_eq!(admin.post("/clinics", &json!({ "name": name })).refused(409).1, ["name"]);
    let again = json!({ "name": unique("Other"), "client_id": first["client_id"] });
    assert_eq!(admin.post("/clinics", &again).refused(409).1, ["client_id"]);
    let other = supplier.clinic();
    assert_eq!(admin.patch(&format!("/clinics/{}", other.id), &json!({ "name": name })).refused(409).1, ["name"]);
}

#[test]
fn a_change_that_is_based_on_an_outdated_version_is_refused() {
    let supplier = Supplier::shared();
    let admin = supplier.staff("admin");
    let clinic = supplier.clinic();
    let path = format!("/clinics/{}", clinic.id);
    let change = |version: &str, code: &str| {
        admin.request("PATCH", &path).header("if-match", version).json(&json!({ "tax_code": code })).send()
    };
    let first = admin.get(&path).header("etag").expect("a version").to_owned();
    let changed = change(&first, "A");
    changed.expect(200);
    let second = changed.header("etag").expect("a version").to_owned();
    assert_ne!(first, second);
    assert_eq!(admin.get(&path).header("etag"), Some(second.as_str()));
    change(&first, "B").refused(412);
    let suspend = |version: &str| admin.request("POST", &format!("{path}/suspend")).header("if-match", version).send();
    suspend(&first).refused(412);
    let rotate = format!("{path}/rotate-secret");
    admin.request("POST", &rotate).header("if-match", &first).json(&json!({})).send().refused(412);
    assert_eq!(admin.get(&path).expect(200)["tax_code"], "A");
    change("*", "C").expect(200);
    change(&second, "D").refused(412);
    change("unquoted", "D").refused(400);
    assert_eq!(admin.get(&path).expect(200)["tax_code"], "C");
}

#[test]
fn a_repeated_request_gets_the_first_secret_and_adds_one_clinic() {
    let supplier = Supplier::shared();
    let admin = supplier.staff("admin");
    let body = json!({ "name": unique("Once") });
    let send = |path: &str, key: &str, body: &Value| {
        admin.request("POST", path).header("idempotency-key", key).json(body).send()
    };
    let first = send("/clinics", "add-1", &body).expect(201);
    let again = send("/clinics", "add-1", &body);
    assert_eq!(again.expect(201), first);
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    send("/clinics", "add-1", &json!({ "name": unique("Another") })).refused(422);
    let rotate = format!("/clinics/{}/rotate-secret", first["id"]);
    let rotated = send(&rotate, "rotate-1", &json!({})).expect(200);
    assert_ne!(rotated["client_secret"], first["client_secret"]);
    assert_eq!(send(&rotate, "rotate-1", &json!({})).expect(200), rotated);
    wait_for_token(&supplier, &credentials(&rotated), 200);
}

#[test]
fn a_rotated_secret_overlaps_and_a_suspended_clinic_is_refused() {
    let supplier = Supplier::shared();
    let admin = supplier.staff("admin");
    let old = supplier.clinic();
    let path = format!("/clinics/{}", old.id);
    let rotated = admin.post(&format!("{path}/rotate-secret"), &json!({ "overlap": "1h" })).expect(200);
    wait_for_token(&supplier, &credentials(&rotated), 200);
    wait_for_token(&supplier, &old, 200);
    let rotated = credentials(&admin.post(&format!("{path}/rotate-secret"), &json!({})).expect(200));
    wait_for_token(&supplier, &rotated, 200);
    wait_for_token(&supplier, &old, 401);
    assert_eq!(admin.post(&format!("{path}/suspend"), &json!({})).expect(200)["state"], "suspended");
    wait_for_token(&supplier, &rotated, 401);
    let version = admin.get(&path).header("etag").map(str::to_owned);
    // Suspending a suspended clinic changes nothing, not even the audit.
    assert_eq!(admin.post(&format!("{path}/suspend"), &json!({})).expect(200)["state"], "suspended");
    assert_eq!(admin.get(&path).header("etag").map(str::to_owned), version);
    let suspensions = format!("/audit?subject_kind=clinic&subject_id={}&action=clinic.suspend", old.id);
    assert_eq!(admin.get(&suspensions).expect(200)["data"].as_array().map(Vec::len), Some(1));
    let suspended = admin.get("/clinics?state=suspended&limit=1000").expect(200);
    assert!(suspended["data"].as_array().expect("a list").iter().all(|clinic| clinic["state"] == "suspended"));
    assert!(suspended.to_string().contains(&old.client_id));
    assert_eq!(admin.post(&format!("{path}/resume"), &json!({})).expect(200)["state"], "active");
    wait_for_token(&supplier, &rotated, 200);
}

#[test]
fn addresses_and_accounts_are_mapped_and_unmapped() {
    let supplier = Supplier::shared();
    let admin = supplier.staff("admin");
    let clinic = supplier.clinic();
    let path = format!("/clinics/{}/mappings", clinic.id);
    let entry = |kind: &str, id: &str, value: Value| json!({ "kind": kind, "ezyvet_id": id, "value": value });
    let both = [entry("ship_to", "2", json!("12 Harbour St")), entry("account", "1", json!("ACC-77"))];
    let mapped = admin.put(&path, &json!({ "mappings": both })).expect(200);
    assert_eq!(admin.get(&path).expect(200), mapped);
    let values = |answer: &Value| -> Vec<String> {
        let data = answer["data"].as_array().expect("a list").iter();
        data.map(|row| {
            format!("{} {} {}", row["kind"].as_str().unwrap(), row["ezyvet_id"].as_str().unwrap(), row["value"])
        })
        .collect()
    };
    assert_eq!(values(&mapped), ["account 1 \"ACC-77\"", "ship_to 2 \"12 Harbour St\""]);
    let changed = admin.put(&path, &json!({ "mappings": [entry("account", "1", json!("ACC-78"))] })).expect(200);
    assert_eq!(values(&changed), ["account 1 \"ACC-78\"", "ship_to 2 \"12 Harbour St\""]);
    assert_eq!(admin.delete(&format!("{path}/ship_to/2")).status, 204);
    admin.delete(&format!("{path}/ship_to/2")).refused(404);
    admin.delete(&format!("{path}/nonsense/2")).refused(404);
    assert_eq!(values(&admin.get(&path).expect(200)), ["account 1 \"ACC-78\""]);
    let invalid = [entry("ship_to", "", json!("x")), entry("account", "3", json!("x".repeat(1001)))];
    let (_, fields) = admin.put(&path, &json!({ "mappings": invalid })).refused(422);
    assert_eq!(fields, ["mappings[0].ezyvet_id", "mappings[1].value"]);
    assert_eq!(
        admin.put(&path, &json!({ "mappings": [entry("nonsense", "1", json!(null))] })).refused(422).1,
        ["mappings[0].kind"]
    );
}

#[test]
fn what_does_not_exist_is_a_404() {
    let supplier = Supplier::shared();
    let admin = supplier.staff("admin");
    for which in ["999999", "nobody", "-1"] {
        for (method, path, body) in [
            ("GET", "", json!({})),
            ("PATCH", "", json!({ "on_hold": true })),
            ("POST", "/rotate-secret", json!({})),
            ("POST", "/suspend", json!({})),
            ("POST", "/resume", json!({})),
            ("GET", "/mappings", json!({})),
            ("PUT", "/mappings", json!({ "mappings": [{ "kind": "ship_to", "ezyvet_id": "1", "value": "x" }] })),
            ("DELETE", "/mappings/ship_to/1", json!({})),
        ] {
            let answer = admin.send(method, &format!("/clinics/{which}{path}"), &body);
            let (detail, _) = answer.refused(404);
            assert!(detail.contains("clinic"), "{method} {path}: {detail}");
        }
    }
}

#[test]
fn a_viewer_reads_clinics_and_only_an_admin_changes_them_and_reads_the_audit() {
    let supplier = Supplier::shared();
    let (viewer, orders) = (supplier.staff("viewer"), supplier.staff("orders"));
    let clinic = supplier.clinic();
    let path = format!("/clinics/{}", clinic.id);
    viewer.get("/clinics").expect(200);
    viewer.get(&path).expect(200);
    viewer.get(&format!("{path}/mappings")).expect(200);
    for (method, path) in [
        ("POST", "/clinics".to_owned()),
        ("PATCH", path.clone()),
        ("POST", format!("{path}/rotate-secret")),
        ("POST", format!("{path}/suspend")),
        ("POST", format!("{path}/resume")),
        ("PUT", format!("{path}/mappings")),
        ("DELETE", format!("{path}/mappings/ship_to/1")),
        ("GET", "/audit".to_owned()),
    ] {
        for staff in [&viewer, &orders] {
            let (detail, _) = staff.send(method, &path, &json!({})).refused(403);
            assert!(detail.contains("`admin`"), "{method} {path}: {detail}");
        }
    }
    assert_eq!(viewer.get(&path).expect(200)["state"], "active");
}

#[test]
fn a_list_of_clinics_stays_right_while_clinics_are_added() {
    let supplier = Supplier::start(&[]);
    let admin = supplier.staff("admin");
    let add = |number: u32| admin.post("/clinics", &json!({ "name": format!("C{number}") })).expect(201)["id"].clone();
    let mut expected: Vec<Value> = (0..5).map(add).collect();
    expected.reverse();
    let (mut found, mut cursor) = (Vec::new(), None);
    loop {
        let query = cursor.map(|cursor: String| format!("&cursor={cursor}")).unwrap_or_default();
        let page = admin.get(&format!("/clinics?limit=2{query}")).expect(200);
        found.extend(page["data"].as_array().expect("a list").iter().map(|clinic| clinic["id"].clone()));
        add(found.len() as u32 + 100);
        match page["next_cursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => break,
        }
    }
    assert_eq!(found, expected);
    for (query, field) in
        [("limit=0", "limit"), ("cursor=x", "cursor"), ("state=asleep", "state"), ("colour=1", "colour")]
    {
        assert_eq!(admin.get(&format!("/clinics?{query}")).refused(400).1, [field]);
    }
}

#[test]
fn the_audit_names_the_key_and_is_filtered_and_paged() {
    let supplier = Supplier::start(&[]);
    let (admin, other) = (supplier.staff("admin"), supplier.staff("admin"));
    let clinic = admin.post("/clinics", &json!({ "name": "Audited" })).expect(201);
    let path = format!("/clinics/{}", clinic["id"]);
    other.patch(&path, &json!({ "on_hold": true, "settings": { "barcode": "string" } })).expect(200);
    admin.post(&format!("{path}/rotate-secret"), &json!({})).expect(200);
    let actions = |query: &str| -> Vec<String> {
        let page = admin.get(&format!("/audit?{query}")).expect(200);
        page["data"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|entry| entry["action"].as_str().unwrap().to_owned())
            .collect()
    };
    let subject = format!("subject_kind=clinic&subject_id={}", clinic["id"]);
    assert_eq!(actions(&subject), ["clinic.rotate_secret", "clinic.set", "clinic.add"]);
    let actor = format!("key:{}", other.name).replace(' ', "%20");
    assert_eq!(actions(&format!("actor={actor}")), ["clinic.set"]);
    assert_eq!(actions("action=clinic.add"), ["clinic.add"]);
    assert_eq!(actions(&format!("{subject}&since=2100-01-01")), [""; 0]);
    assert_eq!(actions(&format!("{subject}&until=2020-01-01T00:00:00Z")), [""; 0]);
    assert_eq!(actions(&format!("{subject}&since=2020-01-01&until=2099-12-31")).len(), 3);
    let entry = &admin.get("/audit?action=clinic.set").expect(200)["data"][0];
    let mut settings: Vec<_> = entry["detail"]["settings"].as_array().expect("a list").iter().collect();
    settings.sort_by_key(|setting| setting.to_string());
    assert_eq!(settings, [&json!("barcode=string"), &json!("on_hold=true")]);
    let first = admin.get("/audit?limit=2").expect(200);
    let cursor = first["next_cursor"].as_str().expect("a cursor");
    let second = admin.get(&format!("/audit?limit=1000&cursor={cursor}")).expect(200);
    let all: Vec<Value> = [&first, &second].iter().flat_map(|page| page["data"].as_array().unwrap().clone()).collect();
    assert_eq!(Value::Array(all), admin.get("/audit?limit=1000").expect(200)["data"]);
    assert_eq!(
        supplier.run(["audit", "list", "--by", &format!("key:{}", other.name)]).as_array().map(Vec::len),
        Some(1)
    );
    for (query, field) in [("subject_id=x", "subject_id"), ("since=soon", "since"), ("until=2026-13-01", "until")] {
        assert_eq!(admin.get(&format!("/audit?{query}")).refused(400).1, [field]);
    }
}

//! `/staff/v1/sites`: ezyVet sites, their credentials, and the calls that staff make to them.

use crate::support::client::Response;
use crate::support::database::in_own_runtime;
use crate::support::ezyvet::{Ezyvet, Fault};
use crate::support::staff::Staff;
use crate::support::supplier::Supplier;
use serde_json::{Value, json};

const SECRET: &str = "hunter2-secret-of-a-site";

fn site(ezyvet: &Ezyvet, name: &str) -> Value {
    json!({
        "name": name, "base_url": ezyvet.url, "partner_id": "p", "client_id": name, "client_secret": SECRET, "site_uid": "u",
    })
}

/// A supplier with one site.
struct Scene {
    ezyvet: Ezyvet,
    supplier: Supplier,
}

impl Scene {
    fn open() -> Self {
        let scene = Self { ezyvet: Ezyvet::start(), supplier: Supplier::start(&[("SPSI_LOG", "debug")]) };
        scene.supplier.staff("admin").post("/sites", &site(&scene.ezyvet, "harbour")).expect(201);
        scene
    }

    /// Runs SQL in the database of the supplier.
    fn sql(&self, statement: &str) {
        in_own_runtime(async || {
            let mut connection = self.supplier.database.connect().await;
            sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned())).execute(&mut connection).await.expect("executed");
        });
    }
}

/// Checks that an answer shows no credential.
#[track_caller]
fn without_secret(answer: Response) -> Response {
    assert!(!answer.text().contains(SECRET) && !answer.text().contains("client_secret"), "{}", answer.text());
    answer
}

#[test]
fn a_site_is_added_shown_and_listed_without_its_secret() {
    let scene = Scene::open();
    let admin = scene.supplier.staff("admin");
    let added = without_secret(admin.post("/sites", &site(&scene.ezyvet, "second")));
    let body = added.expect(201);
    assert_eq!(added.header("location"), Some(format!("/staff/v1/sites/{}", body["id"]).as_str()));
    assert_eq!(
        (&body["state"], &body["token_path"], &body["client_id"]),
        (&json!("active"), &json!("/oauth/token"), &json!("second"))
    );
    for which in [body["id"].to_string(), "second".to_owned()] {
        assert_eq!(without_secret(admin.get(&format!("/sites/{which}"))).expect(200), body);
    }
    let list = without_secret(admin.get("/sites")).expect(200);
    let names: Vec<_> = list["data"].as_array().expect("a list").iter().map(|site| site["name"].clone()).collect();
    assert_eq!(names, ["second", "harbour"]);
    let preset = json!({
        "name": "hosted", "preset": "trial-api", "partner_id": "p", "client_id": "c", "client_secret": SECRET, "site_uid": "u",
        "settings": { "invoice_unit": "outer", "payment_days": 20 },
    });
    let hosted = admin.post("/sites", &preset).expect(201);
    assert_eq!(
        (&hosted["base_url"], &hosted["token_path"]),
        (&json!("https://api.trial.ezyvet.com"), &json!("/v1/oauth/access_token"))
    );
    assert_eq!(hosted["settings"], json!({ "invoice_unit": "outer", "payment_days": "20" }));
    without_secret(admin.get("/audit"));
    assert!(!scene.supplier.log().contains(SECRET));
}

#[test]
fn every_invalid_field_of_a_site_is_named_and_no_answer_repeats_the_secret() {
    let scene = Scene::open();
    let admin = scene.supplier.staff("admin");
    let sorted = |(_, mut fields): (String, Vec<String>)| {
        fields.sort();
        fields
    };
    let invalid = json!({
        "name": "17", "base_url": "http://example.com", "token_path": "@evil.example", "partner_id": " ", "client_id": "",
        "client_secret": " ", "site_uid": "\n", "settings": { "deliver": "some", "nonsense": 1 },
    });
    assert_eq!(
        sorted(admin.post("/sites", &invalid).refused(422)),
        [
            "base_url",
            "client_id",
            "client_secret",
            "name",
            "partner_id",
            "settings.deliver",
            "settings.nonsense",
            "site_uid",
            "token_path"
        ]
    );
    assert_eq!(
        sorted(admin.post("/sites", &json!({ "colour": "red", "client_secret": SECRET })).refused(422)),
        ["client_id", "colour", "name", "partner_id", "site_uid"]
    );
    let both = json!({ "name": "x", "preset": "apiv2", "base_url": "https://h", "partner_id": "p", "client_id": "c",
                       "client_secret": SECRET, "site_uid": "u" });
    assert!(sorted(without_secret_but_field(admin.post("/sites", &both)).refused(422)).contains(&"preset".to_owned()));
    let wrong = json!({ "name": "x", "client_secret": [SECRET], "partner_id": 1, "client_id": "c", "site_uid": "u" });
    let answer = admin.post("/sites", &wrong);
    assert!(!answer.text().contains(SECRET), "{}", answer.text());
    assert_eq!(sorted(answer.refused(422)), ["client_secret", "partner_id"]);
    let changes = json!({ "name": "5", "state": "asleep", "base_url": "x", "client_secret": "", "settings": { "deliver": "some" } });
    assert_eq!(
        sorted(admin.patch("/sites/harbour", &changes).refused(422)),
        ["base_url", "client_secret", "name", "settings.deliver", "state"]
    );
    assert_eq!(admin.get("/sites/harbour").expect(200)["settings"], json!({}));
    assert!(!scene.supplier.log().contains(SECRET));
}

/// Checks that an answer does not repeat the secret; it may name the field.
#[track_caller]
fn without_secret_but_field(answer: Response) -> Response {
    assert!(!answer.text().contains(SECRET), "{}", answer.text());
    answer
}

#[test]
fn taken_names_and_credentials_are_conflicts() {
    let scene = Scene::open();
    let admin = scene.supplier.staff("admin");
    let mut again = site(&scene.ezyvet, "harbour");
    assert_eq!(admin.post("/sites", &again).refused(409).1, ["name"]);
    again["name"] = json!("other");
    assert_eq!(without_secret(admin.post("/sites", &again)).refused(409).1, ["client_id"]);
    admin.post("/sites", &site(&scene.ezyvet, "second")).expect(201);
    assert_eq!(admin.patch("/sites/second", &json!({ "name": "harbour" })).refused(409).1, ["name"]);
    assert_eq!(admin.patch("/sites/second", &json!({ "client_id": "harbour" })).refused(409).1, ["client_id"]);
}

#[test]
fn a_site_is_changed_paused_and_resumed_and_an_outdated_version_is_refused() {
    let scene = Scene::open();
    let admin = scene.supplier.staff("admin");
    let first = admin.get("/sites/harbour").header("etag").expect("a version").to_owned();
    let changes =
        json!({ "settings": { "invoice_unit": "outer", "deliver": "invoice" }, "client_secret": "another-secret" });
    let changed = without_secret(admin.patch("/sites/harbour", &changes));
    assert_eq!(changed.expect(200)["settings"], json!({ "invoice_unit": "outer", "deliver": "invoice" }));
    assert!(!changed.text().contains("another-secret") && !scene.supplier.log().contains("another-secret"));
    let conditional = |path: &str, method: &str, version: &str| {
        admin.request(method, path).header("if-match", version).json(&json!({})).send()
    };
    conditional("/sites/harbour", "PATCH", &first).refused(412);
    conditional("/sites/harbour/pause", "POST", &first).refused(412);
    let paused = conditional("/sites/harbour/pause", "POST", changed.header("etag").expect("a version")).expect(200);
    assert_eq!((&paused["state"], &paused["status"]), (&json!("paused"), &json!("paused by staff: nothing is sent")));
    assert_eq!(admin.get("/sites?state=paused").expect(200)["data"].as_array().map(Vec::len), Some(1));
    assert_eq!(admin.post("/sites/harbour/resume", &json!({})).expect(200)["state"], "active");
    let removed = json!({ "settings": { "invoice_unit": null } });
    assert_eq!(admin.patch("/sites/harbour", &removed).expect(200)["settings"], json!({ "deliver": "invoice" }));
}

#[test]
fn a_test_of_a_site_reports_each_check_in_ezyvets_own_words() {
    let scene = Scene::open();
    let admin = scene.supplier.staff("admin");
    let good = admin.post("/sites/harbour/test", &json!({})).expect(200);
    assert_eq!((&good["ok"], good["checks"].as_array().map(Vec::len)), (&json!(true), Some(3)), "{good}");
    scene.ezyvet.break_next("separation", [Fault::Answer(403, r#"{"messages":["No such scope."]}"#, vec![])]);
    let bad = admin.post("/sites/harbour/test", &json!({})).expect(200);
    assert_eq!(bad["ok"], false);
    let check = &bad["checks"][1];
    assert_eq!((&check["check"], &check["ok"]), (&json!("separations"), &json!(false)));
    assert!(check["detail"].as_str().is_some_and(|detail| detail.contains("No such scope")), "{bad}");
    without_secret(admin.post("/sites/harbour/test", &json!({})));
}

#[test]
fn separations_are_read_from_ezyvet_and_then_listed_without_a_call() {
    let scene = Scene::open();
    let admin = scene.supplier.staff("admin");
    let none = admin.get("/sites/harbour/separations").expect(200);
    assert_eq!((&none["data"], &none["read_at"]), (&json!([]), &Value::Null));
    let read = admin.post("/sites/harbour/separations", &json!({})).expect(200);
    let ids: Vec<_> =
        read["data"].as_array().expect("a list").iter().map(|separation| separation["id"].clone()).collect();
    assert_eq!(ids, ["1", "3", "4"]);
    let calls = scene.ezyvet.count("GET /v2/separation");
    let stored = admin.get("/sites/harbour/separations").expect(200);
    assert_eq!(stored["data"], read["data"]);
    assert!(stored["read_at"].is_string());
    assert_eq!(scene.ezyvet.count("GET /v2/separation"), calls);
    scene.ezyvet.break_next("separation", [Fault::Answer(400, r#"{"messages":["The site is closed."]}"#, vec![])]);
    let (detail, _) = admin.post("/sites/harbour/separations", &json!({})).refused(502);
    assert!(detail.contains("The site is closed."), "{detail}");
    scene.sql("delete from site_token");
    scene.ezyvet.break_next("token", [Fault::Answer(401, r#"{"error_description":"Wrong client secret."}"#, vec![])]);
    let (detail, _) = admin.post("/sites/harbour/separations", &json!({})).refused(502);
    assert!(detail.contains("Wrong client secret."), "{detail}");
    assert_eq!(admin.get("/sites/harbour/separations").expect(200)["data"], read["data"]);
}

#[test]
fn a_site_that_another_process_holds_is_a_conflict() {
    let scene = Scene::open();
    let admin = scene.supplier.staff("admin");
    scene
        .sql("update site_lease set lease_token = nextval('lease_token_seq'), lease_until = now() + interval '1 hour'");
    let (detail, _) = admin.post("/sites/harbour/test", &json!({})).refused(409);
    assert!(detail.contains("another process"), "{detail}");
    assert_eq!(scene.ezyvet.count(""), 0);
}

#[test]
fn a_warehouse_assigns_inventory_products_and_an_admin_maps_addresses() {
    let scene = Scene::open();
    let (admin, warehouse) = (scene.supplier.staff("admin"), scene.supplier.staff("warehouse"));
    assert_eq!(warehouse.get("/sites/harbour/unmapped").expect(200)["data"], json!([]));
    let pinned = warehouse.put("/sites/harbour/products/50002", &json!({ "uid": "product_8f2c" })).expect(200);
    assert_eq!((&pinned["product_id"], &pinned["uid"]), (&json!("50002"), &json!("product_8f2c")));
    for bad in [json!({}), json!({ "uid": "" }), json!({ "uid": " " }), json!({ "uid": 1 })] {
        assert_eq!(warehouse.put("/sites/harbour/products/50002", &bad).refused(422).1, ["uid"]);
    }
    let mapping = json!({ "mappings": [{ "kind": "ship_to", "ezyvet_id": "2", "value": "12 Harbour St" }] });
    let mapped = admin.put("/sites/harbour/mappings", &mapping).expect(200);
    assert_eq!((&mapped["data"][0]["value"], &mapped["data"][0]["site"]), (&json!("12 Harbour St"), &json!("harbour")));
    assert_eq!(warehouse.get("/sites/harbour/mappings").expect(200), mapped);
    let clinic = scene.supplier.clinic_with(&["site=harbour"]);
    let of_clinic = admin.get(&format!("/clinics/{}/mappings", clinic.id)).expect(200);
    assert_eq!(of_clinic["data"][0]["value"], "12 Harbour St", "a mapping applies to every clinic of the site");
    assert_eq!(admin.delete("/sites/harbour/mappings/ship_to/2").status, 204);
    admin.delete("/sites/harbour/mappings/ship_to/2").refused(404);
    assert_eq!(admin.get("/sites/harbour/mappings").expect(200)["data"], json!([]));
}

#[test]
fn an_unknown_site_is_a_404_and_each_role_does_only_its_part() {
    let scene = Scene::open();
    let staff = |role: &str| scene.supplier.staff(role);
    let (admin, viewer, warehouse) = (staff("admin"), staff("viewer"), staff("warehouse"));
    let mapping = json!({ "mappings": [{ "kind": "ship_to", "ezyvet_id": "2", "value": "x" }] });
    let operations: [(&str, &str, Value, &str); 12] = [
        ("GET", "", json!({}), "viewer"),
        ("PATCH", "", json!({}), "admin"),
        ("POST", "/pause", json!({}), "admin"),
        ("POST", "/resume", json!({}), "admin"),
        ("POST", "/test", json!({}), "admin"),
        ("GET", "/separations", json!({}), "viewer"),
        ("POST", "/separations", json!({}), "admin"),
        ("GET", "/unmapped", json!({}), "viewer"),
        ("PUT", "/products/1", json!({ "uid": "u" }), "warehouse"),
        ("GET", "/mappings", json!({}), "viewer"),
        ("PUT", "/mappings", mapping, "admin"),
        ("DELETE", "/mappings/ship_to/2", json!({}), "admin"),
    ];
    for (method, path, body, role) in operations {
        for which in ["nowhere", "999"] {
            let (detail, _) = admin.send(method, &format!("/sites/{which}{path}"), &body).refused(404);
            assert!(detail.contains("site"), "{method} {path}: {detail}");
        }
        let refused: &[&Staff<'_>] = match role {
            "viewer" => &[],
            "warehouse" => &[&viewer],
            _ => &[&viewer, &warehouse],
        };
        for staff in refused {
            let (detail, _) = staff.send(method, &format!("/sites/harbour{path}"), &body).refused(403);
            assert!(detail.contains(&format!("`{role}`")), "{method} {path}: {detail}");
        }
    }
    viewer.post("/sites", &site(&scene.ezyvet, "x")).refused(403);
}

#[test]
fn a_repeated_request_adds_one_site() {
    let scene = Scene::open();
    let admin = scene.supplier.staff("admin");
    let add = || {
        let request = admin.request("POST", "/sites").header("idempotency-key", "site-1");
        request.json(&site(&scene.ezyvet, "once")).send()
    };
    let first = add().expect(201);
    assert_eq!(add().expect(201), first);
    assert_eq!(admin.get("/sites").expect(200)["data"].as_array().map(Vec::len), Some(2));
}

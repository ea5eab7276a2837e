//! The candidates that staff see if no inventory product has the code of a product.

use super::scene::Scene;
use serde_json::json;
use spsi_partner::delivery::staff;
use spsi_partner::ids::SiteId;

/// Ships products 50001 and 50002, whose codes the site's inventory lacks. `catalogue`: the supplier's products. `inventory`:
/// uids and codes; names equal codes. Returns the candidates of each product.
async fn ship_unmapped(catalogue: &str, inventory: &[(&'static str, &'static str)]) -> [serde_json::Value; 2] {
    let scene = Scene::open().await;
    let insert =
        "insert into product (code, name, type, category, units_per_outer, unit_of_measure, list_price, barcode)
                  select l.code, l.name, 'x', 'x', 1, 'box', 4, l.barcode
                  from jsonb_to_recordset($1::jsonb) as l (code text, name text, barcode text)";
    sqlx::query(insert).bind(catalogue).execute(scene.pool()).await.unwrap();
    scene.ezyvet.world().inventory = inventory.to_vec();
    scene.shipped().await;
    scene.step().await;
    let unmapped = staff::unmapped(scene.pool(), SiteId(1)).await.unwrap();
    let ids: Vec<_> = unmapped.iter().map(|product| product.id.as_str()).collect();
    assert_eq!(ids, ["50001", "50002"]);
    for delivery in &scene.deliveries().await[1..] {
        assert_eq!(delivery.state, "attention");
        assert!(delivery.last_error.as_ref().unwrap().contains("`spsi site unmapped 1` shows candidates"));
    }
    [0, 1].map(|index| unmapped[index].candidates.clone())
}

#[tokio::test]
async fn candidates_are_found_by_barcode_and_by_name() {
    let catalogue = r#"[{"code": "TP1", "name": "Bandage", "barcode": "05012345678900"},
                   {"code": "TP2", "name": "Amoxicillin 250 mg", "barcode": "77"}]"#;
    let inventory = [
        ("product_a", "5012345678900"),
        ("product_b", "AMOXICILLIN 250 MG"),
        ("product_c", "Bandages"),
        ("product_d", "Amoxicillin 50 mg"),
    ];
    let [first, second] = ship_unmapped(catalogue, &inventory).await;
    let barcode = json!([{ "uid": "product_a", "code": "5012345678900", "name": "5012345678900", "by": "barcode" }]);
    assert_eq!(first, barcode);
    let name = "AMOXICILLIN 250 MG";
    assert_eq!(second, json!([{ "uid": "product_b", "code": name, "name": name, "by": "name" }]));
}

#[tokio::test]
async fn every_candidate_says_what_matches() {
    let catalogue =
        r#"[{"code": "TP1", "name": "Bandage", "barcode": "6587"}, {"code": "TP2", "name": "Collar", "barcode": ""}]"#;
    // An empty code does not match an empty barcode.
    let inventory = [("product_a", "tp1"), ("product_b", "6587"), ("product_c", "bandage"), ("product_d", "")];
    let [first, second] = ship_unmapped(catalogue, &inventory).await;
    let fits: Vec<_> = first.as_array().unwrap().iter().map(|c| (c["uid"].as_str(), c["by"].as_str())).collect();
    let expected = [("product_b", "barcode"), ("product_a", "code"), ("product_c", "name")];
    assert_eq!(fits, expected.map(|(uid, by)| (Some(uid), Some(by))));
    assert_eq!(second, json!([]));
}

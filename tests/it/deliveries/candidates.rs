//! Which inventory products staff are shown where none has the product's code.

use super::desk::Desk;
use serde_json::json;
use spsi_partner::delivery::staff;
use spsi_partner::ids::SiteId;

/// Ours, and what the site's inventory holds (its names are its codes). Gives what is shown for products 50001 and 50002,
/// and what the first delivery that waits for them says.
async fn shown(ours: &str, inventory: &[(&'static str, &'static str)]) -> ([serde_json::Value; 2], [String; 2]) {
    let desk = Desk::open().await;
    let insert =
        "insert into product (code, name, type, category, units_per_outer, unit_of_measure, list_price, barcode)
                  select l.code, l.name, 'x', 'x', 1, 'box', 4, l.barcode
                  from jsonb_to_recordset($1::jsonb) as l (code text, name text, barcode text)";
    sqlx::query(insert).bind(ours).execute(desk.pool()).await.unwrap();
    desk.ezyvet.world().inventory = inventory.to_vec();
    desk.shipped().await;
    desk.step().await;
    let unmapped = staff::unmapped(desk.pool(), SiteId(1)).await.unwrap();
    let ids: Vec<_> = unmapped.iter().map(|product| product.id.as_str()).collect();
    assert_eq!(ids, ["50001", "50002"]);
    let deliveries = desk.deliveries().await;
    let words = |index: usize| {
        assert_eq!(deliveries[index].state, "attention");
        deliveries[index].last_error.clone().unwrap()
    };
    ([0, 1].map(|index| unmapped[index].candidates.clone()), [words(1), words(2)])
}

#[tokio::test]
async fn candidates_are_found_by_barcode_and_by_name() {
    let ours = r#"[{"code": "TP1", "name": "Bandage", "barcode": "05012345678900"},
                   {"code": "TP2", "name": "Amoxicillin 250 mg", "barcode": "77"}]"#;
    let inventory = [
        ("product_a", "5012345678900"),
        ("product_b", "AMOXICILLIN 250 MG"),
        ("product_c", "Bandages"),
        ("product_d", "Amoxicillin 50 mg"),
    ];
    let ([first, second], words) = shown(ours, &inventory).await;
    let barcode = json!([{ "uid": "product_a", "code": "5012345678900", "name": "5012345678900", "by": "barcode" }]);
    assert_eq!(first, barcode);
    let name = "AMOXICILLIN 250 MG";
    assert_eq!(second, json!([{ "uid": "product_b", "code": name, "name": name, "by": "name" }]));
    assert!(words[0].contains("(perhaps product_a `5012345678900`"), "{words:?}");
    assert!(words[1].contains("(perhaps product_b `AMOXICILLIN 250 MG`"), "{words:?}");
}

#[tokio::test]
async fn several_candidates_are_told_with_what_fits_and_nothing_is_made_up() {
    let ours =
        r#"[{"code": "TP1", "name": "Bandage", "barcode": "6587"}, {"code": "TP2", "name": "Collar", "barcode": ""}]"#;
    // A product without a code fits none of ours without a barcode.
    let inventory = [("product_a", "tp1"), ("product_b", "6587"), ("product_c", "bandage"), ("product_d", "")];
    let ([first, second], words) = shown(ours, &inventory).await;
    let fits: Vec<_> = first.as_array().unwrap().iter().map(|c| (c["uid"].as_str(), c["by"].as_str())).collect();
    let expected = [("product_b", "barcode"), ("product_a", "code"), ("product_c", "name")];
    assert_eq!(fits, expected.map(|(uid, by)| (Some(uid), Some(by))));
    assert_eq!(second, json!([]));
    assert!(["product_a", "product_b", "product_c"].iter().all(|uid| words[0].contains(uid)), "{words:?}");
    assert!(!words[1].contains("perhaps"), "{words:?}");
}

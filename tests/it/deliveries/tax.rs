//! The tax of an invoice, from the settings to the call.

use super::scene::Scene;
use spsi_partner::clinics;

#[tokio::test]
async fn an_invoice_has_the_clinics_rate_if_the_product_has_none_or_the_clinic_overrides_it() {
    let scene = Scene::open().await;
    let zero_rated =
        "insert into product (code, name, type, category, units_per_outer, unit_of_measure, list_price, tax_code,
                          tax_rate) values ('TP2', 'Pet food', 'food', 'food', 1, 'bag', 4, 'Z', 0)";
    sqlx::raw_sql(zero_rated).execute(scene.pool()).await.unwrap();
    let cases: [(&[&str], [[&str; 3]; 2]); 4] = [
        (&[], [["S", "10", "0.4"], ["Z", "0", "0"]]),
        (&["tax_rate=12.5", "tax_code=GST"], [["GST", "12.5", "0.5"], ["Z", "0", "0"]]),
        (&["tax_overrides_product=true"], [["GST", "12.5", "0.5"], ["GST", "12.5", "0.5"]]),
        (&["tax_rate=", "tax_code=", "tax_overrides_product=false"], [["S", "10", "0.4"], ["Z", "0", "0"]]),
    ];
    for (pairs, expected) in cases {
        scene.set_clinic(pairs).await.unwrap();
        scene.shipped().await;
        scene.step().await;
        let deliveries = scene.deliveries().await;
        let invoice = deliveries.iter().rfind(|delivery| delivery.kind == "receive_invoice").unwrap();
        assert_eq!(invoice.state, "delivered", "{invoice:?}");
        let job = scene.ezyvet.world().jobs.last().unwrap().clone();
        let sent = |line: usize, field: &str| job[&format!("data[body][line_item][{line}][{field}]")].clone();
        for (line, expected) in expected.iter().enumerate() {
            assert_eq!(["tax_code", "tax_rate", "tax"].map(|field| sent(line, field)), *expected, "{pairs:?} {line}");
        }
    }
    let shown = clinics::show(scene.pool(), &scene.settings.clinic, "harbour").await.unwrap();
    assert_eq!(serde_json::to_value(&shown).unwrap()["tax_rate"], serde_json::Value::Null);
    scene.set_clinic(&["tax_rate=15.00"]).await.unwrap();
    let shown = clinics::show(scene.pool(), &scene.settings.clinic, "harbour").await.unwrap();
    assert_eq!(serde_json::to_value(&shown).unwrap()["tax_rate"], "15");
    for wrong in ["tax_rate=-1", "tax_rate=101", "tax_rate=ten"] {
        assert!(scene.set_clinic(&[wrong]).await.unwrap_err().to_string().contains("tax_rate"));
    }
}

#[tokio::test]
async fn a_changed_price_has_the_clinics_rate() {
    let scene = Scene::open().await;
    scene.set_clinic(&["tax_rate=20"]).await.unwrap();
    let order = scene.order(1).await;
    let prices = vec![("1".to_owned(), "8".parse().unwrap())];
    let new = spsi_partner::shipments::NewShipment { order, prices, ..Default::default() };
    let shipped = scene.create(&new).await.unwrap();
    let invoice = spsi_partner::ids::DeliveryId(shipped.deliveries[0]);
    let frozen = scene.shown(invoice).await.payload;
    let line = &frozen["lines"][0];
    assert_eq!([&line["price"], &line["tax"], &line["tax_rate"]], ["8", "1.6", "20"]);
}

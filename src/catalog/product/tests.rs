//! One product's JSON, to the byte. The tests of answers compare all settings with a model.

use super::*;
use crate::catalog::arbitrary::sample;
use crate::catalog::fragments::DEFAULT_SETTINGS;

fn written(product: &CatalogProduct, settings: BodySettings, contract: ContractPrice) -> String {
    let mut json = b"before".to_vec();
    let template = ProductTemplate::append(&mut json, product).unwrap();
    let stock = fixed_decimal::from_decimal(product.stock_available).unwrap();
    let mut out = Vec::new();
    template.write(&mut out, &json, &settings, contract, stock);
    assert_eq!(template.length(&settings, contract, stock), out.len());
    String::from_utf8(out).unwrap()
}

#[test]
fn a_product_has_the_documented_types() {
    let bandage = CatalogProduct {
        name: "2m-bandage \"é\" \\ 5%".into(),
        units_per_outer: "10.0".parse().unwrap(),
        list_price: Some("20.50".parse().unwrap()),
        barcode: "6587".into(),
        stock_available: "20.50".parse().unwrap(),
        related_urls: vec!["https://example.com/a?b=1&c=\"".into()],
        ..sample(1, "BND")
    };
    assert_eq!(
        written(&bandage, DEFAULT_SETTINGS, ContractPrice::Micros(1_500_000)),
        r#"{"active":1,"code":"BND","name":"2m-bandage \"é\" \\ 5%","type":"medication","category":"consumable","units_per_outer":"10","unit_of_measure":"box","price_per_unit":"2.05","list_price":2.05,"contract_price":1.5,"barcode":6587,"stock_available":20.5,"related_urls":["https://example.com/a?b=1&c=\""]}"#
    );
}

#[test]
fn the_price_of_a_unit_is_rounded_to_six_places() {
    assert_eq!(price_on(Basis::Unit, Decimal::TEN, Decimal::from(3)).map(plain).as_deref(), Some("3.333333"));
    assert_eq!(price_on(Basis::Unit, Decimal::from(20), Decimal::from(3)).map(plain).as_deref(), Some("6.666667"));
    assert_eq!(price_on(Basis::Outer, Decimal::TEN, Decimal::from(3)), Some(Decimal::TEN));
}

#[test]
fn a_barcode_is_a_number_only_if_it_loses_no_digit() {
    for (barcode, json) in [
        ("6587", "6587"),
        ("", "\"\""),
        ("0", "\"0\""),
        ("00012345678905", "\"00012345678905\""),
        ("9007199254740991", "9007199254740991"),
        ("9007199254740992", "\"9007199254740992\""),
        ("99999999999999999999999", "\"99999999999999999999999\""),
        ("+5", "\"+5\""),
        ("12 3", "\"12 3\""),
        ("٣", "\"٣\""),
        ("a\"b", "\"a\\\"b\""),
    ] {
        let product = CatalogProduct { barcode: barcode.into(), ..sample(1, "BND") };
        let body = written(&product, DEFAULT_SETTINGS, ContractPrice::None);
        assert!(body.contains(&format!(r#""barcode":{json},"stock"#)), "{body}");
        let strings = BodySettings { barcode: BarcodeType::String, ..DEFAULT_SETTINGS };
        let body = written(&product, strings, ContractPrice::None);
        let json = serde_json::to_string(barcode).unwrap();
        assert!(body.contains(&format!(r#""barcode":{json},"stock"#)), "{body}");
    }
}

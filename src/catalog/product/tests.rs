//! One product's JSON, to the byte.

use super::*;
use crate::config::Span;
use time::macros::datetime;

fn settings() -> BodySettings {
    BodySettings {
        price_basis: Basis::Unit,
        missing_contract_price: MissingContractPrice::ListPrice,
        barcode: BarcodeType::Auto,
        withdrawn_for: WithdrawnFor::Time(Span::seconds(90 * 86_400)),
    }
}

fn bandage() -> CatalogProduct {
    CatalogProduct {
        id: ProductId(1),
        code: "BND".into(),
        name: "2m-bandage \"é\" \\ 5%".into(),
        product_type: "medication".into(),
        category: "consumable".into(),
        units_per_outer: "10.0".parse().unwrap(),
        unit_of_measure: "box".into(),
        list_price: Some("20.50".parse().unwrap()),
        barcode: "6587".into(),
        stock_available: "20.50".parse().unwrap(),
        withdrawn_at: None,
        related_urls: vec!["https://example.com/a?b=1&c=\"".into()],
        restricted: false,
    }
}

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
    assert_eq!(
        written(&bandage(), settings(), ContractPrice::Micros(1_500_000)),
        r#"{"active":1,"code":"BND","name":"2m-bandage \"é\" \\ 5%","type":"medication","category":"consumable","units_per_outer":"10","unit_of_measure":"box","price_per_unit":"2.05","list_price":2.05,"contract_price":1.5,"barcode":6587,"stock_available":20.5,"related_urls":["https://example.com/a?b=1&c=\""]}"#
    );
}

#[test]
fn the_basis_moves_list_and_contract_price_but_not_the_unit_price() {
    let outer = BodySettings { price_basis: Basis::Outer, ..settings() };
    let body = written(&bandage(), outer, ContractPrice::None);
    assert!(body.contains(r#""price_per_unit":"2.05","list_price":20.5,"contract_price":20.5,"#), "{body}");
    assert_eq!(price_on(Basis::Unit, Decimal::TEN, Decimal::from(3)).map(plain).as_deref(), Some("3.333333"));
    assert_eq!(price_on(Basis::Unit, Decimal::from(20), Decimal::from(3)).map(plain).as_deref(), Some("6.666667"));
    assert_eq!(price_on(Basis::Outer, Decimal::TEN, Decimal::from(3)), Some(Decimal::TEN));
}

#[test]
fn a_missing_contract_price_is_the_list_price_or_null_or_left_out() {
    let body = |missing| {
        written(&bandage(), BodySettings { missing_contract_price: missing, ..settings() }, ContractPrice::None)
    };
    assert!(body(MissingContractPrice::ListPrice).contains(r#""list_price":2.05,"contract_price":2.05,"barcode""#));
    assert!(body(MissingContractPrice::Null).contains(r#""list_price":2.05,"contract_price":null,"barcode""#));
    assert!(body(MissingContractPrice::LeftOut).contains(r#""list_price":2.05,"barcode""#));
    let large = ContractPrice::Large("123456789012.123456".parse().unwrap());
    let left_out = BodySettings { missing_contract_price: MissingContractPrice::LeftOut, ..settings() };
    assert!(written(&bandage(), left_out, large).contains(r#""contract_price":123456789012.123456,"#));
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
        let product = CatalogProduct { barcode: barcode.into(), ..bandage() };
        let body = written(&product, settings(), ContractPrice::None);
        assert!(body.contains(&format!(r#""barcode":{json},"stock"#)), "{body}");
        let strings = BodySettings { barcode: BarcodeType::String, ..settings() };
        let body = written(&product, strings, ContractPrice::None);
        let json = serde_json::to_string(barcode).unwrap();
        assert!(body.contains(&format!(r#""barcode":{json},"stock"#)), "{body}");
    }
}

#[test]
fn a_withdrawn_product_has_active_0_and_empty_fields_keep_their_type() {
    let product = CatalogProduct {
        withdrawn_at: Some(datetime!(2026-01-01 0:00 UTC)),
        stock_available: Decimal::ZERO,
        related_urls: Vec::new(),
        ..bandage()
    };
    let body = written(&product, settings(), ContractPrice::None);
    assert!(
        body.starts_with(r#"{"active":0,"#) && body.ends_with(r#""stock_available":0,"related_urls":[]}"#),
        "{body}"
    );
}

use super::*;
use crate::orders::revisions::is_same;
use serde_json::{Value, json};

fn documented() -> Value {
    json!({"purchaseorder": {"id": "12", "active": "1", "created_at": "1514493886", "modified_at": "1514493886", "date": "1514466000",
        "shipping_address_id": "2", "comments": "...", "freight": "0", "freight_tax": "0", "tax": "0.4", "total": "4.4", "client_id": "2",
        "supplier_id": "10006", "status": "Approved", "supplier_order_number": "", "supplier_account_number": "",
        "purchase_order_number": "15000032", "ownership_id": "1", "purchase_order_item_list": [{"id": "9", "product_id": "50002",
        "supplier_code": "TP1", "outers": "1", "units_per_outer": "1", "price_per_unit": "4", "tax_per_unit": "0.4", "quantity": "1",
        "total": "4", "total_tax": "0.4", "ownership_id": "3"}]}})
}

fn read_value(value: &Value) -> Result<OrderRequest, ReadError> {
    read(value.to_string().as_bytes(), 10)
}

fn paths(error: ReadError) -> Vec<String> {
    match error {
        ReadError::Fields(errors) => errors.into_iter().map(|error| error.path).collect(),
        other => panic!("{other}"),
    }
}

#[test]
fn the_documented_order_reads() {
    let order = read_value(&documented()).unwrap();
    assert_eq!((order.ezyvet_id.as_str(), order.ownership_id.as_str()), ("12", "1"));
    assert_eq!(order.ordered_at.unwrap().unix_timestamp(), 1514466000);
    assert_eq!(order.lines[0].supplier_code, "TP1");
    assert_eq!(order.lines[0].location_id, "3");
    assert_eq!(plain(order.total), "4.4");
    assert!(!order.is_return());
}

#[test]
fn every_spelling_is_the_same_content() {
    let plain_order = read_value(&documented()).unwrap();
    let mut other = documented();
    let order = &mut other["purchaseorder"];
    order["id"] = json!(12);
    order["total"] = json!(4.4);
    order["tax"] = json!("0.40000000000000002");
    order["modified_at"] = json!(1600000000);
    order["status"] = json!("Sent");
    order["supplier_account_number"] = json!(null);
    let line = order["purchase_order_item_list"][0].take();
    order["purchase_order_item_list"] = json!({"3": line});
    let other = read_value(&other).unwrap();
    assert!(is_same(&other.body, &plain_order.body));
    assert_eq!(other.lines, plain_order.lines);

    let form = "purchaseorder[id]=12&purchaseorder[date]=1514466000&purchaseorder[shipping_address_id]=2&purchaseorder[comments]=...\
        &purchaseorder[freight]=0&purchaseorder[freight_tax]=0&purchaseorder[tax]=0.4&purchaseorder[total]=4.4&purchaseorder[client_id]=2\
        &purchaseorder[supplier_id]=10006&purchaseorder[purchase_order_number]=15000032&purchaseorder[ownership_id]=1\
        &purchaseorder[purchase_order_item_list][0][id]=9&purchaseorder[purchase_order_item_list][0][product_id]=50002\
        &purchaseorder[purchase_order_item_list][0][supplier_code]=TP1&purchaseorder[purchase_order_item_list][0][outers]=1\
        &purchaseorder[purchase_order_item_list][0][units_per_outer]=1&purchaseorder[purchase_order_item_list][0][price_per_unit]=4\
        &purchaseorder[purchase_order_item_list][0][tax_per_unit]=0.4&purchaseorder[purchase_order_item_list][0][quantity]=1\
        &purchaseorder[purchase_order_item_list][0][total]=4&purchaseorder[purchase_order_item_list][0][total_tax]=0.4\
        &purchaseorder[purchase_order_item_list][0][ownership_id]=3";
    assert!(is_same(&read(form.as_bytes(), 10).unwrap().body, &plain_order.body));
}

#[test]
fn changed_content_is_not_the_same() {
    let before = read_value(&documented()).unwrap().body;
    for (path, value) in
        [("/purchaseorder/comments", "urgent"), ("/purchaseorder/purchase_order_item_list/0/quantity", "2")]
    {
        let mut changed = documented();
        *changed.pointer_mut(path).unwrap() = json!(value);
        assert!(!is_same(&read_value(&changed).unwrap().body, &before), "{path}");
    }
}

#[test]
fn every_bad_field_is_named_at_once() {
    let mut order = documented();
    order["purchaseorder"]["id"] = json!("");
    order["purchaseorder"]["total"] = json!("4,40");
    order["purchaseorder"]["date"] = json!([1]);
    let lines = order["purchaseorder"]["purchase_order_item_list"].as_array_mut().unwrap();
    lines.push(json!({"id": "9", "quantity": "x", "units_per_outer": 0}));
    lines.push(json!("nonsense"));
    let line = |index: usize, key: &str| format!("purchaseorder.purchase_order_item_list[{index}]{key}");
    let expected = [
        "purchaseorder.id".to_owned(),
        "purchaseorder.date".into(),
        "purchaseorder.total".into(),
        line(1, ".quantity"),
        line(1, ".price_per_unit"),
        line(1, ".units_per_outer"),
        line(1, ".supplier_code"),
        line(1, ".id"),
        line(2, ""),
    ];
    assert_eq!(paths(read_value(&order).unwrap_err()), expected);
}

#[test]
fn what_follows_from_the_rest_must_fit_as_well() {
    let mut order = documented();
    let line = order["purchaseorder"]["purchase_order_item_list"][0].as_object_mut().unwrap();
    for key in ["outers", "total", "total_tax"] {
        line.remove(key);
    }
    line.insert("units_per_outer".into(), json!("0.000001"));
    line.insert("quantity".into(), json!(999_999_999_999_i64));
    let path = |key: &str| format!("purchaseorder.purchase_order_item_list[0].{key}");
    assert_eq!(paths(read_value(&order).unwrap_err()), [path("outers"), path("total")]);
}

#[test]
fn what_is_no_order_is_refused() {
    assert_eq!(read(b"", 10), Err(ReadError::Neither));
    assert_eq!(read(b"[1]", 10), Err(ReadError::Neither));
    assert!(matches!(read(b"{\"purchaseorder\":", 10), Err(ReadError::BadJson(_))));
    assert_eq!(paths(read(b"{}", 10).unwrap_err()), ["purchaseorder"]);
    assert_eq!(
        paths(read(br#"{"purchaseorder": {"id": 1}}"#, 10).unwrap_err()),
        ["purchaseorder.purchase_order_item_list"]
    );
    let mut long = documented();
    long["purchaseorder"]["purchase_order_item_list"] = json!((0..11).collect::<Vec<_>>());
    assert_eq!(read_value(&long), Err(ReadError::TooManyLines(11, 10)));
}

#[test]
fn a_negative_order_is_a_return() {
    let mut order = documented();
    order["purchaseorder"]["total"] = json!("-4.4");
    order["purchaseorder"]["purchase_order_item_list"][0]["quantity"] = json!(-1);
    assert!(read_value(&order).unwrap().is_return());
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        let _ = read(&bytes, 10);
        let _ = read(&[b"{\"purchaseorder\":{\"id\":1,\"purchase_order_item_list\":", bytes.as_slice(), b"}}"].concat(), 10);
    }
}

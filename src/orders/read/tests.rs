use super::*;
use crate::orders::revisions::difference;
use proptest::prelude::*;
use serde_json::json;

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
    let mut long = documented();
    long["purchaseorder"]["purchase_order_item_list"] = json!((0..11).collect::<Vec<_>>());
    assert_eq!(read_value(&long), Err(ReadError::TooManyLines(11, 10)));
}

const AMOUNTS: [&str; 6] = ["total", "tax", "freight", "quantity", "price_per_unit", "units_per_outer"];

/// A random order, written plainly.
fn order() -> impl Strategy<Value = Value> {
    let micros = |micros: i64| plain(Decimal::new(micros, 6));
    let amount = move || (-9_000_000_000..9_000_000_000_i64).prop_map(micros);
    let line =
        (1..9_000_000_i64, 1..9_000_000_i64, 1..99_i64, amount()).prop_map(move |(quantity, price, units, total)| {
            json!({"supplier_code": "TP1", "quantity": micros(quantity), "price_per_unit": micros(price),
            "units_per_outer": units.to_string(), "total": total})
        });
    let texts = (0..3_u32, 0..9_u32, "[a-zé]{0,9}");
    ([amount(), amount(), amount()], texts, prop::collection::vec(line, 1..5)).prop_map(
        |([total, tax, freight], (address, owner, comments), mut lines)| {
            (1..).zip(&mut lines).for_each(|(id, line)| line["id"] = json!(i32::to_string(&id)));
            json!({ROOT: {"id": "12", "total": total, "tax": tax, "freight": freight, "comments": comments,
                "shipping_address_id": address.to_string(), "ownership_id": owner.to_string(), LINES: lines}})
        },
    )
}

/// Writes a value in one of the ways of PHP clients, chosen by `how`.
fn respelt(key: &str, value: &Value, how: &mut dyn FnMut() -> u8) -> Value {
    match value {
        Value::Object(fields) => fields.iter().map(|(key, value)| (key.clone(), respelt(key, value, how))).collect(),
        Value::Array(items) => {
            let items: Vec<Value> = items.iter().map(|item| respelt("", item, how)).collect();
            // A list that lost indices. The order of keys in an object does not count.
            let mut indexed: Vec<_> = (0..).map(|index| (index * 3 + 1).to_string()).zip(items.clone()).collect();
            match how() % 3 {
                0 => json!(items),
                1 => indexed.into_iter().collect(),
                _ => {
                    indexed.reverse();
                    indexed.into_iter().collect()
                }
            }
        }
        leaf => respelt_text(AMOUNTS.contains(&key), leaf.as_str().unwrap_or_default(), how()),
    }
}

fn respelt_text(is_amount: bool, text: &str, how: u8) -> Value {
    match (text, how % 4) {
        ("", 0) => Value::Null,
        ("1", 0) => json!(true),
        ("0", 0) => json!(false),
        (text, 1) => text.parse::<serde_json::Number>().map_or(json!(text), Value::Number),
        (text, 2) if is_amount => json!(format!(" {text}{} ", if text.contains('.') { "000" } else { ".0" })),
        // The noise of binary floats, beyond the sixth place.
        (text, 3) if is_amount => {
            let mut amount: Decimal = text.parse().unwrap();
            amount.rescale(6);
            json!(format!("{}{amount}0000000001", if amount.is_sign_negative() { "" } else { "+" }))
        }
        (text, _) => json!(text),
    }
}

fn form(prefix: &str, value: &Value, out: &mut url::form_urlencoded::Serializer<'_, String>) {
    let inner = |key: &str| if prefix.is_empty() { key.to_owned() } else { format!("{prefix}[{key}]") };
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| form(&inner(key), value, out)),
        Value::Array(items) => {
            (0..).zip(items).for_each(|(index, value)| form(&inner(&u32::to_string(&index)), value, out))
        }
        leaf => drop(out.append_pair(prefix, &scalar(leaf).unwrap_or_default())),
    }
}

proptest! {
    #[test]
    fn an_order_reads_the_same_however_it_is_spelt(order in order(), hows in prop::collection::vec(any::<u8>(), 64)) {
        let plainly = read_value(&order).unwrap();
        let mut hows = hows.iter().cycle();
        let respelt = respelt("", &order, &mut || *hows.next().unwrap());
        let mut encoded = url::form_urlencoded::Serializer::new(String::new());
        form("", &respelt, &mut encoded);
        for bytes in [respelt.to_string(), serde_json::to_string_pretty(&respelt).unwrap(), encoded.finish()] {
            let other = read(bytes.as_bytes(), 10).unwrap_or_else(|error| panic!("{error}: {bytes}"));
            prop_assert_eq!(difference(&plainly.document, &other.document), [], "{}", bytes);
            let OrderRequest { body, document, .. } = plainly.clone();
            prop_assert_eq!(&plainly, &OrderRequest { body, document, ..other });
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes, 10);
        let _ = read(&[b"{\"purchaseorder\":{\"id\":1,\"purchase_order_item_list\":", bytes.as_slice(), b"}}"].concat(), 10);
    }
}

//! Purchase orders that tests send.

use serde_json::{Value, json};

/// Returns the order that ezyVet documents (SPSI.md 1), with this id: one `TP1` at 4, plus tax.
pub fn documented(id: &str) -> Value {
    json!({"purchaseorder": {"id": id, "active": "1", "created_at": "1514493886", "modified_at": "1514493886",
        "date": "1514466000", "shipping_address_id": "2", "comments": "...", "freight": "0", "freight_tax": "0",
        "tax": "0.4", "total": "4.4", "client_id": "2", "supplier_id": "10006", "status": "Approved",
        "supplier_order_number": "", "supplier_account_number": "", "purchase_order_number": format!("1500{id}"),
        "ownership_id": "1", "purchase_order_item_list": [{"id": "9", "product_id": "50002", "supplier_code": "TP1",
        "outers": "1", "units_per_outer": "1", "price_per_unit": "4", "tax_per_unit": "0.4", "quantity": "1",
        "total": "4", "total_tax": "0.4", "ownership_id": "3"}]}})
}

/// Returns the documented order with the value at a JSON pointer replaced, for instance at
/// `/purchase_order_item_list/0/quantity`.
pub fn with(id: &str, pointer: &str, value: Value) -> Value {
    let mut order = documented(id);
    let pointer = format!("/purchaseorder{pointer}");
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    match order.pointer_mut(parent).expect("a parent") {
        Value::Object(map) => {
            map.insert(key.to_owned(), value);
        }
        Value::Array(items) => items[key.parse::<usize>().expect("an index")] = value,
        other => panic!("{other} has no parts"),
    }
    order
}

/// Encodes an order as PHP encodes a nested form: `purchaseorder[purchase_order_item_list][0][id]=9`.
pub fn form(order: &Value) -> String {
    let mut pairs = url::form_urlencoded::Serializer::new(String::new());
    visit_leaves(String::new(), order, &mut |key, value| {
        pairs.append_pair(&key, value);
    });
    pairs.finish()
}

/// Calls `visit` with the form key and the text of every leaf.
fn visit_leaves(key: String, value: &Value, visit: &mut impl FnMut(String, &str)) {
    let inner = |name: &str| if key.is_empty() { name.to_owned() } else { format!("{key}[{name}]") };
    match value {
        Value::Object(map) => map.iter().for_each(|(name, value)| visit_leaves(inner(name), value, visit)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, value)| visit_leaves(inner(&index.to_string()), value, visit));
        }
        Value::String(text) => visit(key, text),
        other => visit(key, &other.to_string()),
    }
}

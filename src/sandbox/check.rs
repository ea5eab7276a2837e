//! Checks a partner's answers against SPSI.md 1; an error names the first field that is not as documented.

use rust_decimal::Decimal;
use serde_json::{Map, Value};

use super::product::Listed;

/// Reads `{"categories": [...]}`.
///
/// # Errors
/// The answer has another shape, or the names are not sorted and distinct.
pub fn categories(answer: &Value) -> Result<Vec<String>, String> {
    let list = only_list(answer, "categories")?;
    let names = list
        .iter()
        .map(|name| name.as_str().map(str::to_owned).ok_or_else(|| format!("categories: {name} is not a string")))
        .collect::<Result<Vec<_>, _>>()?;
    match names.windows(2).find(|pair| pair[0] >= pair[1]) {
        Some(pair) => Err(format!("categories: not sorted and distinct: `{}` comes before `{}`", pair[0], pair[1])),
        None => Ok(names),
    }
}

/// Reads `{"products": [...]}`.
///
/// # Errors
/// The answer or a product has another shape.
pub fn products(answer: &Value) -> Result<Vec<Listed>, String> {
    let list = only_list(answer, "products")?;
    list.iter()
        .enumerate()
        .map(|(index, product)| read_product(product).map_err(|reason| format!("products[{index}].{reason}")))
        .collect()
}

/// Returns the list `name`, which must be the only key of the answer.
fn only_list<'a>(answer: &'a Value, name: &str) -> Result<&'a Vec<Value>, String> {
    let map = answer.as_object().ok_or("the answer is not an object")?;
    if let Some(other) = map.keys().find(|key| *key != name) {
        return Err(format!("the answer has `{other}` beside `{name}`"));
    }
    map.get(name).and_then(Value::as_array).ok_or_else(|| format!("{name}: must be a list"))
}

fn read_product(value: &Value) -> Result<Listed, String> {
    let map = value.as_object().ok_or("must be an object")?;
    let active = match map.get("active") {
        Some(Value::Number(number)) if number.as_u64().is_some_and(|number| number < 2) => number.as_u64() == Some(1),
        other => return Err(mismatch("active", "the number 0 or 1", other)),
    };
    text(map, "type")?;
    match map.get("barcode") {
        Some(Value::String(_)) => {}
        Some(Value::Number(number)) if number.as_u64().is_some_and(|number| number < (1 << 53)) => {}
        other => return Err(mismatch("barcode", "a whole number or a string", other)),
    }
    match map.get("related_urls").map(Value::as_array) {
        Some(Some(urls)) if urls.iter().all(Value::is_string) => {}
        _ => return Err(mismatch("related_urls", "a list of strings", map.get("related_urls"))),
    }
    let contract_price = match map.get("contract_price") {
        None | Some(Value::Null) => None,
        Some(_) => Some(number(map, "contract_price")?),
    };
    let units_per_outer = decimal_text(map, "units_per_outer")?;
    if units_per_outer <= Decimal::ZERO {
        return Err("units_per_outer: must be above zero".into());
    }
    Ok(Listed {
        active,
        code: text(map, "code")?,
        name: text(map, "name")?,
        category: text(map, "category")?,
        units_per_outer,
        unit_of_measure: text(map, "unit_of_measure")?,
        price_per_unit: decimal_text(map, "price_per_unit")?,
        list_price: number(map, "list_price")?,
        contract_price,
        stock_available: number(map, "stock_available")?,
    })
}

fn mismatch(name: &str, expected: &str, found: Option<&Value>) -> String {
    format!("{name}: must be {expected}, is {}", found.map_or_else(|| "missing".to_owned(), Value::to_string))
}

fn text(map: &Map<String, Value>, name: &str) -> Result<String, String> {
    map.get(name).and_then(Value::as_str).map(str::to_owned).ok_or_else(|| mismatch(name, "a string", map.get(name)))
}

/// Reads a decimal that has neither an exponent nor trailing zeros.
fn plain(text: &str) -> Option<Decimal> {
    let number: Decimal = text.parse().ok()?;
    (number.normalize().to_string() == text).then_some(number)
}

fn decimal_text(map: &Map<String, Value>, name: &str) -> Result<Decimal, String> {
    map.get(name)
        .and_then(Value::as_str)
        .and_then(plain)
        .ok_or_else(|| mismatch(name, "a plain decimal as a string", map.get(name)))
}

fn number(map: &Map<String, Value>, name: &str) -> Result<Decimal, String> {
    let number = map.get(name).and_then(Value::as_number).and_then(|number| plain(&number.to_string()));
    number.ok_or_else(|| mismatch(name, "a plain number", map.get(name)))
}

/// Checks that the answer to an accepted order repeats the order with every scalar as a string; returns the supplier's
/// number.
///
/// # Errors
/// A field is missing, changed or not a string, or the supplier's number is empty.
pub fn echo(sent: &Value, answer: &Value) -> Result<String, String> {
    let (sent, head) = (&sent["purchaseorder"], &answer["purchaseorder"]);
    let fields = sent.as_object().into_iter().flatten();
    for (name, value) in fields.filter(|(name, _)| *name != "purchase_order_item_list") {
        let echoed = head
            .get(name)
            .and_then(Value::as_str)
            .ok_or_else(|| mismatch(&format!("purchaseorder.{name}"), "a string", head.get(name)))?;
        if !["supplier_order_number", "supplier_account_number", "status", "comments", "modified_at"]
            .contains(&name.as_str())
            && value != echoed
        {
            return Err(format!("purchaseorder.{name}: {value} was sent, the answer has {echoed}"));
        }
    }
    let (lines, echoed) = (&sent["purchase_order_item_list"], &head["purchase_order_item_list"]);
    let (lines, echoed) = (
        lines.as_array().cloned().unwrap_or_default(),
        echoed.as_array().ok_or("purchase_order_item_list: must be a list")?,
    );
    if lines.len() != echoed.len() {
        return Err(format!(
            "purchase_order_item_list: {} lines were sent, the answer has {}",
            lines.len(),
            echoed.len()
        ));
    }
    for (index, (line, echoed)) in lines.iter().zip(echoed).enumerate() {
        for (name, value) in line.as_object().into_iter().flatten() {
            if echoed.get(name) != Some(value) {
                return Err(mismatch(
                    &format!("purchase_order_item_list[{index}].{name}"),
                    &value.to_string(),
                    echoed.get(name),
                ));
            }
        }
    }
    head["supplier_order_number"]
        .as_str()
        .filter(|number| !number.is_empty())
        .map(str::to_owned)
        .ok_or_else(|| "supplier_order_number: must not be empty".into())
}

/// Returns the reasons of a decline in any form of SPSI.md 5.1; `None` if the answer is not a decline.
pub fn decline(status: u16, answer: &Value) -> Option<Vec<String>> {
    let cancelled = status == 200 && answer["purchaseorder"]["status"] == "Cancelled";
    if cancelled {
        let comments = answer["purchaseorder"]["comments"].as_str().unwrap_or_default();
        return Some(vec![comments.to_owned()]);
    }
    if ![400, 409, 422].contains(&status) {
        return None;
    }
    let messages = answer["messages"].as_array()?;
    Some(
        messages
            .iter()
            .map(|message| message.as_str().or_else(|| message["text"].as_str()).unwrap_or_default().to_owned())
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn documented() -> Value {
        json!({"active": 1, "code": "BND", "name": "2m-bandage", "type": "medication", "category": "consumable", "units_per_outer": "1", "unit_of_measure": "box",
            "price_per_unit": "2", "list_price": 2, "contract_price": 1.5, "barcode": 6587, "stock_available": 20, "related_urls": ["https://example.org"]})
    }

    #[test]
    fn the_documented_product_passes() {
        let listed = products(&json!({"products": [documented()]})).unwrap_or_else(|reason| panic!("{reason}"));
        assert_eq!(
            (listed[0].code.as_str(), listed[0].contract_price.map(|price| price.to_string())),
            ("BND", Some("1.5".into()))
        );
    }

    #[test]
    fn a_field_of_a_wrong_type_is_named() {
        let wrongs = [
            ("active", json!("1")),
            ("active", json!(true)),
            ("active", json!(2)),
            ("units_per_outer", json!(1)),
            ("units_per_outer", json!("1.0")),
            ("price_per_unit", json!(2)),
            ("price_per_unit", json!("2E0")),
            ("list_price", json!("2")),
            ("list_price", json!(2.0)),
            ("stock_available", json!("20")),
            ("barcode", Value::Null),
            ("related_urls", json!([1])),
            ("code", json!(5)),
        ];
        for (name, value) in wrongs {
            let mut product = documented();
            product[name] = value;
            let reason = products(&json!({"products": [product]})).err().unwrap_or_default();
            assert!(reason.starts_with(&format!("products[0].{name}:")), "{reason}");
        }
        assert!(products(&json!({"products": [], "meta": {}})).is_err());
    }

    #[test]
    fn an_acceptance_must_repeat_the_order_and_number_it() {
        let sent = json!({"purchaseorder": {"id": "12", "total": "4.4", "supplier_order_number": "", "purchase_order_item_list": [{"id": "9", "total": "4"}]}});
        let mut answer = sent.clone();
        assert!(echo(&sent, &answer).is_err());
        answer["purchaseorder"]["supplier_order_number"] = json!("SO-1");
        assert_eq!(echo(&sent, &answer), Ok("SO-1".into()));
        answer["purchaseorder"]["purchase_order_item_list"][0]["id"] = json!(9);
        assert!(echo(&sent, &answer).err().is_some_and(|reason| reason.contains("purchase_order_item_list[0].id")));
    }

    #[test]
    fn a_decline_is_recognised_in_every_form() {
        let envelope = json!({"messages": [{"level": "error", "type": "x", "text": "no stock", "fields": []}], "message": "declined"});
        for status in [400, 409, 422] {
            assert_eq!(decline(status, &envelope), Some(vec!["no stock".into()]));
        }
        assert_eq!(
            decline(200, &json!({"purchaseorder": {"status": "Cancelled", "comments": "no stock"}})),
            Some(vec!["no stock".into()])
        );
        assert_eq!(decline(500, &envelope), None);
    }
}

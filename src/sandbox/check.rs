//! Checks a partner's answers against SPSI.md 1; an error names the first field that is not as documented.

use rust_decimal::Decimal;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error, Unexpected},
};
use serde_json::{Number, Value};

/// A product of the supplier's catalogue.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Listed {
    /// 0 or 1; 0 means withdrawn.
    #[serde(deserialize_with = "zero_or_one")]
    pub active: bool,
    /// Supplier code.
    pub code: String,
    /// Display name.
    pub name: String,
    /// `medication`...
    #[serde(rename = "type")]
    pub kind: String,
    /// Category.
    pub category: String,
    /// Inner units in an outer, above zero.
    #[serde(deserialize_with = "decimal_text")]
    pub units_per_outer: Decimal,
    /// `box`, `bottle`...
    pub unit_of_measure: String,
    /// Price of one inner unit.
    #[serde(deserialize_with = "decimal_text")]
    pub price_per_unit: Decimal,
    /// List price, per unit or per outer (SPSI.md 5.2).
    #[serde(deserialize_with = "number")]
    pub list_price: Decimal,
    /// The clinic's own price, if it has one.
    #[serde(default, deserialize_with = "optional_number")]
    pub contract_price: Option<Decimal>,
    /// A number or a string (SPSI.md 5.4).
    #[serde(deserialize_with = "barcode")]
    pub barcode: String,
    /// Stock in units.
    #[serde(deserialize_with = "number")]
    pub stock_available: Decimal,
    /// Links to pages about the product.
    pub related_urls: Vec<String>,
}

fn zero_or_one<'de, D: Deserializer<'de>>(input: D) -> Result<bool, D::Error> {
    match u64::deserialize(input)? {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(Error::invalid_value(Unexpected::Unsigned(other), &"0 or 1")),
    }
}

fn decimal_text<'de, D: Deserializer<'de>>(input: D) -> Result<Decimal, D::Error> {
    plain(&String::deserialize(input)?)
}

fn number<'de, D: Deserializer<'de>>(input: D) -> Result<Decimal, D::Error> {
    plain(&Number::deserialize(input)?.to_string())
}

fn optional_number<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Decimal>, D::Error> {
    Option::<Number>::deserialize(input)?.map(|number| plain(&number.to_string())).transpose()
}

fn barcode<'de, D: Deserializer<'de>>(input: D) -> Result<String, D::Error> {
    match Value::deserialize(input)? {
        Value::String(text) => Ok(text),
        Value::Number(number) if number.as_u64().is_some_and(|number| number < (1 << 53)) => Ok(number.to_string()),
        other => Err(Error::custom(format!("must be a whole number or a string, is {other}"))),
    }
}

/// Reads a decimal that has neither an exponent nor trailing zeros.
fn plain<E: Error>(text: &str) -> Result<Decimal, E> {
    let number = text.parse::<Decimal>().ok().filter(|number| number.normalize().to_string() == text);
    number.ok_or_else(|| Error::custom(format!("must be a plain decimal, is {text}")))
}

fn parse<T: DeserializeOwned>(answer: &Value) -> Result<T, String> {
    serde_path_to_error::deserialize(answer).map_err(|error| error.to_string())
}

/// Reads the answer of `/accesstoken`.
///
/// # Errors
/// The answer has another shape.
pub fn token(answer: &Value) -> Result<String, String> {
    if answer["token_type"] != "Bearer" {
        return Err("token_type: must be Bearer".into());
    }
    let token = answer["access_token"].as_str().filter(|token| !token.is_empty());
    token.map(str::to_owned).ok_or_else(|| "access_token: must be a string".into())
}

/// Reads `{"categories": [...]}`.
///
/// # Errors
/// The answer has another shape, or the names are not sorted and distinct.
pub fn categories(answer: &Value) -> Result<Vec<String>, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Categories {
        categories: Vec<String>,
    }
    let Categories { categories } = parse(answer)?;
    match categories.windows(2).find(|pair| pair[0] >= pair[1]) {
        Some(pair) => Err(format!("categories: not sorted and distinct: `{}` comes before `{}`", pair[0], pair[1])),
        None => Ok(categories),
    }
}

/// Reads `{"products": [...]}`.
///
/// # Errors
/// The answer or a product has another shape.
pub fn products(answer: &Value) -> Result<Vec<Listed>, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Products {
        products: Vec<Listed>,
    }
    let Products { products } = parse(answer)?;
    match products.iter().position(|product| product.units_per_outer <= Decimal::ZERO) {
        Some(index) => Err(format!("products[{index}].units_per_outer: must be above zero")),
        None => Ok(products),
    }
}

/// The fields of an order that the supplier may change in the echo.
const CHANGEABLE: [&str; 5] = ["supplier_order_number", "supplier_account_number", "status", "comments", "modified_at"];

/// Checks that the answer to an accepted order repeats the order with every scalar as a string; returns the supplier's
/// number.
///
/// # Errors
/// A field is missing, changed or not a string, or the supplier's number is empty.
pub fn echo(sent: &Value, answer: &Value) -> Result<String, String> {
    compare("purchaseorder", &sent["purchaseorder"], &answer["purchaseorder"])?;
    let number = answer["purchaseorder"]["supplier_order_number"].as_str().filter(|number| !number.is_empty());
    number.map(str::to_owned).ok_or_else(|| "supplier_order_number: must not be empty".into())
}

/// Checks that `echoed` has everything that `sent` has, apart from the values of [`CHANGEABLE`] fields.
fn compare(path: &str, sent: &Value, echoed: &Value) -> Result<(), String> {
    match (sent, echoed) {
        (Value::Object(fields), _) => fields.iter().try_for_each(|(name, value)| {
            let is_changed = CHANGEABLE.contains(&name.as_str()) && echoed[name].is_string();
            if is_changed { Ok(()) } else { compare(&format!("{path}.{name}"), value, &echoed[name]) }
        }),
        (Value::Array(list), Value::Array(other)) if list.len() == other.len() => {
            let mut pairs = list.iter().zip(other).enumerate();
            pairs.try_for_each(|(index, (one, other))| compare(&format!("{path}[{index}]"), one, other))
        }
        _ if sent == echoed => Ok(()),
        _ => Err(format!("{path}: {sent} was sent, the answer has {echoed}")),
    }
}

/// Returns the reasons of a decline in any form of SPSI.md 5.1; `None` if the answer is not a decline.
pub fn decline(status: Option<u16>, answer: &Value) -> Option<Vec<String>> {
    match status {
        Some(200) if answer["purchaseorder"]["status"] == "Cancelled" => {
            Some(vec![answer["purchaseorder"]["comments"].as_str().unwrap_or_default().to_owned()])
        }
        Some(400 | 409 | 422) => {
            let texts =
                answer["messages"].as_array()?.iter().map(|message| message.as_str().or(message["text"].as_str()));
            Some(texts.map(|text| text.unwrap_or_default().to_owned()).collect())
        }
        _ => None,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    pub(in crate::sandbox) fn documented() -> Value {
        json!({"active": 1, "code": "BND", "name": "2m-bandage", "type": "medication", "category": "consumable", "units_per_outer": "1", "unit_of_measure": "box",
            "price_per_unit": "2", "list_price": 2, "contract_price": 1.5, "barcode": 6587, "stock_available": 20, "related_urls": ["https://example.org"]})
    }

    #[test]
    fn the_documented_product_passes() {
        let listed = products(&json!({"products": [documented()]}));
        let prices = listed.iter().flatten().map(|product| (product.code.as_str(), product.contract_price));
        assert_eq!(prices.collect::<Vec<_>>(), [("BND", Some(Decimal::new(15, 1)))]);
    }

    #[test]
    fn a_field_of_a_wrong_type_is_named() {
        let wrongs = [
            ("active", json!("1")),
            ("active", json!(true)),
            ("active", json!(2)),
            ("units_per_outer", json!(1)),
            ("units_per_outer", json!("1.0")),
            ("units_per_outer", json!("0")),
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
            assert!(reason.starts_with(&format!("products[0].{name}")), "{reason}");
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
            assert_eq!(decline(Some(status), &envelope), Some(vec!["no stock".into()]));
        }
        let cancelled = json!({"purchaseorder": {"status": "Cancelled", "comments": "no stock"}});
        assert_eq!(decline(Some(200), &cancelled), Some(vec!["no stock".into()]));
        assert_eq!(decline(Some(500), &envelope), None);
    }
}

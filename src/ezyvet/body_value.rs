//! A body before it is encoded as PHP form fields or as JSON, with exact numbers in both.

use crate::values;
use rust_decimal::Decimal;
use serde::{Serialize, Serializer, ser::SerializeMap};

/// A body, or a part of a body.
#[derive(Clone, Debug, PartialEq)]
pub enum BodyValue {
    /// Left out of forms and of JSON objects. ezyVet reads an absent field like a null.
    Absent,
    Text(String),
    Number(Decimal),
    List(Vec<BodyValue>),
    Fields(Vec<(&'static str, BodyValue)>),
}

impl BodyValue {
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// Returns a number if the text is one, as ids are in ezyVet's examples; otherwise the text.
    pub fn id(text: &str) -> Self {
        let plain = !text.is_empty() && text.len() <= 15 && text.chars().all(|c| c.is_ascii_digit());
        match text.parse() {
            Ok(number) if plain && (text == "0" || !text.starts_with('0')) => Self::Number(number),
            _ => Self::text(text),
        }
    }

    fn is_left_out(&self) -> bool {
        match self {
            Self::Absent => true,
            Self::List(items) => items.is_empty(),
            _ => false,
        }
    }

    /// Returns the value as nested form fields for a PHP reader (SPSI.md 4): with explicit indices, all leaves as text, and
    /// without absent values and empty lists.
    pub fn form_fields(&self) -> Vec<(String, String)> {
        let mut fields = Vec::new();
        self.collect("", &mut fields);
        fields
    }

    /// Counts the form fields. PHP silently drops those beyond its limit (SPSI.md 4).
    pub fn count_fields(&self) -> usize {
        match self {
            Self::Absent => 0,
            Self::Text(_) | Self::Number(_) => 1,
            Self::List(items) => items.iter().map(Self::count_fields).sum(),
            Self::Fields(fields) => fields.iter().map(|(_, value)| value.count_fields()).sum(),
        }
    }

    fn collect(&self, path: &str, fields: &mut Vec<(String, String)>) {
        let nested = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}[{name}]") };
        match self {
            Self::Absent => {}
            Self::Text(text) => fields.push((path.to_owned(), text.clone())),
            Self::Number(number) => fields.push((path.to_owned(), values::plain(*number))),
            Self::List(items) => {
                for (index, item) in items.iter().filter(|item| !item.is_left_out()).enumerate() {
                    item.collect(&nested(&index.to_string()), fields);
                }
            }
            Self::Fields(named) => {
                for (name, value) in named {
                    value.collect(&nested(name), fields);
                }
            }
        }
    }
}

impl Serialize for BodyValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Absent => serializer.serialize_unit(),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Number(number) => values::number::serialize(number, serializer),
            Self::List(items) => serializer.collect_seq(items.iter().filter(|item| !item.is_left_out())),
            Self::Fields(fields) => {
                let mut map = serializer.serialize_map(None)?;
                for (name, value) in fields.iter().filter(|(_, value)| !value.is_left_out()) {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invoice() -> BodyValue {
        let batch = BodyValue::Fields(vec![("name", BodyValue::text("B&1")), ("expiry", BodyValue::Absent)]);
        BodyValue::Fields(vec![
            ("invoice_number", BodyValue::text("INV_001")),
            ("comments", BodyValue::Absent),
            ("freight", BodyValue::Number("4.50".parse().unwrap())),
            ("empty", BodyValue::List(vec![])),
            (
                "line_item",
                BodyValue::List(vec![
                    BodyValue::Fields(vec![
                        ("quantity", BodyValue::Number(2.into())),
                        ("batch", BodyValue::List(vec![batch])),
                    ]),
                    BodyValue::Fields(vec![
                        ("quantity", BodyValue::Number("0.25".parse().unwrap())),
                        ("id", BodyValue::id("9")),
                    ]),
                ]),
            ),
        ])
    }

    #[test]
    fn a_form_has_explicit_indices_and_no_absent_values() {
        let fields = BodyValue::Fields(vec![("data", BodyValue::Fields(vec![("body", invoice())]))]).form_fields();
        let expected = [
            ("data[body][invoice_number]", "INV_001"),
            ("data[body][freight]", "4.5"),
            ("data[body][line_item][0][quantity]", "2"),
            ("data[body][line_item][0][batch][0][name]", "B&1"),
            ("data[body][line_item][1][quantity]", "0.25"),
            ("data[body][line_item][1][id]", "9"),
        ];
        assert_eq!(fields, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(invoice().count_fields(), expected.len());
    }

    #[test]
    fn an_id_is_a_number_only_if_nothing_is_lost() {
        assert_eq!(BodyValue::id("12"), BodyValue::Number(12.into()));
        for text in ["", "007", "x1", "-1", "12345678901234567890"] {
            assert_eq!(BodyValue::id(text), BodyValue::text(text));
        }
    }
}

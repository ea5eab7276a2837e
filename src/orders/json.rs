//! JSON values that keep the order of their keys. Strings without escapes borrow from the body. Objects are lists of
//! fields: an order's objects have a dozen or two, which a linear search finds faster than a hash map.

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use serde_json::{Number, Value};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

/// Objects with more fields than this are indexed by hash while parsing, so that a hostile object does not take quadratic time.
const MAX_LINEAR_FIELDS: usize = 32;

/// One JSON value.
#[derive(Clone, Debug, PartialEq)]
pub enum Node<'a> {
    Null,
    Bool(bool),
    Number(Number),
    Text(Cow<'a, str>),
    List(Vec<Node<'a>>),
    Object(Object<'a>),
}

/// Fields in the order received, each key once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object<'a>(Vec<(Cow<'a, str>, Node<'a>)>);

impl<'a> Object<'a> {
    pub fn get(&self, key: &str) -> Option<&Node<'a>> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    pub fn contains(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Removes a field and returns its value.
    pub fn remove(&mut self, key: &str) -> Option<Node<'a>> {
        let index = self.0.iter().position(|(name, _)| name == key)?;
        Some(self.0.remove(index).1)
    }

    /// Appends a field. The key must not exist.
    pub fn push(&mut self, key: &'a str, value: Node<'a>) {
        self.0.push((key.into(), value));
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Node<'a>)> {
        self.0.iter().map(|(key, value)| (&**key, value))
    }

    pub fn into_fields(self) -> impl Iterator<Item = (Cow<'a, str>, Node<'a>)> {
        self.0.into_iter()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl<'a> Node<'a> {
    /// Returns the object, or an empty one for any other value.
    pub fn into_object(self) -> Object<'a> {
        match self {
            Self::Object(object) => object,
            _ => Object::default(),
        }
    }

    /// Returns a scalar as PHP converts it to a string: `null` is empty, `true` is 1, `false` is 0. `None` for lists and objects.
    pub fn scalar(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Text(text) => Some(Cow::Borrowed(text)),
            Self::Number(number) => Some(number.to_string().into()),
            Self::Bool(true) => Some("1".into()),
            Self::Bool(false) => Some("0".into()),
            Self::Null => Some("".into()),
            Self::List(_) | Self::Object(_) => None,
        }
    }

    /// Whether any key or string in the value contains a NUL character.
    pub fn holds_nul(&self) -> bool {
        let holds = |text: &str| memchr::memchr(0, text.as_bytes()).is_some();
        match self {
            Self::Text(text) => holds(text),
            Self::Object(object) => object.iter().any(|(key, value)| holds(key) || value.holds_nul()),
            Self::List(items) => items.iter().any(Self::holds_nul),
            _ => false,
        }
    }
}

impl From<Value> for Node<'_> {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(flag) => Self::Bool(flag),
            Value::Number(number) => Self::Number(number),
            Value::String(text) => Self::Text(text.into()),
            Value::Array(items) => Self::List(items.into_iter().map(Self::from).collect()),
            Value::Object(map) => {
                Self::Object(Object(map.into_iter().map(|(key, value)| (key.into(), value.into())).collect()))
            }
        }
    }
}

impl Serialize for Node<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(flag) => serializer.serialize_bool(*flag),
            Self::Number(number) => number.serialize(serializer),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(items) => serializer.collect_seq(items),
            Self::Object(object) => object.serialize(serializer),
        }
    }
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Node<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

/// A key, borrowed if possible.
struct Key<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_str(Reader)? {
            Node::Text(text) => Ok(Self(text)),
            _ => Err(D::Error::custom("a key must be a string")),
        }
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Node<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Self::Value, E> {
        Ok(Node::Bool(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Node::Number(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Node::Number(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Number::from_f64(number).map_or(Node::Null, Node::Number))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Node::Text(text.into()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Node::Text(text.to_owned().into()))
    }

    fn visit_string<E>(self, text: String) -> Result<Self::Value, E> {
        Ok(Node::Text(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    /// Of duplicate keys, the last value wins, at the position of the first.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields: Vec<(Cow<'de, str>, Node<'de>)> = Vec::new();
        let mut positions: HashMap<Cow<'de, str>, usize> = HashMap::new();
        while let Some((Key(key), value)) = map.next_entry()? {
            if fields.len() == MAX_LINEAR_FIELDS && positions.is_empty() {
                positions = fields.iter().enumerate().map(|(index, (key, _))| (key.clone(), index)).collect();
            }
            let duplicate = if positions.is_empty() {
                fields.iter().position(|(name, _)| *name == key)
            } else {
                positions.get(&key).copied()
            };
            match duplicate {
                Some(index) => fields[index].1 = value,
                None => {
                    if !positions.is_empty() {
                        positions.insert(key.clone(), fields.len());
                    }
                    fields.push((key, value));
                }
            }
        }
        Ok(Node::Object(Object(fields)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn json() -> impl Strategy<Value = String> {
        let text = prop_oneof!["[a-c]{0,2}", r#"[a"\\\n\u{0}é]{0,4}"#].prop_map(|text| Value::from(text).to_string());
        let leaf = prop_oneof![
            text.clone(),
            "-?[1-9][0-9]{0,20}",
            "[0-9]\\.[0-9]{1,20}",
            proptest::sample::select(vec!["null", "true", "false", "0", "-0", "1e3", "1e300"]).prop_map(str::to_owned),
        ];
        leaf.prop_recursive(4, 200, 50, move |inner| {
            let field = (text.clone(), inner.clone()).prop_map(|(key, value)| format!("{key}:{value}"));
            prop_oneof![
                proptest::collection::vec(inner, 0..6).prop_map(|items| format!("[{}]", items.join(","))),
                proptest::collection::vec(field, 0..50).prop_map(|fields| format!("{{{}}}", fields.join(" , "))),
            ]
        })
    }

    proptest! {
        /// The reference is serde_json's own `Value`, which preserves the order of keys.
        #[test]
        fn values_are_parsed_and_written_as_by_serde_json(text in json()) {
            let node: Node<'_> = serde_json::from_str(&text).unwrap();
            let value: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(serde_json::to_string(&node).unwrap(), value.to_string());
            prop_assert_eq!(node, Node::from(value));
        }

        #[test]
        fn invalid_json_is_refused_as_by_serde_json(text in json(), cut in any::<proptest::sample::Index>(), sign in "[{}\\[\\]\",:x]") {
            let at = cut.index(text.len() + 1);
            if text.is_char_boundary(at) {
                let text = format!("{}{sign}{}", &text[..at], &text[at..]);
                let node = serde_json::from_str::<Node<'_>>(&text).map_err(|error| error.to_string()).err();
                prop_assert_eq!(node, serde_json::from_str::<Value>(&text).map_err(|error| error.to_string()).err());
            }
        }
    }

    #[test]
    fn the_last_of_duplicate_keys_wins_at_the_position_of_the_first_in_long_objects_too() {
        for others in [1, 30, 31, 32, 33, 100] {
            let fields: Vec<String> = (0..others).map(|at| format!("\"k{at}\":{at}")).collect();
            let text = format!("{{\"a\":1,{},\"a\":2,\"k0\":3}}", fields.join(","));
            let node: Node<'_> = serde_json::from_str(&text).unwrap();
            let value: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(serde_json::to_string(&node).unwrap(), value.to_string());
        }
    }
}

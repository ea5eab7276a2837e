//! A random order reads the same in every spelling that PHP clients use.

use super::*;
use crate::orders::revisions::is_same;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// A number in one of its spellings, chosen by `how`.
fn spelt(micros: i64, how: u8) -> Value {
    let text = plain(Decimal::new(micros, 6));
    match how % 5 {
        0 => json!(text),
        1 => serde_json::from_str(&text).unwrap_or(json!(text)),
        2 => json!(format!(" {text}{} ", if text.contains('.') { "000" } else { ".0" })),
        3 if text.starts_with('-') => json!(text),
        3 => json!(format!("+{text}")),
        // The noise of binary floats, beyond the sixth place.
        _ => json!(format!("{}0000000001", Decimal::new(micros, 6))),
    }
}

fn text(value: &str, how: u8) -> Value {
    match (value, how % 3) {
        ("", 0) => Value::Null,
        ("1", 0) => json!(true),
        ("0", 0) => json!(false),
        (value, 1) => value.parse::<u32>().map_or(json!(value), |number| json!(number)),
        (value, _) => json!(value),
    }
}

#[derive(Clone, Debug)]
struct Order {
    header: Vec<(&'static str, i64)>,
    texts: Vec<(&'static str, String)>,
    lines: Vec<Vec<(&'static str, i64)>>,
}

fn order() -> impl Strategy<Value = Order> {
    let amount = || -9_000_000_000..9_000_000_000_i64;
    let header = (amount(), amount(), amount());
    let texts = (0..3_u32, 0..9_u32, prop_oneof![Just(String::new()), "[a-zé]{1,9}"]);
    let line = (1..9_000_000_i64, 1..9_000_000_i64, 1..99_i64, amount());
    (header, texts, prop::collection::vec(line, 1..5)).prop_map(
        |((total, tax, freight), (address, owner, comments), lines)| Order {
            header: vec![("total", total), ("tax", tax), ("freight", freight)],
            texts: vec![
                ("id", "12".into()),
                ("shipping_address_id", address.to_string()),
                ("ownership_id", owner.to_string()),
                ("comments", comments),
            ],
            lines: lines
                .into_iter()
                .map(|(quantity, price, units, total)| {
                    vec![
                        ("quantity", quantity),
                        ("price_per_unit", price),
                        ("units_per_outer", units * 1_000_000),
                        ("total", total),
                    ]
                })
                .collect(),
        },
    )
}

impl Order {
    fn body(&self, how: &mut impl FnMut() -> u8) -> Value {
        let mut order = Map::new();
        self.texts.iter().for_each(|(key, value)| drop(order.insert((*key).into(), text(value, how()))));
        self.header.iter().for_each(|(key, value)| drop(order.insert((*key).into(), spelt(*value, how()))));
        let lines = (1..).zip(&self.lines).map(|(id, line)| {
            let mut map = Map::from_iter([
                ("id".to_owned(), text(&format!("{id}"), how() | 1)),
                ("supplier_code".into(), json!("TP1")),
            ]);
            line.iter().for_each(|(key, value)| drop(map.insert((*key).into(), spelt(*value, how()))));
            Value::Object(map)
        });
        let lines: Vec<Value> = lines.collect();
        let lines = match how() % 3 {
            0 => json!(lines),
            // A list that lost indices.
            _ => {
                Value::Object((0..).map(|index| (index * 3 + 1).to_string()).zip(lines).rev_if(how().is_multiple_of(2)))
            }
        };
        order.insert(LINES.into(), lines);
        json!({ ROOT: order })
    }
}

trait RevIf {
    fn rev_if(self, reversed: bool) -> Map<String, Value>;
}

impl<I: Iterator<Item = (String, Value)>> RevIf for I {
    /// The order of keys in an object does not count.
    fn rev_if(self, reversed: bool) -> Map<String, Value> {
        let mut entries: Vec<_> = self.collect();
        if reversed {
            entries.reverse();
        }
        entries.into_iter().collect()
    }
}

fn form(prefix: &str, value: &Value, out: &mut url::form_urlencoded::Serializer<'_, String>) {
    let inner = |key: &str| if prefix.is_empty() { key.to_owned() } else { format!("{prefix}[{key}]") };
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| form(&inner(key), value, out)),
        Value::Array(items) => {
            (0..).zip(items).for_each(|(index, value)| form(&inner(&u32::to_string(&index)), value, out))
        }
        scalar => drop(out.append_pair(prefix, &Node::from(scalar.clone()).scalar().unwrap_or_default())),
    }
}

proptest! {
    #[test]
    fn an_order_reads_the_same_however_it_is_spelt(order in order(), hows in prop::collection::vec(any::<u8>(), 64)) {
        let plainly = read(order.body(&mut || 3 * 5).to_string().as_bytes(), 10).unwrap();
        let mut next = hows.iter().cycle();
        let body = order.body(&mut || *next.next().unwrap());
        let mut encoded = url::form_urlencoded::Serializer::new(String::new());
        form("", &body, &mut encoded);
        for bytes in [body.to_string(), serde_json::to_string_pretty(&body).unwrap(), encoded.finish()] {
            let other = read(bytes.as_bytes(), 10).unwrap_or_else(|error| panic!("{error}: {bytes}"));
            prop_assert!(is_same(&other.body, &plainly.body), "{}", bytes);
            prop_assert_eq!(&other.lines.iter().map(|line| OrderLine { price_rounding: Decimal::ZERO, ..line.clone() }).collect::<Vec<_>>(),
                &plainly.lines.iter().map(|line| OrderLine { price_rounding: Decimal::ZERO, ..line.clone() }).collect::<Vec<_>>());
            prop_assert_eq!((other.total, other.tax, other.freight), (plainly.total, plainly.tax, plainly.freight));
            prop_assert_eq!(&other.shipping_address_id, &plainly.shipping_address_id);
        }
    }
}

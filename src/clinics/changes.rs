//! Changes of clinics and sites, as `KEY=VALUE` pairs of the command line and as JSON of the HTTP API, and the problems found
//! in them. All problems of one command or request are reported together.

use serde_json::Value;
use std::fmt;

/// A field with an invalid value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidField {
    /// Path of the field, for instance `tax_rate` or `mappings[0].value`.
    pub field: String,
    /// Names the field or the value, and the valid values.
    pub message: String,
}

/// The invalid fields of one command or request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InvalidFields(Vec<InvalidField>);

impl InvalidFields {
    pub fn one(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self(vec![InvalidField { field: field.into(), message: message.into() }])
    }

    pub fn push(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.0.push(InvalidField { field: field.into(), message: message.into() });
    }

    /// Sets `target` to a parsed value, or keeps the problem.
    pub fn set<T>(&mut self, field: &str, parsed: Result<T, String>, target: &mut T) {
        match parsed {
            Ok(value) => *target = value,
            Err(message) => self.push(field, message),
        }
    }

    /// Fails if a problem was found.
    pub fn finish(self) -> Result<(), Self> {
        if self.0.is_empty() { Ok(()) } else { Err(self) }
    }

    pub fn as_slice(&self) -> &[InvalidField] {
        &self.0
    }
}

impl fmt::Display for InvalidFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let messages: Vec<_> = self.0.iter().map(|invalid| invalid.message.as_str()).collect();
        f.write_str(&messages.join("; "))
    }
}

impl std::error::Error for InvalidFields {}

/// New values by key, and the problems that their source had already. `null` and an empty text remove a value. The key of a
/// setting may have the prefix `settings.`, as the field of a JSON document has.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    pub values: Vec<(String, Value)>,
    pub invalid: InvalidFields,
}

impl Changes {
    /// Reads `KEY=VALUE` pairs.
    pub fn parse(pairs: &[String]) -> Self {
        let mut changes = Self::default();
        for pair in pairs {
            match pair.split_once('=') {
                Some((key, value)) => changes.values.push((key.to_owned(), value.into())),
                None => changes.invalid.push(pair, format!("`{pair}` is not a pair; write KEY=VALUE")),
            }
        }
        changes
    }

    /// Returns the changes as `key=value`, for the audit.
    pub fn describe(&self) -> Vec<String> {
        let describe = |(key, value): &(String, Value)| match (setting_key(key), value) {
            (key, Value::String(text)) => format!("{key}={text}"),
            (key, Value::Null) => format!("{key}="),
            (key, other) => format!("{key}={other}"),
        };
        self.values.iter().map(describe).collect()
    }
}

/// Returns the name of a setting.
pub(super) fn setting_key(key: &str) -> &str {
    key.strip_prefix("settings.").unwrap_or(key)
}

/// The row that a command or request changes.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Its id or name; also the client id, of a clinic.
    pub which: &'a str,
    /// The version that the change is based on. `None`: any.
    pub expected_version: Option<&'a str>,
}

impl<'a> From<&'a str> for Target<'a> {
    fn from(which: &'a str) -> Self {
        Self { which, expected_version: None }
    }
}

impl Target<'_> {
    /// Compares the version of the locked row with the expected one.
    pub(super) fn check(&self, version: &str) -> Result<(), Stale> {
        if self.expected_version.is_none_or(|expected| expected == version) { Ok(()) } else { Err(Stale) }
    }

    /// Returns the id, if `which` is written like one.
    pub(super) fn id(which: &str) -> Option<i64> {
        which.bytes().all(|byte| byte.is_ascii_digit()).then(|| which.parse().ok()).flatten()
    }
}

/// Another change came first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it was changed since it was read; read it again, then repeat the change")]
pub struct Stale;

/// Reads a text, or a number or boolean as its text. `null` is the empty text.
pub(super) fn text(value: &Value) -> Result<String, String> {
    match value {
        Value::Null => Ok(String::new()),
        Value::String(text) if text.contains('\0') => Err("a text must not contain the character NUL".into()),
        Value::String(text) => Ok(text.clone()),
        Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
        Value::Array(_) | Value::Object(_) => Err(format!("`{value}` is not a text")),
    }
}

/// Reads a JSON list of texts, or a text such as `A,B`. Texts with commas need the JSON form: `["FLUIDS, IV"]`.
pub(super) fn list(key: &str, value: &Value) -> Result<Vec<String>, String> {
    let not_a_list = |text: &dyn fmt::Display| format!("{key}: `{text}` is not a list of texts");
    let items = match value {
        Value::Array(items) => items.clone(),
        other => {
            let text = text(other)?;
            if text.starts_with('[') {
                serde_json::from_str(&text).map_err(|_| not_a_list(&text))?
            } else {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                items.map(Value::from).collect()
            }
        }
    };
    items.iter().map(|item| if item.is_string() { text(item) } else { Err(not_a_list(&value)) }).collect()
}

pub(super) fn flag(key: &str, value: &Value) -> Result<bool, String> {
    match text(value)?.as_str() {
        "true" | "1" | "yes" => Ok(true),
        "false" | "0" | "no" | "" => Ok(false),
        other => Err(format!("{key}: `{other}` is not a boolean; write true or false")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_list_is_read_from_json_and_from_text() {
        for (value, expected) in [
            (json!(["A, B", "C"]), &["A, B", "C"][..]),
            (json!(r#"["A, B","C"]"#), &["A, B", "C"]),
            (json!(" A, C,"), &["A", "C"]),
            (json!(""), &[]),
            (json!(null), &[]),
        ] {
            assert_eq!(list("x", &value).unwrap(), expected, "{value}");
        }
        for bad in [json!([1]), json!({"a": 1}), json!("[1]"), json!("[A"), json!(["\0"])] {
            assert!(list("x", &bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_id_has_only_digits() {
        assert_eq!(Target::id("17"), Some(17));
        for text in ["", "+17", "-1", "17a", "99999999999999999999"] {
            assert_eq!(Target::id(text), None, "{text}");
        }
    }
}

//! Bodies of PATCH operations: an absent field stays as it is, `null` removes the value.

use crate::clinics::Changes;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// Declares the body of a PATCH operation. The fields after `with` are no changes: the handler reads them itself.
macro_rules! patch {
    ($(#[$doc:meta])* $name:ident {
        $($(#[$field_doc:meta])* $field:ident: $type:ty,)+
    } with {
        $($(#[$other_doc:meta])* $other:ident: $other_type:ty,)*
    }) => {
        $(#[$doc])*
        #[derive(serde::Deserialize, utoipa::ToSchema, validator::Validate)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $(
                $(#[$field_doc])*
                #[serde(default, deserialize_with = "crate::staff::patch::present")]
                #[schema(value_type = Option<$type>)]
                $field: Option<Option<$type>>,
            )+
            $($(#[$other_doc])* #[serde(default)] $other: $other_type,)*
        }

        impl $name {
            /// Returns the fields that the request has.
            fn changes(&self) -> crate::clinics::Changes {
                let mut changes = crate::clinics::Changes::default();
                $(crate::staff::patch::add(&mut changes, stringify!($field), self.$field.as_ref());)+
                changes
            }
        }
    };
}
pub(super) use patch;

/// Reads a field that is present. `null` becomes `Some(None)`; serde's default for an absent field is `None`.
pub fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Adds a field; an object adds each of its fields under its own path.
pub fn add(changes: &mut Changes, field: &str, value: Option<&Option<impl Serialize>>) {
    match value.map(serde_json::to_value) {
        None => {}
        Some(Ok(Value::Object(fields))) => {
            changes.values.extend(fields.into_iter().map(|(key, value)| (format!("{field}.{key}"), value)));
        }
        Some(Ok(value)) => changes.values.push((field.to_owned(), value)),
        Some(Err(error)) => changes.invalid.push(field, error.to_string()),
    }
}

//! Reads JSON bodies. The published schema of the type decides what a body may contain, so that document and behaviour
//! cannot differ, and every invalid field is reported at once.

use super::problem::{FieldError, Kind, Problem, Result};
use crate::config::Span;
use bytes::Bytes;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::paths::{Location, LocationSegment};
use jsonschema::{JsonType, ValidationError, Validator};
use rust_decimal::Decimal;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};
use std::any::TypeId;
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::{KnownFormat, RefOr, SchemaFormat};
use utoipa::{PartialSchema, ToSchema};
use validator::{Validate, ValidationErrors, ValidationErrorsKind};

/// An error lists at most this many fields.
const MAX_FIELD_ERRORS: usize = 100;

/// A type of request bodies.
pub trait Body: DeserializeOwned + ToSchema + Validate + 'static {}

impl<T: DeserializeOwned + ToSchema + Validate + 'static> Body for T {}

/// Parses a JSON body. An empty body counts as `{}`. Fails with 400 if the text is not JSON, and with 422 if fields are
/// missing, unknown or invalid.
pub fn parse<B: Body>(bytes: &Bytes) -> Result<B> {
    let value: Value = if bytes.trim_ascii().is_empty() {
        json!({})
    } else {
        serde_json::from_slice(bytes)
            .map_err(|error| Problem::new(Kind::BadRequest, format!("The body is not JSON: {error}.")))?
    };
    let validator = schema::<B>()?;
    let mut errors: Vec<_> = validator.iter_errors(&value).flat_map(|error| describe(&error)).collect();
    list_nul_characters(&value, String::new(), &mut errors);
    if !errors.is_empty() {
        return Err(invalid(errors));
    }
    let body: B = serde_path_to_error::deserialize(value).map_err(|error| {
        Problem::invalid(vec![FieldError::new(error.path().to_string(), error.inner().to_string())])
    })?;
    match body.validate() {
        Ok(()) => Ok(body),
        Err(wrong) => {
            list(&wrong, "", &mut errors);
            Err(invalid(errors))
        }
    }
}

fn invalid(mut errors: Vec<FieldError>) -> Problem {
    let more = errors.len().saturating_sub(MAX_FIELD_ERRORS);
    errors.truncate(MAX_FIELD_ERRORS);
    let mut problem = Problem::invalid(errors);
    if more > 0 {
        let _ = write!(problem.detail, "; and {more} more");
    }
    problem
}

/// Returns the compiled schema of a type. Compiles it on first use.
fn schema<B: ToSchema + 'static>() -> Result<Arc<Validator>, Problem> {
    static SCHEMAS: Mutex<Option<HashMap<TypeId, Arc<Validator>>>> = Mutex::new(None);
    let mut schemas = SCHEMAS.lock().unwrap_or_else(PoisonError::into_inner);
    let schemas = schemas.get_or_insert_default();
    if let Some(schema) = schemas.get(&TypeId::of::<B>()) {
        return Ok(schema.clone());
    }
    let compiled = compile::<B>().map(Arc::new);
    let compiled = compiled.map_err(|error| Problem::fault(error, "the schema of a request body does not compile"))?;
    schemas.insert(TypeId::of::<B>(), compiled.clone());
    Ok(compiled)
}

fn compile<B: ToSchema>() -> Result<Validator, String> {
    let mut parts = Vec::new();
    B::schemas(&mut parts);
    let parts: HashMap<String, RefOr<Schema>> = parts.into_iter().collect();
    let mut document = serde_json::to_value(B::schema()).map_err(|error| error.to_string())?;
    document["components"] = json!({ "schemas": parts });
    jsonschema::options().should_validate_formats(true).build(&document).map_err(|error| error.to_string())
}

/// Describes an error of the schema, one entry for each field.
fn describe(error: &ValidationError<'_>) -> Vec<FieldError> {
    let path = path(error.instance_path());
    let inside = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match error.kind() {
        ValidationErrorKind::Required { property } => {
            vec![FieldError::new(inside(property.as_str().unwrap_or_default()), "is missing")]
        }
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            unexpected.iter().map(|name| FieldError::new(inside(name), "is not a field of this request")).collect()
        }
        // An optional field: null, or the schema of its type.
        ValidationErrorKind::OneOfNotValid { context } | ValidationErrorKind::AnyOf { context }
            if let Some(errors) = context.iter().find(|errors| !errors.iter().any(requires_null)) =>
        {
            errors.iter().flat_map(describe).collect()
        }
        kind => {
            let field = if path.is_empty() { "(body)".to_owned() } else { path };
            vec![FieldError::new(field, message(kind, error))]
        }
    }
}

fn requires_null(error: &ValidationError<'_>) -> bool {
    matches!(error.kind(), ValidationErrorKind::Type { kind: TypeKind::Single(JsonType::Null) })
}

fn message(kind: &ValidationErrorKind, error: &ValidationError<'_>) -> String {
    match kind {
        ValidationErrorKind::Type { kind: TypeKind::Single(kind) } => format!("must be of type {kind}"),
        ValidationErrorKind::Enum { options } => format!("must be one of {options}"),
        ValidationErrorKind::MinLength { limit } => format!("must have at least {limit} characters"),
        ValidationErrorKind::MaxLength { limit } => format!("must have at most {limit} characters"),
        ValidationErrorKind::MinItems { limit } => format!("must have at least {limit} entries"),
        ValidationErrorKind::MaxItems { limit } => format!("must have at most {limit} entries"),
        ValidationErrorKind::Minimum { limit } => format!("must be at least {limit}"),
        ValidationErrorKind::Maximum { limit } => format!("must be at most {limit}"),
        ValidationErrorKind::Format { format } if format == "date" => "must be a date like 2027-01-31".to_owned(),
        ValidationErrorKind::Format { format } if format == "date-time" => {
            "must be a time like 2027-01-31T08:00:00Z".to_owned()
        }
        ValidationErrorKind::Pattern { pattern } if pattern == Exact::PATTERN => {
            "must be a decimal in quotes, such as \"4.50\", with at most 12 digits before and 6 after the point"
                .to_owned()
        }
        // A secret must not come back in an error.
        _ => error.masked().to_string(),
    }
}

/// Lists the texts with a NUL character, which Postgres refuses.
fn list_nul_characters(value: &Value, path: String, found: &mut Vec<FieldError>) {
    match value {
        Value::String(text) if text.contains('\0') => {
            found.push(FieldError::new(path, "must not contain a NUL character"));
        }
        Value::Array(entries) => entries
            .iter()
            .enumerate()
            .for_each(|(index, entry)| list_nul_characters(entry, format!("{path}[{index}]"), found)),
        Value::Object(fields) => {
            for (name, field) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                list_nul_characters(field, path, found);
            }
        }
        _ => {}
    }
}

/// Writes a location as people write paths: `lines[0].quantity`.
fn path(location: &Location) -> String {
    let mut path = String::new();
    for segment in location.segments() {
        match segment {
            LocationSegment::Property(name) if path.is_empty() => path.push_str(&name),
            LocationSegment::Property(name) => {
                let _ = write!(path, ".{name}");
            }
            LocationSegment::Index(index) => {
                let _ = write!(path, "[{index}]");
            }
        }
    }
    path
}

/// Lists the errors of the checks that a schema cannot express.
fn list(errors: &ValidationErrors, prefix: &str, found: &mut Vec<FieldError>) {
    let path = |name: &str| if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") };
    for (name, kind) in errors.errors() {
        match kind {
            ValidationErrorsKind::Struct(inner) => list(inner, &path(name), found),
            ValidationErrorsKind::List(entries) => {
                entries.iter().for_each(|(index, inner)| list(inner, &format!("{}[{index}]", path(name)), found));
            }
            ValidationErrorsKind::Field(errors) => found.extend(errors.iter().map(|error| {
                let message = error.message.as_deref().unwrap_or(&error.code);
                // `validator` files errors that concern a whole struct under this name.
                FieldError::new(if name == "__all__" { prefix.to_owned() } else { path(name) }, message)
            })),
        }
    }
}

/// Parses a duration such as `1d` in a field.
pub fn duration(field: &str, text: Option<&str>) -> Result<Option<Duration>> {
    let span = text.map(str::parse::<Span>).transpose();
    let span = span.map_err(|error| Problem::field(Kind::Invalid, field, error.to_string()))?;
    Ok(span.map(|span| span.0))
}

/// The body of an operation that needs none.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// An exact decimal in a request: a JSON string, because many clients read and write JSON numbers as binary floats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exact(pub Decimal);

impl Exact {
    const PATTERN: &str = r"^-?[0-9]{1,12}(\.[0-9]{1,6})?$";
}

impl<'de> Deserialize<'de> for Exact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        crate::values::parse_decimal(&text).map(Self).map_err(D::Error::custom)
    }
}

impl Serialize for Exact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        crate::values::text::serialize(&self.0, serializer)
    }
}

impl PartialSchema for Exact {
    fn schema() -> RefOr<Schema> {
        let schema = ObjectBuilder::new().schema_type(Type::String).pattern(Some(Self::PATTERN));
        schema.examples(["4.50"]).into()
    }
}

impl ToSchema for Exact {}

/// A day in a request: `2027-01-31`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Day(pub time::Date);

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        let format = time::macros::format_description!("[year]-[month]-[day]");
        time::Date::parse(&text, format).map(Self).map_err(D::Error::custom)
    }
}

impl Serialize for Day {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl PartialSchema for Day {
    fn schema() -> RefOr<Schema> {
        let format = SchemaFormat::KnownFormat(KnownFormat::Date);
        ObjectBuilder::new().schema_type(Type::String).format(Some(format)).into()
    }
}

impl ToSchema for Day {}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, ToSchema, Validate)]
    #[serde(deny_unknown_fields)]
    struct Order {
        #[schema(min_length = 2)]
        name: String,
        #[validate(nested)]
        lines: Vec<Line>,
        #[serde(default)]
        freight: Option<Exact>,
    }

    #[derive(Debug, Deserialize, ToSchema, Validate)]
    #[serde(deny_unknown_fields)]
    struct Line {
        quantity: Exact,
        #[validate(custom(function = "not_today"))]
        day: Option<Day>,
    }

    fn not_today(day: &Day) -> Result<(), validator::ValidationError> {
        let today = time::macros::date!(2026 - 11 - 26);
        (day.0 != today)
            .then_some(())
            .ok_or_else(|| validator::ValidationError::new("day").with_message("must not be today".into()))
    }

    fn errors(body: &'static str) -> Vec<String> {
        let problem = parse::<Order>(&Bytes::from(body)).unwrap_err();
        let mut errors: Vec<_> =
            problem.errors.iter().map(|error| format!("{}: {}", error.field, error.message)).collect();
        errors.sort();
        errors
    }

    #[test]
    fn every_invalid_field_is_reported_at_once() {
        let found =
            errors(r#"{"name": "x", "lines": [{"quantity": 5}, {"day": "soon"}], "colour": 1, "freight": "1,5"}"#);
        let decimal =
            "must be a decimal in quotes, such as \"4.50\", with at most 12 digits before and 6 after the point";
        assert_eq!(
            found,
            [
                "colour: is not a field of this request".to_owned(),
                format!("freight: {decimal}"),
                "lines[0].quantity: must be of type string".to_owned(),
                "lines[1].day: must be a date like 2027-01-31".to_owned(),
                "lines[1].quantity: is missing".to_owned(),
                "name: must have at least 2 characters".to_owned(),
            ]
        );
        assert_eq!(
            errors(r#"{"name":"ab","lines":[{"quantity":"1","day":"2026-11-26"}]}"#),
            ["lines[0].day: must not be today"]
        );
        assert_eq!(errors(""), ["lines: is missing", "name: is missing"]);
        let nul = r#"{"name": "a\u0000b", "lines": [{"quantity": "1"}]}"#;
        assert_eq!(errors(nul), ["name: must not contain a NUL character"]);
    }

    #[test]
    fn a_valid_body_is_read_exactly() {
        let body = Bytes::from(r#"{"name": "ab", "lines": [{"quantity": "0.30"}], "freight": null}"#);
        let order: Order = parse(&body).unwrap();
        assert_eq!(order.lines[0].quantity, Exact(Decimal::new(3, 1)));
        assert_eq!((order.name.as_str(), order.freight), ("ab", None));
        assert!(order.lines[0].day.is_none());
        let broken = parse::<Order>(&Bytes::from("{")).unwrap_err();
        assert_eq!(broken.kind, Kind::BadRequest);
    }
}

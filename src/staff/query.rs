//! The extractor of operations that read: parses the query, and refuses unknown and repeated parameters.

use super::Staff;
use super::page::Paging;
use super::problem::{FieldError, Kind, Problem};
use super::write::caller;
use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::future::{Ready, ready};

/// A request that changes nothing. `P`: the type of its query. `G`: [`PageParams`](super::page::PageParams) for a list.
pub struct Read<P = NoParams, G = ()> {
    pub params: P,
    pub page: G,
    pub staff: web::Data<Staff>,
}

/// The query of an operation that takes no parameters.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoParams {}

impl<P: DeserializeOwned + 'static, G: Paging + 'static> FromRequest for Read<P, G> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let read = || {
            let staff = request.app_data::<web::Data<Staff>>().cloned().ok_or_else(Problem::internal)?;
            let (params, page) = parse(request.query_string())?;
            // Fails on a route that `access` does not protect.
            caller(request)?;
            Ok(Self { params, page, staff })
        };
        ready(read())
    }
}

/// Parses a query. An empty value counts as absent.
fn parse<P: DeserializeOwned, G: Paging>(query: &str) -> Result<(P, G), Problem> {
    let pairs = url::form_urlencoded::parse(query.as_bytes()).filter(|(_, value)| !value.is_empty());
    let mut given = serde_json::Map::new();
    let mut errors = Vec::new();
    for (name, value) in pairs {
        // Postgres refuses this character in texts.
        if value.contains('\0') {
            errors.push(FieldError::new(name.clone(), "must not contain a NUL character"));
        }
        if given.insert(name.to_string(), value.into_owned().into()).is_some() {
            errors.push(FieldError::new(name, "is given twice"));
        }
    }
    let page = G::take(&mut given);
    let params = serde_path_to_error::deserialize(serde_json::Value::Object(given));
    match params {
        Ok(params) if errors.is_empty() => Ok((params, page)),
        Ok(_) => Err(refused(errors)),
        Err(error) => {
            let path = error.path().to_string();
            errors.push(FieldError::new(if path == "." { "query" } else { &path }, error.inner().to_string()));
            Err(refused(errors))
        }
    }
}

fn refused(errors: Vec<FieldError>) -> Problem {
    Problem { kind: Kind::BadRequest, ..Problem::invalid(errors) }
}

/// Serde functions for parameters that are written as text in a query: numbers, flags and everything else that parses.
pub mod text {
    use serde::de::{Deserialize, Deserializer, Error};
    use std::fmt::Display;
    use std::str::FromStr;

    /// Parses an optional parameter.
    pub fn deserialize<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(
        deserializer: D,
    ) -> Result<Option<T>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        let parse = |text: String| text.parse().map_err(|error| D::Error::custom(format!("`{text}`: {error}")));
        text.map(parse).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::super::page::PageParams;
    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Params {
        state: Option<String>,
        #[serde(default, with = "text")]
        attention: Option<bool>,
    }

    #[test]
    fn a_query_is_parsed_and_unknown_and_repeated_parameters_are_refused() {
        let (params, page) = parse::<Params, PageParams>("state=held&attention=true&limit=5").unwrap();
        assert_eq!(params, Params { state: Some("held".into()), attention: Some(true) });
        assert_eq!((page.limit.as_deref(), page.cursor), (Some("5"), None));
        assert_eq!(parse::<Params, ()>("state=").unwrap().0, Params { state: None, attention: None });
        for (query, field) in [
            ("attention=maybe", "attention"),
            ("state=a&state=b", "state"),
            ("colour=red", "colour"),
            ("limit=1", "limit"),
            ("state=%00", "state"),
        ] {
            let problem = parse::<Params, ()>(query).unwrap_err();
            assert_eq!((problem.kind, problem.errors[0].field.as_str()), (Kind::BadRequest, field), "{query}");
        }
    }
}

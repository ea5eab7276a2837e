//! The extractor of operations that read: parses the query, and refuses unknown and repeated parameters.

use super::Staff;
use super::page::Paging;
use super::problem::{FieldError, Kind, Problem, Result};
use super::write::caller;
use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::future::{Ready, ready};
use url::form_urlencoded;

/// The resource that a path names: by its id, or by the number or name that people use.
pub type Id = web::Path<String>;

/// Parses an id that has no other form. Anything else is not found.
pub fn parse_id(noun: &str, id: &str) -> Result<i64> {
    id.parse().map_err(|_| Problem::not_found(noun, id))
}

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
    type Future = Ready<Result<Self>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let read = || {
            let staff = request.app_data::<web::Data<Staff>>().cloned().ok_or_else(Problem::internal)?;
            let (params, page) = parse(request.query_string(), staff.settings.staff.staff_max_page)?;
            // Fails on a route that `access` does not protect.
            caller(request)?;
            Ok(Self { params, page, staff })
        };
        ready(read())
    }
}

/// Parses a query. An empty value counts as absent.
fn parse<P: DeserializeOwned, G: Paging>(query: &str, max_limit: u32) -> Result<(P, G)> {
    let pairs = form_urlencoded::parse(query.as_bytes()).filter(|(_, value)| !value.is_empty());
    let (mut given, mut errors) = (BTreeMap::new(), Vec::new());
    for (name, value) in pairs {
        // Postgres refuses this character in texts.
        if value.contains('\0') {
            errors.push(FieldError::new(name.clone(), "must not contain a NUL character"));
        }
        if given.insert(name.to_string(), value.into_owned()).is_some() {
            errors.push(FieldError::new(name, "is given twice"));
        }
    }
    let page = G::take(&mut given, max_limit).map_err(|error| errors.push(error));
    let rest = form_urlencoded::Serializer::new(String::new()).extend_pairs(&given).finish();
    let rest = serde_urlencoded::Deserializer::new(form_urlencoded::parse(rest.as_bytes()));
    let params = serde_path_to_error::deserialize(rest).map_err(|error| {
        let path = error.path().to_string();
        errors.push(FieldError::new(if path == "." { "query" } else { &path }, error.inner().to_string()));
    });
    match (params, page) {
        (Ok(params), Ok(page)) if errors.is_empty() => Ok((params, page)),
        _ => Err(Problem { kind: Kind::BadRequest, ..Problem::invalid(errors) }),
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
        #[serde(default)]
        attention: bool,
    }

    #[test]
    fn a_query_is_parsed_and_unknown_and_repeated_parameters_are_refused() {
        let (params, page) = parse::<Params, PageParams>("state=held&attention=true&limit=5", 10).unwrap();
        assert_eq!(params, Params { state: Some("held".into()), attention: true });
        assert_eq!((page.limit, page.cursor), (5, None));
        assert_eq!(parse::<Params, ()>("state=", 10).unwrap().0, Params { state: None, attention: false });
        for (query, field) in [
            ("attention=maybe", "attention"),
            ("state=a&state=b", "state"),
            ("colour=red", "colour"),
            ("limit=1", "limit"),
            ("state=%00", "state"),
        ] {
            let problem = parse::<Params, ()>(query, 10).unwrap_err();
            assert_eq!((problem.kind, problem.errors[0].field.as_str()), (Kind::BadRequest, field), "{query}");
        }
    }
}

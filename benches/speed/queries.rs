//! The queries of the scenarios (a) to (d): the same mixture for every contender, from many clinics.

use crate::data::{CLINICS, Catalogue, number};
use url::form_urlencoded;

/// A query string with the clinic that sends it.
#[derive(Clone, Debug)]
pub struct Query {
    pub clinic: usize,
    pub text: String,
}

/// A kind of query, with the queries that are sent in turn.
pub struct QueryMix {
    pub title: &'static str,
    pub queries: Vec<Query>,
}

const COMMON: [&str; 8] = ["solution", "disinfectant", "mg", "tablet", "injectable", "suspension", "powder", "wipes"];
const PHRASES: [&str; 6] =
    ["disinfectant cleaner", "suspension injectable", "100 ml", "250 g", "plus disinfect", "solution buvable"];
const LIST_VALUES: usize = 300;

/// Returns the search term of this number: six kinds take turns.
fn search_term(catalogue: &Catalogue, query: u64) -> String {
    let product = (number(20, query) % catalogue.products as u64) as usize;
    let round = (query / 6) as usize;
    match query % 6 {
        // One character.
        0 => char::from(b'a' + (number(21, query) % 26) as u8).to_string(),
        // Two characters.
        1 => catalogue.brand(product)[..2].to_owned(),
        2 => COMMON[round % COMMON.len()].to_owned(),
        // A rare word: about a dozen products share a brand.
        3 => catalogue.brand(product),
        4 => PHRASES[round % PHRASES.len()].to_owned(),
        // A word that no product has.
        _ => format!("zq{}xw", number(22, query) % 1_000),
    }
}

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn clinic(query: u64) -> usize {
    (number(23, query) % CLINICS as u64) as usize
}

pub fn search(catalogue: &Catalogue) -> QueryMix {
    let query = |index| Query {
        clinic: clinic(index),
        text: format!("name={}&limit=20", encoded(&search_term(catalogue, index))),
    };
    QueryMix { title: "search, mixed terms, limit 20", queries: (0..96).map(query).collect() }
}

pub fn search_list(catalogue: &Catalogue) -> QueryMix {
    let query = |index: u64| {
        let values = (0..LIST_VALUES as u64).map(|n| {
            let product = (number(24, index * 1_000 + n) % catalogue.products as u64) as usize;
            format!("name[]={}", encoded(&catalogue.brand(product)))
        });
        Query { clinic: clinic(index), text: format!("{}&limit=20", values.collect::<Vec<_>>().join("&")) }
    };
    QueryMix { title: "search, lists of 300 values, limit 20", queries: (0..12).map(query).collect() }
}

pub fn code(catalogue: &Catalogue) -> QueryMix {
    let query = |index: u64| {
        let product = (number(25, index) % catalogue.products as u64) as usize;
        Query { clinic: clinic(index), text: format!("code={}", encoded(&catalogue.product(product).code)) }
    };
    QueryMix { title: "one code", queries: (0..96).map(query).collect() }
}

pub fn first_page(_: &Catalogue) -> QueryMix {
    let query = |index| Query { clinic: clinic(index), text: "limit=100&page=0".to_owned() };
    QueryMix { title: "first page of 100", queries: (0..48).map(query).collect() }
}

pub fn deep_page(catalogue: &Catalogue) -> QueryMix {
    let query = |index| {
        let clinic = clinic(index);
        let visible = catalogue.about_visible(&catalogue.clinic(clinic));
        Query { clinic, text: format!("limit=100&page={}", visible.saturating_sub(200) / 100) }
    };
    QueryMix { title: "deep page of 100, near the end", queries: (0..16).map(query).collect() }
}

//! What is asked in the scenarios that read: the same mixture for every contender, from clinics in turn.

use crate::data::{CLINICS, Catalogue, number};
use url::form_urlencoded;

/// A query string with the clinic that sends it.
#[derive(Clone, Debug)]
pub struct Query {
    pub clinic: usize,
    pub text: String,
}

/// A kind of reading, with its queries.
pub struct Reading {
    pub title: &'static str,
    pub queries: Vec<Query>,
}

const COMMON: [&str; 8] = ["solution", "disinfectant", "mg", "tablet", "injectable", "suspension", "powder", "wipes"];
const PHRASES: [&str; 6] =
    ["disinfectant cleaner", "suspension injectable", "100 ml", "250 g", "plus disinfect", "solution buvable"];
const LIST: usize = 300;

/// One word after another, as somebody searches: (kind, text).
fn terms(catalogue: &Catalogue, at: u64) -> String {
    let place = (number(20, at) % catalogue.products as u64) as usize;
    let turn = (at / 6) as usize;
    match at % 6 {
        // One character, two characters.
        0 => char::from(b'a' + (number(21, at) % 26) as u8).to_string(),
        1 => catalogue.brand(place)[..2].to_owned(),
        2 => COMMON[turn % COMMON.len()].to_owned(),
        // Rare: a brand, which about a dozen products have.
        3 => catalogue.brand(place),
        4 => PHRASES[turn % PHRASES.len()].to_owned(),
        // Nothing has this.
        _ => format!("zq{}xw", number(22, at) % 1_000),
    }
}

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn clinic(at: u64) -> usize {
    (number(23, at) % CLINICS as u64) as usize
}

/// Scenarios (a) to (d).
pub fn search(catalogue: &Catalogue) -> Reading {
    let query = |at| Query { clinic: clinic(at), text: format!("name={}&limit=20", encoded(&terms(catalogue, at))) };
    Reading { title: "search, mixed terms, limit 20", queries: (0..96).map(query).collect() }
}

pub fn search_list(catalogue: &Catalogue) -> Reading {
    let query = |at: u64| {
        let values = (0..LIST as u64).map(|n| {
            let place = (number(24, at * 1_000 + n) % catalogue.products as u64) as usize;
            format!("name[]={}", encoded(&catalogue.brand(place)))
        });
        Query { clinic: clinic(at), text: format!("{}&limit=20", values.collect::<Vec<_>>().join("&")) }
    };
    Reading { title: "search, lists of 300 values, limit 20", queries: (0..12).map(query).collect() }
}

pub fn code(catalogue: &Catalogue) -> Reading {
    let query = |at: u64| {
        let place = (number(25, at) % catalogue.products as u64) as usize;
        Query { clinic: clinic(at), text: format!("code={}", encoded(&catalogue.product(place).code)) }
    };
    Reading { title: "one code", queries: (0..96).map(query).collect() }
}

pub fn first_page(_: &Catalogue) -> Reading {
    let query = |at| Query { clinic: clinic(at), text: "limit=100&page=0".to_owned() };
    Reading { title: "first page of 100", queries: (0..48).map(query).collect() }
}

pub fn deep_page(catalogue: &Catalogue) -> Reading {
    let query = |at| {
        let clinic = clinic(at);
        let seen = catalogue.about_visible(&catalogue.clinic(clinic));
        Query { clinic, text: format!("limit=100&page={}", seen.saturating_sub(200) / 100) }
    };
    Reading { title: "deep page of 100, near the end", queries: (0..16).map(query).collect() }
}

//! Parses the query of `/products` (SPSI.md 4).
//!
//! Client libraries write array parameters in a dozen ways, and ezyVet's way is not documented. Guarantees: every
//! unambiguous spelling of an array parses as that array. The parser refuses a query that is not valid text or is over
//! the limits, and a `limit` or `page` that is not one whole number; the error names the parameter. Unknown parameters
//! are ignored, and no input panics.

use serde_json::value::RawValue;
use std::borrow::Cow;
use std::ops::Range;

/// The parsed query of `/products` (SPSI.md 1). An empty list means no filter. Values are never empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ProductQuery {
    /// Alternatives: the product name contains at least one of them.
    pub names: Vec<String>,
    /// Alternatives for the supplier code.
    pub codes: Vec<String>,
    /// Alternatives for the category.
    pub categories: Vec<String>,
    /// Maximum number of products to return; `None` returns all.
    pub limit: Option<u64>,
    /// Zero-based page number.
    pub page: u64,
}

/// Maximum sizes; a larger query is refused.
#[derive(Clone, Copy, Debug)]
pub struct QueryLimits {
    /// Bytes of the raw query.
    pub query_bytes: usize,
    /// Number of values of one parameter.
    pub values: usize,
    /// Characters of one value.
    pub value_characters: usize,
}

/// The query parameters of `/products`.
const PARAMETERS: [&str; 5] = ["name", "code", "category", "limit", "page"];

/// The reason for refusing a query; each is a 400.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    #[error("the query is longer than {max} bytes")]
    TooLong { max: usize },
    #[error("{} has an invalid percent escape or bytes that are not UTF-8", .parameter.unwrap_or("the query"))]
    NotText { parameter: Option<&'static str> },
    #[error("{parameter} has more than {max} values")]
    TooManyValues { parameter: &'static str, max: usize },
    #[error("{parameter} has a value of more than {max} characters")]
    ValueTooLong { parameter: &'static str, max: usize },
    #[error("{parameter} must be one whole number, zero or more")]
    NotAWholeNumber { parameter: &'static str },
}

impl QueryError {
    /// Returns the parameter at fault, for `fields` of ezyVet's error envelope. `None` if no known parameter is at fault.
    pub fn parameter(&self) -> Option<&'static str> {
        match self {
            Self::TooLong { .. } => None,
            Self::NotText { parameter } => *parameter,
            Self::TooManyValues { parameter, .. }
            | Self::ValueTooLong { parameter, .. }
            | Self::NotAWholeNumber { parameter } => Some(*parameter),
        }
    }
}

/// Returns the index of a decoded key in [`PARAMETERS`], and whether the key marks a list element: `name[]`, `name[7]`, and
/// Zope's `name:list`.
fn parse_key(key: &str) -> Option<(usize, bool)> {
    PARAMETERS.iter().enumerate().find_map(|(parameter, name)| match key.strip_prefix(name)? {
        "" => Some((parameter, false)),
        ":list" => Some((parameter, true)),
        suffix => {
            let index = suffix.strip_prefix('[')?.strip_suffix(']')?;
            index.bytes().all(|byte| byte.is_ascii_digit()).then_some((parameter, true))
        }
    })
}

/// All occurrences of one parameter.
#[derive(Default)]
struct Argument<'a> {
    /// The raw and the decoded value of each occurrence, in order of arrival.
    occurrences: Vec<(&'a [u8], String)>,
    /// At least one key marks a list element.
    has_element_key: bool,
}

impl ProductQuery {
    /// Parses the raw query of the request line, without its `?`. Raw brackets and raw UTF-8 are accepted.
    pub fn parse(raw: &[u8], limits: &QueryLimits) -> Result<Self, QueryError> {
        if raw.len() > limits.query_bytes {
            return Err(QueryError::TooLong { max: limits.query_bytes });
        }
        let mut arguments: [Argument<'_>; PARAMETERS.len()] = Default::default();
        for pair in raw.split(|byte| *byte == b'&') {
            let equals = pair.iter().position(|byte| *byte == b'=');
            let (key, value) = equals.map_or((pair, &[][..]), |index| (&pair[..index], &pair[index + 1..]));
            let key = decode(key).ok_or(QueryError::NotText { parameter: None })?;
            let parameter = parse_key(&key);
            let not_text = || QueryError::NotText { parameter: parameter.map(|(index, _)| PARAMETERS[index]) };
            let decoded = decode(value).ok_or_else(not_text)?;
            if let Some((index, is_element_key)) = parameter {
                let argument = &mut arguments[index];
                argument.has_element_key |= is_element_key;
                argument.occurrences.push((value, decoded));
            }
        }
        let mut lists: [Vec<String>; PARAMETERS.len()] = Default::default();
        for ((parameter, argument), list) in PARAMETERS.into_iter().zip(arguments).zip(&mut lists) {
            *list = parse_elements(argument, parameter)?;
            check_limits(list, parameter, limits)?;
        }
        let [names, codes, categories, limit, page] = lists;
        Ok(Self {
            names,
            codes,
            categories,
            limit: parse_whole_number(&limit, "limit")?,
            page: parse_whole_number(&page, "page")?.unwrap_or(0),
        })
    }

    /// Returns true if no filter is set.
    pub fn is_unfiltered(&self) -> bool {
        self.names.is_empty() && self.codes.is_empty() && self.categories.is_empty()
    }

    /// Returns how many matches to skip and how many to take. A page above 0 without a limit is empty.
    pub fn window(&self) -> (u64, u64) {
        match self.limit {
            Some(limit) => (limit.saturating_mul(self.page), limit),
            None if self.page > 0 => (0, 0),
            None => (0, u64::MAX),
        }
    }
}

fn check_limits(list: &[String], parameter: &'static str, limits: &QueryLimits) -> Result<(), QueryError> {
    if list.len() > limits.values {
        return Err(QueryError::TooManyValues { parameter, max: limits.values });
    }
    if list.iter().any(|value| value.chars().nth(limits.value_characters).is_some()) {
        return Err(QueryError::ValueTooLong { parameter, max: limits.value_characters });
    }
    Ok(())
}

/// Applies rule 4 of SPSI.md 4: one run of digits is the number, an empty list is absent, anything else is refused.
fn parse_whole_number(list: &[String], parameter: &'static str) -> Result<Option<u64>, QueryError> {
    let error = QueryError::NotAWholeNumber { parameter };
    match list {
        [] => Ok(None),
        [digits] if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().map(Some).map_err(|_| error),
        _ => Err(error),
    }
}

/// Applies rules 2 and 3 of SPSI.md 4. Drops empty elements, because an empty filter value matches every product.
fn parse_elements(argument: Argument<'_>, parameter: &'static str) -> Result<Vec<String>, QueryError> {
    let mut occurrences = argument.occurrences;
    let mut list = match &mut *occurrences {
        [(raw, decoded)] if !argument.has_element_key => {
            let enclosed = decoded.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
            match enclosed {
                Some(inner) => parse_json_strings(decoded).unwrap_or_else(|| parse_bare_list(inner)),
                None if raw.contains(&b',') => split_at_commas(raw, &[b" ", b"+", b"%20"])
                    .map(|part| decode(&raw[part]).ok_or(QueryError::NotText { parameter: Some(parameter) }))
                    .collect::<Result<_, _>>()?,
                None => split_at_commas(decoded.as_bytes(), &[b" "]).map(|part| decoded[part].to_owned()).collect(),
            }
        }
        _ => occurrences.into_iter().map(|(_, decoded)| decoded).collect(),
    };
    list.retain(|value| !value.is_empty());
    Ok(list)
}

/// Returns the elements of a JSON array of scalars that holds at least one string. `None` for any other text.
///
/// Only a client that writes JSON quotes its strings, so `null` beside a string is JSON null and becomes an empty
/// element. Without any string, `[42,1.50,1e3,true,null]` may equally be the documented bare list of five codes: `None`
/// lets it be read as one, which keeps every element as written. In both cases numbers, `true` and `false` are the text
/// as written.
fn parse_json_strings(text: &str) -> Option<Vec<String>> {
    let elements: Vec<&RawValue> = serde_json::from_str(text).ok()?;
    let is_string = |element: &&RawValue| element.get().starts_with('"');
    if !elements.iter().any(is_string) {
        return None;
    }
    elements
        .into_iter()
        .map(|element| match element.get() {
            "null" => Some(String::new()),
            text if text.starts_with('"') => serde_json::from_str(text).ok(),
            text if text.starts_with(['[', '{']) => None,
            text => Some(text.to_owned()),
        })
        .collect()
}

/// Splits the inside of the documented bare list, `[2m-bandage,1m-bandage]`.
fn parse_bare_list(inner: &str) -> Vec<String> {
    inner.split(',').map(|part| unquote(part.trim()).to_owned()).collect()
}

/// Removes one matching pair of quotes.
fn unquote(text: &str) -> &str {
    let without = |quote| text.strip_prefix(quote).and_then(|rest: &str| rest.strip_suffix(quote));
    without('"').or_else(|| without('\'')).unwrap_or(text)
}

/// Splits at commas and returns the ranges. A comma before one of these spellings of a space is text (`STERILE WATER,
/// USP`).
fn split_at_commas(text: &[u8], spaces: &[&[u8]]) -> impl Iterator<Item = Range<usize>> {
    let is_separator =
        |index: usize| text[index] == b',' && !spaces.iter().any(|space| text[index + 1..].starts_with(space));
    let mut next_start = Some(0);
    std::iter::from_fn(move || {
        let start = next_start?;
        let comma = (start..text.len()).find(|index| is_separator(*index));
        next_start = comma.map(|index| index + 1);
        Some(start..comma.unwrap_or(text.len()))
    })
}

/// Decodes form encoding once: `+` is a space, `%XX` a byte. `None` for an invalid escape or a result that is not UTF-8.
fn decode(raw: &[u8]) -> Option<String> {
    let mut bytes = Cow::Borrowed(raw);
    if raw.iter().any(|byte| matches!(byte, b'+' | b'%')) {
        let mut decoded = Vec::with_capacity(raw.len());
        let mut rest = raw.iter().copied();
        while let Some(byte) = rest.next() {
            decoded.push(match byte {
                b'+' => b' ',
                b'%' => hex_digit(rest.next()?)? << 4 | hex_digit(rest.next()?)?,
                byte => byte,
            });
        }
        bytes = Cow::Owned(decoded);
    }
    String::from_utf8(bytes.into_owned()).ok()
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests;

//! The query of `/products`, read as its author meant it, whatever client library wrote it (SPSI.md 4).
//!
//! Guarantees: every unambiguous way of writing an array reads back as that array; a query that is not text, or a
//! `limit` or `page` that is not one whole number, is refused with the parameter's name. Refuses nothing else: unknown
//! parameters are ignored, and no input panics.

use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

/// What `/products` was asked (SPSI.md 1). No values of a kind: no filter of that kind. Values are never empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ProductQuery {
    /// Any of these in the name.
    pub names: Vec<String>,
    /// Any of these in the supplier code.
    pub codes: Vec<String>,
    /// Any of these in the category.
    pub categories: Vec<String>,
    /// Most products to return; `None` is everything.
    pub limit: Option<u64>,
    /// Zero-based.
    pub page: u64,
}

/// How much a query may hold before it is refused.
#[derive(Clone, Copy, Debug)]
pub struct QueryLimits {
    /// Length of the raw query.
    pub query_bytes: usize,
    /// Values of one parameter.
    pub values: usize,
    /// Length of one value.
    pub value_characters: usize,
}

/// A parameter that `/products` knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parameter {
    Name,
    Code,
    Category,
    Limit,
    Page,
}

/// Why a query is refused; all of these are a 400.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    #[error("the query is longer than {most} bytes")]
    TooLong { most: usize },
    #[error("{} has an invalid escape, or bytes that are not UTF-8", named(*.parameter))]
    NotText { parameter: Option<Parameter> },
    #[error("{parameter} has more than {most} values")]
    TooManyValues { parameter: Parameter, most: usize },
    #[error("{parameter} has a value of more than {most} characters")]
    ValueTooLong { parameter: Parameter, most: usize },
    #[error("{parameter} must be one whole number, not negative")]
    NotAWholeNumber { parameter: Parameter },
}

impl QueryError {
    /// The parameter at fault, where it is a single known one: the `fields` of ezyVet's envelope.
    pub fn parameter(&self) -> Option<Parameter> {
        match self {
            Self::TooLong { .. } => None,
            Self::NotText { parameter } => *parameter,
            Self::TooManyValues { parameter, .. }
            | Self::ValueTooLong { parameter, .. }
            | Self::NotAWholeNumber { parameter } => Some(*parameter),
        }
    }
}

fn named(parameter: Option<Parameter>) -> &'static str {
    parameter.map_or("the query", Parameter::as_str)
}

impl Parameter {
    const ALL: [Self; 5] = [Self::Name, Self::Code, Self::Category, Self::Limit, Self::Page];

    /// As it is spelt in the query.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Code => "code",
            Self::Category => "category",
            Self::Limit => "limit",
            Self::Page => "page",
        }
    }

    /// The parameter that a decoded key means, and whether the key itself says that it is an element of a list:
    /// `name[]`, `name[7]`, and Zope's `name:list`.
    fn of_key(key: &str) -> Option<(Self, bool)> {
        Self::ALL.into_iter().find_map(|parameter| match key.strip_prefix(parameter.as_str())? {
            "" => Some((parameter, false)),
            ":list" => Some((parameter, true)),
            mark => {
                let index = mark.strip_prefix('[')?.strip_suffix(']')?;
                index.bytes().all(|byte| byte.is_ascii_digit()).then_some((parameter, true))
            }
        })
    }
}

impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One parameter as it arrived: every occurrence, raw and decoded.
#[derive(Default)]
struct Argument<'a> {
    occurrences: Vec<(&'a [u8], String)>,
    element_key: bool,
}

impl ProductQuery {
    /// Reads the raw query, without its `?`, as it stood in the request line: raw brackets and raw UTF-8 are accepted.
    pub fn parse(raw: &[u8], limits: &QueryLimits) -> Result<Self, QueryError> {
        if raw.len() > limits.query_bytes {
            return Err(QueryError::TooLong { most: limits.query_bytes });
        }
        let mut arguments: [Argument<'_>; Parameter::ALL.len()] = Default::default();
        for pair in raw.split(|byte| *byte == b'&') {
            let at = pair.iter().position(|byte| *byte == b'=');
            let (key, value) = at.map_or((pair, &[][..]), |at| (&pair[..at], &pair[at + 1..]));
            let key = decode(key).ok_or(QueryError::NotText { parameter: None })?;
            let known = Parameter::of_key(&key);
            let parameter = known.map(|(parameter, _)| parameter);
            let decoded = decode(value).ok_or(QueryError::NotText { parameter })?;
            if let Some((parameter, element_key)) = known {
                let argument = &mut arguments[parameter as usize];
                argument.element_key |= element_key;
                argument.occurrences.push((value, decoded));
            }
        }
        let mut lists: [Vec<String>; Parameter::ALL.len()] = Default::default();
        for ((parameter, argument), list) in Parameter::ALL.into_iter().zip(arguments).zip(&mut lists) {
            *list = elements(argument, parameter)?;
            check(list, parameter, limits)?;
        }
        let [names, codes, categories, limit, page] = lists;
        Ok(Self {
            names,
            codes,
            categories,
            limit: whole_number(&limit, Parameter::Limit)?,
            page: whole_number(&page, Parameter::Page)?.unwrap_or(0),
        })
    }

    /// True where no filter narrows the catalogue.
    pub fn is_unfiltered(&self) -> bool {
        self.names.is_empty() && self.codes.is_empty() && self.categories.is_empty()
    }

    /// How many matches to pass over and how many to return. A page without a limit lies behind everything.
    pub fn window(&self) -> (u64, u64) {
        match self.limit {
            Some(limit) => (limit.saturating_mul(self.page), limit),
            None if self.page > 0 => (0, 0),
            None => (0, u64::MAX),
        }
    }
}

fn check(list: &[String], parameter: Parameter, limits: &QueryLimits) -> Result<(), QueryError> {
    if list.len() > limits.values {
        return Err(QueryError::TooManyValues { parameter, most: limits.values });
    }
    if list.iter().any(|value| value.chars().nth(limits.value_characters).is_some()) {
        return Err(QueryError::ValueTooLong { parameter, most: limits.value_characters });
    }
    Ok(())
}

/// Rule 4: one run of digits is the number, nothing is absent, anything else is refused.
fn whole_number(list: &[String], parameter: Parameter) -> Result<Option<u64>, QueryError> {
    let refusal = QueryError::NotAWholeNumber { parameter };
    match list {
        [] => Ok(None),
        [digits] if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().map(Some).map_err(|_| refusal),
        _ => Err(refusal),
    }
}

/// Rules 2 and 3. Empty elements are dropped: they would match everything.
fn elements(argument: Argument<'_>, parameter: Parameter) -> Result<Vec<String>, QueryError> {
    let mut occurrences = argument.occurrences;
    let mut list = match &mut *occurrences {
        [(raw, decoded)] if !argument.element_key => {
            let enclosed = decoded.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
            match enclosed {
                Some(inner) => json_scalars(decoded).unwrap_or_else(|| bare_list(inner)),
                None if raw.contains(&b',') => between_commas(raw, &[b" ", b"+", b"%20"])
                    .map(|part| decode(&raw[part]).ok_or(QueryError::NotText { parameter: Some(parameter) }))
                    .collect::<Result<_, _>>()?,
                None => between_commas(decoded.as_bytes(), &[b" "]).map(|part| decoded[part].to_owned()).collect(),
            }
        }
        _ => occurrences.into_iter().map(|(_, decoded)| decoded).collect(),
    };
    list.retain(|value| !value.is_empty());
    Ok(list)
}

/// The elements of a JSON array of scalars, numbers as they are spelt; null is an empty element. `None`: not that.
fn json_scalars(text: &str) -> Option<Vec<String>> {
    let raw: Vec<&RawValue> = serde_json::from_str(text).ok()?;
    raw.into_iter()
        .map(|value| match value.get() {
            "null" => Some(String::new()),
            text if text.starts_with('"') => serde_json::from_str(text).ok(),
            text if text.starts_with(['[', '{']) => None,
            text => Some(text.to_owned()),
        })
        .collect()
}

/// The documented bare list, `2m-bandage,1m-bandage` without its brackets.
fn bare_list(inner: &str) -> Vec<String> {
    inner.split(',').map(|part| unquote(part.trim()).to_owned()).collect()
}

fn unquote(text: &str) -> &str {
    let without = |quote| text.strip_prefix(quote).and_then(|rest: &str| rest.strip_suffix(quote));
    without('"').or_else(|| without('\'')).unwrap_or(text)
}

/// Splits at commas; one that a space follows, as these ways spell it, is text (`STERILE WATER, USP`).
fn between_commas(text: &[u8], spaces: &[&[u8]]) -> impl Iterator<Item = Range<usize>> {
    let separates = |at: usize| text[at] == b',' && !spaces.iter().any(|space| text[at + 1..].starts_with(space));
    let mut start = Some(0);
    std::iter::from_fn(move || {
        let from = start?;
        let comma = (from..text.len()).find(|at| separates(*at));
        start = comma.map(|at| at + 1);
        Some(from..comma.unwrap_or(text.len()))
    })
}

/// Undoes form encoding once: `+` is a space, `%XX` a byte. `None` for an invalid escape or what is not UTF-8 then.
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

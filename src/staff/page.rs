//! Lists: `?limit=&cursor=` in, `{"data": [...], "next_cursor": ...}` out.

use super::answer::Answer;
use super::problem::{FieldError, Kind, Problem, Result};
use crate::db::Page;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Rows of a page without `limit`.
const DEFAULT_LIMIT: u32 = 100;

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct List<T> {
    pub data: Vec<T>,
    /// Pass it as `cursor` to get the rows that follow. Null: this was the last page.
    pub next_cursor: Option<String>,
}

/// The parameters of every list.
#[derive(Clone, Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageParams {
    /// Maximum number of rows [default: 100, at most SPSI_STAFF_MAX_PAGE]
    #[param(value_type = Option<u32>, minimum = 1)]
    pub limit: i64,
    /// The `next_cursor` of the page before
    pub cursor: Option<String>,
}

/// What an operation takes from its query besides its own parameters: nothing, or a page.
pub trait Paging: Sized {
    /// Takes its parameters out of the query.
    fn take(query: &mut BTreeMap<String, String>, max_limit: u32) -> Result<Self, FieldError>;
}

impl Paging for () {
    fn take(_: &mut BTreeMap<String, String>, _: u32) -> Result<Self, FieldError> {
        Ok(())
    }
}

impl Paging for PageParams {
    fn take(query: &mut BTreeMap<String, String>, max_limit: u32) -> Result<Self, FieldError> {
        let limit = match query.remove("limit") {
            None => Some(DEFAULT_LIMIT.min(max_limit)),
            Some(text) => text.parse().ok().filter(|limit| (1..=max_limit).contains(limit)),
        };
        let wrong = || FieldError::new("limit", format!("must be a whole number from 1 to {max_limit}"));
        Ok(Self { limit: limit.ok_or_else(wrong)?.into(), cursor: query.remove("cursor") })
    }
}

impl PageParams {
    /// Returns the position of the last row of the page before.
    pub fn after<K: DeserializeOwned>(&self) -> Result<Option<K>> {
        self.cursor.as_deref().map(decode).transpose()
    }

    /// Returns the page of a list of descending ids.
    pub fn before(&self) -> Result<Page> {
        Ok(Page { limit: Some(self.limit), before: self.after()? })
    }

    /// Answers with a page, and the position of its last row as cursor. A full page has a successor, even if that one is empty.
    pub fn answer<T: Serialize, K: Serialize>(&self, data: Vec<T>, position: impl Fn(&T) -> K) -> Result<Answer> {
        let is_full = data.len() as i64 >= self.limit;
        let next_cursor = data.last().filter(|_| is_full).map(|last| encode(&position(last)));
        Answer::ok(&List { data, next_cursor })
    }

    /// Takes a page of a list that was read whole, and the cursor of the next page. Sorts the rows by `position`, which must be
    /// different for each: rows that come or go between two pages shift no other row.
    pub fn split<T, K: Ord + Serialize + DeserializeOwned>(
        &self,
        mut rows: Vec<T>,
        position: impl Fn(&T) -> K,
    ) -> Result<List<T>> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let after: Option<K> = self.after()?;
        rows.retain(|row| after.as_ref().is_none_or(|after| position(row) > *after));
        rows.sort_by_cached_key(&position);
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let next_cursor = rows.last().filter(|_| has_more).map(|last| encode(&position(last)));
        Ok(List { data: rows, next_cursor })
    }
}

/// Orders ids that are numbers in texts by their numbers.
pub fn by_number(id: &str) -> (usize, String) {
    (id.len(), id.to_owned())
}

/// Writes a position in a list as an opaque cursor.
pub fn encode(position: &impl Serialize) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(serde_json::json!(position).to_string())
}

/// Reads a cursor of [`encode`].
fn decode<K: DeserializeOwned>(cursor: &str) -> Result<K> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok();
    bytes
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .ok_or_else(|| Problem::field(Kind::BadRequest, "cursor", "is not a cursor of this list"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_and_anything_else_is_refused() {
        assert_eq!(decode::<i64>(&encode(&4711)).unwrap(), 4711);
        for bad in ["", "4711", "!", "cA", "€"] {
            assert!(decode::<i64>(bad).is_err(), "{bad}");
        }
    }
}

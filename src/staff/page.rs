//! Lists: `?limit=&cursor=` in, `{"data": [...], "next_cursor": ...}` out.

use super::Settings;
use super::problem::{Kind, Problem};
use crate::db::Page;
use actix_web::HttpResponse;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// Rows of a page without `limit`.
pub const DEFAULT_LIMIT: u32 = 100;

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct List<T> {
    pub data: Vec<T>,
    /// Pass it as `cursor` to get the rows that follow. Null: this was the last page.
    pub next_cursor: Option<String>,
}

/// The parameters of every list.
#[derive(Clone, Debug, Default, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageParams {
    /// Maximum number of rows [default: 100, at most SPSI_STAFF_MAX_PAGE]
    #[param(value_type = Option<u32>, minimum = 1)]
    pub limit: Option<String>,
    /// The `next_cursor` of the page before
    pub cursor: Option<String>,
}

/// What an operation takes from its query besides its own parameters: nothing, or a page.
pub trait Paging: Sized {
    /// Takes its parameters out of the query.
    fn take(query: &mut Map<String, Value>) -> Self;
}

impl Paging for () {
    fn take(_: &mut Map<String, Value>) -> Self {}
}

impl Paging for PageParams {
    fn take(query: &mut Map<String, Value>) -> Self {
        let mut text = |name: &str| query.remove(name).and_then(|value| value.as_str().map(str::to_owned));
        Self { limit: text("limit"), cursor: text("cursor") }
    }
}

impl PageParams {
    /// Returns the number of rows asked for.
    pub fn limit(&self, settings: &Settings) -> Result<i64, Problem> {
        let max = settings.staff.staff_max_page;
        let limit = match self.limit.as_deref() {
            None => Some(DEFAULT_LIMIT.min(max)),
            Some(text) => text.parse().ok().filter(|limit| (1..=max).contains(limit)),
        };
        let text = || Problem::field(Kind::BadRequest, "limit", format!("must be a whole number from 1 to {max}"));
        limit.map(i64::from).ok_or_else(text)
    }

    /// Returns the page of a list of descending ids.
    pub fn page(&self, settings: &Settings) -> Result<Page, Problem> {
        let before = self.cursor.as_deref().map(decode).transpose()?;
        Ok(Page { limit: Some(self.limit(settings)?), before })
    }

    /// Responds with a page of a list of descending ids. A full page has a successor, even if that one is empty.
    pub fn respond<T: Serialize>(
        &self,
        settings: &Settings,
        data: Vec<T>,
        id: impl Fn(&T) -> i64,
    ) -> Result<HttpResponse, Problem> {
        let is_full = i64::try_from(data.len()).unwrap_or(i64::MAX) >= self.limit(settings)?;
        let next_cursor = data.last().filter(|_| is_full).map(|last| encode(id(last)));
        Ok(HttpResponse::Ok().json(List { data, next_cursor }))
    }

    /// Takes a page of a list that was read whole, and the cursor of the next page. Sorts the rows by `position`, which must be
    /// different for each: rows that come or go between two pages shift no other row.
    pub fn split<T, K: Ord + Serialize + DeserializeOwned>(
        &self,
        settings: &Settings,
        mut rows: Vec<T>,
        position: impl Fn(&T) -> K,
    ) -> Result<List<T>, Problem> {
        let limit = usize::try_from(self.limit(settings)?).unwrap_or(usize::MAX);
        let after: Option<K> = self.cursor.as_deref().map(decode_text).transpose()?;
        rows.retain(|row| after.as_ref().is_none_or(|after| position(row) > *after));
        rows.sort_by_cached_key(&position);
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let last = rows.last().filter(|_| has_more).map(position);
        let next_cursor = last.map(|last| encode_text(&serde_json::json!(last)));
        Ok(List { data: rows, next_cursor })
    }
}

/// Orders ids that are numbers in texts by their numbers.
pub fn by_number(id: &str) -> (usize, String) {
    (id.len(), id.to_owned())
}

/// Writes a position in a list as an opaque cursor.
pub fn encode(position: i64) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(format!("p{position}"))
}

/// Reads a cursor of [`encode`].
pub fn decode(cursor: &str) -> Result<i64, Problem> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    text.and_then(|text| text.strip_prefix('p')?.parse().ok())
        .ok_or_else(|| Problem::field(Kind::BadRequest, "cursor", "is not a cursor of this list"))
}

/// Writes a position that is not an id as an opaque cursor.
pub fn encode_text(position: &Value) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(position.to_string())
}

/// Reads a cursor of [`encode_text`].
pub fn decode_text<T: DeserializeOwned>(cursor: &str) -> Result<T, Problem> {
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
        assert_eq!(decode(&encode(4711)).unwrap(), 4711);
        for bad in ["", "4711", "!", "cA", "€"] {
            assert!(decode(bad).is_err(), "{bad}");
        }
    }
}

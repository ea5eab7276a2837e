//! `/audit`: who did what, when and why.

use super::page::{List, PageParams};
use super::problem::Result;
use super::query::Read;
use super::write::Answer;
use crate::audit::{self, Entry, Filter};

/// List audit entries
///
/// Newest first. The actor of an API key is `key:` and the name of the key.
#[utoipa::path(get, path = "/audit", tag = "audit", params(Filter, PageParams),
    responses((status = 200, description = "A page of entries", body = List<Entry>)))]
pub async fn list_audit(read: Read<Filter, PageParams>) -> Result<Answer> {
    let entries = audit::list(&read.staff.pool, &read.params, read.page.before()?).await?;
    read.page.answer(entries, |entry| entry.id)
}

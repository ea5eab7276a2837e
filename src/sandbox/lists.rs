//! ezyVet's list answers: paging, filters, and the two shapes of a list (SPSI.md 2).

use serde_json::{Value, json};

use super::{
    event::{EventKind, Refusal},
    wire::{Answer, Request, text_of},
};

/// The largest page; also sent as `x-item-limit-per-page`.
const MAX_PER_PAGE: usize = 200;

/// Returns `{key: [...], "meta": ...}` with one page of a list (SPSI.md 2, paging): one-based, 10 items by default, 200 at
/// most. The inventory API answers so under the key `data`.
///
/// # Errors
/// 400 for a page or limit that is not a positive whole number.
pub(super) fn paged(request: &Request, key: &str, all: Vec<Value>) -> Result<Answer, Refusal> {
    let number = |name: &str, default: usize| {
        let number = request.parameter(name).map_or(Ok(default), |text| text.parse());
        let number = number.ok().filter(|number| *number > 0);
        number.ok_or_else(|| Answer::error(400, "BadRequest", format!("{name} must be a positive whole number")))
    };
    let (page, limit) = (number("page", 1)?, number("limit", 10)?.min(MAX_PER_PAGE));
    let total = all.len();
    let items: Vec<_> = all.into_iter().skip((page - 1).saturating_mul(limit)).take(limit).collect();
    let meta = json!({
        "timestamp": null,
        "items_page": page,
        "items_page_total": total.div_ceil(limit).max(1),
        "items_page_size": limit,
        "items_total": total,
    });
    Ok(Answer::json(200, json!({"meta": meta, key: items})).with("x-item-limit-per-page", MAX_PER_PAGE.to_string()))
}

/// Returns a page of `{"items": [{name: item}], "meta": ..., "messages": []}`, as the other endpoints answer, with the items
/// that pass every filter of the query.
///
/// # Errors
/// 400 for an invalid page or limit, or for a filter that is not among `filters`: the partner made a mistake.
pub(super) fn items_answer(
    request: &Request,
    name: &str,
    filters: &[&str],
    items: impl Iterator<Item = Value>,
) -> Result<Answer, Refusal> {
    let parameters: Vec<_> =
        request.parameters().filter(|(key, _)| !["page", "limit"].contains(&key.as_str())).collect();
    if let Some((unknown, _)) = parameters.iter().find(|(key, _)| !filters.contains(&key.as_str())) {
        return Err(Refusal::mistake(
            EventKind::MalformedBody,
            format!("{}: no filter `{unknown}`", request.path),
            Answer::error(400, "BadRequest", format!("There is no filter {unknown}")),
        ));
    }
    let passes = |(key, filter): &(String, String), item: &Value| {
        text_of(&item[key]).is_some_and(|text| text.eq_ignore_ascii_case(filter))
    };
    let passing = items.filter(|item| parameters.iter().all(|parameter| passes(parameter, item)));
    let mut answer = paged(request, "items", passing.map(|item| json!({name: item})).collect())?;
    answer.body["messages"] = json!([]);
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(query: &str, count: usize) -> (u16, usize, Value) {
        let all = (0..count).map(|number| json!({"id": number}));
        let request = Request { query: query.into(), ..Request::default() };
        let answer = items_answer(&request, "separation", &["id"], all).unwrap_or_else(|refusal| *refusal.answer);
        (answer.status, answer.body["items"].as_array().map_or(0, Vec::len), answer.body)
    }

    #[test]
    fn pages_are_one_based_ten_items_long_by_default_and_200_at_most() {
        let (status, length, body) = page("", 23);
        assert_eq!((status, length, &body["items"][0]["separation"]["id"]), (200, 10, &json!(0)));
        let meta = json!({"timestamp": null, "items_page": 1, "items_page_total": 3, "items_page_size": 10, "items_total": 23});
        assert_eq!(body["meta"], meta);
        assert_eq!((page("page=3", 23).1, page("page=4", 23).1, page("limit=500&page=2", 230).1), (3, 0, 30));
        assert_eq!((page("page=0", 3).0, page("limit=ten", 3).0), (400, 400));
        assert_eq!((page("id=1", 23).1, page("name=1", 23).0), (1, 400));
    }
}

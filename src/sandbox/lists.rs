//! ezyVet's list answers: paging, filters, and the two shapes of a list (SPSI.md 2).

use serde_json::{Map, Value, json};

use super::{
    event::{EventKind, Refusal},
    wire::{Answer, Request, Scalars, decimal_of, text_of},
};

/// The largest page; also sent as `x-item-limit-per-page`.
const MAX_PER_PAGE: usize = 200;

/// Returns one page of a list and its `meta` (SPSI.md 2, paging): one-based, 10 items by default, 200 at most.
///
/// # Errors
/// 400 for a page or limit that is not a positive whole number.
fn paged(request: &Request, scalars: Scalars, all: &[Value]) -> Result<(Vec<Value>, Value), Answer> {
    let number = |name: &str, default: usize| match request.parameter(name) {
        None => Ok(default),
        Some(text) => text
            .parse()
            .ok()
            .filter(|number| *number > 0)
            .ok_or_else(|| Answer::error(400, "BadRequest", format!("{name} must be a positive whole number"))),
    };
    let (page, limit) = (number("page", 1)?, number("limit", 10)?.min(MAX_PER_PAGE));
    let items: Vec<_> = all.iter().skip((page - 1).saturating_mul(limit)).take(limit).cloned().collect();
    let total = all.len();
    let meta = json!({
        "timestamp": null,
        "items_page": scalars.whole(page),
        "items_page_total": scalars.whole(total.div_ceil(limit).max(1)),
        "items_page_size": scalars.whole(limit),
        "items_total": scalars.whole(total),
    });
    Ok((items, meta))
}

/// `{"items": [{name: item}], "meta": ..., "messages": []}`, as most endpoints answer.
pub(super) fn items_answer(request: &Request, scalars: Scalars, name: &str, all: Vec<Value>) -> Result<Answer, Answer> {
    let wrapped: Vec<_> =
        all.into_iter().map(|item| Value::Object(Map::from_iter([(name.to_owned(), item)]))).collect();
    let (items, meta) = paged(request, scalars, &wrapped)?;
    Ok(Answer::json(200, json!({"meta": meta, "items": items, "messages": []}))
        .with("x-item-limit-per-page", MAX_PER_PAGE.to_string()))
}

/// `{"data": [...], "meta": ...}`, as the inventory API answers.
pub(super) fn data_answer(request: &Request, scalars: Scalars, all: &[Value]) -> Result<Answer, Answer> {
    let (items, meta) = paged(request, scalars, all)?;
    Ok(Answer::json(200, json!({"data": items, "meta": meta})).with("x-item-limit-per-page", MAX_PER_PAGE.to_string()))
}

/// [`items_answer`] for the items that pass every filter of the query.
///
/// # Errors
/// 400 for a filter that is not among `filters`: the partner made a mistake.
pub(super) fn filtered(
    request: &Request,
    scalars: Scalars,
    name: &str,
    filters: &[&str],
    items: Vec<Value>,
) -> Result<Answer, Refusal> {
    let parameters: Vec<_> =
        request.parameters().into_iter().filter(|(key, _)| !["page", "limit"].contains(&key.as_str())).collect();
    if let Some((unknown, _)) = parameters.iter().find(|(key, _)| !filters.contains(&key.as_str())) {
        return Err(Refusal::mistake(
            EventKind::MalformedBody,
            format!("{}: no filter `{unknown}`", request.path),
            Answer::error(400, "BadRequest", format!("There is no filter {unknown}")),
        ));
    }
    let passes = |item: &Value| parameters.iter().all(|(key, filter)| passes(&item[key], filter));
    Ok(items_answer(request, scalars, name, items.into_iter().filter(passes).collect())?)
}

/// Returns whether a field passes a filter: an equal value, or bounds such as `{"gte": 1, "lt": 2}`.
fn passes(field: &Value, filter: &str) -> bool {
    if let Ok(Value::Object(bounds)) = serde_json::from_str(filter) {
        let Some(field) = decimal_of(field) else { return false };
        return bounds.iter().all(|(operator, bound)| {
            decimal_of(bound).is_some_and(|bound| match operator.as_str() {
                "gt" => field > bound,
                "gte" => field >= bound,
                "lt" => field < bound,
                "lte" => field <= bound,
                "eq" => field == bound,
                _ => false,
            })
        });
    }
    text_of(field).is_some_and(|text| text.eq_ignore_ascii_case(filter))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(query: &str, count: usize) -> Answer {
        let all = (0..count).map(|number| json!({"id": number})).collect();
        let request = Request { query: query.into(), ..Request::default() };
        items_answer(&request, Scalars::Numbers, "separation", all).unwrap_or_else(|refused| refused)
    }

    #[test]
    fn pages_are_one_based_and_ten_long_by_default() {
        let body = page("", 23).value();
        assert_eq!(body["items"].as_array().map(Vec::len), Some(10));
        assert_eq!(body["items"][0]["separation"]["id"], 0);
        assert_eq!((&body["meta"]["items_page"], &body["meta"]["items_page_total"]), (&json!(1), &json!(3)));
        assert_eq!((&body["meta"]["items_page_size"], &body["meta"]["items_total"]), (&json!(10), &json!(23)));
        assert_eq!(page("page=3", 23).value()["items"].as_array().map(Vec::len), Some(3));
        assert_eq!(page("page=4", 23).value()["items"].as_array().map(Vec::len), Some(0));
    }

    #[test]
    fn a_page_holds_200_items_at_most_and_an_invalid_page_or_limit_is_refused() {
        let answer = page("limit=500&page=2", 230);
        assert_eq!(answer.value()["items"].as_array().map(Vec::len), Some(30));
        assert_eq!(answer.value()["meta"]["items_page_size"], 200);
        assert_eq!((page("page=0", 3).status, page("limit=ten", 3).status), (400, 400));
    }

    #[test]
    fn filters_compare_by_value_or_by_bounds() {
        assert!(passes(&json!("INV-1"), "inv-1") && passes(&json!(12), "12") && passes(&json!("12"), "12"));
        assert!(!passes(&json!("INV-10"), "INV-1"));
        assert!(passes(&json!(1000), r#"{"gte": 1000}"#) && !passes(&json!("1000"), r#"{"gt": 1000, "lt": "2000"}"#));
    }
}

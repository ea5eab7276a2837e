//! The lists that a site shows: separations, requirements, and the filters over lists.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::{
    clock::Millis,
    event::EventKind,
    wire::{self, Answer, Problem, Request, text_of},
    world::{Separation, World},
};

/// Creation moment of everything that was there before the sandbox began, epoch seconds.
const LONG_AGO: i64 = 1_700_000_000;

impl World {
    /// A page of the items that pass every filter of the query; a filter that the endpoint lacks is a 400.
    pub(super) fn filtered(
        &mut self,
        now: Millis,
        request: &Request,
        name: &str,
        filters: &[&str],
        items: Vec<Value>,
    ) -> Answer {
        let parameters: Vec<_> =
            request.parameters().into_iter().filter(|(key, _)| !["page", "limit"].contains(&key.as_str())).collect();
        if let Some((unknown, _)) = parameters.iter().find(|(key, _)| !filters.contains(&key.as_str())) {
            self.event(now, EventKind::MalformedBody, format!("{}: no filter `{unknown}`", request.path));
            return Answer::error(400, "BadRequest", format!("There is no filter {unknown}"));
        }
        let passes = |item: &Value| parameters.iter().all(|(key, wanted)| passes(&item[key], wanted));
        wire::items_answer(request, self.settings.scalars, name, items.into_iter().filter(passes).collect())
    }

    pub(super) fn separation_items(&mut self, now: Millis, request: &Request) -> Answer {
        let items = self.separations.iter().map(|part| self.separation_item(part)).collect();
        self.filtered(
            now,
            request,
            "separation",
            &[
                "id",
                "uid",
                "name",
                "type",
                "separation_type",
                "parent",
                "contact_id",
                "active",
                "created_at",
                "modified_at",
            ],
            items,
        )
    }

    fn separation_item(&self, part: &Separation) -> Value {
        let scalars = self.settings.scalars;
        let children: Vec<_> = self
            .separations
            .iter()
            .filter(|other| other.parent == Some(part.id))
            .map(|child| scalars.whole(child.id))
            .collect();
        json!({"id": scalars.whole(part.id), "uid": part.uid, "name": part.name, "type": part.kind, "parent": part.parent.map(|parent| scalars.whole(parent)), "child": children,
            "separation_type": part.kind.to_lowercase(), "contact_id": scalars.whole(part.id + 500), "contact_uid": format!("contact_{}", part.id + 500),
            "active": scalars.whole(1), "created_at": scalars.whole(LONG_AGO), "modified_at": scalars.whole(LONG_AGO)})
    }

    /// `GET /inventory/v1/requirements?locationUID=`.
    pub(super) fn requirements(&mut self, now: Millis, request: &Request) -> Answer {
        let location = request.parameter("locationUID").unwrap_or_default();
        if !self.separations.iter().any(|part| part.uid == location && part.kind == "Location") {
            self.event(now, EventKind::Refused, format!("requirements: `{location}` is no stock location"));
            return Answer::problems(
                422,
                &[Problem::new("locationUID", format!("`{location}` is no stock location of this site"))],
            );
        }
        let scalars = self.settings.scalars;
        let none = Default::default();
        let stock = self.stock.get(&location).unwrap_or(&none);
        let mut ordered = HashMap::new();
        let open = self.orders.iter().filter(|order| !order.declined).flat_map(|order| &order.items);
        for item in
            open.filter(|item| self.separations.iter().any(|part| part.id == item.location_id && part.uid == location))
        {
            *ordered.entry(item.product_id).or_insert(rust_decimal::Decimal::ZERO) += item.quantity - item.received;
        }
        let items: Vec<_> = self.products.iter().filter(|product| product.linked).map(|product| {
            json!({"productId": product.uid, "product": product.name, "code": product.code,
                "available": scalars.decimal(stock.get(&product.uid).copied().unwrap_or_default()), "minimum": scalars.whole(0),
                "required": scalars.decimal(ordered.get(&product.id).copied().unwrap_or_default())})
        }).collect();
        wire::data_answer(request, scalars, &items)
    }
}

/// Whether a field passes a filter: equal, or `{"gte": 1, "lt": 2}` for numbers and times.
fn passes(field: &Value, wanted: &str) -> bool {
    if let Ok(Value::Object(bounds)) = serde_json::from_str(wanted) {
        let Some(field) = wire::decimal_of(field) else { return false };
        return bounds.iter().all(|(operator, bound)| {
            wire::decimal_of(bound).is_some_and(|bound| match operator.as_str() {
                "gt" => field > bound,
                "gte" => field >= bound,
                "lt" => field < bound,
                "lte" => field <= bound,
                "eq" => field == bound,
                _ => false,
            })
        });
    }
    text_of(field).is_some_and(|text| text.eq_ignore_ascii_case(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_compare_by_value_or_by_bounds() {
        assert!(passes(&json!("INV-1"), "inv-1") && passes(&json!(12), "12") && passes(&json!("12"), "12"));
        assert!(!passes(&json!("INV-10"), "INV-1"));
        assert!(passes(&json!(1000), r#"{"gte": 1000}"#) && !passes(&json!("1000"), r#"{"gt": 1000, "lt": "2000"}"#));
    }
}

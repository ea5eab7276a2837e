//! `/events`: the event log, for systems that ask instead of being called.

use super::page::{List, PageParams};
use super::problem::{FieldError, Kind, Problem, Result};
use super::query::{Id, Read};
use super::write::Answer;
use crate::events::{
    self, CatalogImported, DeliveryEvent, Event, EventError, InvoiceDiffers, OrderEvent, ShipmentEvent, SiteUnreachable,
};
use clap::ValueEnum;
use serde::Deserialize;
use utoipa::openapi::path::{HttpMethod, OperationBuilder, PathItem, PathsBuilder};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{Content, KnownFormat, OpenApi as Document, Ref, Required, ResponseBuilder, SchemaFormat};
use utoipa::{IntoParams, OpenApi};

impl From<EventError> for Problem {
    fn from(error: EventError) -> Self {
        match error {
            EventError::Unknown(id) => Self::not_found("event", id),
            EventError::BadCursor(_) => Self::field(Kind::BadRequest, "after", error.to_string()),
            EventError::CursorExpired(cursor) => {
                let text = format!(
                    "The events after `{cursor}` are no longer kept. Read the present state of your orders and deliveries, \
                     then start again without `after`."
                );
                Self::new(Kind::CursorExpired, text)
            }
            EventError::Database(error) => error.into(),
        }
    }
}

/// Selects events.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventParams {
    /// Only events after this one: the id of the last event that you have processed
    #[param(example = "evt_17")]
    after: Option<String>,
    /// Only events of these types, separated by commas
    #[serde(rename = "type")]
    #[param(example = "order.accepted,order.held")]
    kinds: Option<String>,
}

impl EventParams {
    fn kinds(&self) -> Result<Vec<events::Kind>> {
        let names = self.kinds.as_deref().unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty());
        let (mut kinds, mut errors) = (Vec::new(), Vec::new());
        for name in names {
            match name.parse() {
                Ok(kind) => kinds.push(kind),
                Err(error) => errors.push(FieldError::new("type", format!("{error}"))),
            }
        }
        if errors.is_empty() { Ok(kinds) } else { Err(Problem { kind: Kind::BadRequest, ..Problem::invalid(errors) }) }
    }
}

/// List events
///
/// Oldest first: this is the order in which to process them. Start without `after`, and continue after the id of the last event
/// that you have processed, again and again. No event is missed, and events of one order, with its shipments and deliveries, come
/// in the order in which they happened. An `after` whose successors are deleted (SPSI_EVENTS_KEPT_FOR) is answered with 410.
#[utoipa::path(get, path = "/events", tag = "events", params(EventParams, PageParams),
    responses((status = 200, description = "Events", body = List<Event>)))]
pub async fn list_events(read: Read<EventParams, PageParams>) -> Result<Answer> {
    let pool = &read.staff.pool;
    let after = match (read.page.after()?, &read.params.after) {
        (None, Some(after)) => Some(events::find_position(pool, after).await?),
        (after, _) => after,
    };
    let data = events::list(pool, after, &read.params.kinds()?, read.page.limit).await?;
    read.page.answer(data, |event| event.position)
}

/// Show an event
#[utoipa::path(get, path = "/events/{id}", tag = "events", params(("id" = String, Path, example = "evt_17")),
    responses((status = 200, description = "The event", body = Event)))]
pub async fn show_event(read: Read, id: Id) -> Result<Answer> {
    Answer::ok(&events::find(&read.staff.pool, &id).await?)
}

/// The schemas of `data`, which no operation names.
#[derive(OpenApi)]
#[openapi(components(schemas(
    OrderEvent,
    ShipmentEvent,
    DeliveryEvent,
    InvoiceDiffers,
    CatalogImported,
    SiteUnreachable
)))]
struct Schemas;

/// Adds the message of each type of event to the document, as OpenAPI `webhooks`.
pub(super) fn document(document: &mut Document) {
    document.merge(Schemas::openapi());
    let mut messages = PathsBuilder::new();
    for kind in events::Kind::value_variants() {
        let schema = match kind.as_str().split('.').next() {
            Some("order") => "OrderEventV1",
            Some("shipment") => "ShipmentEventV1",
            Some("delivery") => "DeliveryEventV1",
            Some("invoice") => "InvoiceDiffersV1",
            Some("catalog") => "CatalogImportedV1",
            _ => "SiteUnreachableV1",
        };
        messages = messages.path(kind.as_str(), PathItem::new(HttpMethod::Post, message(*kind, schema)));
    }
    document.webhooks = Some(messages.build());
}

fn message(kind: events::Kind, schema: &str) -> OperationBuilder {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let time = SchemaFormat::KnownFormat(KnownFormat::DateTime);
    let mut body = ObjectBuilder::new()
        .property("id", text().examples(["evt_17"]))
        .property("type", text().enum_values(Some([kind.as_str()])))
        .property("created_at", text().format(Some(time)))
        .property("data", Ref::from_schema_name(schema));
    for name in ["id", "type", "created_at", "data"] {
        body = body.required(name);
    }
    let body = RequestBodyBuilder::new()
        .content("application/json", Content::new(Some(body)))
        .required(Some(Required::True))
        .build();
    let description = "Signed by the Standard Webhooks convention: headers `webhook-id`, `webhook-timestamp`, \
                       `webhook-signature`. Answer with a status of 200 to 299 as soon as the message is stored.";
    OperationBuilder::new()
        .summary(Some(kind.as_str()))
        .description(Some(description))
        .tag("events")
        .request_body(Some(body))
        .response("2XX", ResponseBuilder::new().description("Received"))
}

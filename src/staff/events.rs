//! `/events`: the event log, for systems that ask instead of being called.

use super::page::{List, PageParams, decode, encode};
use super::problem::{FieldError, Kind, Problem};
use super::query::Read;
use crate::events::{
    self, CatalogImported, DeliveryEvent, Event, EventError, Filter, InvoiceDiffers, OrderEvent, ShipmentEvent,
    SiteUnreachable,
};
use actix_web::{HttpResponse, web};
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
    fn filter(&self) -> Result<Filter, Problem> {
        let names = self.kinds.as_deref().unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty());
        let (mut kinds, mut errors) = (Vec::new(), Vec::new());
        for name in names {
            match name.parse() {
                Ok(kind) => kinds.push(kind),
                Err(error) => errors.push(FieldError::new("type", format!("{error}"))),
            }
        }
        if errors.is_empty() {
            Ok(Filter { kinds })
        } else {
            Err(Problem { kind: Kind::BadRequest, ..Problem::invalid(errors) })
        }
    }
}

/// List events
///
/// Oldest first: this is the order in which to process them. Start without `after`, and continue after the id of the last event
/// that you have processed, again and again. No event is missed, and events of one order, with its shipments and deliveries, come
/// in the order in which they happened. An `after` whose successors are deleted (SPSI_EVENTS_KEPT_FOR) is answered with 410.
#[utoipa::path(get, path = "/events", tag = "events", params(EventParams, PageParams),
    responses((status = 200, description = "Events", body = List<Event>)))]
pub async fn list_events(read: Read<EventParams, PageParams>) -> Result<HttpResponse, Problem> {
    let pool = &read.staff.pool;
    let after = match (&read.page.cursor, &read.params.after) {
        (Some(cursor), _) => Some(decode(cursor)?),
        (None, Some(after)) => Some(events::find_position(pool, after).await?),
        (None, None) => None,
    };
    let limit = read.page.limit(&read.staff.settings)?;
    let data = events::list(pool, after, &read.params.filter()?, limit).await?;
    let is_full = data.len() as i64 >= limit;
    let next_cursor = data.last().filter(|_| is_full).map(|last| encode(last.position));
    Ok(HttpResponse::Ok().json(List { data, next_cursor }))
}

/// Show an event
#[utoipa::path(get, path = "/events/{id}", tag = "events", params(("id" = String, Path, example = "evt_17")),
    responses((status = 200, description = "The event", body = Event)))]
pub async fn show_event(read: Read, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().json(events::find(&read.staff.pool, &id).await?))
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
    for kind in events::Kind::ALL {
        let schema = match kind.name().split('.').next() {
            Some("order") => "OrderEventV1",
            Some("shipment") => "ShipmentEventV1",
            Some("delivery") => "DeliveryEventV1",
            Some("invoice") => "InvoiceDiffersV1",
            Some("catalog") => "CatalogImportedV1",
            _ => "SiteUnreachableV1",
        };
        messages = messages.path(kind.name(), PathItem::new(HttpMethod::Post, message(*kind, schema)));
    }
    document.webhooks = Some(messages.build());
}

fn message(kind: events::Kind, schema: &str) -> OperationBuilder {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let time = SchemaFormat::KnownFormat(KnownFormat::DateTime);
    let mut body = ObjectBuilder::new()
        .property("id", text().examples(["evt_17"]))
        .property("type", text().enum_values(Some([kind.name()])))
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
        .summary(Some(kind.name()))
        .description(Some(description))
        .tag("events")
        .request_body(Some(body))
        .response("2XX", ResponseBuilder::new().description("Received"))
}

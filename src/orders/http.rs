//! `POST /purchaseorder`.

use super::OrderError;
use super::intake::{Intake, Path, Placed};
use super::read::{ReadError, read};
use crate::auth::http::Caller;
use crate::clock::Clock;
use crate::config::ServerSettings;
use crate::http::body;
use crate::http::problem::{Envelope, Kind, Message, Problem};
use actix_web::http::header::ContentType;
use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, web};
use std::sync::Arc;

/// An error lists at most this many fields.
const MAX_FIELD_ERRORS: usize = 100;

/// Send a purchase order
///
/// 200 means that the order is stored. The answer is the order with `supplier_order_number` filled in. The same `id` with
/// the same content gets the first answer again. A declined order is answered with the reasons. Scalars may be strings,
/// numbers, booleans or null; unknown fields are returned unchanged.
#[utoipa::path(
    post,
    path = "/purchaseorder",
    tag = "orders",
    operation_id = "purchaseorder",
    request_body = super::document::PurchaseOrderDocument,
    responses(
        (status = 200, description = "Stored: accepted, or held for the supplier's staff", body = super::document::PurchaseOrderDocument),
        (status = 400, description = "A field is invalid; `fields` names each one", body = Envelope),
        (status = 401, description = "The token is missing, invalid, expired or revoked", body = Envelope, headers(("WWW-Authenticate" = String, description = "Bearer"))),
        (status = 408, description = "The body did not arrive in time", body = Envelope),
        (status = 409, description = "An order with this id and other content exists and can no longer be changed", body = Envelope),
        (status = 413, description = "Too many bytes or lines", body = Envelope),
        (status = 415, description = "Neither JSON nor a form", body = Envelope),
        (status = 422, description = "Declined; one message for each reason", body = Envelope),
        (status = 500, description = "Internal error, which is logged", body = Envelope),
        (status = 503, description = "The database is unreachable; send the order again", body = Envelope, headers(("Retry-After" = u64, description = "Seconds"))),
    ),
    security(("token" = []), ("client" = []))
)]
pub async fn purchase_order(
    caller: Caller,
    payload: web::Payload,
    intake: web::Data<Intake>,
    clock: web::Data<Clock>,
    settings: web::Data<ServerSettings>,
) -> Result<HttpResponse, Problem> {
    let body = body::read(payload, settings.max_body_bytes, settings.read_timeout.0).await?;
    let order = Arc::new(read(&body, settings.max_order_lines)?);
    let Placed { reply, path } = intake.place(clock.now(), &caller.0, &order).await?;
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::OK);
    if path != Path::Repeated {
        metrics::counter!("spsi_orders_stored_total", "path" => path.as_str()).increment(1);
    }
    metrics::counter!("spsi_order_responses_total", "status" => reply.status.to_string()).increment(1);
    let mut response = HttpResponse::build(status);
    response.insert_header((header::CACHE_CONTROL, "no-store")).content_type(ContentType::json());
    Ok(response.body(reply.body))
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        let text = error.to_string();
        match error {
            ReadError::Neither => Self::new(Kind::UnsupportedBody, text),
            ReadError::BadJson(_) => Self::new(Kind::BadRequest, text),
            ReadError::TooManyLines(..) => Self::field(Kind::TooLarge, "purchaseorder.purchase_order_item_list", text),
            ReadError::Fields(errors) => {
                let mut problem = Self::new(Kind::BadRequest, text);
                let message = |path: String, text: String| Message {
                    level: "error",
                    kind: Kind::BadRequest.code().to_owned(),
                    text: format!("{path} {text}"),
                    fields: vec![path],
                };
                problem.messages =
                    errors.into_iter().take(MAX_FIELD_ERRORS).map(|error| message(error.path, error.text)).collect();
                problem
            }
        }
    }
}

impl From<OrderError> for Problem {
    fn from(error: OrderError) -> Self {
        match error {
            OrderError::CannotRevise(text) => Self::field(Kind::OrderChanged, "purchaseorder.id", text),
            OrderError::Database(cause) => cause.into(),
            // Only staff commands fail with these.
            error @ (OrderError::NotFound(_)
            | OrderError::State { .. }
            | OrderError::Stale { .. }
            | OrderError::WrongLines(_)) => Self::new(Kind::NotFound, error.to_string()),
        }
    }
}

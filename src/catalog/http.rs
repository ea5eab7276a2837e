//! `GET /categories` and `GET /products`.

use super::query::{ProductQuery, QueryError, QueryLimits};
use super::view::ClinicView;
use super::{Catalog, CatalogError};
use crate::auth::http::Caller;
use crate::clock::Clock;
use crate::config::ServerSettings;
use crate::http::fair_body::FairBody;
use crate::http::problem::{Envelope, Kind, Problem};
use actix_web::body::{BodyStream, SizedStream};
use actix_web::http::header::{self, AcceptEncoding, ContentEncoding, Encoding, Preference, Quality};
use actix_web::{HttpMessage, HttpRequest, HttpResponse, HttpResponseBuilder, web};
use bytes::BytesMut;
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// Maximum length of one filter value of `/products` in characters; a longer one is answered with 400.
const MAX_FILTER_CHARACTERS: usize = 1000;
/// Answers of fewer products are hardly shorter when packed, for the codes must be told.
const WORTH_PACKING: u64 = 4;
/// Plain pieces that are written in one go: together they take about as long as a packed one.
const PIECES_AT_ONCE: usize = 4;

/// The categories of what the clinic sees.
#[derive(Serialize, ToSchema)]
pub struct Categories {
    /// Distinct, in byte order
    #[schema(example = json!(["SOLUTION", "TABLET"]))]
    categories: Vec<String>,
}

/// Products, in byte order of `code`.
#[derive(Serialize, ToSchema)]
pub struct Products {
    products: Vec<Product>,
}

/// A product as the clinic sees it.
#[derive(Serialize, ToSchema)]
pub struct Product {
    /// 0: withdrawn; listed for a time, so that the clinic's link is dropped knowingly
    #[schema(example = 1, minimum = 0, maximum = 1)]
    active: u8,
    /// Comes back on the purchase order as `supplier_code`
    #[schema(example = "00053023")]
    code: String,
    #[schema(example = "ATRAVET 10 MG INJECTABLE 50 mL")]
    name: String,
    #[serde(rename = "type")]
    #[schema(example = "medication")]
    product_type: String,
    /// One of /categories
    #[schema(example = "SOLUTION")]
    category: String,
    /// Inner units in one outer, a decimal in a string
    #[schema(example = "50")]
    units_per_outer: String,
    #[schema(example = "mL")]
    unit_of_measure: String,
    /// Price of one inner unit without tax, a decimal in a string
    #[schema(example = "0.42")]
    price_per_unit: String,
    /// Without tax; of one unit (or of one outer, as set for the clinic)
    #[schema(value_type = f64, example = 0.42)]
    list_price: f64,
    /// The clinic's own price, on the same basis; the list price where it has none (or null, or left out, as set)
    #[schema(value_type = Option<f64>, example = 0.38)]
    contract_price: Option<f64>,
    /// A number where that loses nothing, otherwise a string; empty if there is none
    #[schema(value_type = Barcode, example = 6587)]
    barcode: Barcode,
    #[schema(value_type = f64, example = 20)]
    stock_available: f64,
    #[schema(example = json!(["https://example.com/atravet"]))]
    related_urls: Vec<String>,
}

/// A barcode.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum Barcode {
    Number(u64),
    Text(String),
}

/// List the categories
///
/// The distinct categories of the products that this clinic can see, in byte order.
#[utoipa::path(
    get,
    path = "/categories",
    tag = "catalogue",
    operation_id = "categories",
    params(("If-None-Match" = Option<String>, Header, description = "An ETag; 304 if it still holds")),
    responses(
        (status = 200, description = "The categories", body = Categories, headers(("ETag" = String, description = "Changes with the catalogue and with what the clinic may see"))),
        (status = 304, description = "Nothing has changed"),
        (status = 400, description = "The request cannot be read", body = Envelope),
        (status = 401, description = "No good token", body = Envelope, headers(("WWW-Authenticate" = String, description = "Bearer"))),
        (status = 503, description = "No catalogue is loaded: try again", body = Envelope, headers(("Retry-After" = u64, description = "Seconds"))),
    ),
    security(("token" = []), ("client" = []))
)]
pub async fn categories(
    request: HttpRequest,
    caller: Caller,
    catalog: web::Data<Catalog>,
    clock: web::Data<Clock>,
) -> Result<HttpResponse, Problem> {
    let view = catalog.view(&caller.0, clock.now())?;
    let (mut builder, known) = head(&request, &view, None);
    Ok(if known { builder.finish() } else { builder.content_type("application/json").body(view.categories()) })
}

/// List products
///
/// Values of one parameter are alternatives, the parameters narrow each other down; `contains`, whatever the case. Arrays
/// are read in every way that common clients write them: `name=[a,b]`, `name=["a","b"]`, `name[]=a&name[]=b`,
/// `name[0]=a&name[1]=b`, `name=a&name=b`, `name=a,b`. Without `limit`, everything. The order is that of `code`, byte by
/// byte, and is stable from page to page.
#[utoipa::path(
    get,
    path = "/products",
    tag = "catalogue",
    operation_id = "products",
    params(
        ("name" = Option<Vec<String>>, Query, description = "A product passes if its name contains any of these; empty is no filter", example = json!(["tablet"])),
        ("code" = Option<Vec<String>>, Query, description = "The same on `code`", example = json!(["00"])),
        ("category" = Option<Vec<String>>, Query, description = "The same on `category`", example = json!(["TABLET"])),
        ("limit" = Option<String>, Query, description = "Most products to return: one whole number, bare or in brackets; absent or empty is everything", pattern = r"^(\[[0-9]{0,18}\]|[0-9]{0,18})$", example = "[3]"),
        ("page" = Option<String>, Query, description = "Zero-based: limit 5, page 3 are the results 15 to 19", pattern = r"^(\[[0-9]{0,18}\]|[0-9]{0,18})$", example = "[0]"),
        ("If-None-Match" = Option<String>, Header, description = "An ETag; 304 if it still holds"),
    ),
    responses(
        (status = 200, description = "The products", body = Products, headers(("ETag" = String, description = "Changes with the catalogue, with what the clinic may see, and with the query"))),
        (status = 304, description = "Nothing has changed"),
        (status = 400, description = "A parameter cannot be read; `fields` names it", body = Envelope),
        (status = 401, description = "No good token", body = Envelope, headers(("WWW-Authenticate" = String, description = "Bearer"))),
        (status = 503, description = "No catalogue is loaded: try again", body = Envelope, headers(("Retry-After" = u64, description = "Seconds"))),
    ),
    security(("token" = []), ("client" = []))
)]
pub async fn products(
    request: HttpRequest,
    caller: Caller,
    catalog: web::Data<Catalog>,
    clock: web::Data<Clock>,
    settings: web::Data<ServerSettings>,
) -> Result<HttpResponse, Problem> {
    let limits = QueryLimits {
        query_bytes: settings.max_query_bytes,
        values: settings.max_filter_values,
        value_characters: MAX_FILTER_CHARACTERS,
    };
    let query = ProductQuery::parse(request.query_string().as_bytes(), &limits)?;
    let view = catalog.view(&caller.0, clock.now())?;
    let (mut builder, known) = head(&request, &view, Some(&query));
    if known {
        return Ok(builder.finish());
    }
    builder.content_type("application/json");
    let answer = view.products(&query);
    Ok(if wants_gzip(&request) && answer.product_count() >= WORTH_PACKING {
        builder.insert_header(ContentEncoding::Gzip);
        if answer.is_short() {
            builder.body(answer.packed().fold(BytesMut::new(), |mut body, piece| {
                body.extend_from_slice(&piece);
                body
            }))
        } else {
            builder.body(BodyStream::new(FairBody::new(answer.packed(), 1)))
        }
    } else if answer.is_short() {
        builder.body(answer.written())
    } else {
        let pieces = answer.pieces();
        let length = pieces.content_length();
        builder.body(SizedStream::new(length, FairBody::new(pieces, PIECES_AT_ONCE)))
    })
}

/// Whether the client takes gzip and prefers nothing to it: of what it likes equally, we choose what costs us least. Other
/// codings are left to the middleware.
fn wants_gzip(request: &HttpRequest) -> bool {
    let Some(accepted) = request.get_header::<AcceptEncoding>() else { return false };
    let quality = |coding: Encoding| {
        accepted.iter().find(|item| item.item == Preference::Specific(coding.clone())).map(|item| item.quality)
    };
    let others = [Encoding::identity(), Encoding::brotli(), Encoding::zstd(), Encoding::deflate()];
    quality(Encoding::gzip()).is_some_and(|gzip| {
        gzip > Quality::ZERO && others.into_iter().all(|other| quality(other).is_none_or(|other| other <= gzip))
    })
}

/// What stands above every catalogue answer, and whether the caller has the body already.
fn head(request: &HttpRequest, view: &Arc<ClinicView>, query: Option<&ProductQuery>) -> (HttpResponseBuilder, bool) {
    // Weak, because the compressed and the plain body share it.
    let tag = header::EntityTag::new_weak(view.tag(query));
    let same = |known: &str| known == "*" || known.parse().is_ok_and(|known: header::EntityTag| known.weak_eq(&tag));
    let asked = request.headers().get_all(header::IF_NONE_MATCH).filter_map(|value| value.to_str().ok());
    let known = asked.flat_map(|value| value.split(',')).any(|known| same(known.trim()));
    let mut builder = if known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    builder
        .insert_header((header::CACHE_CONTROL, "private"))
        .insert_header((header::VARY, "Authorization, Accept-Encoding"))
        .insert_header(header::ETag(tag));
    (builder, known)
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        let text = error.to_string();
        match error.parameter() {
            Some(parameter) => Self::field(Kind::BadRequest, parameter.as_str(), text),
            None => Self::new(Kind::BadRequest, text),
        }
    }
}

impl From<CatalogError> for Problem {
    fn from(error: CatalogError) -> Self {
        Self::unavailable(error.to_string())
    }
}

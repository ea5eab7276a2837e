//! `GET /categories` and `GET /products`.

use super::clinic_view::ClinicView;
use super::query::{ProductQuery, QueryError, QueryLimits};
use super::{Catalog, CatalogError};
use crate::auth::http::Caller;
use crate::clock::Clock;
use crate::http::fair_body::fair_body;
use crate::http::problem::{Envelope, Kind, Problem};
use actix_web::body::{BodyStream, SizedStream};
use actix_web::http::header::{self, AcceptEncoding, ContentEncoding, Encoding, Preference, Quality};
use actix_web::{HttpMessage, HttpRequest, HttpResponse, HttpResponseBuilder, web};
use bytes::BytesMut;
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// Limits of the query of `/products`; a larger one is answered with 400.
const LIMITS: QueryLimits = QueryLimits { query_bytes: 65_536, values: 1000, value_characters: 1000 };
/// Minimum number of products for gzip. The Huffman codes in a gzip body outweigh what fewer products save.
const MIN_GZIP_PRODUCTS: u64 = 4;
/// Number of plain chunks that a response writes before other responses continue. They take about as long as one gzip
/// chunk.
const CHUNKS_AT_ONCE: usize = 4;

/// The categories of the products that the clinic sees.
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
    /// 1, or 0 for a withdrawn product. A withdrawn product stays listed for a time, so that the clinic unlinks it knowingly
    #[schema(example = 1, minimum = 0, maximum = 1)]
    active: u8,
    /// The `supplier_code` of purchase order items
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
    /// Without tax, for one unit, or for one outer if the clinic's setting says so
    #[schema(value_type = f64, example = 0.42)]
    list_price: f64,
    /// The clinic's own price, on the same basis as `list_price`. Without an own price: the list price, null, or absent, by
    /// the clinic's setting
    #[schema(value_type = Option<f64>, example = 0.38)]
    contract_price: Option<f64>,
    /// A number if that loses no digit, otherwise a string; an empty string if the product has none
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
    params(("If-None-Match" = Option<String>, Header, description = "An ETag of an earlier answer; 304 if the answer is unchanged")),
    responses(
        (status = 200, description = "The categories", body = Categories, headers(("ETag" = String, description = "Changes with the catalogue and with the rules of the clinic"))),
        (status = 304, description = "The answer is unchanged"),
        (status = 400, description = "The request is invalid", body = Envelope),
        (status = 401, description = "The token is missing or invalid", body = Envelope, headers(("WWW-Authenticate" = String, description = "Bearer"))),
        (status = 503, description = "No catalogue is loaded; try again later", body = Envelope, headers(("Retry-After" = u64, description = "Seconds"))),
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
    let (mut builder, is_unchanged) = start_response(&request, &view, None);
    Ok(if is_unchanged { builder.finish() } else { builder.content_type("application/json").body(view.categories()) })
}

/// List products
///
/// A product must match every given parameter; it matches a parameter if its field contains at least one of the values,
/// ignoring case. Arrays are accepted in every form that common clients write: `name=[a,b]`, `name=["a","b"]`, `name[]=a&name[]=b`,
/// `name[0]=a&name[1]=b`, `name=a&name=b`, `name=a,b`. Without `limit`, all products are
/// returned. Products are in byte order of `code`, which is stable from page to page.
#[utoipa::path(
    get,
    path = "/products",
    tag = "catalogue",
    operation_id = "products",
    params(
        ("name" = Option<Vec<String>>, Query, description = "The name must contain one of these values; empty is no filter", example = json!(["tablet"])),
        ("code" = Option<Vec<String>>, Query, description = "The code must contain one of these values; empty is no filter", example = json!(["00"])),
        ("category" = Option<Vec<String>>, Query, description = "The category must contain one of these values; empty is no filter", example = json!(["TABLET"])),
        ("limit" = Option<String>, Query, description = "Maximum number of products to return: one whole number, bare or in brackets; absent or empty returns all", pattern = r"^(\[[0-9]{0,18}\]|[0-9]{0,18})$", example = "[3]"),
        ("page" = Option<String>, Query, description = "Zero-based page: limit 5 and page 3 return the results 15 to 19", pattern = r"^(\[[0-9]{0,18}\]|[0-9]{0,18})$", example = "[0]"),
        ("If-None-Match" = Option<String>, Header, description = "An ETag of an earlier answer; 304 if the answer is unchanged"),
    ),
    responses(
        (status = 200, description = "The products", body = Products, headers(("ETag" = String, description = "Changes with the catalogue, the rules of the clinic and the query"))),
        (status = 304, description = "The answer is unchanged"),
        (status = 400, description = "A parameter is invalid; `fields` names it", body = Envelope),
        (status = 401, description = "The token is missing or invalid", body = Envelope, headers(("WWW-Authenticate" = String, description = "Bearer"))),
        (status = 503, description = "No catalogue is loaded; try again later", body = Envelope, headers(("Retry-After" = u64, description = "Seconds"))),
    ),
    security(("token" = []), ("client" = []))
)]
pub async fn products(
    request: HttpRequest,
    caller: Caller,
    catalog: web::Data<Catalog>,
    clock: web::Data<Clock>,
) -> Result<HttpResponse, Problem> {
    let query = ProductQuery::parse(request.query_string().as_bytes(), &LIMITS)?;
    let view = catalog.view(&caller.0, clock.now())?;
    let (mut builder, is_unchanged) = start_response(&request, &view, Some(&query));
    if is_unchanged {
        return Ok(builder.finish());
    }
    builder.content_type("application/json");
    let answer = view.products(&query);
    Ok(if prefers_gzip(&request) && answer.count >= MIN_GZIP_PRODUCTS {
        builder.insert_header(ContentEncoding::Gzip);
        if answer.is_short() {
            builder.body(answer.gzip_chunks().fold(BytesMut::new(), |mut body, chunk| {
                body.extend_from_slice(&chunk);
                body
            }))
        } else {
            builder.body(BodyStream::new(fair_body(answer.gzip_chunks(), 1)))
        }
    } else if answer.is_short() {
        builder.body(answer.body())
    } else {
        let (length, chunks) = answer.chunks();
        builder.body(SizedStream::new(length, fair_body(chunks, CHUNKS_AT_ONCE)))
    })
}

/// Returns true if the client accepts gzip and prefers no other coding: of equally preferred codings, gzip costs us least.
/// The middleware handles the other codings.
fn prefers_gzip(request: &HttpRequest) -> bool {
    let Some(accepted) = request.get_header::<AcceptEncoding>() else { return false };
    let quality = |coding: Encoding| {
        accepted.iter().find(|item| item.item == Preference::Specific(coding.clone())).map(|item| item.quality)
    };
    let others = [Encoding::identity(), Encoding::brotli(), Encoding::zstd(), Encoding::deflate()];
    quality(Encoding::gzip()).is_some_and(|gzip| {
        gzip > Quality::ZERO && others.into_iter().all(|other| quality(other).is_none_or(|other| other <= gzip))
    })
}

/// Starts the response of every catalogue answer. Returns true if the client already has the body.
fn start_response(
    request: &HttpRequest,
    view: &Arc<ClinicView>,
    query: Option<&ProductQuery>,
) -> (HttpResponseBuilder, bool) {
    // Weak, because the compressed and the plain body share it.
    let tag = header::EntityTag::new_weak(view.tag(query));
    let matches = |value: &str| value == "*" || value.parse().is_ok_and(|value: header::EntityTag| value.weak_eq(&tag));
    let headers = request.headers().get_all(header::IF_NONE_MATCH).filter_map(|value| value.to_str().ok());
    let is_unchanged = headers.flat_map(|value| value.split(',')).any(|value| matches(value.trim()));
    let mut builder = if is_unchanged { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    builder
        .insert_header((header::CACHE_CONTROL, "private"))
        .insert_header((header::VARY, "Authorization, Accept-Encoding"))
        .insert_header(header::ETag(tag));
    (builder, is_unchanged)
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        let text = error.to_string();
        match error.parameter() {
            Some(parameter) => Self::field(Kind::BadRequest, parameter, text),
            None => Self::new(Kind::BadRequest, text),
        }
    }
}

impl From<CatalogError> for Problem {
    fn from(error: CatalogError) -> Self {
        Self::unavailable(error.to_string())
    }
}

//! `/price-lists` and `/clinics/{id}/prices`: contract prices.

use super::Staff;
use super::body::{Day, Exact, Nothing};
use super::page::{List, PageParams, decode_text, encode_text};
use super::problem::{Kind, Problem};
use super::products::{check_length, field_errors};
use super::query::{NoParams, Read};
use super::write::{Answer, Json, Write};
use crate::catalog::price_lists::{
    self, ContractPrice, MAX_PRICES, PriceChange, PriceList, PriceListsError, PriceOwner, PricesSummary,
};
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::json;
use time::Date;
use utoipa::{IntoParams, ToSchema};
use validator::Validate;

impl From<PriceListsError> for Problem {
    fn from(error: PriceListsError) -> Self {
        match error {
            PriceListsError::NoPriceList(name) => Self::not_found("price list", name),
            PriceListsError::NoPrice(code) => {
                Self::new(Kind::NotFound, format!("There is no such contract price of `{code}`."))
            }
            PriceListsError::InUse { name, clinics } => {
                let text = format!("{clinics} clinics use the price list `{name}`. Give them another one first.");
                Self::new(Kind::Conflict, text)
            }
            PriceListsError::Invalid(fields) => Self::invalid(field_errors(fields)),
            PriceListsError::Store(error) => error.into(),
        }
    }
}

/// A contract price to set.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct PriceInput {
    code: String,
    /// Per outer, without tax. Null removes the price of the period, or without `valid_from` the prices of all periods.
    contract_price: Option<Exact>,
    /// First day. Null: without a first day.
    valid_from: Option<Day>,
    /// Last day. Null: without a last day.
    valid_until: Option<Day>,
}

/// Contract prices to set.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct BulkPrices {
    #[schema(min_items = 1, max_items = 5000)]
    prices: Vec<PriceInput>,
}

/// Names one period of a contract price.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PeriodParams {
    /// Only the period that begins on this day, such as 2027-01-31 [default: all periods]
    #[param(value_type = Option<String>, format = Date)]
    valid_from: Option<Day>,
}

/// List price lists
///
/// By name, with the numbers of their prices and clinics.
#[utoipa::path(get, path = "/price-lists", tag = "price lists", params(PageParams),
    responses((status = 200, description = "The price lists", body = List<PriceList>)))]
pub async fn list_price_lists(read: Read<NoParams, PageParams>) -> Result<HttpResponse, Problem> {
    let data = price_lists::list(&read.staff.pool).await?;
    Ok(HttpResponse::Ok().json(read.page.split(&read.staff.settings, data, |list| list.name.clone())?))
}

/// Show a price list
#[utoipa::path(get, path = "/price-lists/{name}", tag = "price lists", params(("name" = String, Path)),
    responses((status = 200, description = "The price list", body = PriceList)))]
pub async fn show_price_list(read: Read, name: web::Path<String>) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().json(price_lists::find(&read.staff.pool, &name).await?))
}

/// List the prices of a price list
///
/// By code and first day.
#[utoipa::path(get, path = "/price-lists/{name}/prices", tag = "price lists", params(("name" = String, Path), PageParams),
    responses((status = 200, description = "Prices", body = List<ContractPrice>)))]
pub async fn list_list_prices(
    read: Read<NoParams, PageParams>,
    name: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    price_lists::find(&read.staff.pool, &name).await?;
    respond(&read.staff, &read.page, &PriceOwner::List(name.into_inner())).await
}

/// Set prices of a price list
///
/// Inserts and updates up to 5,000 prices, all or none; other prices stay. Creates a price list that does not exist.
#[utoipa::path(put, path = "/price-lists/{name}/prices", tag = "price lists", params(("name" = String, Path)),
    request_body = BulkPrices, responses((status = 200, description = "Numbers of prices", body = PricesSummary)))]
pub async fn set_list_prices(write: Write<Json<BulkPrices>>, name: web::Path<String>) -> Result<HttpResponse, Problem> {
    write
        .run(async |connection, write| {
            let changes = changes(write.content.0)?;
            let owner = PriceOwner::List(name.trim().to_owned());
            let actor = write.caller.actor();
            Answer::ok(&price_lists::set_prices(connection, write.now, &actor, &owner, &changes).await?)
        })
        .await
}

/// Delete the price of a product
#[utoipa::path(delete, path = "/price-lists/{name}/prices/{code}", tag = "price lists",
    params(("name" = String, Path), ("code" = String, Path), PeriodParams),
    responses((status = 200, description = "Numbers of prices", body = PricesSummary)))]
pub async fn delete_list_prices(
    read: Read<PeriodParams>,
    write: Write<Json<Nothing>>,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let (name, code) = path.into_inner();
    let day = read.params.valid_from.map(|Day(day)| day);
    write
        .run(async |connection, write| {
            let (owner, actor) = (PriceOwner::List(name), write.caller.actor());
            Answer::ok(&price_lists::remove_prices(connection, write.now, &actor, &owner, &code, day).await?)
        })
        .await
}

/// Delete a price list
///
/// With all its prices. 409: clinics use it.
#[utoipa::path(delete, path = "/price-lists/{name}", tag = "price lists", params(("name" = String, Path)),
    responses((status = 204, description = "Deleted")))]
pub async fn delete_price_list(write: Write<Json<Nothing>>, name: web::Path<String>) -> Result<HttpResponse, Problem> {
    write
        .run(async |connection, write| {
            price_lists::delete(connection, write.now, &write.caller.actor(), &name).await?;
            Ok(Answer::no_content())
        })
        .await
}

/// List the own prices of a clinic
///
/// By code and first day. They go before those of its price list.
#[utoipa::path(get, path = "/clinics/{id}/prices", tag = "price lists", params(("id" = String, Path), PageParams),
    responses((status = 200, description = "Prices", body = List<ContractPrice>)))]
pub async fn list_clinic_prices(
    read: Read<NoParams, PageParams>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let mut connection = read.staff.pool.acquire().await?;
    let owner = price_lists::find_clinic(&mut connection, &id).await?;
    drop(connection);
    respond(&read.staff, &read.page, &owner).await
}

/// Set own prices of a clinic
///
/// Inserts and updates up to 5,000 prices, all or none; other prices stay.
#[utoipa::path(put, path = "/clinics/{id}/prices", tag = "price lists", params(("id" = String, Path)),
    request_body = BulkPrices, responses((status = 200, description = "Numbers of prices", body = PricesSummary)))]
pub async fn set_clinic_prices(write: Write<Json<BulkPrices>>, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    write
        .run(async |connection, write| {
            let changes = changes(write.content.0)?;
            let owner = price_lists::find_clinic(connection, &id).await?;
            let actor = write.caller.actor();
            Answer::ok(&price_lists::set_prices(connection, write.now, &actor, &owner, &changes).await?)
        })
        .await
}

/// Delete the own price of a clinic for a product
#[utoipa::path(delete, path = "/clinics/{id}/prices/{code}", tag = "price lists",
    params(("id" = String, Path), ("code" = String, Path), PeriodParams),
    responses((status = 200, description = "Numbers of prices", body = PricesSummary)))]
pub async fn delete_clinic_prices(
    read: Read<PeriodParams>,
    write: Write<Json<Nothing>>,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let (id, code) = path.into_inner();
    let day = read.params.valid_from.map(|Day(day)| day);
    write
        .run(async |connection, write| {
            let owner = price_lists::find_clinic(connection, &id).await?;
            let actor = write.caller.actor();
            Answer::ok(&price_lists::remove_prices(connection, write.now, &actor, &owner, &code, day).await?)
        })
        .await
}

fn changes(body: BulkPrices) -> Result<Vec<PriceChange>, Problem> {
    check_length("prices", body.prices.len(), MAX_PRICES)?;
    let change = |input: PriceInput| PriceChange {
        code: input.code,
        contract_price: input.contract_price.map(|Exact(price)| price),
        valid_from: input.valid_from.map(|Day(day)| day),
        valid_until: input.valid_until.map(|Day(day)| day),
    };
    Ok(body.prices.into_iter().map(change).collect())
}

/// Responds with a page of prices. The cursor holds the code and the first day of the last one.
async fn respond(staff: &Staff, page: &PageParams, owner: &PriceOwner) -> Result<HttpResponse, Problem> {
    let limit = page.limit(&staff.settings)?;
    let after: Option<(String, Option<String>)> = page.cursor.as_deref().map(decode_text).transpose()?;
    let after = after.map(|(code, day)| (code, day.and_then(|day| parse_day(&day))));
    let data = price_lists::prices(&staff.pool, owner, after, limit).await?;
    let is_full = i64::try_from(data.len()).unwrap_or(limit) >= limit;
    let position =
        |price: &ContractPrice| encode_text(&json!([price.code, price.valid_from.map(|day| day.to_string())]));
    let next_cursor = data.last().filter(|_| is_full).map(position);
    Ok(HttpResponse::Ok().json(List { data, next_cursor }))
}

fn parse_day(text: &str) -> Option<Date> {
    Date::parse(text, time::macros::format_description!("[year]-[month]-[day]")).ok()
}

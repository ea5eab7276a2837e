//! `/price-lists` and `/clinics/{id}/prices`: contract prices.

use super::Staff;
use super::body::{Day, Exact, Nothing};
use super::page::{List, PageParams};
use super::problem::{Kind, Problem, Result};
use super::products::field_errors;
use super::query::{Id, NoParams, Read};
use super::write::{Answer, Write};
use crate::catalog::price_lists::{
    self, ContractPrice, PriceChange, PriceList, PriceListsError, PriceOwner, PricesSummary,
};
use actix_web::web::Path;
use serde::Deserialize;
use sqlx::PgConnection;
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
pub async fn list_price_lists(read: Read<NoParams, PageParams>) -> Result<Answer> {
    let data = price_lists::list(&read.staff.pool).await?;
    Answer::ok(&read.page.split(data, |list| list.name.clone())?)
}

/// Show a price list
#[utoipa::path(get, path = "/price-lists/{name}", tag = "price lists", params(("name" = String, Path)),
    responses((status = 200, description = "The price list", body = PriceList)))]
pub async fn show_price_list(read: Read, name: Id) -> Result<Answer> {
    Answer::ok(&price_lists::find(&read.staff.pool, &name).await?)
}

/// List the prices of a price list
///
/// By code and first day.
#[utoipa::path(get, path = "/price-lists/{name}/prices", tag = "price lists", params(("name" = String, Path), PageParams),
    responses((status = 200, description = "Prices", body = List<ContractPrice>)))]
pub async fn list_list_prices(read: Read<NoParams, PageParams>, name: Id) -> Result<Answer> {
    price_lists::find(&read.staff.pool, &name).await?;
    page_of(&read.staff, &read.page, &PriceOwner::List(name.into_inner())).await
}

/// Set prices of a price list
///
/// Inserts and updates up to 5,000 prices, all or none; other prices stay. Creates a price list that does not exist.
#[utoipa::path(put, path = "/price-lists/{name}/prices", tag = "price lists", params(("name" = String, Path)),
    request_body = BulkPrices, responses((status = 200, description = "Numbers of prices", body = PricesSummary)))]
pub async fn set_list_prices(connection: &mut PgConnection, write: Write<BulkPrices>, name: Id) -> Result<Answer> {
    set(connection, write, PriceOwner::List(name.trim().to_owned())).await
}

/// Delete the price of a product
#[utoipa::path(delete, path = "/price-lists/{name}/prices/{code}", tag = "price lists",
    params(("name" = String, Path), ("code" = String, Path), PeriodParams),
    request_body = Nothing, responses((status = 200, description = "Numbers of prices", body = PricesSummary)))]
pub async fn delete_list_prices(
    connection: &mut PgConnection,
    write: Write,
    (read, path): (Read<PeriodParams>, Path<(String, String)>),
) -> Result<Answer> {
    let (name, code) = path.into_inner();
    delete(connection, &write, PriceOwner::List(name), &code, read.params.valid_from).await
}

/// Delete a price list
///
/// With all its prices. 409: clinics use it.
#[utoipa::path(delete, path = "/price-lists/{name}", tag = "price lists", params(("name" = String, Path)),
    request_body = Nothing, responses((status = 204, description = "Deleted")))]
pub async fn delete_price_list(connection: &mut PgConnection, write: Write, name: Id) -> Result<Answer> {
    price_lists::delete(connection, write.now, &write.actor, &name).await?;
    Ok(Answer::no_content())
}

/// List the own prices of a clinic
///
/// By code and first day. They go before those of its price list.
#[utoipa::path(get, path = "/clinics/{id}/prices", tag = "price lists", params(("id" = String, Path), PageParams),
    responses((status = 200, description = "Prices", body = List<ContractPrice>)))]
pub async fn list_clinic_prices(read: Read<NoParams, PageParams>, id: Id) -> Result<Answer> {
    let owner = price_lists::find_clinic(&mut *read.staff.pool.begin().await?, &id).await?;
    page_of(&read.staff, &read.page, &owner).await
}

/// Set own prices of a clinic
///
/// Inserts and updates up to 5,000 prices, all or none; other prices stay.
#[utoipa::path(put, path = "/clinics/{id}/prices", tag = "price lists", params(("id" = String, Path)),
    request_body = BulkPrices, responses((status = 200, description = "Numbers of prices", body = PricesSummary)))]
pub async fn set_clinic_prices(connection: &mut PgConnection, write: Write<BulkPrices>, id: Id) -> Result<Answer> {
    let owner = price_lists::find_clinic(connection, &id).await?;
    set(connection, write, owner).await
}

/// Delete the own price of a clinic for a product
#[utoipa::path(delete, path = "/clinics/{id}/prices/{code}", tag = "price lists",
    params(("id" = String, Path), ("code" = String, Path), PeriodParams),
    request_body = Nothing, responses((status = 200, description = "Numbers of prices", body = PricesSummary)))]
pub async fn delete_clinic_prices(
    connection: &mut PgConnection,
    write: Write,
    (read, path): (Read<PeriodParams>, Path<(String, String)>),
) -> Result<Answer> {
    let (id, code) = path.into_inner();
    let owner = price_lists::find_clinic(connection, &id).await?;
    delete(connection, &write, owner, &code, read.params.valid_from).await
}

async fn delete(
    connection: &mut PgConnection,
    write: &Write,
    owner: PriceOwner,
    code: &str,
    day: Option<Day>,
) -> Result<Answer> {
    let day = day.map(|Day(day)| day);
    Answer::ok(&price_lists::remove_prices(connection, write.now, &write.actor, &owner, code, day).await?)
}

async fn set(connection: &mut PgConnection, write: Write<BulkPrices>, owner: PriceOwner) -> Result<Answer> {
    let change = |input: PriceInput| PriceChange {
        code: input.code,
        contract_price: input.contract_price.map(|Exact(price)| price),
        valid_from: input.valid_from.map(|Day(day)| day),
        valid_until: input.valid_until.map(|Day(day)| day),
    };
    let changes: Vec<_> = write.content.prices.into_iter().map(change).collect();
    Answer::ok(&price_lists::set_prices(connection, write.now, &write.actor, &owner, &changes).await?)
}

/// Answers with a page of prices. The cursor holds the code and the first day of the last one.
async fn page_of(staff: &Staff, page: &PageParams, owner: &PriceOwner) -> Result<Answer> {
    let after: Option<(String, Option<Day>)> = page.after()?;
    let after = after.map(|(code, day)| (code, day.map(|Day(day)| day)));
    let data = price_lists::prices(&staff.pool, owner, after, page.limit).await?;
    page.answer(data, |price| (price.code.clone(), price.valid_from.map(Day)))
}

//! `/products`: the catalogue, product by product.

use super::body::{Exact, Nothing};
use super::page::{List, PageParams};
use super::patch::present;
use super::problem::{FieldError, Kind, Problem, Result};
use super::query::{Id, Read};
use super::write::{Answer, IfMatch, Write, version_of};
use crate::catalog::import::InvalidField;
use crate::catalog::products::{
    self, ProductChange, ProductFilter, ProductRow, ProductsError, StockChange, StockLevel, UpsertSummary,
};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::ToSchema;
use validator::Validate;

impl From<ProductsError> for Problem {
    fn from(error: ProductsError) -> Self {
        match error {
            ProductsError::NotFound(code) => Self::not_found("product", code),
            ProductsError::State { code, state } => {
                Self::new(Kind::Conflict, format!("The product `{code}` is {state} already."))
            }
            ProductsError::Invalid(fields) => Self::invalid(field_errors(fields)),
            ProductsError::Store(error) => error.into(),
        }
    }
}

/// Converts the invalid fields of a use case.
pub(super) fn field_errors(fields: Vec<InvalidField>) -> Vec<FieldError> {
    fields.into_iter().map(|invalid| FieldError::new(invalid.field, invalid.message)).collect()
}

/// A product to set. Fields that are left out keep their values.
#[derive(Debug, Default, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct ProductInput {
    /// Needed in `POST /products/bulk`; otherwise the path names the product.
    #[schema(max_length = 100, example = "BND-10")]
    code: Option<String>,
    /// A new product needs it, as it needs `type` and `category`.
    #[schema(max_length = 1000)]
    name: Option<String>,
    #[serde(rename = "type")]
    #[schema(max_length = 1000, example = "medication")]
    product_type: Option<String>,
    #[schema(max_length = 1000, example = "consumable")]
    category: Option<String>,
    /// Units in the pack that is sold. Null: unknown; such a product cannot have a price.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Exact>)]
    units_per_outer: Option<Option<Exact>>,
    #[schema(max_length = 1000, example = "box")]
    unit_of_measure: Option<String>,
    /// Per outer, without tax. Null: not for sale.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Exact>)]
    list_price: Option<Option<Exact>>,
    barcode: Option<String>,
    /// On hand, in units. `POST /products/stock` adds to it without losing concurrent shipments.
    stock_available: Option<Exact>,
    /// False withdraws the product, true lists it again.
    active: Option<bool>,
    related_urls: Option<Vec<String>>,
    manufacturer: Option<String>,
    tax_code: Option<String>,
    /// In percent. Null: none.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Exact>)]
    tax_rate: Option<Option<Exact>>,
    /// Shown only to clinics with the licence for restricted products.
    restricted: Option<bool>,
}

impl ProductInput {
    fn change(self, code: String) -> ProductChange {
        let number = |value: Option<Option<Exact>>| value.map(|value| value.map(|Exact(value)| value));
        ProductChange {
            code,
            name: self.name,
            product_type: self.product_type,
            category: self.category,
            units_per_outer: number(self.units_per_outer),
            unit_of_measure: self.unit_of_measure,
            list_price: number(self.list_price),
            barcode: self.barcode,
            stock_available: self.stock_available.map(|Exact(value)| value),
            active: self.active,
            related_urls: self.related_urls,
            manufacturer: self.manufacturer,
            tax_code: self.tax_code,
            tax_rate: number(self.tax_rate),
            restricted: self.restricted,
        }
    }
}

/// Products to insert or update.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct BulkProducts {
    #[schema(min_items = 1, max_items = 5000)]
    products: Vec<ProductInput>,
}

/// New stock of a product. Give one of `stock_available` and `change`.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct StockInput {
    code: String,
    /// The stock on hand, in units.
    stock_available: Option<Exact>,
    /// Units to add to the stock on hand; negative to take away.
    #[schema(example = "-3")]
    change: Option<Exact>,
}

/// New stock of several products.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct BulkStock {
    #[schema(min_items = 1, max_items = 5000)]
    stock: Vec<StockInput>,
}

/// The new stock.
#[derive(Debug, Serialize, ToSchema)]
pub struct StockLevels {
    data: Vec<StockLevel>,
}

/// Returns the version of a product for `ETag`. Stock is not part of it: shipments change it at any time.
fn version(product: &ProductRow) -> String {
    let mut value = serde_json::json!(product);
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|name, _| !name.starts_with("stock_"));
    }
    version_of(&value)
}

/// List products
///
/// The product that was added last comes first.
#[utoipa::path(get, path = "/products", tag = "products", params(ProductFilter, PageParams),
    responses((status = 200, description = "Products", body = List<ProductRow>)))]
pub async fn list_products(read: Read<ProductFilter, PageParams>) -> Result<Answer> {
    if read.params.state.as_deref().is_some_and(|state| !["active", "withdrawn", "not_for_sale"].contains(&state)) {
        return Err(Problem::field(Kind::BadRequest, "state", "must be active, withdrawn or not_for_sale"));
    }
    let data = products::list(&read.staff.pool, &read.params, read.page.before()?).await?;
    read.page.answer(data, |product| product.id.0)
}

/// Show a product
#[utoipa::path(get, path = "/products/{code}", tag = "products", params(("code" = String, Path)),
    responses((status = 200, description = "The product; `ETag` is its version", body = ProductRow)))]
pub async fn show_product(read: Read, code: Id) -> Result<Answer> {
    let product = products::find(&mut *read.staff.pool.begin().await?, &code).await?;
    Answer::versioned(&product, &version(&product))
}

/// Insert or update a product
///
/// Fields that are left out keep their values; a new product needs `name`, `type` and `category`. With `If-Match`, the
/// product is changed only if it still has this version. Running servers load the catalogue anew after a change: use
/// `POST /products/bulk` for many products.
#[utoipa::path(put, path = "/products/{code}", tag = "products", params(("code" = String, Path),
    IfMatch),
    request_body = ProductInput, responses(
        (status = 200, description = "The product; `ETag` is its version", body = ProductRow),
        (status = 201, description = "The new product", body = ProductRow)))]
pub async fn put_product(connection: &mut PgConnection, write: Write<ProductInput>, code: Id) -> Result<Answer> {
    if write.content.code.as_ref().is_some_and(|given| *given != *code) {
        return Err(Problem::field(Kind::Invalid, "code", "differs from the code in the path"));
    }
    products::lock(connection).await?;
    match products::find(connection, &code).await {
        Ok(present) => write.check_version(&version(&present))?,
        // A product that does not exist has no version.
        Err(ProductsError::NotFound(_)) => write.check_version("")?,
        Err(error) => return Err(error.into()),
    }
    let change = write.content.change(code.clone());
    let done = products::upsert(connection, write.now, &write.actor, "", &[change]).await?;
    let product = products::find(connection, code.trim()).await?;
    let answer = match done.new {
        0 => Answer::ok(&product)?,
        _ => Answer::created(&format!("/products/{}", product.code), &product)?,
    };
    Ok(answer.with_version(&version(&product)))
}

/// Insert or update many products
///
/// Up to 5,000 products, all or none: 422 names every invalid field, such as `products[3].list_price`. Fields that are left
/// out keep their values. The limit of withdrawals of an import does not apply.
#[utoipa::path(post, path = "/products/bulk", tag = "products", request_body = BulkProducts,
    responses((status = 200, description = "Numbers of products", body = UpsertSummary)))]
pub async fn upsert_products(connection: &mut PgConnection, write: Write<BulkProducts>) -> Result<Answer> {
    let change = |mut input: ProductInput| {
        let code = input.code.take().unwrap_or_default();
        input.change(code)
    };
    let changes: Vec<_> = write.content.products.into_iter().map(change).collect();
    Answer::ok(&products::upsert(connection, write.now, &write.actor, "products", &changes).await?)
}

/// Change the stock of products
///
/// Sets the stock on hand, or adds to it, for up to 5,000 products, all or none. Additions happen in the database, so
/// shipments and other requests at the same time are counted too. A change that exceeds the stock on hand is refused.
#[utoipa::path(post, path = "/products/stock", tag = "products", request_body = BulkStock,
    responses((status = 200, description = "The new stock, by code", body = StockLevels)))]
pub async fn change_stock(connection: &mut PgConnection, write: Write<BulkStock>) -> Result<Answer> {
    let number = |value: Option<Exact>| value.map(|Exact(value)| value);
    let change = |input: StockInput| StockChange {
        code: input.code,
        stock_available: number(input.stock_available),
        change: number(input.change),
    };
    let changes: Vec<_> = write.content.stock.into_iter().map(change).collect();
    let data = products::set_stock(connection, write.now, &write.actor, &changes).await?;
    Answer::ok(&StockLevels { data })
}

/// Withdraw a product
///
/// Clinics see the product as inactive for some time, then no longer. 409: it is withdrawn already.
#[utoipa::path(post, path = "/products/{code}/withdraw", tag = "products", params(("code" = String, Path)),
    request_body = Nothing, responses((status = 200, description = "The product", body = ProductRow)))]
pub async fn withdraw_product(connection: &mut PgConnection, write: Write, code: Id) -> Result<Answer> {
    let product = products::set_active(connection, write.now, &write.actor, &code, false).await?;
    Answer::versioned(&product, &version(&product))
}

/// List a withdrawn product again
///
/// 409: it is not withdrawn.
#[utoipa::path(post, path = "/products/{code}/relist", tag = "products", params(("code" = String, Path)),
    request_body = Nothing, responses((status = 200, description = "The product", body = ProductRow)))]
pub async fn relist_product(connection: &mut PgConnection, write: Write, code: Id) -> Result<Answer> {
    let product = products::set_active(connection, write.now, &write.actor, &code, true).await?;
    Answer::versioned(&product, &version(&product))
}

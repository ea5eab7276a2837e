//! Baseline: `GET /products` as textbooks teach it: actix-web, sqlx, serde_json, the default `Compress`.
//!
//! In its favour: trigram indexes, custom plans, the clinics in memory, one statement for an answer, and a page that is cut
//! before prices are joined. It has no keyset pages (the protocol has page numbers), caches no answers, and does not stream.

use crate::listen;
use actix_web::http::header;
use actix_web::middleware::Compress;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, ResponseError, web};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use rust_decimal::prelude::ToPrimitive;
use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Serialize};
use spsi_partner::secret::KeyRing;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, FromRow, PgPool};
use std::collections::HashMap;
use std::sync::Arc;
use url::form_urlencoded;

pub const SELECT: &str = include_str!("../stacks/products.sql");
const CONNECTIONS: u32 = 16;

/// A clinic's visibility and prices.
#[derive(Clone, Debug, FromRow)]
pub struct Clinic {
    pub id: i64,
    pub client_id: String,
    pub price_list_id: Option<i64>,
    pub hidden_categories: Vec<String>,
    pub hidden_products: Vec<String>,
    pub only_categories: Vec<String>,
    pub only_products: Vec<String>,
    pub restricted_licence: bool,
}

pub async fn clinics(pool: &PgPool) -> sqlx::Result<HashMap<String, Clinic>> {
    let clinics: Vec<Clinic> = sqlx::query_as(
        "select id, client_id, price_list_id, hidden_categories, hidden_products, only_categories, only_products,
            restricted_licence from clinic where state = 'active'",
    )
    .fetch_all(pool)
    .await?;
    Ok(clinics.into_iter().map(|clinic| (clinic.client_id.clone(), clinic)).collect())
}

/// Returns the connection options of the baselines: generic plans would make `like any` many times slower.
pub fn connect_options(url: &str) -> sqlx::Result<PgConnectOptions> {
    Ok(url.parse::<PgConnectOptions>()?.options([("plan_cache_mode", "force_custom_plan")]))
}

struct State {
    pool: PgPool,
    clinics: HashMap<String, Clinic>,
    key: DecodingKey,
    validation: Validation,
}

pub async fn serve() -> anyhow::Result<()> {
    let pool = PgPoolOptions::new().max_connections(CONNECTIONS);
    let pool = pool.connect_with(connect_options(&std::env::var("DATABASE_URL")?)?).await?;
    let keys: KeyRing = std::env::var("SPSI_TOKEN_KEYS")?.parse().map_err(|_| anyhow::anyhow!("SPSI_TOKEN_KEYS"))?;
    let state = Arc::new(State {
        clinics: clinics(&pool).await?,
        key: DecodingKey::from_secret(keys.active().1),
        validation: Validation::new(Algorithm::HS256),
        pool,
    });
    let (listener, threads) = listen()?;
    let app = move || {
        let state = web::Data::from(Arc::clone(&state));
        App::new().app_data(state).wrap(Compress::default()).route("/products", web::get().to(products))
    };
    Ok(HttpServer::new(app).workers(threads).listen(listener)?.run().await?)
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("no valid token")]
    Token,
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
}

impl ResponseError for Failure {
    fn error_response(&self) -> HttpResponse {
        match self {
            Self::Token => HttpResponse::Unauthorized().body(self.to_string()),
            Self::Database(_) => HttpResponse::InternalServerError().body(self.to_string()),
        }
    }
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
}

/// The query parameters that this baseline understands.
#[derive(Clone, Debug, Default)]
pub struct Filters {
    names: Vec<String>,
    codes: Vec<String>,
    limit: Option<i64>,
    page: i64,
}

impl Filters {
    pub fn parse(query: &str) -> Self {
        let mut filters = Self::default();
        let like = |text: &str| {
            format!("%{}%", text.to_lowercase().replace('\\', r"\\").replace('%', r"\%").replace('_', r"\_"))
        };
        // `1000`, or `[1000]` as ezyVet writes it.
        let number = |text: &str| text.trim_start_matches('[').trim_end_matches(']').parse().ok();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*key {
                "name" | "name[]" => filters.names.push(like(&value)),
                "code" | "code[]" => filters.codes.push(like(&value)),
                "limit" => filters.limit = number(&value),
                "page" => filters.page = number(&value).unwrap_or(0),
                _ => {}
            }
        }
        filters
    }

    /// Returns the statement, and the values of its parameters from $8 on.
    pub fn statement(&self) -> (String, Vec<&[String]>) {
        let (mut conditions, mut lists) = (String::new(), Vec::new());
        for (column, values) in [("name", &self.names), ("code", &self.codes)] {
            if !values.is_empty() {
                lists.push(values.as_slice());
                conditions += &format!(" and lower(p.{column}) like any (${})", 7 + lists.len());
            }
        }
        let page = self.limit.map_or(String::new(), |limit| format!("limit {limit} offset {}", limit * self.page));
        (SELECT.replace("/* conditions */", &conditions).replace("/* page */", &page), lists)
    }
}

async fn products(request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, Failure> {
    let token =
        request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let claims = jsonwebtoken::decode::<Claims>(token.ok_or(Failure::Token)?, &state.key, &state.validation);
    let clinic = state.clinics.get(&claims.map_err(|_| Failure::Token)?.claims.sub).ok_or(Failure::Token)?;
    let filters = Filters::parse(request.query_string());
    let (sql, lists) = filters.statement();
    let mut query = sqlx::query_as(AssertSqlSafe(sql))
        .bind(clinic.id)
        .bind(clinic.price_list_id)
        .bind(&clinic.hidden_categories)
        .bind(&clinic.hidden_products)
        .bind(&clinic.only_categories)
        .bind(&clinic.only_products)
        .bind(clinic.restricted_licence);
    for list in lists {
        query = query.bind(list);
    }
    let rows: Vec<Row> = query.fetch_all(&state.pool).await?;
    let products = rows.into_iter().map(Product::from).collect();
    Ok(HttpResponse::Ok().json(Products { products }))
}

#[derive(FromRow)]
struct Row {
    code: String,
    name: String,
    r#type: String,
    category: String,
    units_per_outer: Decimal,
    unit_of_measure: String,
    list_price: Decimal,
    contract_price: Option<Decimal>,
    barcode: String,
    stock_available: Decimal,
    active: bool,
    related_urls: Vec<String>,
}

#[derive(Serialize)]
struct Products {
    products: Vec<Product>,
}

#[derive(Serialize)]
struct Product {
    active: u8,
    code: String,
    name: String,
    r#type: String,
    category: String,
    units_per_outer: String,
    unit_of_measure: String,
    price_per_unit: String,
    list_price: f64,
    contract_price: f64,
    barcode: Barcode,
    stock_available: f64,
    related_urls: Vec<String>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Barcode {
    Number(u64),
    Text(String),
}

impl From<Row> for Product {
    fn from(row: Row) -> Self {
        let per_unit = |price: Decimal| {
            (price / row.units_per_outer).round_dp_with_strategy(6, RoundingStrategy::MidpointAwayFromZero).normalize()
        };
        let list_price = per_unit(row.list_price);
        let float = |value: Decimal| value.to_f64().unwrap_or(f64::NAN);
        let barcode = match row.barcode.parse() {
            Ok(number) if number < 1 << 53 && !row.barcode.starts_with(['0', '+']) => Barcode::Number(number),
            _ => Barcode::Text(row.barcode),
        };
        Self {
            active: row.active.into(),
            units_per_outer: row.units_per_outer.normalize().to_string(),
            price_per_unit: list_price.to_string(),
            list_price: float(list_price),
            contract_price: float(row.contract_price.map_or(list_price, per_unit)),
            barcode,
            stock_available: float(row.stock_available),
            code: row.code,
            name: row.name,
            r#type: row.r#type,
            category: row.category,
            unit_of_measure: row.unit_of_measure,
            related_urls: row.related_urls,
        }
    }
}

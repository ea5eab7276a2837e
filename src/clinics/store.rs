//! SQL of `clinic`.

use super::Clinic;
use crate::config::Overrides;
use crate::ids::{ClinicId, SiteId};
use rust_decimal::Decimal;
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;

/// The columns of a clinic that staff can change.
#[derive(Debug)]
pub struct ClinicRow {
    pub id: ClinicId,
    pub name: String,
    pub site_id: Option<SiteId>,
    pub price_list_id: Option<i64>,
    pub hidden_categories: Vec<String>,
    pub hidden_products: Vec<String>,
    pub only_categories: Vec<String>,
    pub only_products: Vec<String>,
    pub restricted_licence: bool,
    pub on_hold: bool,
    pub tax_code: String,
    pub tax_rate: Option<Decimal>,
    pub tax_overrides_product: bool,
    pub settings: Json<Overrides>,
}

/// The columns of a clinic that identify and serve a request.
pub struct CachedClinicRow {
    pub id: ClinicId,
    pub name: String,
    pub client_id: String,
    pub secret_hash: String,
    pub previous_secret_hash: Option<String>,
    pub previous_secret_until: Option<OffsetDateTime>,
    pub token_generation: i64,
    pub active: bool,
    pub price_list_id: Option<i64>,
    pub hidden_categories: Vec<String>,
    pub hidden_products: Vec<String>,
    pub only_categories: Vec<String>,
    pub only_products: Vec<String>,
    pub restricted_licence: bool,
    pub on_hold: bool,
    pub settings: Json<Overrides>,
}

pub async fn insert(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    name: &str,
    site: Option<SiteId>,
    client_id: &str,
    secret_hash: &str,
) -> Result<ClinicId, sqlx::Error> {
    sqlx::query_scalar!(
        r#"insert into clinic (name, site_id, client_id, secret_hash, created_at) values ($1, $2, $3, $4, $5) returning id as "id: ClinicId""#,
        name,
        site as Option<SiteId>,
        client_id,
        secret_hash,
        now
    )
    .fetch_one(connection)
    .await
}

pub async fn list(pool: &PgPool) -> Result<Vec<Clinic>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select c.id as "id: ClinicId", c.name, c.client_id, c.state, s.name as "site?", l.name as "price_list?", c.hidden_categories,
                  c.hidden_products, c.only_categories, c.only_products, c.restricted_licence, c.on_hold, c.tax_code,
                  c.tax_rate, c.tax_overrides_product, c.previous_secret_until, c.settings as "settings: Json<Overrides>", c.created_at
           from clinic c left join site s on s.id = c.site_id left join price_list l on l.id = c.price_list_id
           order by c.id"#
    )
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Clinic {
            id: row.id,
            name: row.name,
            client_id: row.client_id,
            state: row.state,
            site: row.site,
            price_list: row.price_list,
            hidden_categories: row.hidden_categories,
            hidden_products: row.hidden_products,
            only_categories: row.only_categories,
            only_products: row.only_products,
            restricted_licence: row.restricted_licence,
            on_hold: row.on_hold,
            tax_code: row.tax_code,
            tax_rate: row.tax_rate,
            tax_overrides_product: row.tax_overrides_product,
            previous_secret_until: row.previous_secret_until,
            settings: row.settings.0,
            created_at: row.created_at,
        })
        .collect())
}

pub async fn lock(connection: &mut PgConnection, id: ClinicId) -> Result<ClinicRow, sqlx::Error> {
    sqlx::query_as!(
        ClinicRow,
        r#"select id as "id: ClinicId", name, site_id as "site_id: SiteId", price_list_id, hidden_categories, hidden_products, only_categories,
                  only_products, restricted_licence, on_hold, tax_code, tax_rate, tax_overrides_product,
                  settings as "settings: Json<Overrides>"
           from clinic where id = $1 for update"#,
        id as ClinicId
    )
    .fetch_one(connection)
    .await
}

pub async fn update(connection: &mut PgConnection, row: &ClinicRow) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update clinic set name = $2, site_id = $3, price_list_id = $4, hidden_categories = $5, hidden_products = $6,
                only_categories = $7, only_products = $8, restricted_licence = $9, on_hold = $10, settings = $11, tax_code = $12,
                tax_rate = $13, tax_overrides_product = $14
         where id = $1",
        row.id as ClinicId,
        row.name,
        row.site_id as Option<SiteId>,
        row.price_list_id,
        &row.hidden_categories,
        &row.hidden_products,
        &row.only_categories,
        &row.only_products,
        row.restricted_licence,
        row.on_hold,
        &row.settings as &Json<Overrides>,
        row.tax_code,
        row.tax_rate,
        row.tax_overrides_product
    )
    .execute(connection)
    .await?;
    Ok(())
}

pub async fn set_state(connection: &mut PgConnection, id: ClinicId, state: &str) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update clinic set state = $2, token_generation = token_generation + 1 where id = $1",
        id as ClinicId,
        state
    )
    .execute(connection)
    .await?;
    Ok(())
}

pub async fn replace_secret(
    connection: &mut PgConnection,
    id: ClinicId,
    hash: &str,
    previous_until: Option<OffsetDateTime>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update clinic set previous_secret_hash = case when $3::timestamptz is null then null else secret_hash end,
                previous_secret_until = $3, secret_hash = $2, token_generation = token_generation + 1
         where id = $1",
        id as ClinicId,
        hash,
        previous_until
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Returns id and name of a site, by id or name.
pub async fn find_site(connection: &mut PgConnection, which: &str) -> Result<Option<(SiteId, String)>, sqlx::Error> {
    let row = sqlx::query!(
        r#"select id as "id: SiteId", name from site where name = $1 or id::text = $1 order by name = $1 desc limit 1"#,
        which
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| (row.id, row.name)))
}

/// Returns the id of a price list by name. Inserts an empty one if none has the name.
pub async fn find_or_insert_price_list(connection: &mut PgConnection, name: &str) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        "insert into price_list (name) values ($1) on conflict on constraint price_list_name_key do update set name = excluded.name returning id",
        name
    )
    .fetch_one(connection)
    .await
}

/// Returns every clinic for [`super::cache`], and the version of the clinics, from one snapshot.
pub async fn load_clinic_cache(pool: &PgPool) -> Result<(i64, Vec<CachedClinicRow>), sqlx::Error> {
    let mut transaction = pool.begin_with("begin isolation level repeatable read read only").await?;
    let version = sqlx::query_scalar!("select value from data_version where name = 'clinics'")
        .fetch_one(&mut *transaction)
        .await?;
    let rows = sqlx::query_as!(
        CachedClinicRow,
        r#"select id as "id: ClinicId", name, client_id, secret_hash, previous_secret_hash, previous_secret_until, token_generation,
                  state = 'active' as "active!", price_list_id, hidden_categories, hidden_products, only_categories, only_products,
                  restricted_licence, on_hold, settings as "settings: Json<Overrides>"
           from clinic"#
    )
    .fetch_all(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok((version, rows))
}

/// Returns the version of the clinics.
pub async fn clinics_version(pool: &PgPool) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!("select value from data_version where name = 'clinics'").fetch_one(pool).await
}

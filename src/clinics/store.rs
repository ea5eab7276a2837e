//! SQL of `clinic`.

use super::{Clinic, ClinicState, Filter};
use crate::config::Overrides;
use crate::db::{Page, Pool};
use crate::ids::{ClinicId, SiteId};
use rust_decimal::Decimal;
use sqlx::types::Json;
use sqlx::{PgConnection, PgExecutor};
use time::OffsetDateTime;

/// The row of a clinic. No `Debug`: it holds the hashes of its secrets.
pub struct ClinicRow {
    pub id: ClinicId,
    pub name: String,
    pub client_id: String,
    pub secret_hash: String,
    pub previous_secret_hash: Option<String>,
    pub previous_secret_until: Option<OffsetDateTime>,
    pub token_generation: i64,
    pub is_active: bool,
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

/// Returns clinics, newest first. `which`: only those with this id, or with this text as client id or name.
pub async fn list(
    executor: impl PgExecutor<'_>,
    which: Option<(Option<i64>, &str)>,
    filter: &Filter,
    page: Page,
) -> Result<Vec<Clinic>, sqlx::Error> {
    sqlx::query_as!(
        Clinic,
        r#"select c.id as "id: ClinicId", c.name, c.client_id, c.state, s.name as "site?", l.name as "price_list?", c.hidden_categories,
                  c.hidden_products, c.only_categories, c.only_products, c.restricted_licence, c.on_hold, c.tax_code,
                  c.tax_rate, c.tax_overrides_product, c.previous_secret_until, c.settings as "settings: Json<Overrides>", c.created_at,
                  c.xmin::text as "version!"
           from clinic c left join site s on s.id = c.site_id left join price_list l on l.id = c.price_list_id
           where ($1::text is null or c.id = $2 or c.client_id = $1 or c.name = $1)
             and ($3::text is null or c.state = $3)
             and ($4::text is null or s.name = $4 or s.id::text = $4)
             and ($5::bigint is null or c.id < $5)
           order by c.id desc limit $6"#,
        which.map(|(_, text)| text),
        which.and_then(|(id, _)| id),
        filter.state.map(ClinicState::as_str),
        filter.site.as_deref(),
        page.before,
        page.limit
    )
    .fetch_all(executor)
    .await
}

/// Locks a clinic until the transaction ends. Returns its version: the transaction that wrote the row last.
pub async fn lock(connection: &mut PgConnection, id: ClinicId) -> Result<String, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select xmin::text as "version!" from clinic where id = $1 for no key update"#,
        id as ClinicId
    )
    .fetch_one(connection)
    .await
}

pub async fn find(connection: &mut PgConnection, id: ClinicId) -> Result<ClinicRow, sqlx::Error> {
    rows(connection, Some(id)).await?.pop().ok_or(sqlx::Error::RowNotFound)
}

/// Returns the row of one clinic or of all.
async fn rows(connection: &mut PgConnection, id: Option<ClinicId>) -> Result<Vec<ClinicRow>, sqlx::Error> {
    sqlx::query_as!(
        ClinicRow,
        r#"select id as "id: ClinicId", name, client_id, secret_hash, previous_secret_hash, previous_secret_until, token_generation,
                  state = 'active' as "is_active!", site_id as "site_id: SiteId", price_list_id, hidden_categories, hidden_products,
                  only_categories, only_products, restricted_licence, on_hold, tax_code, tax_rate, tax_overrides_product,
                  settings as "settings: Json<Overrides>"
           from clinic where $1::bigint is null or id = $1"#,
        id as Option<ClinicId>
    )
    .fetch_all(connection)
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

pub async fn set_state(connection: &mut PgConnection, id: ClinicId, state: ClinicState) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update clinic set state = $2, token_generation = token_generation + 1 where id = $1",
        id as ClinicId,
        state.as_str()
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
    if which.contains('\0') {
        return Ok(None);
    }
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
pub async fn load_clinic_cache(pool: &Pool) -> Result<(i64, Vec<ClinicRow>), sqlx::Error> {
    let mut transaction = pool.begin_snapshot().await?;
    let version = sqlx::query_scalar!("select value from data_version where name = 'clinics'")
        .fetch_one(&mut *transaction)
        .await?;
    let rows = rows(&mut transaction, None).await?;
    transaction.commit().await?;
    Ok((version, rows))
}

/// Returns the version of the clinics.
pub async fn clinics_version(pool: &Pool) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!("select value from data_version where name = 'clinics'").fetch_one(pool).await
}

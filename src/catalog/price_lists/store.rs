//! SQL of price lists and contract prices.

use super::{PricesSummary, serialize_day};
use crate::db::Pool;
use crate::ids::ClinicId;
use rust_decimal::Decimal;
use serde::Serialize;
use sqlx::PgConnection;
use time::Date;
use utoipa::ToSchema;

/// A price list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct PriceList {
    pub id: i64,
    pub name: String,
    /// Number of prices, of all periods.
    pub prices: i64,
    /// Number of clinics that use the list.
    pub clinics: i64,
}

/// A contract price of a period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ContractPrice {
    pub code: String,
    pub name: String,
    /// Per outer, without tax.
    #[serde(with = "crate::values::text")]
    #[schema(value_type = String)]
    pub contract_price: Decimal,
    /// First day. Null: without a first day.
    #[serde(serialize_with = "serialize_day")]
    #[schema(value_type = Option<String>, format = Date)]
    pub valid_from: Option<Date>,
    /// Last day. Null: without a last day.
    #[serde(serialize_with = "serialize_day")]
    #[schema(value_type = Option<String>, format = Date)]
    pub valid_until: Option<Date>,
}

/// Finds one price list or all, by name.
pub(super) async fn find(pool: &Pool, name: Option<&str>) -> Result<Vec<PriceList>, sqlx::Error> {
    sqlx::query_as!(
        PriceList,
        r#"select id, name, (select count(*) from price_list_price p where p.price_list_id = l.id) as "prices!",
                  (select count(*) from clinic c where c.price_list_id = l.id) as "clinics!"
           from price_list l where $1::text is null or name = $1 order by name collate "C""#,
        name
    )
    .fetch_all(pool)
    .await
}

pub(super) async fn find_list(connection: &mut PgConnection, name: &str) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar!("select id from price_list where name = $1", name).fetch_optional(connection).await
}

pub(super) async fn list_prices(
    pool: &Pool,
    name: &str,
    code: &str,
    day: Option<Date>,
    limit: i64,
) -> Result<Vec<ContractPrice>, sqlx::Error> {
    sqlx::query_as!(
        ContractPrice,
        r#"select p.code, p.name, x.contract_price, nullif(x.valid_from, '-infinity') as valid_from,
                  nullif(x.valid_until, 'infinity') as valid_until
           from price_list l join price_list_price x on x.price_list_id = l.id join product p on p.id = x.product_id
           where l.name = $1 and (p.code collate "C", x.valid_from) > ($2, coalesce($3::date, '-infinity'))
           order by p.code collate "C", x.valid_from limit $4"#,
        name,
        code,
        day,
        limit
    )
    .fetch_all(pool)
    .await
}

pub(super) async fn clinic_prices(
    pool: &Pool,
    clinic: ClinicId,
    code: &str,
    day: Option<Date>,
    limit: i64,
) -> Result<Vec<ContractPrice>, sqlx::Error> {
    sqlx::query_as!(
        ContractPrice,
        r#"select p.code, p.name, x.contract_price, nullif(x.valid_from, '-infinity') as valid_from,
                  nullif(x.valid_until, 'infinity') as valid_until
           from clinic_price x join product p on p.id = x.product_id
           where x.clinic_id = $1 and (p.code collate "C", x.valid_from) > ($2, coalesce($3::date, '-infinity'))
           order by p.code collate "C", x.valid_from limit $4"#,
        clinic as ClinicId,
        code,
        day,
        limit
    )
    .fetch_all(pool)
    .await
}

/// Counts the prices that the staged prices would insert, change, or leave.
pub(super) async fn compare(connection: &mut PgConnection) -> Result<PricesSummary, sqlx::Error> {
    let row = sqlx::query!(
        r#"select
               count(*) filter (where old_price is null) as "new!",
               count(*) filter (where old_price is not null and differs) as "changed!",
               count(*) filter (where old_price is not null and not differs) as "unchanged!"
           from (
               select
                   coalesce(c.contract_price, l.contract_price) as old_price,
                   (s.contract_price, coalesce(s.valid_until, 'infinity'))
                       is distinct from (coalesce(c.contract_price, l.contract_price),
                                         coalesce(c.valid_until, l.valid_until)) as differs
               from staged_price s
               left join clinic_price c on c.clinic_id = s.clinic_id and c.product_id = s.product_id
                   and c.valid_from = coalesce(s.valid_from, '-infinity')
               left join price_list_price l on l.price_list_id = s.price_list_id and l.product_id = s.product_id
                   and l.valid_from = coalesce(s.valid_from, '-infinity')
               where s.contract_price is not null
           ) r"#
    )
    .fetch_one(connection)
    .await?;
    let (new, changed, unchanged) = (row.new.unsigned_abs(), row.changed.unsigned_abs(), row.unchanged.unsigned_abs());
    Ok(PricesSummary { new, changed, unchanged, removed: 0 })
}

pub(super) async fn count_clinics(connection: &mut PgConnection, id: i64) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(r#"select count(*) as "clinics!" from clinic where price_list_id = $1"#, id)
        .fetch_one(connection)
        .await
}

pub(super) async fn delete(connection: &mut PgConnection, id: i64) -> Result<(), sqlx::Error> {
    sqlx::query!("delete from price_list where id = $1", id).execute(connection).await?;
    Ok(())
}

//! SQL of what was looked up at a site.

use crate::ezyvet::InventoryProduct;
use crate::ezyvet::answers::Separation;
use crate::ids::SiteId;
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;

/// Product id and uid of those that are known.
pub(in crate::delivery) async fn find_products(
    pool: &PgPool,
    site: SiteId,
    product_ids: &[String],
) -> Result<Vec<(String, String)>, sqlx::Error> {
    let rows = sqlx::query!(
        "select product_id, uid from site_product where site_id = $1 and product_id = any($2)",
        site.0,
        product_ids
    )
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(|row| (row.product_id, row.uid)).collect())
}

pub(in crate::delivery) async fn keep_product(
    pool: &PgPool,
    site: SiteId,
    product_id: &str,
    code: &str,
    uid: &str,
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into site_product (site_id, product_id, code, uid, fetched_at) values ($1, $2, $3, $4, $5)
         on conflict (site_id, product_id) do update
         set code = excluded.code, uid = excluded.uid, fetched_at = excluded.fetched_at
         where not site_product.pinned",
        site.0,
        product_id,
        code,
        uid,
        now
    )
    .execute(pool)
    .await
    .map(drop)
}

/// Staff say which inventory product it is.
pub(in crate::delivery) async fn pin_product(
    connection: &mut PgConnection,
    site: SiteId,
    product_id: &str,
    uid: &str,
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into site_product (site_id, product_id, code, uid, pinned, fetched_at) values ($1, $2, '', $3, true, $4)
         on conflict (site_id, product_id) do update
         set uid = excluded.uid, pinned = true, fetched_at = excluded.fetched_at",
        site.0,
        product_id,
        uid,
        now
    )
    .execute(connection)
    .await
    .map(drop)
}

pub(in crate::delivery) async fn find_separation(
    pool: &PgPool,
    site: SiteId,
    id: &str,
) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar!("select uid from site_separation where site_id = $1 and separation_id = $2", site.0, id)
        .fetch_optional(pool)
        .await
}

/// Replaces what is known of a site's separations.
pub(in crate::delivery) async fn keep_separations(
    pool: &PgPool,
    site: SiteId,
    all: &[Separation],
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    let mut transaction = pool.begin().await?;
    sqlx::query!("delete from site_separation where site_id = $1", site.0).execute(&mut *transaction).await?;
    let column = |read: fn(&Separation) -> String| all.iter().map(read).collect::<Vec<_>>();
    let parents: Vec<Option<String>> = all.iter().map(|separation| separation.parent.clone()).collect();
    sqlx::query!(
        "insert into site_separation (site_id, separation_id, uid, name, type, parent, fetched_at)
         select $1, *, $7 from unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[])
         on conflict do nothing",
        site.0,
        &column(|separation| separation.id.clone()),
        &column(|separation| separation.uid.clone()),
        &column(|separation| separation.name.clone()),
        &column(|separation| separation.kind.clone()),
        &parents as &[Option<String>],
        now
    )
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await
}

pub(in crate::delivery) async fn find_inventory(
    pool: &PgPool,
    site: SiteId,
    code: &str,
) -> Result<Vec<InventoryProduct>, sqlx::Error> {
    sqlx::query_as!(
        InventoryProduct,
        "select uid, code, name from site_inventory_product where site_id = $1 and code = $2 order by uid limit 5",
        site.0,
        code
    )
    .fetch_all(pool)
    .await
}

/// Products that may be meant, where no code fits: by the supplier's own code, the same code in another spelling, our
/// barcode or our name.
pub(in crate::delivery) async fn find_candidates(
    pool: &PgPool,
    site: SiteId,
    supplier_code: &str,
    code: &str,
) -> Result<Vec<InventoryProduct>, sqlx::Error> {
    sqlx::query_as!(
        InventoryProduct,
        "select i.uid, i.code, i.name from site_inventory_product i left join product p on p.code = $2
         where i.site_id = $1 and (lower(i.code) in (lower($2), lower($3)) or lower(i.name) = lower(p.name)
                                   or ltrim(i.code, '0') = nullif(ltrim(p.barcode, '0'), ''))
         order by i.uid limit 5",
        site.0,
        supplier_code,
        code
    )
    .fetch_all(pool)
    .await
}

/// When the list was last read. None: never, or it was empty.
pub(in crate::delivery) async fn inventory_read_at(
    pool: &PgPool,
    site: SiteId,
) -> Result<Option<OffsetDateTime>, sqlx::Error> {
    sqlx::query_scalar!("select max(fetched_at) from site_inventory_product where site_id = $1", site.0)
        .fetch_one(pool)
        .await
}

/// Replaces what is known of a site's inventory products.
pub(in crate::delivery) async fn keep_inventory(
    pool: &PgPool,
    site: SiteId,
    all: &[InventoryProduct],
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    let mut transaction = pool.begin().await?;
    sqlx::query!("delete from site_inventory_product where site_id = $1", site.0).execute(&mut *transaction).await?;
    let column = |read: fn(&InventoryProduct) -> String| all.iter().map(read).collect::<Vec<_>>();
    sqlx::query!(
        "insert into site_inventory_product (site_id, uid, code, name, fetched_at)
         select $1, *, $5 from unnest($2::text[], $3::text[], $4::text[]) on conflict do nothing",
        site.0,
        &column(|product| product.uid.clone()),
        &column(|product| product.code.clone()),
        &column(|product| product.name.clone()),
        now
    )
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await
}

/// Forgets these products (unless pinned), this location, and the list of inventory products.
pub(in crate::delivery) async fn forget(
    pool: &PgPool,
    site: SiteId,
    product_ids: &[String],
    location_id: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "with product as (
             delete from site_product where site_id = $1 and product_id = any($2) and not pinned),
         location as (
             delete from site_separation where site_id = $1 and separation_id = $3)
         delete from site_inventory_product where site_id = $1",
        site.0,
        product_ids,
        location_id
    )
    .execute(pool)
    .await
    .map(drop)
}

//! SQL of the lists and mappings of a site.

use crate::db::Pool;
use crate::ezyvet::InventoryProduct;
use crate::ezyvet::answers::Separation;
use crate::ids::SiteId;
use sqlx::{PgConnection, PgExecutor};
use time::OffsetDateTime;

/// A list of a site that is stored as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::delivery) enum List {
    InventoryProducts,
    Separations,
}

impl List {
    /// As `site_list.list` spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::InventoryProducts => "inventory_products",
            Self::Separations => "separations",
        }
    }
}

/// Returns product id and uid of those products that are pinned, or mapped by a list read since `remapped_at`.
pub(in crate::delivery) async fn find_products(
    pool: &Pool,
    site: SiteId,
    product_ids: &[String],
    remapped_at: Option<OffsetDateTime>,
) -> Result<Vec<(String, String)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select product_id, uid as "uid!" from site_product
           where site_id = $1 and product_id = any($2) and uid is not null
             and (pinned or $3::timestamptz is null or fetched_at >= $3)"#,
        site.0,
        product_ids,
        remapped_at
    )
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(|row| (row.product_id, row.uid)).collect())
}

/// Returns the code of a product without a uid, and when ezyVet gave it.
pub(in crate::delivery) async fn find_code(
    pool: &Pool,
    site: SiteId,
    product_id: &str,
) -> Result<Option<(String, OffsetDateTime)>, sqlx::Error> {
    let row = sqlx::query!(
        "select code, fetched_at from site_product where site_id = $1 and product_id = $2 and uid is null",
        site.0,
        product_id
    )
    .fetch_optional(pool)
    .await?;
    Ok(row.map(|row| (row.code, row.fetched_at)))
}

/// Stores a product's code and, if one was found, its uid. Leaves a pinned product unchanged.
pub(in crate::delivery) async fn save_product(
    pool: &Pool,
    site: SiteId,
    product_id: &str,
    code: &str,
    uid: Option<&str>,
    fetched_at: OffsetDateTime,
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
        fetched_at
    )
    .execute(pool)
    .await
    .map(drop)
}

/// Pins a product to the inventory product that staff name.
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
    pool: &Pool,
    site: SiteId,
    id: &str,
    remapped_at: Option<OffsetDateTime>,
) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar!(
        "select uid from site_separation
         where site_id = $1 and separation_id = $2 and ($3::timestamptz is null or fetched_at >= $3)",
        site.0,
        id,
        remapped_at
    )
    .fetch_optional(pool)
    .await
}

/// Returns the separations as they were last read.
pub(in crate::delivery) async fn list_separations(
    executor: impl PgExecutor<'_>,
    site: SiteId,
) -> Result<Vec<Separation>, sqlx::Error> {
    sqlx::query_as!(
        Separation,
        r#"select separation_id as id, uid, name, type as kind, parent from site_separation
           where site_id = $1 order by length(separation_id), separation_id"#,
        site.0
    )
    .fetch_all(executor)
    .await
}

/// Replaces the separations of a site, and makes its unmapped deliveries due.
pub(in crate::delivery) async fn save_separations(
    pool: &Pool,
    site: SiteId,
    all: &[Separation],
    read_at: OffsetDateTime,
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
        read_at
    )
    .execute(&mut *transaction)
    .await?;
    save_read_at(&mut transaction, site, List::Separations, read_at).await?;
    transaction.commit().await
}

/// Returns up to five inventory products that have exactly this code.
pub(in crate::delivery) async fn find_inventory_products(
    pool: &Pool,
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

/// Returns when a list was last read in full, empty or not. Returns `None` if it was never read.
pub(in crate::delivery) async fn find_read_at(
    pool: &Pool,
    site: SiteId,
    list: List,
) -> Result<Option<OffsetDateTime>, sqlx::Error> {
    sqlx::query_scalar!("select read_at from site_list where site_id = $1 and list = $2", site.0, list.name())
        .fetch_optional(pool)
        .await
}

async fn save_read_at(
    connection: &mut PgConnection,
    site: SiteId,
    list: List,
    read_at: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into site_list (site_id, list, read_at) values ($1, $2, $3)
         on conflict (site_id, list) do update set read_at = excluded.read_at",
        site.0,
        list.name(),
        read_at
    )
    .execute(&mut *connection)
    .await?;
    wake_unmapped(connection, site, read_at).await
}

/// Makes every delivery of a site due that could not be mapped.
pub(in crate::delivery) async fn wake_unmapped(
    connection: &mut PgConnection,
    site: SiteId,
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update delivery set due_at = $2
         where site_id = $1 and kind = 'supplied' and state = 'attention' and due_at > $2",
        site.0,
        now
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Replaces the inventory products of a site, and makes its unmapped deliveries due.
pub(in crate::delivery) async fn save_inventory_products(
    pool: &Pool,
    site: SiteId,
    all: &[InventoryProduct],
    read_at: OffsetDateTime,
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
        read_at
    )
    .execute(&mut *transaction)
    .await?;
    save_read_at(&mut transaction, site, List::InventoryProducts, read_at).await?;
    transaction.commit().await
}

/// Deletes the codes and uids of these products, unless they are pinned.
pub(in crate::delivery) async fn delete_products(
    connection: &mut PgConnection,
    site: SiteId,
    product_ids: &[String],
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "delete from site_product where site_id = $1 and product_id = any($2) and not pinned",
        site.0,
        product_ids
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Marks the lists of a site as never read, unless they were read after `now`: the next delivery that needs a list reads
/// it at once.
pub(in crate::delivery) async fn expire_lists(
    connection: &mut PgConnection,
    site: SiteId,
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    sqlx::query!("delete from site_list where site_id = $1 and read_at <= $2", site.0, now)
        .execute(connection)
        .await
        .map(drop)
}

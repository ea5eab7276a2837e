//! SQL of `site`.

use super::{Filter, NewSite, Site, SiteError, SiteState};
use crate::config::Overrides;
use crate::db::{Page, Pool};
use crate::ids::SiteId;
use sqlx::types::Json;
use sqlx::{PgConnection, PgExecutor};
use time::OffsetDateTime;

pub(super) struct ConnectionRow {
    pub name: String,
    pub base_url: String,
    pub token_path: String,
    pub partner_id: String,
    pub client_id: String,
    pub client_secret: Vec<u8>,
    pub site_uid: String,
    pub settings: Json<Overrides>,
}

pub(super) async fn next_id(connection: &mut PgConnection) -> Result<SiteId, sqlx::Error> {
    sqlx::query_scalar!(r#"select nextval(pg_get_serial_sequence('site', 'id')) as "id!""#)
        .fetch_one(connection)
        .await
        .map(SiteId)
}

pub(super) async fn insert(
    connection: &mut PgConnection,
    id: SiteId,
    new: &NewSite,
    settings: &Overrides,
    sealed: &[u8],
    now: OffsetDateTime,
) -> Result<(), SiteError> {
    sqlx::query!(
        "insert into site
             (id, name, base_url, token_path, partner_id, client_id, client_secret, site_uid, settings, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        id.0,
        new.name,
        new.base_url,
        new.token_path,
        new.partner_id,
        new.client_id,
        sealed,
        new.site_uid,
        Json(settings) as _,
        now
    )
    .execute(&mut *connection)
    .await
    .map_err(|error| taken(error, &new.name))?;
    sqlx::query!("insert into site_lease (site_id) values ($1)", id.0).execute(connection).await?;
    Ok(())
}

/// Says what another site has already.
fn taken(error: sqlx::Error, name: &str) -> SiteError {
    match error.as_database_error().and_then(|error| error.constraint()) {
        Some("site_name_key") => SiteError::NameTaken(name.to_owned()),
        Some("site_credentials_key") => SiteError::CredentialsTaken,
        _ => error.into(),
    }
}

/// Returns sites, newest first. `which`: only the one with this id or this name.
pub(super) async fn list(
    executor: impl PgExecutor<'_>,
    which: Option<(Option<i64>, &str)>,
    filter: &Filter,
    page: Page,
) -> Result<Vec<Site>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select s.id, s.name, s.state, s.base_url, s.token_path, s.partner_id, s.client_id, s.site_uid,
                  s.settings as "settings: Json<Overrides>", s.created_at, s.xmin::text as "version!",
                  l.failures, l.not_before, l.inventory_absent_since,
                  (select count(*) from delivery d
                   where d.site_id = s.id and d.state in ('waiting', 'sending', 'unclear', 'attention')) as "open!",
                  (select count(*) from delivery d
                   where d.site_id = s.id and d.state in ('unclear', 'attention')) as "attention!"
           from site s join site_lease l on l.site_id = s.id
           where ($1::text is null or s.id = $2 or s.name = $1)
             and ($3::text is null or s.state = $3)
             and ($4::bigint is null or s.id < $4)
           order by s.id desc limit $5"#,
        which.map(|(_, text)| text),
        which.and_then(|(id, _)| id),
        filter.state.map(SiteState::as_str),
        page.before,
        page.limit
    )
    .fetch_all(executor)
    .await?;
    let sites = rows.into_iter().map(|row| Site {
        id: SiteId(row.id),
        name: row.name,
        status: super::status(&row.state, row.failures, row.not_before),
        state: row.state,
        base_url: row.base_url,
        token_path: row.token_path,
        partner_id: row.partner_id,
        client_id: row.client_id,
        site_uid: row.site_uid,
        settings: row.settings.0,
        open_deliveries: row.open,
        attention_deliveries: row.attention,
        failures: row.failures,
        not_before: row.not_before,
        inventory_absent_since: row.inventory_absent_since,
        created_at: row.created_at,
        version: row.version,
    });
    Ok(sites.collect())
}

/// Locks a site until the transaction ends. Returns its version: the transaction that wrote the row last.
pub(super) async fn lock(connection: &mut PgConnection, id: SiteId) -> Result<String, sqlx::Error> {
    sqlx::query_scalar!(r#"select xmin::text as "version!" from site where id = $1 for no key update"#, id.0)
        .fetch_one(connection)
        .await
}

pub(super) async fn update(connection: &mut PgConnection, site: &Site, sealed: Option<&[u8]>) -> Result<(), SiteError> {
    sqlx::query!(
        "update site set name = $2, base_url = $3, token_path = $4, partner_id = $5, client_id = $6, site_uid = $7,
                settings = $8, state = $9, client_secret = coalesce($10, client_secret)
         where id = $1",
        site.id.0,
        site.name,
        site.base_url,
        site.token_path,
        site.partner_id,
        site.client_id,
        site.site_uid,
        Json(&site.settings) as _,
        site.state,
        sealed
    )
    .execute(&mut *connection)
    .await
    .map_err(|error| taken(error, &site.name))?;
    // The change may have solved the site's trouble: try again now.
    sqlx::query!("update site_lease set not_before = null, failures = 0 where site_id = $1", site.id.0)
        .execute(&mut *connection)
        .await?;
    sqlx::query!("select pg_notify('spsi_delivery', $1::bigint::text)", site.id.0).execute(connection).await?;
    Ok(())
}

pub(super) async fn delete_token(connection: &mut PgConnection, id: SiteId) -> Result<(), sqlx::Error> {
    sqlx::query!("delete from site_token where site_id = $1", id.0).execute(connection).await.map(drop)
}

pub(super) async fn find_connection(pool: &Pool, id: SiteId) -> Result<Option<ConnectionRow>, sqlx::Error> {
    sqlx::query_as!(
        ConnectionRow,
        r#"select name, base_url, token_path, partner_id, client_id, client_secret, site_uid,
                  settings as "settings: Json<Overrides>"
           from site where id = $1"#,
        id.0
    )
    .fetch_optional(pool)
    .await
}

pub(super) async fn list_secrets(pool: &Pool) -> Result<Vec<(SiteId, Vec<u8>)>, sqlx::Error> {
    let rows = sqlx::query!("select id, client_secret from site order by id").fetch_all(pool).await?;
    Ok(rows.into_iter().map(|row| (SiteId(row.id), row.client_secret)).collect())
}

/// Replaces a secret, unless it changed since it was read. Returns how many rows changed.
pub(super) async fn replace_secret(pool: &Pool, id: SiteId, old: &[u8], new: &[u8]) -> Result<u64, sqlx::Error> {
    sqlx::query!("update site set client_secret = $3 where id = $1 and client_secret = $2", id.0, old, new)
        .execute(pool)
        .await
        .map(|done| done.rows_affected())
}

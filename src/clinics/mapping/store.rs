//! SQL of `ezyvet_mapping`.

use super::{Mapping, Owner, SiteMapping};
use crate::ids::{ClinicId, SiteId};
use sqlx::{PgConnection, PgExecutor};
use time::OffsetDateTime;

/// Inserts a mapping of a site, or of a clinic: then for its site, or for itself if it has no site.
pub(super) async fn insert(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    owner: Owner,
    kind: &str,
    ezyvet_id: &str,
    value: &str,
) -> Result<(), sqlx::Error> {
    let (clinic, site) = owner.ids();
    sqlx::query!(
        "with owner as (
             select site_id, case when site_id is null then id end as clinic_id from clinic where id = $1
             union all
             select id, null from site where id = $2)
         insert into ezyvet_mapping (kind, site_id, clinic_id, ezyvet_id, value, changed_at)
         select $3, site_id, clinic_id, $4, $5, $6 from owner
         on conflict on constraint ezyvet_mapping_key do update set value = excluded.value, changed_at = excluded.changed_at",
        clinic as Option<ClinicId>,
        site as Option<SiteId>,
        kind,
        ezyvet_id,
        value,
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Deletes a mapping of the site; of a clinic: that of its site, and its own from before it had a site. Returns whether one
/// existed.
pub(super) async fn delete(
    connection: &mut PgConnection,
    owner: Owner,
    kind: &str,
    ezyvet_id: &str,
) -> Result<bool, sqlx::Error> {
    let (clinic, site) = owner.ids();
    let deleted = sqlx::query!(
        "delete from ezyvet_mapping
         where (clinic_id = $1 or site_id = (select c.site_id from clinic c where c.id = $1) or site_id = $2)
           and kind = $3 and ezyvet_id = $4",
        clinic as Option<ClinicId>,
        site as Option<SiteId>,
        kind,
        ezyvet_id
    )
    .execute(connection)
    .await?;
    Ok(deleted.rows_affected() > 0)
}

impl Owner {
    fn ids(self) -> (Option<ClinicId>, Option<SiteId>) {
        match self {
            Self::Clinic(id) => (Some(id), None),
            Self::Site(id) => (None, Some(id)),
        }
    }
}

pub(super) async fn list(executor: impl PgExecutor<'_>, clinic: Option<ClinicId>) -> Result<Vec<Mapping>, sqlx::Error> {
    sqlx::query_as!(
        Mapping,
        r#"with ordered as (
               select clinic_id, 'ship_to' as kind, shipping_address_id as ezyvet_id, count(*) as orders from purchase_order
               where shipping_address_id not in ('', '0') group by 1, 3
               union all
               select clinic_id, 'account', ownership_id, count(*) from purchase_order
               where ownership_id not in ('', '0') group by 1, 3)
           select c.name as clinic, c.id as clinic_id, coalesce(ordered.kind, m.kind) as "kind!",
                  coalesce(ordered.ezyvet_id, m.ezyvet_id) as "ezyvet_id!", m.value as "value?",
                  case when m.value is null then 'unmapped' else 'mapped' end as "state!", coalesce(ordered.orders, 0) as "orders!"
           from ordered full join clinic_mapping m
               on m.clinic_id = ordered.clinic_id and m.kind = ordered.kind and m.ezyvet_id = ordered.ezyvet_id
           join clinic c on c.id = coalesce(ordered.clinic_id, m.clinic_id)
           where $1::bigint is null or c.id = $1
           order by m.value is not null, c.id, 3, 4"#,
        clinic as Option<ClinicId>
    )
    .fetch_all(executor)
    .await
}

/// Returns the ids that orders of the site's clinics name and the ids that are mapped, unmapped ids first.
pub async fn list_of_site(executor: impl PgExecutor<'_>, site: SiteId) -> Result<Vec<SiteMapping>, sqlx::Error> {
    sqlx::query_as!(
        SiteMapping,
        r#"with received as (
               select o.shipping_address_id, o.ownership_id from purchase_order o
               join clinic c on c.id = o.clinic_id where c.site_id = $1),
           ordered as (
               select 'ship_to' as kind, shipping_address_id as ezyvet_id, count(*) as orders from received
               where shipping_address_id not in ('', '0') group by 2
               union all
               select 'account', ownership_id, count(*) from received where ownership_id not in ('', '0') group by 2)
           select s.name as "site!", s.id as "site_id!", coalesce(ordered.kind, m.kind) as "kind!",
                  coalesce(ordered.ezyvet_id, m.ezyvet_id) as "ezyvet_id!", m.value as "value?",
                  case when m.value is null then 'unmapped' else 'mapped' end as "state!", coalesce(ordered.orders, 0) as "orders!"
           from ordered full join (select kind, ezyvet_id, value from ezyvet_mapping where site_id = $1) m
               on m.kind = ordered.kind and m.ezyvet_id = ordered.ezyvet_id
           join site s on s.id = $1
           order by m.value is not null, 3, 4"#,
        site as SiteId
    )
    .fetch_all(executor)
    .await
}

//! SQL of `ezyvet_mapping`.

use super::Mapping;
use crate::ids::ClinicId;
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;

/// Stores a mapping for the clinic's site, or for the clinic if it has no site.
pub(super) async fn upsert(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    clinic: ClinicId,
    kind: &str,
    ezyvet_id: &str,
    value: &str,
) -> Result<(), sqlx::Error> {
    delete(connection, clinic, kind, ezyvet_id).await?;
    sqlx::query!(
        "insert into ezyvet_mapping (kind, site_id, clinic_id, ezyvet_id, value, changed_at)
         select $2, site_id, case when site_id is null then id end, $3, $4, $5 from clinic where id = $1
         on conflict on constraint ezyvet_mapping_key do update set value = excluded.value, changed_at = excluded.changed_at",
        clinic as ClinicId,
        kind,
        ezyvet_id,
        value,
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Deletes a mapping of the clinic's site, and the clinic's own from before it had a site.
pub(super) async fn delete(
    connection: &mut PgConnection,
    clinic: ClinicId,
    kind: &str,
    ezyvet_id: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "delete from ezyvet_mapping m using clinic c
         where c.id = $1 and (m.clinic_id = c.id or m.site_id = c.site_id) and m.kind = $2 and m.ezyvet_id = $3",
        clinic as ClinicId,
        kind,
        ezyvet_id
    )
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn list(pool: &PgPool, clinic: Option<ClinicId>) -> Result<Vec<Mapping>, sqlx::Error> {
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
    .fetch_all(pool)
    .await
}

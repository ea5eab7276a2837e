//! Maps the numeric ids of an order to the uids of ezyVet's inventory system (SPSI.md 2): product id -> the clinic's product
//! code -> inventory product; location id -> separation.
//!
//! Guarantees: nothing is guessed; a uid that staff pinned is never replaced; one `supplied` that cannot be mapped delays no
//! other. Mappings and both lists (inventory products, separations) are stored per site. Before staff are asked, the list
//! in question was read after the delivery was created. A list is read at most once per `SPSI_INVENTORY_LIST_LIFE`, unless
//! staff retry a delivery. Every reading makes all unmapped deliveries of the site due, and `SPSI_INVENTORY_RECHECK` does
//! so at least daily: what a clinic corrects in ezyVet needs no command.

mod list;
pub(super) mod store;

pub(super) use list::read_separations;

use list::ListAge;
use store::List;

use super::payload::Supplied;
use super::session::{Session, StopReason};
use super::store::DueDelivery;
use crate::clinics::sites::format_utc;
use crate::ezyvet::{Endpoint, InventoryProduct, Outcome, Request, answers};
use std::collections::{BTreeSet, HashMap};
use time::OffsetDateTime;

/// Why uids could not be found.
#[derive(Debug)]
pub(super) enum MappingError {
    Stopped(StopReason),
    CallFailed(Endpoint, Outcome),
    /// The list is older than the delivery, and too young to be read again before `until`.
    WaitForList {
        until: OffsetDateTime,
        reason: String,
    },
    /// The clinic or staff must act: what is missing, and what to do.
    Unmapped(String),
}

impl<E: Into<StopReason>> From<E> for MappingError {
    fn from(error: E) -> Self {
        Self::Stopped(error.into())
    }
}

/// The uids that a `supplied` call needs.
#[derive(Debug)]
pub(super) struct Uids {
    pub location: String,
    /// By product id.
    pub products: HashMap<String, String>,
}

/// Finds the uids: stored ones first, otherwise by calls of ezyVet.
pub(super) async fn resolve(
    session: &Session,
    due: &mut DueDelivery,
    supplied: &Supplied,
) -> Result<Uids, MappingError> {
    let product_ids: BTreeSet<&str> = supplied.lines.iter().map(|line| line.product_id.as_str()).collect();
    let product_ids: Vec<String> = product_ids.into_iter().map(str::to_owned).collect();
    let (pool, site) = (&session.context.pool, session.site.id);
    let find_stored = async |remapped_at| {
        let location = store::find_separation(pool, site, &supplied.location_id, remapped_at).await?;
        let products: HashMap<_, _> =
            store::find_products(pool, site, &product_ids, remapped_at).await?.into_iter().collect();
        Ok::<_, sqlx::Error>((location, products))
    };
    if let (Some(location), products) = find_stored(due.history.remapped_at).await?
        && products.len() == product_ids.len()
    {
        return Ok(Uids { location, products });
    }
    // One step at a time looks up uids: the steps behind it find them stored.
    let _guard = session.mapping_lock.lock().await;
    let (location, mut products) = find_stored(due.history.remapped_at).await?;
    let location = match location {
        Some(uid) => uid,
        None => find_location(session, due, &supplied.location_id).await?,
    };
    let mut problems = Vec::new();
    for product_id in product_ids {
        if products.contains_key(&product_id) {
            continue;
        }
        let code = find_code(session, due, &product_id).await?;
        let (found, read_at) = find_inventory_products(session, due, &product_id, &code).await?;
        if let [one] = found.as_slice() {
            store::save_product(pool, site, &product_id, &code, Some(&one.uid), read_at).await?;
            products.insert(product_id, one.uid.clone());
        } else {
            problems.push(describe(&product_id, &code, found.len()));
        }
    }
    if problems.is_empty() {
        return Ok(Uids { location, products });
    }
    Err(unmapped_product(session, due, &problems.join("; "), "correct the code in ezyVet", "PRODUCT_ID"))
}

/// `found`: how many inventory products have the code of the product.
fn describe(product_id: &str, code: &str, found: usize) -> String {
    let found = match found {
        0 => "no inventory product has",
        1 => "ezyVet refused the inventory product with",
        _ => "several inventory products have",
    };
    format!("product {product_id}: {found} its code `{code}`")
}

fn unmapped_product(session: &Session, due: &DueDelivery, problem: &str, correction: &str, id: &str) -> MappingError {
    let site = session.site.id;
    let problem = format!(
        "{problem}; {correction}, or name the inventory product with `spsi site pin {site} {id} UID` (`spsi site unmapped \
         {site}` shows candidates)"
    );
    unmapped(session, due, &problem)
}

fn unmapped(session: &Session, due: &DueDelivery, problem: &str) -> MappingError {
    let recheck = session.site.settings.inventory_recheck;
    MappingError::Unmapped(format!(
        "{problem}; the delivery is checked again whenever the list is read, at the latest after {recheck}, or now with \
         `spsi delivery retry {}`",
        due.id
    ))
}

async fn find_location(session: &Session, due: &mut DueDelivery, location_id: &str) -> Result<String, MappingError> {
    let problem = format!("the site has no separation {location_id}, which the order names as stock location");
    match list::age(session, due, List::Separations).await? {
        ListAge::Expired => {
            let all = read_separations(session, Some(due)).await?;
            if let Some(found) = all.into_iter().find(|separation| separation.id == location_id) {
                return Ok(found.uid);
            }
        }
        ListAge::Current(_) => {}
        ListAge::TooYoung { read_at, until } => return Err(wait_for_list(&problem, "separations", read_at, until)),
    }
    let list = format!("`spsi site separations {}` lists those that it has", session.site.id);
    Err(unmapped(session, due, &format!("{problem}; {list}")))
}

/// Returns the clinic's code of a product, as ezyVet gave it within the life of a list.
async fn find_code(session: &Session, due: &mut DueDelivery, product_id: &str) -> Result<String, MappingError> {
    let (pool, site, now) = (&session.context.pool, session.site.id, session.now());
    let life = session.site.settings.inventory_list_life.0;
    if let Some((code, fetched_at)) = store::find_code(pool, site, product_id).await?
        && now < fetched_at + life
    {
        return Ok(code);
    }
    match list::read(session, Some(due), &Request::product(product_id)).await {
        Ok(body) => match answers::product_code(&body, product_id).filter(|code| !code.is_empty()) {
            Some(code) => {
                store::save_product(pool, site, product_id, &code, None, now).await?;
                Ok(code)
            }
            None => {
                let problem = format!("product {product_id} has no code in ezyVet");
                Err(unmapped_product(session, due, &problem, "give the product a code there", product_id))
            }
        },
        Err(MappingError::CallFailed(_, Outcome::Refused { status, text })) => {
            let problem = format!("ezyVet does not show product {product_id} ({status}: {text})");
            Err(unmapped_product(session, due, &problem, "restore the product there", product_id))
        }
        Err(other) => Err(other),
    }
}

/// Returns the inventory products that have a code, and when their list was read. Returns exactly one without reading the
/// list again, unless the delivery's uids were discarded since.
async fn find_inventory_products(
    session: &Session,
    due: &mut DueDelivery,
    product_id: &str,
    code: &str,
) -> Result<(Vec<InventoryProduct>, OffsetDateTime), MappingError> {
    let (pool, site) = (&session.context.pool, session.site.id);
    let found = store::find_inventory_products(pool, site, code).await?;
    let read_at = store::find_read_at(pool, site, List::InventoryProducts).await?;
    if let (Some(read_at), 1) = (read_at, found.len())
        && due.history.remapped_at.is_none_or(|remapped_at| read_at >= remapped_at)
    {
        return Ok((found, read_at));
    }
    match list::age(session, due, List::InventoryProducts).await? {
        ListAge::Current(read_at) => Ok((found, read_at)),
        ListAge::Expired => {
            let read_at = list::read_inventory_products(session, due).await?;
            Ok((store::find_inventory_products(pool, site, code).await?, read_at))
        }
        ListAge::TooYoung { read_at, until } => {
            Err(wait_for_list(&describe(product_id, code, found.len()), "inventory products", read_at, until))
        }
    }
}

fn wait_for_list(problem: &str, list: &str, read_at: OffsetDateTime, until: OffsetDateTime) -> MappingError {
    let reason = format!(
        "{problem} in the list of {list} read at {}; waits until {} to read the list again (`SPSI_INVENTORY_LIST_LIFE`)",
        format_utc(read_at),
        format_utc(until)
    );
    MappingError::WaitForList { until, reason }
}

//! From the numeric ids of an order to the uids that the inventory system wants (SPSI.md 2): product id -> the clinic's own
//! code -> inventory product; location id -> separation.
//!
//! What was found is kept per site, and looked up afresh when a call with it is refused. A uid that staff pinned is never
//! replaced. Nothing is guessed: a code that no inventory product has, or that several have, is for staff, with the
//! likely candidates. Only the `supplied` call in question waits.

pub(super) mod store;

use super::payload::Supplied;
use super::session::{Purpose, Session, Stop};
use super::store::Due;
use crate::ezyvet::{Endpoint, InventoryProduct, Outcome, Request, answers};
use std::collections::{BTreeSet, HashMap};

/// Maximum number of pages, of 200 items each, that are read of one list: a site that repeats a page cannot spend the whole
/// rate budget.
const MAX_LIST_PAGES: u32 = 500;

/// Why uids could not be found.
#[derive(Debug)]
pub(super) enum NotMapped {
    Stop(Stop),
    /// A look-up failed.
    Call(Endpoint, Outcome),
    /// Staff must help: what is missing, and what to do.
    Unknown(String),
}

impl<E: Into<Stop>> From<E> for NotMapped {
    fn from(error: E) -> Self {
        Self::Stop(error.into())
    }
}

/// The uids that a `supplied` call needs.
#[derive(Debug)]
pub(super) struct Mapped {
    pub location_uid: String,
    /// By product id.
    pub product_uids: HashMap<String, String>,
}

/// Finds the uids, from what is stored and otherwise from ezyVet.
pub(super) async fn resolve(session: &Session, due: &mut Due, supplied: &Supplied) -> Result<Mapped, NotMapped> {
    let _one_at_a_time = session.mapping.lock().await;
    let location_uid = location(session, due, &supplied.location_id).await?;
    let wanted: BTreeSet<&str> = supplied.lines.iter().map(|line| line.product_id.as_str()).collect();
    let wanted: Vec<String> = wanted.into_iter().map(str::to_owned).collect();
    let pool = &session.parts.pool;
    let mut product_uids: HashMap<_, _> =
        store::find_products(pool, session.site.id, &wanted).await?.into_iter().collect();
    let mut missing = Vec::new();
    for product_id in wanted {
        if product_uids.contains_key(&product_id) {
            continue;
        }
        let code = code(session, due, &product_id).await?;
        match inventory_product(session, due, &code).await?.as_slice() {
            [one] => {
                store::keep_product(pool, session.site.id, &product_id, &code, &one.uid, session.now()).await?;
                product_uids.insert(product_id, one.uid.clone());
            }
            [] => missing.push(lacking(session, supplied, &product_id, &code).await?),
            several => {
                let uids: Vec<_> = several.iter().map(describe).collect();
                missing.push(format!("product {product_id}: code `{code}` is shared by {}", uids.join(", ")));
            }
        }
    }
    if missing.is_empty() {
        return Ok(Mapped { location_uid, product_uids });
    }
    Err(NotMapped::Unknown(format!(
        "{}; mend it in ezyVet, or say which it is: spsi site pin {} PRODUCT_ID UID; then: spsi delivery retry {}",
        missing.join("; "),
        session.site.id,
        due.id
    )))
}

/// Forgets what was looked up for a call that was refused, so that it is looked up afresh.
pub(super) async fn forget(session: &Session, supplied: &Supplied) -> Result<(), sqlx::Error> {
    let products: Vec<String> = supplied.lines.iter().map(|line| line.product_id.clone()).collect();
    store::forget(&session.parts.pool, session.site.id, &products, &supplied.location_id).await
}

/// Reads every page of the site's separations and keeps them: for a delivery, or for staff.
pub(super) async fn read_separations(
    session: &Session,
    mut due: Option<&mut Due>,
) -> Result<Vec<answers::Separation>, NotMapped> {
    let mut all = Vec::new();
    for page in 1..=MAX_LIST_PAGES {
        let body = read(session, due.as_deref_mut(), &Request::separations(page)).await?;
        let page_of = answers::separations(&body).ok_or_else(|| not_a_list(Endpoint::Separation))?;
        let last = is_last(page, page_of.pages, page_of.size);
        all.extend(page_of.items);
        if last {
            break;
        }
    }
    store::keep_separations(&session.parts.pool, session.site.id, &all, session.now()).await?;
    Ok(all)
}

async fn location(session: &Session, due: &mut Due, location_id: &str) -> Result<String, NotMapped> {
    let pool = &session.parts.pool;
    if let Some(uid) = store::find_separation(pool, session.site.id, location_id).await? {
        return Ok(uid);
    }
    let all = read_separations(session, Some(due)).await?;
    all.into_iter().find(|separation| separation.id == location_id).map(|separation| separation.uid).ok_or_else(|| {
        NotMapped::Unknown(format!(
            "the site has no separation {location_id}, which the order names as stock location; see: spsi site separations {}; \
             when it is there: spsi delivery retry {}",
            session.site.id, due.id
        ))
    })
}

async fn code(session: &Session, due: &mut Due, product_id: &str) -> Result<String, NotMapped> {
    match read(session, Some(due), &Request::product(product_id)).await {
        Ok(body) => answers::product_code(&body, product_id).filter(|code| !code.is_empty()).ok_or_else(|| {
            NotMapped::Unknown(format!(
                "ezyVet tells no code for product {product_id}; give it one there, or say which inventory product it is: \
                 spsi site pin {} {product_id} UID; then: spsi delivery retry {}",
                session.site.id, due.id
            ))
        }),
        Err(NotMapped::Call(_, Outcome::Refused { status, text })) => Err(NotMapped::Unknown(format!(
            "ezyVet does not show product {product_id} ({status}: {text}); if it exists, say which inventory product it is: \
             spsi site pin {} {product_id} UID; then: spsi delivery retry {}",
            session.site.id, due.id
        ))),
        Err(other) => Err(other),
    }
}

async fn inventory_product(session: &Session, due: &mut Due, code: &str) -> Result<Vec<InventoryProduct>, NotMapped> {
    let (pool, site) = (&session.parts.pool, session.site.id);
    let known = store::find_inventory(pool, site, code).await?;
    let (read_at, life) = (store::inventory_read_at(pool, site).await?, session.site.settings.inventory_list_life.0);
    if !known.is_empty() || read_at.is_some_and(|at| session.now() < at + life) {
        return Ok(known);
    }
    let mut all = Vec::new();
    for page in 1..=MAX_LIST_PAGES {
        let body = read(session, Some(due), &Request::inventory_products(page)).await?;
        let page_of = answers::inventory_products(&body).ok_or_else(|| not_a_list(Endpoint::InventoryProducts))?;
        let before = all.len();
        let last = is_last(page, page_of.pages, page_of.size);
        all.extend(page_of.items.into_iter().filter(|item| !item.uid.is_empty()));
        // A site that does not know `page` sends the first one for ever.
        if last || before > 0 && all[before..].first() == all.first() {
            break;
        }
    }
    store::keep_inventory(pool, site, &all, session.now()).await?;
    Ok(store::find_inventory(pool, site, code).await?)
}

/// The last page by the site's own count, or else an empty one, or one without a count.
fn is_last(page: u32, pages: Option<u64>, size: usize) -> bool {
    size == 0 || pages.is_some_and(|pages| u64::from(page) >= pages) || pages.is_none() && size < 200
}

async fn read(session: &Session, due: Option<&mut Due>, request: &Request) -> Result<String, NotMapped> {
    let exchange = match due {
        Some(due) => {
            let made = session.call(due, Purpose::Map, request).await?;
            session.finish(&made).await?;
            made.exchange
        }
        None => session.call_for_staff(request).await?,
    };
    match exchange.outcome {
        Outcome::Done => Ok(exchange.body),
        other => Err(NotMapped::Call(request.endpoint, other)),
    }
}

fn not_a_list(endpoint: Endpoint) -> NotMapped {
    NotMapped::Call(endpoint, Outcome::Unclear { why: "the answer is not a list".into() })
}

async fn lacking(session: &Session, supplied: &Supplied, product_id: &str, code: &str) -> Result<String, NotMapped> {
    let line = supplied.lines.iter().find(|line| line.product_id == product_id);
    let supplier_code = line.map_or("", |line| &line.supplier_code);
    let near = store::find_candidates(&session.parts.pool, session.site.id, supplier_code, code).await?;
    let near: Vec<_> = near.iter().map(describe).collect();
    let near = if near.is_empty() { String::new() } else { format!(" (perhaps {})", near.join(", ")) };
    Ok(format!("product {product_id}: no inventory product has its code `{code}`{near}"))
}

fn describe(product: &InventoryProduct) -> String {
    format!("{} `{}` {}", product.uid, product.code, product.name)
}

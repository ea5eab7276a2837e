//! Purchase orders: read, decided, stored, answered (SPSI.md 1, POST /purchaseorder).
//!
//! A 200 means that the order is committed. Decision and storage are one transaction, or one statement that stores the
//! order only if what the decision rests on still holds ([`intake`]); the same order of the same clinic again gets the same
//! answer, however many copies arrive at once (SPSI.md 5.11).

pub mod answer;
mod batch_writer;
mod content;
mod decide;
mod difference;
pub mod document;
mod form;
pub mod http;
pub mod intake;
mod json;
pub mod number;
pub mod read;
mod recent_reservations;
pub mod rules;
mod staff;
pub mod stock;
mod store;

use crate::audit;
use crate::clinics::cache::CachedClinic;
use crate::config::{ChangedOrder, ClinicSettings, RuleAction};
use answer::Reply;
use batch_writer::store::NewOrder;
use decide::{ClinicTerms, Decision, ProductTerms, Verdict, decide};
use read::OrderRequest;
use serde_json::json;
use sqlx::{PgConnection, PgPool};
use std::collections::HashMap;
use std::sync::Arc;
use time::OffsetDateTime;

pub use difference::Change;
pub use staff::{
    CancelledLine, ExportedLine, Filter, Order, OrderInFull, OrderLine, Revision, accept, cancel, decline, export,
    find, hold, list, show,
};

/// What can be wrong with an order that reads, or with a command about one.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// Known under this id with other content, and not to be changed any more: 409.
    #[error("{0}")]
    Changed(String),
    #[error("there is no order `{0}`; `spsi order list` shows them")]
    NoOrder(String),
    #[error("{0}")]
    NotNow(String),
    #[error("the database did not do it")]
    Database(#[from] sqlx::Error),
}

/// Decides about an order, stores it, and gives the answer; or the first answer, when we have the order already. Everything
/// is read under locks: what [`intake::Intake::place`] falls back to.
pub async fn place(
    pool: &PgPool,
    now: OffsetDateTime,
    member: &CachedClinic,
    order: &Arc<OrderRequest>,
) -> Result<Reply, OrderError> {
    let clinic = member.row.id;
    let codes: Vec<String> = order.lines.iter().map(|line| line.supplier_code.clone()).collect();
    loop {
        let mut transaction = pool.begin().await?;
        // Copies of one order queue up here, and find what the first of them stored.
        store::lock(&mut transaction, clinic, &order.ezyvet_id, &codes, stock_decides(member)).await?;
        let reply = match store::find_known(&mut transaction, clinic, &order.ezyvet_id).await? {
            None => first(&mut transaction, now, member, order, &codes).await?,
            Some(known) if content::is_same(&known.body, &order.body) => {
                return Ok(Reply { status: known.answer_status.unsigned_abs(), body: known.answer_body });
            }
            Some(known) => revised(&mut transaction, now, member, order, &codes, known).await?,
        };
        // Nothing: since we looked, a copy or an order of the same number was stored at the intake, which takes no lock for it.
        // It is found now.
        if let Some(reply) = reply {
            transaction.commit().await?;
            return Ok(reply);
        }
    }
}

/// Whether what becomes of the clinic's orders depends on the stock.
fn stock_decides(member: &CachedClinic) -> bool {
    matches!(member.settings.rule_stock_short, RuleAction::Hold | RuleAction::Decline)
}

async fn first(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    member: &CachedClinic,
    order: &Arc<OrderRequest>,
    codes: &[String],
) -> Result<Option<Reply>, OrderError> {
    let row = &member.row;
    let terms = store::terms(connection, row.id, row.price_list_id, now.date(), order, codes, true).await?;
    let number = number::format(terms.number.unwrap_or_default().unsigned_abs());
    let repeats_number = terms.used_before;
    let (decision, reply) = decided_by(member, order, terms, &number);
    let new = NewOrder {
        now,
        clinic: row.id,
        order: Arc::clone(order),
        number,
        state: state(decision.verdict),
        findings: decision.findings,
        reply: reply.clone(),
        actor: actor(member),
        repeats_number,
        basis: None,
    };
    let stored = batch_writer::store::insert(connection, std::slice::from_ref(&new)).await?;
    Ok(stored.into_iter().next().flatten().map(|_| reply))
}

async fn revised(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    member: &CachedClinic,
    order: &OrderRequest,
    codes: &[String],
    known: store::Known,
) -> Result<Option<Reply>, OrderError> {
    let refused = |why: &str| {
        let text = format!("order {} is known as {} with other content, and {why}", order.ezyvet_id, known.number);
        Err(OrderError::Changed(text))
    };
    if member.settings.changed_order == ChangedOrder::Refuse {
        return refused("a sent order is not changed; send a new one");
    }
    if !["accepted", "held", "declined"].contains(&known.state.as_str()) {
        return refused("has been shipped or cancelled; send a new one");
    }
    if known.part_cancelled {
        return refused("part of it has been cancelled with us; send a new one for what else you need");
    }
    store::delete_lines(connection, now, known.id).await?;
    let row = &member.row;
    let terms = store::terms(connection, row.id, row.price_list_id, now.date(), order, codes, false).await?;
    let repeats_number = terms.used_before;
    let (decision, reply) = decided_by(member, order, terms, &known.number);
    let (revision, state) = (known.revision + 1, state(decision.verdict));
    let revised =
        store::Revised { now, revision, order, repeats_number, state, findings: &decision.findings, reply: &reply };
    if !store::revise(connection, known.id, revised).await? {
        return Ok(None);
    }
    if known.purchase_order_number != order.purchase_order_number {
        store::pass_number_on(connection, row.id, &known.purchase_order_number).await?;
    }
    stock::settle(connection, now, known.id).await?;
    let detail = json!({"revision": revision, "was": known.state, "state": state, "findings": decision.findings});
    audit::record(connection, now, &actor(member), "order.revise", ("order", Some(known.id.0)), detail).await?;
    Ok(Some(reply))
}

/// The decision by what Postgres holds.
fn decided_by(member: &CachedClinic, order: &OrderRequest, terms: store::Terms, number: &str) -> (Decision, Reply) {
    let clinic = clinic_terms(member, terms.used_before, terms.ship_to_mapped);
    let products: HashMap<String, ProductTerms> =
        terms.products.into_iter().map(|product| (product.code.clone(), product_terms(product, member))).collect();
    decided(member, order, &products, clinic, number)
}

fn clinic_terms(member: &CachedClinic, number_used_before: bool, ship_to_mapped: bool) -> ClinicTerms {
    let row = &member.row;
    let (restricted_licence, on_hold) = (row.restricted_licence, row.on_hold);
    ClinicTerms { restricted_licence, on_hold, number_used_before, ship_to_mapped }
}

fn decided(
    member: &CachedClinic,
    order: &OrderRequest,
    products: &HashMap<String, ProductTerms>,
    clinic: ClinicTerms,
    number: &str,
) -> (Decision, Reply) {
    let settings: &ClinicSettings = &member.settings;
    let decision = decide(order, products, clinic, settings);
    let reply = match decision.verdict {
        // A held order is answered like an accepted one: ezyVet has no word for "wait".
        Verdict::Accepted | Verdict::Held => order.echo.with(number),
        Verdict::Declined => answer::declined(|| order.tree(), number, &decision.findings, settings.decline_answer),
    };
    (decision, reply)
}

fn product_terms(product: store::ProductRow, member: &CachedClinic) -> ProductTerms {
    let row = &member.row;
    // As the catalogue has it: what either list names is seen, and what is hidden is not.
    let everything = row.only_categories.is_empty() && row.only_products.is_empty();
    let named = row.only_categories.contains(&product.category) || row.only_products.contains(&product.code);
    let hidden = row.hidden_categories.contains(&product.category) || row.hidden_products.contains(&product.code);
    ProductTerms {
        visible: (everything || named) && !hidden,
        active: product.active,
        restricted: product.restricted,
        units_per_outer: product.units_per_outer.normalize(),
        price_per_unit: crate::values::round(product.price / product.units_per_outer, crate::values::DECIMAL_PLACES),
        stock_free: product.free,
    }
}

fn state(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Accepted => "accepted",
        Verdict::Held => "held",
        Verdict::Declined => "declined",
    }
}

fn actor(member: &CachedClinic) -> String {
    format!("ezyvet:{}", member.row.client_id)
}

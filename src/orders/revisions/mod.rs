//! Orders that were submitted before: the first answer again for the same content, a revision for changed content
//! (SPSI.md 5.11).

mod difference;
mod store;

use super::answer::{self, Reply};
use super::ask;
use super::decide::Decision;
use super::hook::Consulted;
use super::read::OrderRequest;
use super::{OrderError, actor, stock};
use crate::audit;
use crate::clinics::cache::CachedClinic;
use crate::config::ChangedOrder;
use crate::events;
use crate::ids::OrderId;
use serde_json::json;
use sqlx::PgConnection;
use time::OffsetDateTime;

pub use difference::Change;
pub(super) use difference::difference;
pub(super) use store::find;

/// An order as stored.
pub(super) struct Existing {
    id: OrderId,
    number: String,
    purchase_order_number: String,
    state: String,
    revision: i32,
    /// The last submission, as JSON.
    body: String,
    answer_status: i16,
    answer_body: String,
    /// Whether staff have cancelled some of its units.
    part_cancelled: bool,
}

impl Existing {
    /// Compares the stored submission with a new one by content, ignoring formatting.
    pub fn has_same_content(&self, order: &OrderRequest) -> bool {
        serde_json::from_str(&self.body).is_ok_and(|body| difference(&body, &order.document).is_empty())
    }

    pub fn first_reply(self) -> Reply {
        Reply { status: self.answer_status.unsigned_abs(), body: self.answer_body }
    }
}

/// A later submission of an order, decided.
struct NewRevision<'a> {
    received_at: OffsetDateTime,
    /// 2 for the second submission.
    number: i32,
    order: &'a OrderRequest,
    repeats_number: bool,
    decision: &'a Decision,
    reply: &'a Reply,
}

/// What became of a later submission.
pub(super) enum Revised {
    /// It is stored, once the transaction is committed.
    Stored(Reply),
    /// Another order with the same purchase_order_number was stored since. The transaction is void: try again.
    Conflict,
    /// The order hook must be called first. Roll the transaction back: none is open during a call.
    NeedsHook,
}

/// Decides about an order anew with the content of a later submission, and stores that as a revision. Refuses if the order
/// can no longer be changed. `hook` is the answer of the order hook to this content.
pub(super) async fn revise(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    clinic: &CachedClinic,
    order: &OrderRequest,
    existing: Existing,
    hook: Option<&Consulted>,
) -> Result<Revised, OrderError> {
    let refusal = match existing.state.as_str() {
        _ if clinic.settings.changed_order == ChangedOrder::Refuse => Some("orders cannot be changed once sent"),
        "accepted" | "held" | "declined" if existing.part_cancelled => Some("the supplier has cancelled part of it"),
        "accepted" | "held" | "declined" => None,
        _ => Some("it has been shipped or cancelled"),
    };
    if let Some(reason) = refusal {
        return Err(OrderError::CannotRevise(format!(
            "Order {} was received before as {} with other content, and {reason}; send a new order for the difference",
            order.ezyvet_id, existing.number
        )));
    }
    store::delete_lines(connection, now, existing.id).await?;
    let terms = super::store::read_terms(connection, clinic, order, now.date()).await?;
    let Some(decision) = ask::decide(now, order, &terms, &clinic.settings, hook) else { return Ok(Revised::NeedsHook) };
    let reply = answer::reply(order, &decision, &existing.number, clinic.settings.decline_answer);
    let revision = NewRevision {
        received_at: now,
        number: existing.revision + 1,
        order,
        repeats_number: terms.clinic.number_used_before,
        decision: &decision,
        reply: &reply,
    };
    let detail = json!({"revision": revision.number, "was": existing.state, "state": decision.verdict.state(),
        "findings": decision.findings});
    if !store::update(connection, existing.id, revision).await? {
        return Ok(Revised::Conflict);
    }
    if existing.purchase_order_number != order.purchase_order_number {
        store::pass_number_on(connection, clinic.row.id, &existing.purchase_order_number).await?;
    }
    stock::settle(connection, now, existing.id).await?;
    audit::record(connection, now, &actor(clinic), "order.revise", ("order", Some(existing.id.0)), detail).await?;
    events::record_order(connection, now, events::Kind::OrderRevised, existing.id, None).await?;
    Ok(Revised::Stored(reply))
}

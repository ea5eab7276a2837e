//! Takes one delivery one step further: sends it, looks its invoice up, or asks for the approval; then settles it as the
//! policy decides.
//!
//! A step continues while something is due at once (an unclear invoice is looked up immediately). Each stage is settled
//! before the next begins, so a crash between them loses nothing.

use super::check::check;
use super::compare::compare;
use super::inventory_mapping::{self, MappingError, store::delete_products};
use super::payload::{Invoice, Payload, Supplied};
use super::policy::{Decision, Kind, Lookup};
use super::session::{CallResult, Purpose, Session, StopReason};
use super::store::{self, DueDelivery, Settlement};
use crate::clinics::sites::format_utc;
use crate::config::{JobEncoding, SiteSettings, Switch};
use crate::events;
use crate::ezyvet::{Outcome, Request, answers, count_job_fields};
use std::time::Duration;
use time::OffsetDateTime;

/// How long a worker tries to store the outcome of a call while the database is unreachable. After that the lease has
/// expired, and the next holder treats the call as unclear.
const MAX_SETTLE_TIME: Duration = Duration::from_secs(60);

/// Takes a due delivery as far as possible now.
pub(super) async fn step(session: &Session, mut due: DueDelivery) -> Result<(), StopReason> {
    while let Some(advanced) = advance(session, due).await? {
        if session.is_over() {
            return Ok(());
        }
        due = advanced;
    }
    Ok(())
}

async fn advance(session: &Session, due: DueDelivery) -> Result<Option<DueDelivery>, StopReason> {
    match (due.payload.clone(), due.state.as_str()) {
        (Payload::ReceiveInvoice(_), "delivered") => look_up_invoice(session, due, Purpose::CheckApproval).await,
        (Payload::ReceiveInvoice(_), "unclear") => look_up_invoice(session, due, Purpose::FindInvoice).await,
        (Payload::ReceiveInvoice(_), _) if due.history.look_first => {
            look_up_invoice(session, due, Purpose::FindInvoice).await
        }
        (Payload::ReceiveInvoice(invoice), _) => send_invoice(session, due, &invoice).await,
        // An unclear `supplied` has no due time; staff decide.
        (Payload::Supplied(_), "unclear") => {
            settle(session, due, Decision::Hold { look_after: None }, None, None).await
        }
        (Payload::Supplied(supplied), _) => send_supplied(session, due, &supplied).await,
    }
}

/// Returns the call that sends an invoice under the site's present settings.
pub(super) fn invoice_request(invoice: &Invoice, settings: &SiteSettings) -> Result<Request, String> {
    let fields = count_job_fields(settings, invoice.body());
    let max_fields = settings.max_form_fields as usize;
    if settings.job_encoding == JobEncoding::Form && max_fields > 0 && fields > max_fields {
        return Err(format!(
            "the job has {fields} form fields; the site accepts {max_fields}, and PHP silently drops the rest: run \
             `spsi site set SITE job_encoding=json`, or set `max_form_fields` to what the site accepts, then \
             `spsi delivery retry`"
        ));
    }
    Ok(Request::job(settings, invoice.body()))
}

async fn send_invoice(
    session: &Session,
    due: DueDelivery,
    invoice: &Invoice,
) -> Result<Option<DueDelivery>, StopReason> {
    if session.site.settings.check_invoices == Switch::On {
        let facts = store::find_stored_facts(&session.context.pool, &due).await?;
        let problems = check(invoice, &facts, &session.site.settings.known_tax_codes);
        if !problems.is_empty() {
            let why = format!(
                "not sent, because practice systems refuse such an invoice: {}; to send it unchanged: \
                 `spsi site set {} check_invoices=off`, then `spsi delivery retry {}`",
                problems.join("; "),
                session.site.id,
                due.id
            );
            return settle(session, due, Decision::Attention, Some(why), None).await;
        }
    }
    match invoice_request(invoice, &session.site.settings) {
        Ok(request) => send(session, due, &request).await,
        Err(why) => settle(session, due, Decision::Attention, Some(why), None).await,
    }
}

async fn send_supplied(
    session: &Session,
    mut due: DueDelivery,
    supplied: &Supplied,
) -> Result<Option<DueDelivery>, StopReason> {
    let settings = &session.site.settings;
    if let Some(since) = session.inventory_absent().await {
        let why = format!(
            "the site has refused the inventory scopes since {}; the next delivery after {} tries them again",
            format_utc(since),
            settings.inventory_recheck
        );
        return settle(session, due, Decision::Skip, Some(why), None).await;
    }
    let (endpoint, outcome) = match inventory_mapping::resolve(session, &mut due, supplied).await {
        Ok(uids) => {
            let body = supplied.body(|product_id| uids.products.get(product_id).map_or("", String::as_str));
            return send(session, due, &Request::supplied(&uids.location, &body)).await;
        }
        Err(MappingError::Stopped(StopReason::NoToken(outcome))) => return settle_unsent(session, due, outcome).await,
        Err(MappingError::Stopped(reason)) => return Err(reason),
        Err(MappingError::WaitForList { until, reason }) => {
            let after = (until - session.now()).unsigned_abs();
            return settle(session, due, Decision::Postpone { after }, Some(reason), None).await;
        }
        Err(MappingError::Unmapped(why)) => {
            let decision = Decision::Unmapped { recheck_after: settings.inventory_recheck.0 };
            return settle(session, due, decision, Some(why), None).await;
        }
        Err(MappingError::CallFailed(endpoint, outcome)) => (endpoint, outcome),
    };
    let backoff = session.policy().backoff(due.history.failures, session.jitter());
    let decision = match outcome {
        Outcome::Forbidden { .. } if endpoint.is_inventory() => {
            session.record_inventory_grant(false).await;
            Decision::Skip
        }
        Outcome::Forbidden { .. } | Outcome::Refused { .. } => Decision::Attention,
        Outcome::RateLimited { reset } => Decision::Postpone { after: reset.unwrap_or(backoff) },
        _ => Decision::Retry { after: backoff, look_first: false, counts: true },
    };
    settle(session, due, decision, Some(format!("looking up uids ({endpoint}): {outcome}")), None).await
}

/// Makes the call that sends, and settles the delivery.
async fn send(session: &Session, mut due: DueDelivery, request: &Request) -> Result<Option<DueDelivery>, StopReason> {
    if let Err(until) = session.permit_send(request.endpoint).await {
        let why = format!(
            "not sent: the last calls of `{}` had unclear outcomes; the next try is at {}",
            request.endpoint,
            format_utc(until)
        );
        let after = (until - session.now()).unsigned_abs();
        return settle(session, due, Decision::Postpone { after }, Some(why), None).await;
    }
    let result = match session.call(Some((&mut due, Purpose::Send)), request).await {
        Ok(result) => result,
        Err(StopReason::NoToken(outcome)) => return settle_unsent(session, due, outcome).await,
        Err(reason) => return Err(reason),
    };
    let outcome = &result.exchange.outcome;
    if due.kind() == Kind::Supplied && matches!(outcome, Outcome::Done | Outcome::Forbidden { .. }) {
        session.record_inventory_grant(*outcome == Outcome::Done).await;
    }
    let decision = session.policy().after_send(due.kind(), outcome, &due.history, session.jitter());
    let is_unclear = matches!(decision, Decision::LookAfter { .. } | Decision::Hold { .. });
    if is_unclear || !outcome.is_outage() {
        session.record_send(request.endpoint, is_unclear).await;
    }
    let why = (*outcome != Outcome::Done).then(|| outcome.to_string());
    settle(session, due, decision, why, Some(result)).await
}

/// Settles a delivery that was certainly not sent, because there was no token.
async fn settle_unsent(
    session: &Session,
    due: DueDelivery,
    outcome: Outcome,
) -> Result<Option<DueDelivery>, StopReason> {
    let why = format!("no token for the site: {outcome}; to test it: `spsi site test {}`", session.site.id);
    let unsent = Outcome::NeverSent { why: String::new() };
    let decision = session.policy().after_send(due.kind(), &unsent, &due.history, session.jitter());
    settle(session, due, decision, Some(why), None).await
}

async fn look_up_invoice(
    session: &Session,
    mut due: DueDelivery,
    purpose: Purpose,
) -> Result<Option<DueDelivery>, StopReason> {
    let request = Request::find_invoice(&due.invoice_number);
    let (lookup, result) = match session.call(Some((&mut due, purpose)), &request).await {
        Ok(result) => (read_lookup(&result, &due.invoice_number), Some(result)),
        Err(StopReason::NoToken(outcome)) => {
            (Lookup::Failed(Outcome::NeverSent { why: format!("no token: {outcome}") }), None)
        }
        Err(reason) => return Err(reason),
    };
    let policy = session.policy();
    let decision = if purpose == Purpose::CheckApproval {
        let age = due.delivered_at.map_or(Duration::ZERO, |at| (session.now() - at).unsigned_abs());
        policy.after_receipt(&lookup, &due.history, age, session.jitter())
    } else {
        policy.after_look(&lookup, due.state == "unclear", &due.history, session.jitter())
    };
    let why = match (&lookup, decision) {
        (Lookup::Failed(outcome), _) => Some(format!("looking up the invoice: {outcome}")),
        (Lookup::Inactive, _) => {
            Some("the invoice is in ezyVet, but not active: somebody deleted or rejected it there".into())
        }
        (Lookup::Absent, Decision::Hold { .. }) => Some(format!(
            "it is unclear whether ezyVet received the invoice, and ezyVet shows none with this number; a job that waits \
             for approval is not visible to this lookup: search the clinic's job queue for the number, then run \
             `spsi delivery retry {0}` or `spsi delivery cancel {0}`",
            due.id
        )),
        (Lookup::Absent, Decision::StopPolling) => Some(
            "the clinic has not approved the invoice within `SPSI_RECEIPT_GIVE_UP`; the approval is no longer asked for"
                .into(),
        ),
        (Lookup::Absent, Decision::LookAfter { .. }) => Some(
            "it is unclear whether ezyVet received the invoice; ezyVet does not show it yet, and is asked again".into(),
        ),
        _ => None,
    };
    settle(session, due, decision, why, result).await
}

fn read_lookup(result: &CallResult, invoice_number: &str) -> Lookup {
    match &result.exchange.outcome {
        Outcome::Done => match answers::invoices(&result.exchange.body, invoice_number) {
            Some(found) if found.is_empty() => Lookup::Absent,
            Some(found) if found.iter().any(|invoice| invoice.is_active) => Lookup::Active,
            Some(_) => Lookup::Inactive,
            None => Lookup::Failed(Outcome::Unclear { why: "the answer is not a list".into() }),
        },
        other => Lookup::Failed(other.clone()),
    }
}

/// Settles a delivery, and tries again while the database fails. Returns the delivery if its next step is due at once.
async fn settle(
    session: &Session,
    due: DueDelivery,
    decision: Decision,
    why: Option<String>,
    result: Option<CallResult>,
) -> Result<Option<DueDelivery>, StopReason> {
    let give_up_at = session.now() + MAX_SETTLE_TIME;
    loop {
        match settle_once(session, &due, decision, why.as_deref(), result.as_ref()).await {
            Ok(settled) => return Ok(settled),
            Err(StopReason::Database(error)) if session.now() < give_up_at => {
                tracing::warn!(delivery = %due.id, %error, "cannot store the outcome of a call yet");
                session.context.clock.sleep(Duration::from_millis(500)).await;
            }
            Err(StopReason::LeaseLost) => {
                if let Some(result) = &result {
                    record_late_result(session, &due, decision, result).await?;
                }
                return Err(StopReason::LeaseLost);
            }
            Err(reason) => return Err(reason),
        }
    }
}

/// Stores a result that came after the lease was lost, for staff to see. The new holder treats the delivery as unclear; if
/// the call was done, the delivery becomes delivered all the same.
async fn record_late_result(
    session: &Session,
    due: &DueDelivery,
    decision: Decision,
    result: &CallResult,
) -> Result<(), StopReason> {
    let now = session.now();
    let mut transaction = session.context.pool.begin().await?;
    session.finish_in(&mut *transaction, result).await?;
    if decision == Decision::Delivered {
        let (settlement, _) = settlement_for(due, decision, None, now, session.site.settings.receipt_poll.0);
        let marked = store::settle(&mut transaction, due.id, "unclear", Some(due.attempts), &settlement, now).await?;
        if marked {
            events::record_delivery(&mut transaction, now, events::Kind::DeliveryDelivered, due.id).await?;
        }
        tracing::info!(delivery = %due.id, marked, "an answer came after the lease was lost");
    }
    Ok(transaction.commit().await?)
}

async fn settle_once(
    session: &Session,
    due: &DueDelivery,
    decision: Decision,
    why: Option<&str>,
    result: Option<&CallResult>,
) -> Result<Option<DueDelivery>, StopReason> {
    let now = session.now();
    let (settlement, continues) = settlement_for(due, decision, why, now, session.site.settings.receipt_poll.0);
    let mut fenced = session.begin_fenced().await?;
    let transaction = &mut *fenced.transaction;
    if let Some(result) = result {
        session.finish_in(&mut *transaction, result).await?;
    }
    let changed = store::settle(transaction, due.id, &due.state, None, &settlement, now).await?;
    let event = event_for(due, &settlement).filter(|_| changed);
    if let Some(kind) = event {
        events::record_delivery(transaction, now, kind, due.id).await?;
    }
    if let (Decision::Remap, Payload::Supplied(supplied)) = (decision, &due.payload) {
        delete_products(transaction, session.site.id, &supplied.product_ids()).await?;
    }
    if changed && settlement.state == "confirmed" {
        if let (Some(result), Payload::ReceiveInvoice(sent)) = (result, &due.payload) {
            let stored = answers::invoices(&result.exchange.body, &due.invoice_number).unwrap_or_default();
            let differences = compare(sent, &stored);
            if !differences.is_empty() {
                tracing::warn!(delivery = %due.id, ?differences, "ezyVet's invoice differs from the one that was sent");
                store::note_differences(transaction, due.id, &differences).await?;
                events::record_invoice_differs(transaction, now, due.id).await?;
            }
        }
        store::mark_received_if_complete(transaction, due.shipment_id, now).await?;
    }
    fenced.commit().await?;
    if event.is_some() {
        session.context.doorbell.ring();
    }
    // A recheck that found nothing new is not news.
    if changed && (due.state.as_str(), settlement.state) != ("attention", "attention") {
        tracing::info!(delivery = %due.id, site = %session.site.name, invoice = due.invoice_number,
            state = settlement.state, why, "settled a delivery");
        metrics::counter!("spsi_deliveries_settled_total", "state" => settlement.state.to_owned()).increment(1);
    }
    let (state, history) = (settlement.state.to_owned(), settlement.history);
    Ok((changed && continues).then(|| DueDelivery { state, history, ..due.clone() }))
}

/// Returns the event that a settlement records: nothing for a delivery that stays in its state.
fn event_for(due: &DueDelivery, settlement: &Settlement<'_>) -> Option<events::Kind> {
    match settlement.state {
        state if state == due.state => None,
        "delivered" => Some(events::Kind::DeliveryDelivered),
        "confirmed" => Some(events::Kind::DeliveryConfirmed),
        "attention" => Some(events::Kind::DeliveryAttention),
        // Staff must find out whether ezyVet counted the stock, or has the invoice.
        "unclear" if settlement.due_at.is_none() => Some(events::Kind::DeliveryAttention),
        _ => None,
    }
}

/// Returns the new state of a delivery, and whether its next step is due at once.
fn settlement_for<'a>(
    due: &'a DueDelivery,
    decision: Decision,
    why: Option<&'a str>,
    now: OffsetDateTime,
    receipt_poll: Duration,
) -> (Settlement<'a>, bool) {
    let mut history = due.history;
    // The state of a delivery that is tried again: one that could not be mapped stays visible to staff.
    let unsent = if due.state == "attention" { "attention" } else { "waiting" };
    let looked_up = if due.state == "sending" { "waiting" } else { due.state.as_str() };
    let (state, due_in, continues) = match decision {
        Decision::Delivered => {
            (history.failures, history.look_first) = (0, false);
            ("delivered", (due.kind() == Kind::ReceiveInvoice).then_some(receipt_poll), false)
        }
        Decision::Confirmed => ("confirmed", None, false),
        Decision::Retry { after, look_first, counts } => {
            history.failures += u32::from(counts);
            history.look_first = look_first;
            (unsent, Some(after), false)
        }
        Decision::Postpone { after } => (unsent, Some(after), false),
        Decision::Remap => {
            history.remapped_at = Some(now);
            ("waiting", Some(Duration::ZERO), true)
        }
        Decision::LookAfter { after, looks } => {
            (history.looks, history.failures) = (looks, 0);
            ("unclear", Some(after), after.is_zero())
        }
        Decision::RepeatLook { after } => {
            history.failures += 1;
            (looked_up, Some(after), false)
        }
        Decision::Resend => {
            history.resends += u32::from(due.state == "unclear");
            (history.looks, history.look_first) = (0, false);
            ("waiting", Some(Duration::ZERO), true)
        }
        Decision::Hold { look_after } => {
            history.looks += 1;
            ("unclear", look_after, false)
        }
        Decision::Attention => ("attention", None, false),
        Decision::Unmapped { recheck_after } => ("attention", Some(recheck_after), false),
        Decision::Skip => ("skipped", None, false),
        Decision::PollAfter { after } => {
            history.receipt_polls += 1;
            history.failures = if why.is_some() { history.failures + 1 } else { 0 };
            ("delivered", Some(after), false)
        }
        Decision::StopPolling => ("delivered", None, false),
    };
    let resend = (decision == Decision::Resend).then_some("ezyVet does not show the invoice; it is sent again");
    let settlement = Settlement {
        state,
        due_at: due_in.map(|after| now + after),
        history,
        refund_attempt: matches!(decision, Decision::Retry { counts: false, .. }),
        last_error: why.or(resend),
        stale: decision == Decision::StopPolling,
    };
    (settlement, continues)
}

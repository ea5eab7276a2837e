//! One delivery, one step further: send, look, or ask for the approval; then settle as the policy says.
//!
//! A step goes on while something is due at once (an unclear invoice is looked for straight away), and every stage of it is
//! settled before the next begins, so that a crash between them loses nothing.

use super::check::{check, tax_codes};
use super::compare::compare;
use super::map::{self, NotMapped};
use super::payload::{Invoice, Payload, Supplied};
use super::policy::{Found, Kind, Next, Step};
use super::session::{Made, Purpose, Session, Stop};
use super::store::{self, Due, Settled};
use crate::config::{JobEncoding, Switch};
use crate::ezyvet::{JobNames, Outcome, Request, answers};
use std::time::Duration;

/// How long a worker tries to store the outcome of a call while the database is unreachable. After that the lease has
/// expired, and the next holder treats the call as unclear.
const MAX_SETTLE_TIME: Duration = Duration::from_secs(60);

/// Takes a due delivery as far as it goes now.
pub(super) async fn step(session: &Session, mut due: Due) -> Result<(), Stop> {
    while let Some(advanced) = advance(session, due).await? {
        if session.is_over() {
            return Ok(());
        }
        due = advanced;
    }
    Ok(())
}

fn what(due: &Due) -> Step {
    match (due.state.as_str(), due.kind()) {
        ("delivered", _) => Step::Receipt,
        ("unclear", _) => Step::Look,
        (_, Kind::ReceiveInvoice) if due.history.look_first => Step::Look,
        _ => Step::Send,
    }
}

async fn advance(session: &Session, due: Due) -> Result<Option<Due>, Stop> {
    match (what(&due), due.payload.clone()) {
        (Step::Send, Payload::ReceiveInvoice(invoice)) => send_invoice(session, due, &invoice).await,
        (Step::Send, Payload::Supplied(supplied)) => send_supplied(session, due, &supplied).await,
        (Step::Look | Step::Receipt, Payload::ReceiveInvoice(_)) => look(session, due).await,
        // An unclear `supplied` is never due by itself.
        (Step::Look | Step::Receipt, Payload::Supplied(_)) => {
            settle(session, due, Next::Hold { look_after: None }, None, None).await
        }
    }
}

/// The call that sends an invoice, as the site is set now.
pub(super) fn invoice_request(invoice: &Invoice, settings: &crate::config::SiteSettings) -> Result<Request, String> {
    let names = JobNames {
        job_type: &settings.job_type,
        action: &settings.job_action,
        endpoint: &settings.job_endpoint,
        encoding: settings.job_encoding,
    };
    let fields = names.wrap(invoice.body()).count_fields();
    let most = settings.max_form_fields as usize;
    if names.encoding == JobEncoding::Form && most > 0 && fields > most {
        return Err(format!(
            "the job has {fields} form fields and the site takes {most}; PHP would drop the rest without a word: \
             spsi site set SITE job_encoding=json, or max_form_fields to what the site really takes, then retry"
        ));
    }
    Ok(Request::job(&names, invoice.body()))
}

async fn send_invoice(session: &Session, mut due: Due, invoice: &Invoice) -> Result<Option<Due>, Stop> {
    if session.site.settings.check_invoices == Switch::On {
        let known = store::find_known(&session.parts.pool, &due).await?;
        let flaws = check(invoice, &known, &tax_codes(&session.site.settings.known_tax_codes));
        if !flaws.is_empty() {
            let flaws: Vec<_> = flaws.iter().map(ToString::to_string).collect();
            let why = format!(
                "not sent, because practice systems refuse it: {}; to send it all the same: \
                 spsi site set {} check_invoices=off, then spsi delivery retry {}",
                flaws.join("; "),
                session.site.id,
                due.id
            );
            return settle(session, due, Next::Attention, Some(why), None).await;
        }
    }
    let request = match invoice_request(invoice, &session.site.settings) {
        Ok(request) => request,
        Err(why) => return settle(session, due, Next::Attention, Some(why), None).await,
    };
    let sent = send(session, &mut due, &request).await?;
    settle_sent(session, due, sent).await
}

async fn send_supplied(session: &Session, mut due: Due, supplied: &Supplied) -> Result<Option<Due>, Stop> {
    if let Some(since) = session.inventory_absent().await {
        let later = session.site.settings.inventory_recheck;
        let why =
            format!("the site has not granted the inventory scopes since {since}; it is asked again {later} later");
        return settle(session, due, Next::Skip, Some(why), None).await;
    }
    let mapped = match map::resolve(session, &mut due, supplied).await {
        Ok(mapped) => mapped,
        Err(NotMapped::Stop(Stop::NoToken(outcome))) => return no_token(session, due, outcome).await,
        Err(NotMapped::Stop(stop)) => return Err(stop),
        Err(NotMapped::Unknown(why)) => return settle(session, due, Next::Attention, Some(why), None).await,
        Err(NotMapped::Call(endpoint, outcome)) => {
            let why = format!("looking up uids ({endpoint}): {outcome}");
            let after = session.policy().backoff(due.history.failures, session.jitter());
            let next = match outcome {
                Outcome::Forbidden { .. } if endpoint.is_inventory() => {
                    session.note_inventory(false).await;
                    Next::Skip
                }
                Outcome::Forbidden { .. } | Outcome::Refused { .. } => Next::Attention,
                Outcome::RateLimited { reset } => {
                    Next::Retry { after: reset.unwrap_or(after), look_first: false, spent: true }
                }
                _ => Next::Retry { after, look_first: false, spent: true },
            };
            return settle(session, due, next, Some(why), None).await;
        }
    };
    let body = supplied.body(|product_id| mapped.product_uids.get(product_id).map_or("", String::as_str));
    let request = Request::supplied(&mapped.location_uid, &body);
    let sent = send(session, &mut due, &request).await?;
    settle_sent(session, due, sent).await
}

enum Sent {
    Made(Made),
    NoToken(Outcome),
}

async fn send(session: &Session, due: &mut Due, request: &Request) -> Result<Sent, Stop> {
    match session.call(due, Purpose::Send, request).await {
        Ok(made) => Ok(Sent::Made(made)),
        Err(Stop::NoToken(outcome)) => Ok(Sent::NoToken(outcome)),
        Err(stop) => Err(stop),
    }
}

async fn settle_sent(session: &Session, due: Due, sent: Sent) -> Result<Option<Due>, Stop> {
    let made = match sent {
        Sent::Made(made) => made,
        Sent::NoToken(outcome) => return no_token(session, due, outcome).await,
    };
    let outcome = &made.exchange.outcome;
    if due.kind() == Kind::Supplied && matches!(outcome, Outcome::Done | Outcome::Forbidden { .. }) {
        session.note_inventory(*outcome == Outcome::Done).await;
    }
    let next = session.policy().after_send(due.kind(), outcome, &due.history, session.jitter());
    let why = (*outcome != Outcome::Done).then(|| outcome.to_string());
    settle(session, due, next, why, Some(made)).await
}

/// Without a token nothing left: certain, and tried again.
async fn no_token(session: &Session, due: Due, outcome: Outcome) -> Result<Option<Due>, Stop> {
    let why = format!("no token for the site: {outcome}; see: spsi site test {}", session.site.id);
    let unsent = Outcome::NeverSent { why: String::new() };
    let next = session.policy().after_send(due.kind(), &unsent, &due.history, session.jitter());
    settle(session, due, next, Some(why), None).await
}

async fn look(session: &Session, mut due: Due) -> Result<Option<Due>, Stop> {
    let receipt = what(&due) == Step::Receipt;
    let purpose = if receipt { Purpose::Receipt } else { Purpose::Look };
    let request = Request::find_invoice(&due.invoice_number);
    let (found, made) = match session.call(&mut due, purpose, &request).await {
        Ok(made) => (read_found(&made, &due.invoice_number), Some(made)),
        Err(Stop::NoToken(outcome)) => {
            (Found::NotKnown(Outcome::NeverSent { why: format!("no token: {outcome}") }), None)
        }
        Err(stop) => return Err(stop),
    };
    let policy = session.policy();
    let next = if receipt {
        let age = due.delivered_at.map_or(Duration::ZERO, |at| (session.now() - at).unsigned_abs());
        policy.after_receipt(&found, &due.history, age, session.jitter())
    } else {
        policy.after_look(&found, due.state == "unclear", &due.history, session.jitter())
    };
    let why = match (&found, next) {
        (Found::NotKnown(outcome), _) => Some(format!("looking for the invoice: {outcome}")),
        (Found::Inactive, _) => {
            Some("the invoice is in ezyVet, but not active: it was deleted or rejected there".into())
        }
        (Found::Absent, Next::Hold { .. }) => Some(format!(
            "it is unclear whether ezyVet got it, and no invoice with this number is there yet; a job that waits for \
             approval cannot be seen from here: look at the clinic's job queue, then spsi delivery retry {0}, \
             or spsi delivery cancel {0}",
            due.id
        )),
        (Found::Absent, Next::StopPolling) => {
            Some("the clinic has not approved the invoice; no longer asked for".into())
        }
        (Found::Absent, Next::LookAfter { .. }) => {
            Some("it is unclear whether ezyVet got it; not found yet, looked for again".into())
        }
        _ => None,
    };
    settle(session, due, next, why, made).await
}

fn read_found(made: &Made, invoice_number: &str) -> Found {
    match &made.exchange.outcome {
        Outcome::Done => match answers::invoices(&made.exchange.body, invoice_number) {
            Some(found) if found.is_empty() => Found::Absent,
            Some(found) if found.iter().any(|invoice| invoice.active) => Found::Active,
            Some(_) => Found::Inactive,
            None => Found::NotKnown(Outcome::Unclear { why: "the answer is not a list".into() }),
        },
        other => Found::NotKnown(other.clone()),
    }
}

/// Settles, however long the database takes. Gives the delivery where it goes on at once.
async fn settle(
    session: &Session,
    due: Due,
    next: Next,
    why: Option<String>,
    made: Option<Made>,
) -> Result<Option<Due>, Stop> {
    let patient_until = session.now() + MAX_SETTLE_TIME;
    loop {
        match settle_once(session, &due, next, why.as_deref(), made.as_ref()).await {
            Ok(settled) => return Ok(settled),
            Err(Stop::Database(error)) if session.now() < patient_until => {
                tracing::warn!(delivery = %due.id, %error, "an outcome could not be written down yet");
                session.parts.clock.sleep(Duration::from_millis(500)).await;
            }
            Err(Stop::Lost) => {
                if let Some(made) = &made {
                    learnt_late(session, &due, next, made).await?;
                }
                return Err(Stop::Lost);
            }
            Err(stop) => return Err(stop),
        }
    }
}

/// Whoever holds the site now treats the delivery as unclear. What we learnt is kept for staff; and that the call was
/// done is true whoever holds the site.
async fn learnt_late(session: &Session, due: &Due, next: Next, made: &Made) -> Result<(), Stop> {
    let now = session.now();
    let mut transaction = session.parts.pool.begin().await?;
    session.finish_in(&mut transaction, made).await?;
    if next == Next::Delivered {
        let (settled, _) = apply(due, next, None, now, session.policy().receipt_poll);
        let known = store::arrived_late(&mut transaction, due, settled.due_at, now).await?;
        tracing::info!(delivery = %due.id, known, "an answer came after the lease was lost");
    }
    Ok(transaction.commit().await?)
}

async fn settle_once(
    session: &Session,
    due: &Due,
    next: Next,
    why: Option<&str>,
    made: Option<&Made>,
) -> Result<Option<Due>, Stop> {
    if let (Next::RefreshMap, Payload::Supplied(supplied)) = (next, &due.payload) {
        map::forget(session, supplied).await?;
    }
    let now = session.now();
    let (settled, at_once) = apply(due, next, why, now, session.policy().receipt_poll);
    let mut transaction = session.fenced().await?;
    if let Some(made) = made {
        session.finish_in(&mut transaction, made).await?;
    }
    let changed = store::settle(&mut transaction, due.id, &due.state, &settled, now).await?;
    if let (true, "confirmed", Some(made), Payload::ReceiveInvoice(sent)) = (changed, settled.state, made, &due.payload)
    {
        let held = answers::invoices(&made.exchange.body, &due.invoice_number).unwrap_or_default();
        let differences = compare(sent, &held);
        if !differences.is_empty() {
            tracing::warn!(delivery = %due.id, ?differences, "ezyVet holds another invoice than we sent");
            store::note_differences(&mut transaction, due.id, &differences).await?;
        }
    }
    if changed && settled.state == "confirmed" {
        store::receive_if_complete(&mut transaction, due.shipment_id, now).await?;
    }
    transaction.commit().await?;
    if changed {
        tracing::info!(delivery = %due.id, site = %session.site.name, invoice = due.invoice_number, state = settled.state,
            why, "a delivery went on");
        metrics::counter!("spsi_deliveries_settled_total", "state" => settled.state.to_owned()).increment(1);
    }
    let (state, history) = (settled.state.to_owned(), settled.history);
    Ok((changed && at_once).then(|| Due { state, history, ..due.clone() }))
}

/// What a delivery becomes, and whether it goes on at once.
fn apply<'a>(
    due: &'a Due,
    next: Next,
    why: Option<&'a str>,
    now: time::OffsetDateTime,
    receipt_poll: Duration,
) -> (Settled<'a>, bool) {
    let mut history = due.history;
    // What a look is about: an unclear delivery, or one that waits to be sent again.
    let looked_at = if due.state == "sending" { "waiting" } else { due.state.as_str() };
    let (state, due_in, refund, at_once) = match next {
        Next::Delivered => {
            history.failures = 0;
            history.look_first = false;
            ("delivered", (due.kind() == Kind::ReceiveInvoice).then_some(receipt_poll), false, false)
        }
        Next::Confirmed => ("confirmed", None, false, false),
        Next::Retry { after, look_first, spent } => {
            history.failures += u32::from(spent);
            history.look_first = look_first;
            ("waiting", Some(after), !spent, false)
        }
        Next::RefreshMap => {
            history.map_refreshed = true;
            ("waiting", Some(Duration::ZERO), false, true)
        }
        Next::LookAfter { after, looks } => {
            history.looks = looks;
            history.failures = 0;
            ("unclear", Some(after), false, after.is_zero())
        }
        Next::RepeatLook { after } => {
            history.failures += 1;
            (looked_at, Some(after), false, false)
        }
        Next::Resend => {
            history.resends += u32::from(due.state == "unclear");
            history.looks = 0;
            history.look_first = false;
            ("waiting", Some(Duration::ZERO), false, true)
        }
        Next::Hold { look_after } => {
            history.looks += 1;
            ("unclear", look_after, false, false)
        }
        Next::Attention => ("attention", None, false, false),
        Next::Skip => ("skipped", None, false, false),
        Next::PollAfter { after } => {
            history.receipt_polls += 1;
            history.failures = if why.is_some() { history.failures + 1 } else { 0 };
            ("delivered", Some(after), false, false)
        }
        Next::StopPolling => ("delivered", None, false, false),
    };
    let keep_error = matches!(next, Next::Resend).then_some("it was not found in ezyVet and is sent again");
    (
        Settled {
            state,
            due_at: due_in.map(|after| now + after),
            history,
            refund,
            last_error: why.or(keep_error),
            stale: next == Next::StopPolling,
        },
        at_once,
    )
}

//! The ezyVet half: which endpoint answers a call, under which scope, after which fault.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    clock::Millis,
    event::EventKind,
    exchange::masked,
    faults::{Endpoint, Kind},
    rate::Verdict,
    wire::{self, Answer, Request},
    world::{Call, World},
};

/// How much of a body the log keeps, in letters.
const BODY_KEPT: usize = 4000;
/// How much of an answer the log keeps, in letters.
const ANSWER_KEPT: usize = 1000;

/// How an answer travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transfer {
    /// As it should.
    Whole,
    /// Not at all; the connection is cut.
    Cut,
    /// Never.
    Hang,
    /// As text that is not JSON.
    Garbled,
    /// With this many megabytes.
    Huge(u32),
}

/// An answer with the way it travels.
#[derive(Clone, Debug)]
pub struct Served {
    /// The answer.
    pub answer: Answer,
    /// How long it is held back.
    pub delay: Option<Duration>,
    /// How it travels.
    pub transfer: Transfer,
}

/// Which endpoint a path belongs to, and which methods it has.
fn endpoint_of(path: &str) -> (Endpoint, &'static [&'static str]) {
    match path {
        "/oauth/token" | "/v1/oauth/access_token" => (Endpoint::Token, &["POST"]),
        "/v2/jobqueue" => (Endpoint::JobQueue, &["GET", "POST"]),
        "/v2/receiveinvoice" => (Endpoint::ReceiveInvoice, &["GET"]),
        "/v1/separation" | "/v2/separation" => (Endpoint::Separation, &["GET"]),
        "/v2/product" => (Endpoint::Product, &["GET"]),
        "/v2/productsupplier" => (Endpoint::ProductSupplier, &["GET"]),
        "/inventory/v1/products" => (Endpoint::Products, &["GET"]),
        "/inventory/v1/requirements" => (Endpoint::Requirements, &["GET"]),
        "/inventory/v1/supplied" => (Endpoint::Supplied, &["POST"]),
        path if path.strip_prefix("/v2/product/").is_some_and(|id| !id.is_empty() && !id.contains('/')) => {
            (Endpoint::Product, &["GET"])
        }
        _ => (Endpoint::Unknown, &[]),
    }
}

impl World {
    /// Answers one call to the ezyVet half.
    pub fn serve(&mut self, now: Millis, request: &Request) -> Served {
        self.tick(now);
        let (endpoint, methods) = endpoint_of(&request.path);
        let about = self.about(endpoint, request);
        let faults = self.faults.take(endpoint, &about, &mut self.chance);
        let mut served = Served { answer: Answer::json(200, Value::Null), delay: None, transfer: Transfer::Whole };
        let mut instead = None;
        let mut status_after = None;
        for fault in &faults {
            match fault {
                Kind::Delay(span) => served.delay = Some(served.delay.unwrap_or_default() + *span),
                Kind::TokenKilled => drop(self.kill_tokens()),
                Kind::CutBefore => (served.transfer, instead) = (Transfer::Cut, Some(Answer::json(0, Value::Null))),
                Kind::Hang => (served.transfer, instead) = (Transfer::Hang, Some(Answer::json(0, Value::Null))),
                Kind::CutAfter => served.transfer = Transfer::Cut,
                Kind::BadJson => served.transfer = Transfer::Garbled,
                Kind::HugeBody(size) => served.transfer = Transfer::Huge(*size),
                Kind::StatusAfter(status) => status_after = Some(*status),
                Kind::Status(status) => {
                    instead =
                        Some(Answer::error(*status, "InjectedException", format!("Injected fault: status {status}")))
                }
                Kind::ErrorIn200 => {
                    instead = Some(Answer::json(
                        200,
                        json!({"items": [], "messages": [{"level": "error", "type": "InjectedException", "text": "Injected fault: the request was not carried out", "fields": []}]}),
                    ));
                }
                Kind::NoInventory => {
                    instead = Some(Answer::error(
                        403,
                        "AuthorizationException",
                        "The access token lacks the scope inventory-management",
                    ))
                }
                Kind::Redirect => instead = Some(Answer::json(307, Value::Null).with("location", "/elsewhere")),
                Kind::RateLimit => {
                    let verdict = self.rates.exhaust(self.settings.limits, endpoint, now);
                    instead = Some(limited(Answer::error(429, "TooManyRequests", "Too many requests"), verdict));
                }
            }
        }
        let injected = instead.is_some();
        let verdict = if injected { None } else { Some(self.rates.count(self.settings.limits, endpoint, now)) };
        served.answer = match (instead, verdict) {
            (Some(answer), _) => answer,
            (None, Some(verdict)) if !verdict.allowed => {
                self.event(
                    now,
                    EventKind::RateLimitProvoked,
                    format!("{} {} beyond {} calls in a window", request.method, request.path, verdict.limit),
                );
                Answer::error(429, "TooManyRequests", "Too many requests")
            }
            _ => self.route(now, request, endpoint, methods),
        };
        if let Some(status) = status_after {
            served.answer =
                Answer::error(status, "InjectedException", format!("Injected fault: carried out, answered {status}"));
        }
        if let Some(verdict) = verdict
            .or_else(|| (!is_limited(&served.answer)).then(|| self.rates.count(self.settings.limits, endpoint, now)))
        {
            served.answer = limited(served.answer, verdict);
        }
        self.write_log(now, request, endpoint, &served, &faults);
        served
    }

    fn write_log(&mut self, now: Millis, request: &Request, endpoint: Endpoint, served: &Served, faults: &[Kind]) {
        let answered = !matches!(served.transfer, Transfer::Cut | Transfer::Hang);
        let query = if request.query.is_empty() { String::new() } else { format!("?{}", request.query) };
        let body = if endpoint == Endpoint::Token {
            "(masked)".into()
        } else {
            String::from_utf8_lossy(&request.body).chars().take(BODY_KEPT).collect()
        };
        self.log(Call {
            at: now,
            endpoint: endpoint.name().into(),
            method: request.method.clone(),
            target: format!("{}{query}", request.path),
            body,
            status: if answered { served.answer.status } else { 0 },
            answer: if answered {
                masked(&served.answer.value()).to_string().chars().take(ANSWER_KEPT).collect()
            } else {
                String::new()
            },
            fault: (!faults.is_empty()).then(|| format!("{faults:?}")),
        });
    }

    fn route(&mut self, now: Millis, request: &Request, endpoint: Endpoint, methods: &[&str]) -> Answer {
        if endpoint == Endpoint::Unknown {
            let kind = if request.path == "/elsewhere" { EventKind::RedirectFollowed } else { EventKind::UnknownRoute };
            self.event(now, kind, format!("{} {}", request.method, request.path));
            return Answer::error(403, "AuthorizationException", "This endpoint does not exist or is not allowed");
        }
        if !methods.contains(&request.method.as_str()) {
            self.event(now, EventKind::WrongMethod, format!("{} {}", request.method, request.path));
            return Answer::error(405, "MethodNotAllowed", "Method not allowed").with("allow", methods.join(", "));
        }
        if endpoint == Endpoint::Token {
            return self.issue_token(now, request);
        }
        let scopes: &[&str] = match endpoint {
            Endpoint::JobQueue if request.method == "POST" => &["write-jobqueue"],
            Endpoint::ReceiveInvoice => &["read-receiveinvoice"],
            Endpoint::Separation => &["read-separation"],
            Endpoint::Product => &["read-product", "read-productsupplier", "inventory-management"],
            Endpoint::ProductSupplier => &["read-productsupplier"],
            Endpoint::Products | Endpoint::Requirements | Endpoint::Supplied => &["inventory-management"],
            _ => &[],
        };
        if let Err(refused) = self.authorise(now, request, scopes) {
            return refused;
        }
        let scalars = self.settings.scalars;
        match endpoint {
            Endpoint::JobQueue if request.method == "POST" => {
                match self.authorise(now, request, &["write-receiveinvoice"]) {
                    Ok(()) => self.queue(now, request),
                    Err(refused) => refused,
                }
            }
            Endpoint::JobQueue => {
                let jobs = self.jobs.iter().map(|job| self.job_item(job)).collect();
                wire::items_answer(request, scalars, "jobqueue", jobs)
            }
            Endpoint::ReceiveInvoice => {
                // The usual look-up is for one number among thousands; the others need not be written out first.
                let number = request.parameter("invoice_number");
                let asked = |sent: &str| number.as_ref().is_none_or(|number| number.eq_ignore_ascii_case(sent));
                let chosen = self.invoices.iter().filter(|invoice| asked(&invoice.draft.invoice_number));
                let invoices = chosen.map(|invoice| invoice.as_item(scalars)).collect();
                self.filtered(
                    now,
                    request,
                    "receiveinvoice",
                    &["invoice_number", "supplier_id", "date", "ownership_id", "modified_at", "active", "id"],
                    invoices,
                )
            }
            Endpoint::Separation => self.separation_items(now, request),
            Endpoint::Product => {
                let id = request.path.strip_prefix("/v2/product/").map(str::to_owned);
                let chosen =
                    self.products.iter().filter(|product| id.as_ref().is_none_or(|id| product.id.to_string() == *id));
                let items: Vec<_> = chosen.map(|product| product.as_product(scalars)).collect();
                if let Some(id) = id.filter(|_| items.is_empty()) {
                    self.event(now, EventKind::UnknownRecord, format!("product {id}"));
                }
                self.filtered(now, request, "product", &["id", "code", "name", "active"], items)
            }
            Endpoint::ProductSupplier => {
                let items = self.products.iter().map(|product| product.as_product_supplier(scalars)).collect();
                self.filtered(
                    now,
                    request,
                    "productsupplier",
                    &["id", "product_id", "supplier_contact_id", "supplier_code", "active"],
                    items,
                )
            }
            Endpoint::Products => {
                let items: Vec<_> = self.products.iter().map(|product| product.as_inventory_product(scalars)).collect();
                wire::data_answer(request, scalars, &items)
            }
            Endpoint::Requirements => self.requirements(now, request),
            Endpoint::Supplied => self.take_supplied(now, request),
            Endpoint::Token | Endpoint::Unknown => Answer::error(500, "ServerError", "unreachable"),
        }
    }
}

/// Whether an answer carries the headers already.
fn is_limited(answer: &Answer) -> bool {
    answer.headers.iter().any(|(name, _)| *name == "x-ratelimit-limit")
}

fn limited(answer: Answer, verdict: Verdict) -> Answer {
    answer
        .with("x-ratelimit-limit", verdict.limit.to_string())
        .with("x-ratelimit-remaining", verdict.remaining.to_string())
        .with("x-ratelimit-reset", verdict.reset.to_string())
}

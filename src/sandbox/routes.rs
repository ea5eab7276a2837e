//! The routes of the ezyVet half: the endpoint of each path, its scopes, and the faults that strike it.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    call_orders::orders_of_call,
    clock::Millis,
    event::{Call, EventKind, Refusal},
    exchange::masked,
    faults::{Endpoint, Kind},
    inventory,
    lists::{data_answer, filtered, items_answer},
    token,
    wire::{Answer, Request},
    world::World,
};

/// Characters of a request body that the log keeps.
const MAX_LOGGED_BODY: usize = 4000;
/// Characters of an answer that the log keeps.
const MAX_LOGGED_ANSWER: usize = 1000;
/// Target of the `redirect` fault.
const REDIRECT_TARGET: &str = "/elsewhere";

/// How an answer is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transfer {
    /// Completely.
    Whole,
    /// Not at all: the connection is cut.
    Cut,
    /// Never: the connection stays open.
    Hang,
    /// As text that is not JSON.
    Garbled,
    /// With this many megabytes of padding.
    Huge(u32),
}

/// An answer, and how it is sent.
#[derive(Clone, Debug)]
pub struct Served {
    /// The answer.
    pub answer: Answer,
    /// Delay before it is sent.
    pub delay: Option<Duration>,
    /// How it is sent.
    pub transfer: Transfer,
}

/// Returns the endpoint of a path and its methods.
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

/// Answers one call to the ezyVet half.
pub(super) fn serve(world: &mut World, now: Millis, request: &Request) -> Served {
    world.tick(now);
    let (endpoint, methods) = endpoint_of(&request.path);
    let orders = orders_of_call(world, endpoint, request);
    let faults = world.faults.take(endpoint, &orders, &mut world.chance);
    let (mut delay, mut transfer) = (None, Transfer::Whole);
    for fault in &faults {
        match fault {
            Kind::Delay(span) => delay = Some(delay.unwrap_or_default() + *span),
            Kind::TokenKilled => drop(world.kill_tokens()),
            Kind::CutBefore | Kind::CutAfter => transfer = Transfer::Cut,
            Kind::Hang => transfer = Transfer::Hang,
            Kind::BadJson => transfer = Transfer::Garbled,
            Kind::HugeBody(megabytes) => transfer = Transfer::Huge(*megabytes),
            _ => {}
        }
    }
    let limits = world.options.limits();
    let verdict = if faults.contains(&Kind::RateLimit) {
        world.rates.exhaust(limits, endpoint, now)
    } else {
        world.rates.count(limits, endpoint, now)
    };
    let mut answer = match faults.iter().find_map(answer_instead) {
        Some(answer) => answer,
        None if !verdict.allowed => {
            let text = format!("{} {} beyond {} calls in a window", request.method, request.path, verdict.limit);
            world.record_event(now, EventKind::RateLimitProvoked, text);
            too_many_requests()
        }
        None => {
            let outcome = route(world, now, request, endpoint, methods);
            world.settle(now, outcome)
        }
    };
    if let Some(Kind::StatusAfter(status)) = faults.iter().find(|fault| matches!(fault, Kind::StatusAfter(_))) {
        let text = format!("Injected fault: carried out, answered {status}");
        answer = Answer::error(*status, "InjectedException", text);
    }
    let answer = answer
        .with("x-ratelimit-limit", verdict.limit.to_string())
        .with("x-ratelimit-remaining", verdict.remaining.to_string())
        .with("x-ratelimit-reset", verdict.reset.to_string());
    let served = Served { answer, delay, transfer };
    world.log_call(logged(now, request, endpoint, &served, &faults));
    served
}

fn too_many_requests() -> Answer {
    Answer::error(429, "TooManyRequests", "Too many requests")
}

/// Returns the answer of a fault that prevents the call from being carried out; `None` for the other faults.
fn answer_instead(fault: &Kind) -> Option<Answer> {
    match fault {
        Kind::Status(status) => {
            Some(Answer::error(*status, "InjectedException", format!("Injected fault: status {status}")))
        }
        Kind::ErrorIn200 => Some(Answer::json(
            200,
            json!({"items": [], "messages": [{"level": "error", "type": "InjectedException", "text": "Injected fault: the request was not carried out", "fields": []}]}),
        )),
        Kind::NoInventory => {
            let text = "The access token lacks the scope inventory-management";
            Some(Answer::error(403, "AuthorizationException", text))
        }
        Kind::Redirect => Some(Answer::json(307, Value::Null).with("location", REDIRECT_TARGET)),
        Kind::RateLimit => Some(too_many_requests()),
        Kind::CutBefore | Kind::Hang => Some(Answer::json(0, Value::Null)),
        Kind::StatusAfter(_)
        | Kind::Delay(_)
        | Kind::TokenKilled
        | Kind::CutAfter
        | Kind::BadJson
        | Kind::HugeBody(_) => None,
    }
}

fn logged(now: Millis, request: &Request, endpoint: Endpoint, served: &Served, faults: &[Kind]) -> Call {
    let was_answered = !matches!(served.transfer, Transfer::Cut | Transfer::Hang);
    let query = if request.query.is_empty() { String::new() } else { format!("?{}", request.query) };
    let shorten = |text: &str, max: usize| text.chars().take(max).collect::<String>();
    Call {
        at: now,
        endpoint: endpoint.name().into(),
        method: request.method.clone(),
        target: format!("{}{query}", request.path),
        body: match endpoint {
            Endpoint::Token => "(masked)".into(),
            _ => shorten(&String::from_utf8_lossy(&request.body), MAX_LOGGED_BODY),
        },
        status: if was_answered { served.answer.status } else { 0 },
        answer: if was_answered {
            shorten(&masked(&served.answer.value()).to_string(), MAX_LOGGED_ANSWER)
        } else {
            String::new()
        },
        fault: (!faults.is_empty()).then(|| format!("{faults:?}")),
    }
}

fn route(
    world: &mut World,
    now: Millis,
    request: &Request,
    endpoint: Endpoint,
    methods: &[&str],
) -> Result<Answer, Refusal> {
    let call = || format!("{} {}", request.method, request.path);
    if endpoint != Endpoint::Unknown && !methods.contains(&request.method.as_str()) {
        let answer = Answer::error(405, "MethodNotAllowed", "Method not allowed").with("allow", methods.join(", "));
        return Err(Refusal::mistake(EventKind::WrongMethod, call(), answer));
    }
    let scalars = world.options.scalars;
    let require_scope = |world: &World, scopes: &[&str]| token::authorise(&world.tokens, now, request, scopes);
    match endpoint {
        Endpoint::Unknown => {
            let is_redirected = request.path == REDIRECT_TARGET;
            let kind = if is_redirected { EventKind::RedirectFollowed } else { EventKind::UnknownRoute };
            let text = "This endpoint does not exist or is not allowed";
            Err(Refusal::mistake(kind, call(), Answer::error(403, "AuthorizationException", text)))
        }
        Endpoint::Token => world.issue_token(now, request),
        Endpoint::JobQueue if request.method == "POST" => {
            require_scope(world, &["write-jobqueue"])?;
            require_scope(world, &["write-receiveinvoice"])?;
            world.queue(now, request)
        }
        Endpoint::JobQueue => {
            require_scope(world, &[])?;
            let jobs = world.jobs.iter().map(|job| job.as_item(scalars)).collect();
            Ok(items_answer(request, scalars, "jobqueue", jobs)?)
        }
        Endpoint::ReceiveInvoice => {
            require_scope(world, &["read-receiveinvoice"])?;
            // Most look-ups are for one number among thousands: only the JSON of matching invoices is built.
            let number = request.parameter("invoice_number");
            let matches = |other: &str| number.as_ref().is_none_or(|number| number.eq_ignore_ascii_case(other));
            let invoices = world.invoices.iter().filter(|invoice| matches(&invoice.draft.invoice_number));
            let items = invoices.map(|invoice| invoice.as_item(scalars)).collect();
            let filters = ["invoice_number", "supplier_id", "date", "ownership_id", "modified_at", "active", "id"];
            filtered(request, scalars, "receiveinvoice", &filters, items)
        }
        Endpoint::Separation => {
            require_scope(world, &["read-separation"])?;
            let all = &world.separations;
            let items = all.iter().map(|part| part.as_item(all, scalars)).collect();
            let filters = ["id", "uid", "name", "type", "separation_type", "parent", "contact_id", "active"];
            let filters = [&filters[..], &["created_at", "modified_at"]].concat();
            filtered(request, scalars, "separation", &filters, items)
        }
        Endpoint::Product => {
            require_scope(world, &["read-product", "read-productsupplier", "inventory-management"])?;
            let id = request.path.strip_prefix("/v2/product/");
            let products = world.products.iter().filter(|product| id.is_none_or(|id| product.id.to_string() == id));
            let items: Vec<_> = products.map(|product| product.as_product(scalars)).collect();
            if let Some(id) = id.filter(|_| items.is_empty()) {
                world.record_event(now, EventKind::UnknownRecord, format!("product {id}"));
            }
            filtered(request, scalars, "product", &["id", "code", "name", "active"], items)
        }
        Endpoint::ProductSupplier => {
            require_scope(world, &["read-productsupplier"])?;
            let items = world.products.iter().map(|product| product.as_product_supplier(scalars)).collect();
            let filters = ["id", "product_id", "supplier_contact_id", "supplier_code", "active"];
            filtered(request, scalars, "productsupplier", &filters, items)
        }
        Endpoint::Products => {
            require_scope(world, &["inventory-management"])?;
            let items: Vec<_> = world.products.iter().map(|product| product.as_inventory_product(scalars)).collect();
            Ok(data_answer(request, scalars, &items)?)
        }
        Endpoint::Requirements => {
            require_scope(world, &["inventory-management"])?;
            let location = inventory::requested_location(request, &world.separations)?;
            let items = inventory::requirements(location, &world.stock, &world.products, world.open_items(), scalars);
            Ok(data_answer(request, scalars, &items)?)
        }
        Endpoint::Supplied => {
            require_scope(world, &["inventory-management"])?;
            world.supply(now, request)
        }
    }
}

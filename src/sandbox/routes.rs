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
    invoice::Invoice,
    lists::{items_answer, paged},
    product::ClinicProduct,
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
    pub delay: Duration,
    /// How it is sent.
    pub transfer: Transfer,
}

/// Returns the endpoint of a path and its methods.
fn endpoint_of(path: &str) -> (Endpoint, &'static [&'static str]) {
    match path {
        "/oauth/token" | "/v1/oauth/access_token" => (Endpoint::Token, &["POST"]),
        "/v2/jobqueue" => (Endpoint::JobQueue, &["POST"]),
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
    let (mut delay, mut transfer) = (Duration::ZERO, Transfer::Whole);
    for fault in &faults {
        match fault {
            Kind::Delay(span) => delay += *span,
            Kind::TokenKilled => drop(world.kill_tokens()),
            Kind::CutBefore | Kind::CutAfter => transfer = Transfer::Cut,
            Kind::Hang => transfer = Transfer::Hang,
            Kind::BadJson => transfer = Transfer::Garbled,
            Kind::HugeBody(megabytes) => transfer = Transfer::Huge(*megabytes),
            _ => {}
        }
    }
    let limits = world.options.limits;
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
    answer.body = world.options.scalars.write(answer.body);
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
    let text = "Injected fault: the request was not carried out";
    match fault {
        Kind::Status(status) => Some(Answer::error(*status, "InjectedException", text)),
        Kind::ErrorIn200 => {
            let mut answer = Answer::error(200, "InjectedException", text);
            answer.body["items"] = json!([]);
            Some(answer)
        }
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
    let answer = masked(&served.answer.body).to_string();
    Call {
        at: now,
        endpoint: endpoint.name(),
        method: request.method.clone(),
        target: format!("{}{query}", request.path),
        body: match endpoint {
            Endpoint::Token => "(masked)".into(),
            _ => shorten(&String::from_utf8_lossy(&request.body), MAX_LOGGED_BODY),
        },
        status: if was_answered { served.answer.status } else { 0 },
        answer: if was_answered { shorten(&answer, MAX_LOGGED_ANSWER) } else { String::new() },
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
    let require_scope = |world: &World, scopes: &[&str]| token::authorise(&world.tokens, now, request, scopes);
    match endpoint {
        Endpoint::Unknown => {
            let is_redirected = request.path == REDIRECT_TARGET;
            let kind = if is_redirected { EventKind::RedirectFollowed } else { EventKind::UnknownRoute };
            let text = "This endpoint does not exist or is not allowed";
            Err(Refusal::mistake(kind, call(), Answer::error(403, "AuthorizationException", text)))
        }
        Endpoint::Token => token::issue(&mut world.tokens, &world.options, &mut world.chance, now, request),
        Endpoint::JobQueue => {
            require_scope(world, &["write-jobqueue"])?;
            require_scope(world, &["write-receiveinvoice"])?;
            world.queue(now, request)
        }
        Endpoint::ReceiveInvoice => {
            require_scope(world, &["read-receiveinvoice"])?;
            // Most look-ups are for one number among thousands: only the JSON of matching invoices is built.
            let number = request.parameter("invoice_number");
            let matches = |other: &str| number.as_ref().is_none_or(|number| number.eq_ignore_ascii_case(other));
            let invoices = world.invoices.iter().filter(|invoice| matches(&invoice.draft.invoice_number));
            let filters = ["invoice_number", "supplier_id", "date", "ownership_id", "modified_at", "active", "id"];
            items_answer(request, "receiveinvoice", &filters, invoices.map(Invoice::as_item))
        }
        Endpoint::Separation => {
            require_scope(world, &["read-separation"])?;
            let items = world.separations.iter().map(|part| part.as_item(&world.separations));
            let filters = ["id", "uid", "name", "type", "separation_type", "parent", "contact_id", "active"];
            let filters = [&filters[..], &["created_at", "modified_at"]].concat();
            items_answer(request, "separation", &filters, items)
        }
        Endpoint::Product => {
            require_scope(world, &["read-product", "read-productsupplier", "inventory-management"])?;
            let id = request.path.strip_prefix("/v2/product/");
            let products = world.products.iter().filter(|product| id.is_none_or(|id| product.id.to_string() == id));
            let items: Vec<_> = products.map(ClinicProduct::as_product).collect();
            if let Some(id) = id.filter(|_| items.is_empty()) {
                world.record_event(now, EventKind::UnknownRecord, format!("product {id}"));
            }
            items_answer(request, "product", &["id", "code", "name", "active"], items.into_iter())
        }
        Endpoint::ProductSupplier => {
            require_scope(world, &["read-productsupplier"])?;
            let items = world.products.iter().map(ClinicProduct::as_product_supplier);
            let filters = ["id", "product_id", "supplier_contact_id", "supplier_code", "active"];
            items_answer(request, "productsupplier", &filters, items)
        }
        Endpoint::Products => {
            require_scope(world, &["inventory-management"])?;
            paged(request, "data", world.products.iter().map(ClinicProduct::as_inventory_product).collect())
        }
        Endpoint::Requirements => {
            require_scope(world, &["inventory-management"])?;
            let location = inventory::requested_location(request, &world.separations)?;
            let items = inventory::requirements(location, &world.stock, &world.products, world.open_items());
            paged(request, "data", items)
        }
        Endpoint::Supplied => {
            require_scope(world, &["inventory-management"])?;
            world.supply(now, request)
        }
    }
}

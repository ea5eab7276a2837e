//! The control calls under `/_sandbox/`: read the state, decide about jobs, switch faults, and let the clinic call its
//! partner.

use serde_json::{Value, json};

use super::{
    Clinic, ClinicError, Shared,
    clock::Millis,
    exchange::Reply,
    faults::Fault,
    lock,
    order::{OrderLine, PurchaseOrder},
    wire::{Answer, Request, decimal_of, whole_of},
    world::World,
};

/// The control calls, for the answer to an unknown one.
const CALLS: &str = "GET /_sandbox/world jobs orders calls faults finish; POST /_sandbox/jobs/{id}/approve jobs/{id}/reject approve-all kill-token faults order orders/{id}/resend pull; DELETE /_sandbox/faults faults/{id}";

/// Answers `/_sandbox/...`; returns `None` for any other path.
pub(super) async fn answer(shared: &Shared, now: Millis, request: &Request) -> Option<Answer> {
    let parts: Vec<_> = request.path.strip_prefix("/_sandbox/")?.split('/').collect();
    if let ("POST", ["order" | "pull"] | ["orders", _, "resend"]) = (request.method.as_str(), parts.as_slice()) {
        let Some(clinic) = shared.clinic() else {
            let text = "this sandbox has no partner to call; restart it with --partner URL --partner-client-id ID --partner-client-secret SECRET";
            return Some(Answer::error(409, "Conflict", text));
        };
        let body = serde_json::from_slice(&request.body).unwrap_or_default();
        let outcome = match parts.as_slice() {
            ["order"] => order(&clinic, &body).await,
            ["pull"] => pull(&clinic, &body).await,
            _ => resend(&clinic, shared, parts[1]).await,
        };
        return Some(outcome.unwrap_or_else(|error| {
            Answer::json(502, json!({"messages": [error.reason], "exchange": error.exchange}))
        }));
    }
    let world = &mut lock(&shared.world);
    world.tick(now);
    Some(match (request.method.as_str(), parts.as_slice()) {
        ("GET", ["world"]) => Answer::json(200, world.view()),
        ("GET", ["jobs"]) => Answer::json(200, json!(world.jobs)),
        ("GET", ["orders"]) => Answer::json(200, json!(world.orders)),
        ("GET", ["calls"]) => Answer::json(200, json!(world.calls)),
        ("GET", ["faults"]) => Answer::json(200, world.faults.as_json()),
        ("GET", ["finish"]) => match world.finish() {
            Ok(()) => Answer::json(200, json!({"good": true, "unexpected": []})),
            Err(events) => Answer::json(409, json!({"good": false, "unexpected": events})),
        },
        ("POST", ["jobs", id, verb @ ("approve" | "reject")]) => decide_job(world, now, id, verb),
        ("POST", ["approve-all"]) => Answer::json(200, json!({"approved": world.approve_all(now)})),
        ("POST", ["kill-token"]) => Answer::json(200, json!({"killed": world.kill_tokens()})),
        ("POST", ["faults"]) => add_faults(world, &request.body),
        ("DELETE", ["faults"]) => {
            world.faults.clear();
            Answer::json(200, json!([]))
        }
        ("DELETE", ["faults", id]) if id.parse().is_ok_and(|id| world.faults.remove(id)) => {
            Answer::json(200, world.faults.as_json())
        }
        ("DELETE", ["faults", id]) => {
            Answer::error(404, "NotFound", format!("there is no fault {id}; GET /_sandbox/faults lists them"))
        }
        (method, _) => {
            let text = format!("no such control call: {method} {}; the control calls are: {CALLS}", request.path);
            Answer::error(404, "NotFound", text)
        }
    })
}

fn decide_job(world: &mut World, now: Millis, id: &str, verb: &str) -> Answer {
    let Ok(number) = id.parse() else { return Answer::error(404, "NotFound", format!("there is no job {id}")) };
    let outcome =
        if verb == "approve" { world.approve(now, number).map(Some) } else { world.reject(now, number).map(|()| None) };
    match outcome {
        Ok(invoice) => Answer::json(200, json!({"job": number, "invoice": invoice})),
        Err(reason) => Answer::error(409, "Conflict", reason),
    }
}

/// Adds faults from a body that is plain text, `"..."`, `["...", ...]` or `{"fault": "..."}`.
fn add_faults(world: &mut World, body: &[u8]) -> Answer {
    let texts = match serde_json::from_slice::<Value>(body) {
        Ok(Value::String(one)) => vec![one],
        Ok(Value::Array(list)) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Ok(Value::Object(map)) => map.get("fault").and_then(Value::as_str).map(str::to_owned).into_iter().collect(),
        _ => vec![String::from_utf8_lossy(body).trim().to_owned()],
    };
    match texts.iter().map(|text| text.parse::<Fault>()).collect::<Result<Vec<_>, _>>() {
        Ok(faults) if !faults.is_empty() => {
            for fault in faults {
                world.faults.add(fault);
            }
            Answer::json(200, world.faults.as_json())
        }
        Ok(_) => Answer::error(400, "BadRequest", "send a fault such as status:jobqueue=503x2"),
        Err(reason) => Answer::error(400, "BadRequest", reason),
    }
}

/// Serves `POST /_sandbox/order`: `{"lines": [{"code": "A", "outers": 2, "location": 3}], "comments": "..."}`.
async fn order(clinic: &Clinic, body: &Value) -> Result<Answer, ClinicError> {
    let lines = body["lines"].as_array().into_iter().flatten().map(|line| {
        let location = whole_of(&line["location"]).and_then(|location| location.try_into().ok()).unwrap_or(3);
        Some(OrderLine { code: line["code"].as_str()?.to_owned(), outers: decimal_of(&line["outers"])?, location })
    });
    let Some(lines) = lines.collect::<Option<Vec<_>>>().filter(|lines| !lines.is_empty()) else {
        let text = "send at least one line: {\"lines\": [{\"code\": \"A\", \"outers\": 2, \"location\": 3}]}";
        return Ok(Answer::error(400, "BadRequest", text));
    };
    clinic.send_order(&lines, body["comments"].as_str().unwrap_or_default()).await.map(order_answer)
}

/// Serves `POST /_sandbox/orders/{id}/resend`: sends the same body again, as ezyVet may do after a timeout.
async fn resend(clinic: &Clinic, shared: &Shared, id: &str) -> Result<Answer, ClinicError> {
    let order = lock(&shared.world).orders.iter().find(|order| order.id.to_string() == id).cloned();
    match order {
        Some(order) => clinic.resend(&order).await.map(order_answer),
        None => {
            let text = format!("there is no order {id}; GET /_sandbox/orders lists them");
            Ok(Answer::error(404, "NotFound", text))
        }
    }
}

fn order_answer(Reply { value: order, exchange }: Reply<PurchaseOrder>) -> Answer {
    let (number, reasons) = (&order.supplier_order_number, &order.reasons);
    let body = json!({"order": order, "supplier_order_number": number, "reasons": reasons, "exchange": exchange});
    Answer::json(200, body)
}

/// Serves `POST /_sandbox/pull`: `{"page_size": 200}`; without a page size, the whole catalogue in one answer.
async fn pull(clinic: &Clinic, body: &Value) -> Result<Answer, ClinicError> {
    let page_size = whole_of(&body["page_size"]).and_then(|size| usize::try_from(size).ok()).filter(|size| *size > 0);
    let pull = clinic.pull_catalogue(page_size).await?;
    Ok(Answer::json(200, json!({"summary": pull.summary, "pages": pull.exchanges.len()})))
}

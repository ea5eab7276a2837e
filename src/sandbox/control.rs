//! The control calls under `/_sandbox/`: read the state, decide about jobs, switch faults; and the page at `/`.

use serde_json::{Value, json};

use super::{
    clock::Millis,
    faults::Fault,
    page,
    wire::{Answer, Body, Request},
    world::World,
};

/// The control calls, for the answer to an unknown one.
const CALLS: &str = "GET /_sandbox/world jobs orders calls faults finish; POST /_sandbox/jobs/{id}/approve jobs/{id}/reject approve-all kill-token faults order orders/{id}/resend pull; DELETE /_sandbox/faults faults/{id}";

/// Answers `/`, the favicon and `/_sandbox/...`; returns `None` for the ezyVet half.
pub(super) fn answer(world: &mut World, now: Millis, request: &Request) -> Option<Answer> {
    if request.path == "/" {
        world.tick(now);
        return Some(Answer { status: 200, headers: Vec::new(), body: Body::Html(page::render(world, now)) });
    }
    if request.path == "/favicon.ico" {
        return Some(Answer { status: 204, headers: Vec::new(), body: Body::Empty });
    }
    let path = request.path.strip_prefix("/_sandbox/")?;
    world.tick(now);
    let parts: Vec<_> = path.split('/').collect();
    let answer = match (request.method.as_str(), parts.as_slice()) {
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
        ("DELETE", ["faults", id]) => {
            if id.parse().is_ok_and(|id| world.faults.remove(id)) {
                Answer::json(200, world.faults.as_json())
            } else {
                Answer::error(404, "NotFound", format!("there is no fault {id}; GET /_sandbox/faults lists them"))
            }
        }
        (method, _) => {
            let text = format!("no such control call: {method} {}; the control calls are: {CALLS}", request.path);
            Answer::error(404, "NotFound", text)
        }
    };
    // A button on the page sends a form and expects the page again.
    let is_from_page = request.method == "POST" && request.accept.contains("text/html") && answer.status < 300;
    Some(if is_from_page {
        Answer { status: 303, headers: vec![("location", "/".into())], body: Body::Empty }
    } else {
        answer
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

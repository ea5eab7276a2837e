//! The control half under `/_sandbox/`: look into the world, decide about jobs, switch faults.

use serde_json::{Value, json};

use super::{
    clock::Millis,
    faults::Fault,
    page,
    wire::{Answer, Body, Request},
    world::World,
};

/// What every refusal of a control call names.
const CALLS: &str = "GET /_sandbox/world jobs orders calls faults finish; POST /_sandbox/jobs/{id}/approve jobs/{id}/reject approve-all kill-token faults order orders/{id}/resend pull; DELETE /_sandbox/faults faults/{id}";

impl World {
    /// Answers `/`, the favicon and `/_sandbox/...`; none for the ezyVet half.
    pub fn control(&mut self, now: Millis, request: &Request) -> Option<Answer> {
        if request.path == "/" {
            self.tick(now);
            return Some(Answer { status: 200, headers: Vec::new(), body: Body::Html(page::render(self, now)) });
        }
        if request.path == "/favicon.ico" {
            return Some(Answer { status: 204, headers: Vec::new(), body: Body::Empty });
        }
        let path = request.path.strip_prefix("/_sandbox/")?;
        self.tick(now);
        let parts: Vec<_> = path.split('/').collect();
        let answer = match (request.method.as_str(), parts.as_slice()) {
            ("GET", ["world"]) => Answer::json(200, self.view()),
            ("GET", ["jobs"]) => Answer::json(200, json!(self.jobs)),
            ("GET", ["orders"]) => Answer::json(200, json!(self.orders)),
            ("GET", ["calls"]) => Answer::json(200, json!(self.calls)),
            ("GET", ["faults"]) => Answer::json(200, self.fault_list()),
            ("GET", ["finish"]) => match self.finish() {
                Ok(()) => Answer::json(200, json!({"good": true, "unexpected": []})),
                Err(events) => Answer::json(409, json!({"good": false, "unexpected": events})),
            },
            ("POST", ["jobs", id, verb @ ("approve" | "reject")]) => self.decide(now, id, verb),
            ("POST", ["approve-all"]) => Answer::json(200, json!({"approved": self.approve_all(now)})),
            ("POST", ["kill-token"]) => Answer::json(200, json!({"killed": self.kill_tokens()})),
            ("POST", ["faults"]) => self.add_faults(&request.body),
            ("DELETE", ["faults"]) => {
                self.faults.clear();
                Answer::json(200, json!([]))
            }
            ("DELETE", ["faults", id]) => {
                if id.parse().is_ok_and(|id| self.faults.remove(id)) {
                    Answer::json(200, self.fault_list())
                } else {
                    Answer::error(404, "NotFound", format!("there is no fault {id}"))
                }
            }
            _ => Answer::error(404, "NotFound", format!("there is no such control call; there are: {CALLS}")),
        };
        // A form on the page wants to see the page again.
        let from_page = request.method == "POST" && request.accept.contains("text/html") && answer.status < 300;
        Some(if from_page {
            Answer { status: 303, headers: vec![("location", "/".into())], body: Body::Empty }
        } else {
            answer
        })
    }

    fn decide(&mut self, now: Millis, id: &str, verb: &str) -> Answer {
        let Ok(number) = id.parse() else { return Answer::error(404, "NotFound", format!("there is no job {id}")) };
        let outcome = if verb == "approve" {
            self.approve(now, number).map(Some)
        } else {
            self.reject(now, number).map(|()| None)
        };
        match outcome {
            Ok(invoice) => Answer::json(200, json!({"job": number, "invoice": invoice})),
            Err(why) => Answer::error(409, "Conflict", why),
        }
    }

    fn fault_list(&self) -> Value {
        self.faults.list().iter().map(|(id, fault)| json!({"id": id, "fault": fault.to_string()})).collect()
    }

    /// Adds faults: one as text, or JSON `"..."`, `["...", ...]`, `{"fault": "..."}`.
    fn add_faults(&mut self, body: &[u8]) -> Answer {
        let text = String::from_utf8_lossy(body);
        let texts = match serde_json::from_slice::<Value>(body) {
            Ok(Value::String(one)) => vec![one],
            Ok(Value::Array(list)) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            Ok(Value::Object(map)) => map.get("fault").and_then(Value::as_str).map(str::to_owned).into_iter().collect(),
            _ => vec![text.trim().to_owned()],
        };
        match texts.iter().map(|text| text.parse::<Fault>()).collect::<Result<Vec<_>, _>>() {
            Ok(faults) if !faults.is_empty() => {
                for fault in faults {
                    self.faults.add(fault);
                }
                Answer::json(200, self.fault_list())
            }
            Ok(_) => Answer::error(400, "BadRequest", "send a fault such as status:jobqueue=503x2"),
            Err(why) => Answer::error(400, "BadRequest", why),
        }
    }
}

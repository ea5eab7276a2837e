//! A job of the job queue (SPSI.md 2): it waits for staff, and becomes an invoice or fails when they approve it.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    clock::Millis,
    event::{EventKind, Refusal},
    form::{self, Form},
    invoice::InvoiceDraft,
    options::{JobEncoding, Options},
    order::PurchaseOrder,
    separation::Separation,
    wire::{Answer, Request, text_of},
};

/// A job on the queue.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// ezyVet's id.
    pub id: u64,
    /// Time of queuing.
    pub created: Millis,
    /// Time of the last change.
    pub modified: Millis,
    /// `type`, normally `ReceiveInvoice`.
    pub kind: String,
    /// `type_id`.
    pub kind_id: String,
    /// `action`, normally `ApiRequest`.
    pub action: String,
    /// Method of the wrapped request.
    pub method: String,
    /// Endpoint of the wrapped request.
    pub endpoint: String,
    /// Body of the wrapped request.
    pub body: Value,
    /// Progress.
    pub state: JobState,
    /// Reason of a failure or rejection; empty otherwise.
    pub error: String,
    /// Time of the automatic approval, if any.
    pub due: Option<Millis>,
    /// Id of the invoice that it became.
    pub invoice: Option<u64>,
}

/// Progress of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Staff have not decided.
    Waiting,
    /// It became an invoice.
    Approved,
    /// Staff rejected it.
    Rejected,
    /// Staff approved it, but it could not be carried out.
    Failed,
}

/// Reads the body of `POST /v2/jobqueue`: a form or JSON, as `--job-encoding` allows.
///
/// # Errors
/// 422 if the body is neither, or `data` lacks a required field.
pub(super) fn read_body(request: &Request, options: &Options) -> Result<Form, Refusal> {
    let is_json = request.content_type.contains("json");
    let refused = if is_json { JobEncoding::Form } else { JobEncoding::Json };
    let is_refused = options.job_encoding == refused;
    let body = if is_refused { Form::default() } else { form::read_body(request, options.max_input_vars) };
    let data = &body.value["data"];
    let is_missing = |name: &&str| data.get(*name).is_none_or(|value| value.is_null() || value == "");
    let Some(missing) = ["method", "endpoint", "body"].into_iter().find(is_missing) else { return Ok(body) };
    let text = if data.is_object() {
        format!("jobqueue: data.{missing} is missing")
    } else {
        format!("jobqueue: no job in a body of type `{}`", request.content_type)
    };
    Err(Refusal::mistake(EventKind::MalformedBody, text, Answer::invalid(&format!("data.{missing}"), "is required")))
}

impl Job {
    /// Creates a waiting job from a body that [`read_body`] returned.
    pub(super) fn new(id: u64, body: &Value, now: Millis, due: Option<Millis>) -> Self {
        let text_or = |value: &Value, default: &str| {
            text_of(value).filter(|text| !text.is_empty()).unwrap_or_else(|| default.to_owned())
        };
        let data = &body["data"];
        Self {
            id,
            created: now,
            modified: now,
            kind: text_or(&body["type"], ""),
            kind_id: text_or(&body["type_id"], "0"),
            action: text_or(&body["action"], "ApiRequest"),
            method: text_or(&data["method"], ""),
            endpoint: text_or(&data["endpoint"], ""),
            body: data["body"].clone(),
            state: JobState::Waiting,
            error: String::new(),
            due,
            invoice: None,
        }
    }

    /// Returns the invoice number in the wrapped body.
    pub fn invoice_number(&self) -> Option<String> {
        self.body.get("invoice_number").and_then(text_of)
    }

    /// Returns the JSON of the answer to `POST /v2/jobqueue`.
    pub(super) fn as_item(&self) -> Value {
        json!({"id": self.id, "created_at": self.created / 1000, "modified_at": self.modified / 1000, "active": 1,
            "type": self.kind, "type_id": self.kind_id, "action": self.action, "status": "Pending",
            "data": {"method": self.method, "endpoint": self.endpoint, "body": self.body}, "error": self.error})
    }

    /// Reads the invoice that an approved job creates.
    ///
    /// # Errors
    /// The job has another type, action or endpoint than this site expects, or its invoice is invalid.
    pub(super) fn read_invoice(
        &self,
        options: &Options,
        separations: &[Separation],
        orders: &[PurchaseOrder],
    ) -> Result<InvoiceDraft, String> {
        for (name, sent, expected) in [
            ("type", self.kind.as_str(), options.job_type.as_str()),
            ("action", self.action.as_str(), options.job_action.as_str()),
            ("method", &self.method.to_uppercase(), "POST"),
            ("endpoint", self.endpoint.trim_start_matches('/'), options.job_endpoint.as_str()),
        ] {
            if sent != expected {
                return Err(format!("{name}: is `{sent}`, this site expects `{expected}`"));
            }
        }
        InvoiceDraft::read(&self.body, separations, orders)
    }
}

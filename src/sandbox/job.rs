//! The job queue: what is sent waits for staff, becomes an invoice when they approve it, or fails with the reasons.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    clock::Millis,
    event::EventKind,
    form,
    invoice::{Invoice, InvoiceDraft},
    options::{DuplicateInvoice, JobEncoding},
    wire::{Answer, Problem, Request, text_of},
    world::World,
};

/// A job on the queue.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// Number.
    pub id: u64,
    /// When it was queued.
    pub created: Millis,
    /// When it last changed.
    pub modified: Millis,
    /// `ReceiveInvoice`.
    pub kind: String,
    /// `type_id` as sent.
    pub kind_id: String,
    /// `ApiRequest`.
    pub action: String,
    /// Method of the wrapped request.
    pub method: String,
    /// Endpoint of the wrapped request.
    pub endpoint: String,
    /// Body of the wrapped request.
    pub body: Value,
    /// Where it stands.
    pub state: JobState,
    /// Why it failed.
    pub error: String,
    /// When it approves itself.
    pub due: Option<Millis>,
    /// The invoice that it became.
    pub invoice: Option<u64>,
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Staff have not decided.
    Waiting,
    /// It became an invoice.
    Approved,
    /// Staff refused it.
    Rejected,
    /// It was approved and could not be carried out.
    Failed,
}

impl Job {
    /// The invoice number in the wrapped body.
    pub fn invoice_number(&self) -> Option<String> {
        self.body.get("invoice_number").and_then(text_of)
    }
}

impl World {
    /// `POST /v2/jobqueue`: queued means that staff may still have to approve.
    pub(super) fn queue(&mut self, now: Millis, request: &Request) -> Answer {
        let encoding = self.settings.job_encoding;
        let is_form = request.content_type.starts_with("application/x-www-form-urlencoded");
        let is_json = request.content_type.starts_with("application/json");
        let body = if is_form && encoding != JobEncoding::Json {
            let form = form::read(&request.body, self.settings.max_input_vars);
            if form.dropped > 0 {
                self.event(
                    now,
                    EventKind::FieldsDropped,
                    format!("a form of {} fields, {} dropped", form.fields, form.dropped),
                );
            }
            form.value
        } else if is_json && encoding != JobEncoding::Form {
            serde_json::from_slice(&request.body).unwrap_or_default()
        } else {
            Value::Null
        };
        let data = &body["data"];
        let text = |value: &Value| text_of(value).unwrap_or_default();
        let missing = ["method", "endpoint", "body"]
            .into_iter()
            .find(|name| data.get(*name).is_none_or(|value| value.is_null() || value == ""));
        if let Some(missing) = missing {
            let what = if data.is_object() {
                format!("data.{missing} is missing")
            } else {
                format!("no job in a body of type `{}`", request.content_type)
            };
            self.event(now, EventKind::MalformedBody, format!("jobqueue: {what}"));
            return Answer::problems(422, &[Problem::new(format!("data.{missing}"), "is required")]);
        }
        let named = |name: &str, default: &str| {
            text_of(&body[name]).filter(|text| !text.is_empty()).unwrap_or_else(|| default.to_owned())
        };
        let job = Job {
            id: self.number("job", 9000),
            created: now,
            modified: now,
            kind: text(&body["type"]),
            kind_id: named("type_id", "0"),
            action: named("action", "ApiRequest"),
            method: text(&data["method"]),
            endpoint: text(&data["endpoint"]),
            body: data["body"].clone(),
            state: JobState::Waiting,
            error: String::new(),
            due: self.settings.approve_after.map(|wait| now + wait),
            invoice: None,
        };
        if let Some(number) = job.invoice_number() {
            let alive = |other: &&Job| matches!(other.state, JobState::Waiting | JobState::Approved);
            if self.jobs.iter().filter(alive).any(|other| other.invoice_number().as_ref() == Some(&number)) {
                self.event(
                    now,
                    EventKind::DoubledInvoice,
                    format!("invoice {number} was queued again as job {}", job.id),
                );
            }
        }
        let item = self.job_item(&job);
        self.jobs.push(job);
        Answer::json(200, json!({"items": [{"jobqueue": item}], "messages": []}))
    }

    pub(super) fn job_item(&self, job: &Job) -> Value {
        let scalars = self.settings.scalars;
        let status = match job.state {
            JobState::Waiting => "Pending",
            JobState::Approved => "Completed",
            JobState::Rejected => "Cancelled",
            JobState::Failed => "Failed",
        };
        json!({"id": scalars.whole(job.id), "created_at": scalars.whole(job.created / 1000), "modified_at": scalars.whole(job.modified / 1000), "active": scalars.whole(1),
            "type": job.kind, "type_id": job.kind_id, "action": job.action, "status": status,
            "data": {"method": job.method, "endpoint": job.endpoint, "body": job.body}, "error": job.error})
    }

    /// Lets time pass: approves the jobs whose moment has come.
    pub fn tick(&mut self, now: Millis) {
        let due: Vec<u64> = self
            .jobs
            .iter()
            .filter(|job| job.state == JobState::Waiting && job.due.is_some_and(|due| due <= now))
            .map(|job| job.id)
            .collect();
        for id in due {
            // A job that fails says so itself and in the events.
            let _ = self.approve(now, id);
        }
    }

    /// Staff approve a job; gives the invoice's number.
    ///
    /// # Errors
    /// The job does not exist, does not wait, or cannot be carried out, which makes it failed.
    pub fn approve(&mut self, now: Millis, id: u64) -> Result<u64, String> {
        let job = self.waiting(id)?.clone();
        let outcome = self.carry_out(&job);
        self.version += 1;
        match outcome {
            Ok(draft) => {
                let invoice = self.number("invoice", 700);
                self.file(now, invoice, id, draft);
                self.settle(now, id, JobState::Approved, String::new(), Some(invoice));
                Ok(invoice)
            }
            Err(why) => {
                let number = job.invoice_number().unwrap_or_default();
                self.event(now, EventKind::JobFailed, format!("job {id} (invoice {number}): {why}"));
                self.settle(now, id, JobState::Failed, why.clone(), None);
                Err(why)
            }
        }
    }

    /// Staff reject a job.
    ///
    /// # Errors
    /// The job does not exist or does not wait.
    pub fn reject(&mut self, now: Millis, id: u64) -> Result<(), String> {
        self.waiting(id)?;
        self.settle(now, id, JobState::Rejected, "Rejected by staff".into(), None);
        Ok(())
    }

    /// Approves everything that waits; gives how many became invoices.
    pub fn approve_all(&mut self, now: Millis) -> usize {
        let waiting: Vec<u64> =
            self.jobs.iter().filter(|job| job.state == JobState::Waiting).map(|job| job.id).collect();
        waiting.into_iter().filter(|id| self.approve(now, *id).is_ok()).count()
    }

    fn waiting(&self, id: u64) -> Result<&Job, String> {
        let job = self.jobs.iter().find(|job| job.id == id).ok_or_else(|| format!("there is no job {id}"))?;
        if job.state == JobState::Waiting { Ok(job) } else { Err(format!("job {id} does not wait any more")) }
    }

    fn settle(&mut self, now: Millis, id: u64, state: JobState, error: String, invoice: Option<u64>) {
        if let Some(job) = self.jobs.iter_mut().find(|job| job.id == id) {
            (job.state, job.error, job.invoice, job.modified) = (state, error, invoice, now);
        }
        self.version += 1;
    }

    /// What an approved job amounts to.
    fn carry_out(&self, job: &Job) -> Result<InvoiceDraft, String> {
        let [kind, action, endpoint] = &self.settings.job_names;
        let sent = [(&job.kind, kind), (&job.action, action)];
        if let Some((sent, wanted)) = sent.into_iter().find(|(sent, wanted)| sent != wanted) {
            return Err(format!("the job says {sent}, this site knows {wanted}"));
        }
        if job.endpoint.trim_start_matches('/') != endpoint || !job.method.eq_ignore_ascii_case("POST") {
            return Err(format!("{} {} is not an endpoint for jobs", job.method, job.endpoint));
        }
        let draft = InvoiceDraft::read(&job.body, self).map_err(|problems| {
            problems.iter().map(|problem| format!("{}: {}", problem.field, problem.text)).collect::<Vec<_>>().join("; ")
        })?;
        let taken = self.invoices.iter().any(|invoice| invoice.draft.invoice_number == draft.invoice_number);
        if taken && self.settings.duplicate_invoice == DuplicateInvoice::Reject {
            return Err(format!("invoice_number: {} exists already", draft.invoice_number));
        }
        Ok(draft)
    }

    fn file(&mut self, now: Millis, id: u64, job: u64, draft: InvoiceDraft) {
        for line in &draft.lines {
            let items = self.orders.iter_mut().flat_map(|order| &mut order.items);
            let Some(item) = items.into_iter().find(|item| item.id == line.purchase_order_item_id) else { continue };
            item.received += line.quantity;
            if self.settings.invoice_moves_stock {
                let uid = |id| self.separations.iter().find(|part| part.id == id).map(|part| part.uid.clone());
                let product = self.products.iter().find(|product| product.id == item.product_id);
                if let (Some(location), Some(product)) = (uid(line.location_id), product) {
                    *self.stock.entry(location).or_default().entry(product.uid.clone()).or_default() += line.quantity;
                }
            }
        }
        self.invoices.push(Invoice { id, job, created: now, modified: now, draft });
    }
}

//! A call before it is made: what is sent, and how staff see it.

use super::{BodyValue, Endpoint};
use crate::config::JobEncoding;
use std::borrow::Cow;
use url::form_urlencoded;

/// What a call carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    None,
    /// `application/x-www-form-urlencoded`.
    Form(String),
    Json(String),
}

/// A call of ezyVet, without the host and the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub endpoint: Endpoint,
    /// Path and query, from the root.
    pub target: String,
    pub body: Body,
}

/// The names under which a job is queued: nothing public says how a ReceiveInvoice job is spelt (SPSI.md 5.7).
#[derive(Clone, Debug)]
pub struct JobNames<'a> {
    pub job_type: &'a str,
    pub action: &'a str,
    pub endpoint: &'a str,
    pub encoding: JobEncoding,
}

impl JobNames<'_> {
    /// The whole job around an invoice.
    pub fn wrap(&self, invoice: BodyValue) -> BodyValue {
        BodyValue::Fields(vec![
            ("type", BodyValue::text(self.job_type)),
            ("type_id", BodyValue::Whole(0)),
            ("action", BodyValue::text(self.action)),
            (
                "data",
                BodyValue::Fields(vec![
                    ("method", BodyValue::text("POST")),
                    ("endpoint", BodyValue::text(self.endpoint)),
                    ("body", invoice),
                ]),
            ),
        ])
    }
}

impl Request {
    /// Puts an invoice on the clinic's job queue.
    pub fn job(names: &JobNames<'_>, invoice: BodyValue) -> Self {
        let job = names.wrap(invoice);
        let body = match names.encoding {
            JobEncoding::Form => Body::Form(encode_form(&job.form_fields())),
            JobEncoding::Json => json(&job),
        };
        Self { endpoint: Endpoint::JobQueue, target: "/v2/jobqueue".into(), body }
    }

    /// Adds stock at a location, given as the uid of its separation.
    pub fn supplied(location_uid: &str, lines: &BodyValue) -> Self {
        let target = with_query("/inventory/v1/supplied", &[("locationUID", location_uid)]);
        Self { endpoint: Endpoint::Supplied, target, body: json(lines) }
    }

    /// Looks for an invoice by its number.
    pub fn find_invoice(invoice_number: &str) -> Self {
        let target = with_query("/v2/receiveinvoice", &[("invoice_number", invoice_number), ("limit", "200")]);
        Self { endpoint: Endpoint::ReceiveInvoice, target, body: Body::None }
    }

    /// A page of the separations, counted from one.
    pub fn separations(page: u32) -> Self {
        let target = with_query("/v2/separation", &[("page", &page.to_string()), ("limit", "200")]);
        Self { endpoint: Endpoint::Separation, target, body: Body::None }
    }

    /// A product of the clinic's, by its numeric id.
    pub fn product(product_id: &str) -> Self {
        let id: String = form_urlencoded::byte_serialize(product_id.as_bytes()).collect();
        Self { endpoint: Endpoint::Product, target: format!("/v2/product/{id}"), body: Body::None }
    }

    /// A page of the inventory system's products, counted from one.
    pub fn inventory_products(page: u32) -> Self {
        let target = with_query("/inventory/v1/products", &[("page", &page.to_string()), ("limit", "200")]);
        Self { endpoint: Endpoint::InventoryProducts, target, body: Body::None }
    }

    /// The call as a line for a shell. The token is a variable, never its value.
    pub fn as_curl(&self, base_url: &str) -> String {
        let url = quote(&format!("{}{}", base_url.trim_end_matches('/'), self.target));
        let authorisation = r#"-H "Authorization: Bearer $EZYVET_TOKEN""#;
        let body = |media: &str, body: &str| format!(" -H 'Content-Type: {media}' --data-raw {}", quote(body));
        let rest = match &self.body {
            Body::None => String::new(),
            Body::Form(text) => body("application/x-www-form-urlencoded", text),
            Body::Json(text) => body("application/json", text),
        };
        format!("curl {url} {authorisation} -H 'Accept: application/json'{rest}")
    }
}

fn json(tree: &BodyValue) -> Body {
    // A tree has text keys and exact numbers only: writing it to memory cannot fail.
    Body::Json(serde_json::to_string(tree).unwrap_or_default())
}

/// Fields as `application/x-www-form-urlencoded`.
pub(super) fn encode_form<N: AsRef<str>, V: AsRef<str>>(fields: &[(N, V)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

fn with_query(path: &str, pairs: &[(&str, &str)]) -> String {
    format!("{path}?{}", encode_form(pairs))
}

fn quote(text: &str) -> String {
    let text: Cow<'_, str> = if text.contains('\'') { text.replace('\'', r"'\''").into() } else { text.into() };
    format!("'{text}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_spelt_as_in_ezyvets_example() {
        let names = JobNames {
            job_type: "ReceiveInvoice",
            action: "ApiRequest",
            endpoint: "v2/receiveinvoice",
            encoding: JobEncoding::Form,
        };
        let lines = BodyValue::List(vec![BodyValue::Fields(vec![("quantity", BodyValue::Whole(2))])]);
        let invoice = BodyValue::Fields(vec![("invoice_number", BodyValue::text("INV_001")), ("line_item", lines)]);
        let Body::Form(body) = Request::job(&names, invoice.clone()).body else { panic!("not a form") };
        let read: Vec<_> = form_urlencoded::parse(body.as_bytes()).into_owned().collect();
        let expected = [
            ("type", "ReceiveInvoice"),
            ("type_id", "0"),
            ("action", "ApiRequest"),
            ("data[method]", "POST"),
            ("data[endpoint]", "v2/receiveinvoice"),
            ("data[body][invoice_number]", "INV_001"),
            ("data[body][line_item][0][quantity]", "2"),
        ];
        assert_eq!(read, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let names = JobNames { encoding: JobEncoding::Json, ..names };
        assert!(matches!(Request::job(&names, invoice).body, Body::Json(text) if text.starts_with(r#"{"type":"R"#)));
    }

    #[test]
    fn a_curl_line_quotes_what_a_shell_would_read() {
        let request = Request { endpoint: Endpoint::Supplied, target: "/x".into(), body: Body::Json("it's".into()) };
        let line = request.as_curl("https://h/");
        assert!(line.starts_with("curl 'https://h/x' -H \"Authorization: Bearer $EZYVET_TOKEN\""), "{line}");
        assert!(line.ends_with(r"--data-raw 'it'\''s'"), "{line}");
    }
}

//! Requests: what a call sends, and the `curl` command that staff see.

use super::{BodyValue, Endpoint};
use crate::config::{JobEncoding, SiteSettings};
use url::form_urlencoded;

/// The media type of forms.
pub(super) const FORM: &str = "application/x-www-form-urlencoded";

/// The body of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    pub media_type: &'static str,
    pub text: String,
}

/// A call to ezyVet, without host and token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub endpoint: Endpoint,
    /// Path and query.
    pub target: String,
    pub body: Option<Body>,
}

/// Returns the job that brings an invoice. Its names are settings, because ezyVet has not published them (SPSI.md 5.7).
fn job(settings: &SiteSettings, invoice: BodyValue) -> BodyValue {
    let data = BodyValue::Fields(vec![
        ("method", BodyValue::text("POST")),
        ("endpoint", BodyValue::text(&settings.job_endpoint)),
        ("body", invoice),
    ]);
    BodyValue::Fields(vec![
        ("type", BodyValue::text(&settings.job_type)),
        ("type_id", BodyValue::Number(0.into())),
        ("action", BodyValue::text(&settings.job_action)),
        ("data", data),
    ])
}

/// Counts the form fields of the job that brings an invoice.
pub fn count_job_fields(settings: &SiteSettings, invoice: BodyValue) -> usize {
    job(settings, invoice).count_fields()
}

impl Request {
    /// Puts an invoice on the clinic's job queue.
    pub fn job(settings: &SiteSettings, invoice: BodyValue) -> Self {
        let job = job(settings, invoice);
        let body = match settings.job_encoding {
            JobEncoding::Form => Body { media_type: FORM, text: encode_form(&job.form_fields()) },
            JobEncoding::Json => json(&job),
        };
        Self { endpoint: Endpoint::JobQueue, target: "/v2/jobqueue".into(), body: Some(body) }
    }

    /// Adds stock at a location. `location_uid`: uid of its separation.
    pub fn supplied(location_uid: &str, lines: &BodyValue) -> Self {
        let target = with_query("/inventory/v1/supplied", &[("locationUID", location_uid)]);
        Self { endpoint: Endpoint::Supplied, target, body: Some(json(lines)) }
    }

    /// Looks up an invoice by its number.
    pub fn find_invoice(invoice_number: &str) -> Self {
        let target = with_query("/v2/receiveinvoice", &[("invoice_number", invoice_number), ("limit", "200")]);
        Self { endpoint: Endpoint::ReceiveInvoice, target, body: None }
    }

    /// Tests whether the site answers, with a cheap read: the look-up of an invoice that does not exist.
    pub fn probe() -> Self {
        let target = with_query("/v2/receiveinvoice", &[("invoice_number", "spsi-probe"), ("limit", "1")]);
        Self { endpoint: Endpoint::ReceiveInvoice, target, body: None }
    }

    /// Reads a page of separations. `page` counts from one.
    pub fn separations(page: u32) -> Self {
        let target = with_query("/v2/separation", &[("page", &page.to_string()), ("limit", "200")]);
        Self { endpoint: Endpoint::Separation, target, body: None }
    }

    /// Reads a product of the clinic by its numeric id.
    pub fn product(product_id: &str) -> Self {
        let id: String = form_urlencoded::byte_serialize(product_id.as_bytes()).collect();
        Self { endpoint: Endpoint::Product, target: format!("/v2/product/{id}"), body: None }
    }

    /// Reads a page of inventory products. `page` counts from one.
    pub fn inventory_products(page: u32) -> Self {
        let target = with_query("/inventory/v1/products", &[("page", &page.to_string()), ("limit", "200")]);
        Self { endpoint: Endpoint::InventoryProducts, target, body: None }
    }

    /// Returns the call as a `curl` command, with a variable in place of the token.
    pub fn as_curl(&self, base_url: &str) -> String {
        let url = quote(&format!("{}{}", base_url.trim_end_matches('/'), self.target));
        let authorisation = r#"-H "Authorization: Bearer $EZYVET_TOKEN""#;
        let body = self.body.as_ref().map_or_else(String::new, |Body { media_type, text }| {
            format!(" -H 'Content-Type: {media_type}' --data-raw {}", quote(text))
        });
        format!("curl {url} {authorisation} -H 'Accept: application/json'{body}")
    }
}

fn json(value: &BodyValue) -> Body {
    // Serialising to memory cannot fail: keys are texts, numbers are exact.
    Body { media_type: "application/json", text: serde_json::to_string(value).unwrap_or_default() }
}

/// Encodes fields as `application/x-www-form-urlencoded`.
pub(super) fn encode_form<N: AsRef<str>, V: AsRef<str>>(fields: &[(N, V)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

fn with_query(path: &str, pairs: &[(&str, &str)]) -> String {
    format!("{path}?{}", encode_form(pairs))
}

fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    #[test]
    fn a_job_is_written_as_in_ezyvets_example() {
        let mut settings = Settings::from_environment().unwrap().site;
        let lines = BodyValue::List(vec![BodyValue::Fields(vec![("quantity", BodyValue::Number(2.into()))])]);
        let invoice = BodyValue::Fields(vec![("invoice_number", BodyValue::text("INV_001")), ("line_item", lines)]);
        let form = Request::job(&settings, invoice.clone()).body.unwrap();
        let read: Vec<_> = form_urlencoded::parse(form.text.as_bytes()).into_owned().collect();
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
        settings.job_encoding = JobEncoding::Json;
        assert!(Request::job(&settings, invoice).body.unwrap().text.starts_with(r#"{"type":"R"#));
    }

    #[test]
    fn a_curl_command_quotes_characters_that_a_shell_interprets() {
        let request =
            Request { endpoint: Endpoint::Supplied, target: "/x".into(), body: Some(json(&BodyValue::text("it's"))) };
        let line = request.as_curl("https://h/");
        assert!(line.starts_with("curl 'https://h/x' -H \"Authorization: Bearer $EZYVET_TOKEN\""), "{line}");
        assert!(line.ends_with(r#"--data-raw '"it'\''s"'"#), "{line}");
    }
}

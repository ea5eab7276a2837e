//! An API key, and requests with it to `/staff/v1`.

use super::client::{Request, Response};
use super::supplier::Supplier;
use serde_json::Value;

/// A caller of the staff API.
#[derive(Debug)]
pub struct Staff<'a> {
    supplier: &'a Supplier,
    /// Name of the key: the actor of its changes is `key:<name>`.
    pub name: String,
    pub key: String,
}

impl Supplier {
    /// Adds an API key with this role.
    pub fn staff(&self, role: &str) -> Staff<'_> {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let name = format!("{role} {number}");
        let added = self.run(["key", "add", "--role", role, "--name", &name]);
        let key = added["key"].as_str().unwrap_or_else(|| panic!("no key: {added}")).to_owned();
        Staff { supplier: self, name, key }
    }
}

impl Staff<'_> {
    /// Starts a request. `path` is below `/staff/v1`.
    pub fn request(&self, method: &str, path: &str) -> Request {
        self.supplier.request(method, format!("/staff/v1{path}")).bearer(&self.key)
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Response {
        self.request("GET", path).send()
    }

    #[track_caller]
    pub fn send(&self, method: &str, path: &str, body: &Value) -> Response {
        self.request(method, path).json(body).send()
    }

    #[track_caller]
    pub fn post(&self, path: &str, body: &Value) -> Response {
        self.send("POST", path, body)
    }

    #[track_caller]
    pub fn patch(&self, path: &str, body: &Value) -> Response {
        self.send("PATCH", path, body)
    }

    #[track_caller]
    pub fn put(&self, path: &str, body: &Value) -> Response {
        self.send("PUT", path, body)
    }

    #[track_caller]
    pub fn delete(&self, path: &str) -> Response {
        self.request("DELETE", path).send()
    }
}

impl Response {
    /// Checks that the answer is a problem document (RFC 9457) with this status. Returns `detail` and the fields of `errors`.
    #[track_caller]
    pub fn refused(&self, status: u16) -> (String, Vec<String>) {
        let body = self.expect(status);
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{body}");
        assert!(body["type"].as_str().is_some_and(|kind| kind.starts_with("urn:spsi:problem:")), "{body}");
        assert_eq!(body["status"], status, "{body}");
        let detail = body["detail"].as_str().unwrap_or_else(|| panic!("no detail: {body}"));
        assert!(!detail.is_empty() && body["title"].is_string(), "{body}");
        let errors = body["errors"].as_array().unwrap_or_else(|| panic!("no errors: {body}"));
        let field = |error: &Value| error["field"].as_str().unwrap_or_else(|| panic!("no field: {body}")).to_owned();
        (detail.to_owned(), errors.iter().map(field).collect())
    }
}

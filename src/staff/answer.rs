//! The answer of an operation, as it is sent and stored.

use super::problem::{Problem, Result};
use actix_web::body::BoxBody;
use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, Responder};
use aws_lc_rs::digest::{SHA256, digest};
use serde::Serialize;
use std::fmt::Write;

/// The answer of an operation.
#[derive(Debug)]
pub struct Answer {
    pub(super) status: StatusCode,
    /// Name and value.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Option<String>,
}

impl Answer {
    /// 200 with a body.
    pub fn ok(body: &impl Serialize) -> Result<Self> {
        Self::with(StatusCode::OK, body)
    }

    /// 200 with a body, and the version of the resource.
    pub fn versioned(body: &impl Serialize, version: &str) -> Result<Self> {
        Ok(Self::ok(body)?.with_version(version))
    }

    /// 201 with a body, and the path of the new resource below `/staff/v1`.
    pub fn created(path: &str, body: &impl Serialize) -> Result<Self> {
        let mut answer = Self::with(StatusCode::CREATED, body)?;
        answer.headers.push((header::LOCATION.to_string(), format!("{}{path}", super::ROOT)));
        Ok(answer)
    }

    /// 204 without a body.
    pub fn no_content() -> Self {
        Self { status: StatusCode::NO_CONTENT, headers: Vec::new(), body: None }
    }

    /// Adds the version of the resource, for `If-Match`.
    pub fn with_version(mut self, version: &str) -> Self {
        self.headers.push((header::ETAG.to_string(), format!("\"{version}\"")));
        self
    }

    fn with(status: StatusCode, body: &impl Serialize) -> Result<Self> {
        let body = serde_json::to_string(body)
            .map_err(|error| Problem::fault(error, "an answer cannot be written as JSON"))?;
        Ok(Self { status, headers: Vec::new(), body: Some(body) })
    }
}

impl Responder for Answer {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        response.insert_header((header::CACHE_CONTROL, "no-store"));
        for (name, value) in self.headers {
            response.insert_header((name, value));
        }
        match self.body {
            Some(body) => response.content_type("application/json").body(body),
            None => response.finish(),
        }
    }
}

/// Returns a version for `ETag`: a digest of the parts of a resource that staff edit.
pub fn version_of(content: &impl Serialize) -> String {
    let text = serde_json::to_vec(content).unwrap_or_default();
    let digest = digest(&SHA256, &text);
    digest.as_ref()[..12].iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

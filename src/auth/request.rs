//! Parses token requests: JSON, form or multipart under any media type, with or without HTTP Basic (SPSI.md 1 and 4,
//! request bodies; RFC 6749 2.3.1, 4.4.2).

use crate::secret::Plain;
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use std::collections::HashMap;

/// The credentials in a token request.
#[derive(Debug)]
pub struct TokenRequest {
    pub client_id: String,
    pub client_secret: Plain,
}

/// A fault of a token request. Each variant is an error code of RFC 6749 5.2.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRequestError {
    #[error("{0}")]
    InvalidRequest(&'static str),
    #[error("unsupported grant_type; use `client_credentials`")]
    UnsupportedGrantType,
}

use TokenRequestError::{InvalidRequest, UnsupportedGrantType};

/// Parses a request from its body and its `Content-Type` and `Authorization` headers.
pub async fn read(
    body: Bytes,
    content_type: &str,
    authorization: Option<&str>,
) -> Result<TokenRequest, TokenRequestError> {
    let mut fields = fields(body, content_type).await?;
    match fields.get("grant_type").map(String::as_str) {
        Some("client_credentials") => {}
        None | Some("") => return Err(InvalidRequest("grant_type is missing; send `client_credentials`")),
        Some(_) => return Err(UnsupportedGrantType),
    }
    let basic = authorization.and_then(|header| strip_scheme(header, "basic")).map(basic).transpose()?;
    let client_id = fields.remove("client_id").filter(|id| !id.is_empty());
    let client_secret = fields.remove("client_secret").filter(|secret| !secret.is_empty());
    let (client_id, client_secret) = match (basic, client_id, client_secret) {
        (Some((id, _)), Some(other), _) if id != other => {
            return Err(InvalidRequest("client_id differs between the body and the Authorization header"));
        }
        (Some((_, secret)), _, Some(other)) if secret != other => {
            return Err(InvalidRequest("client_secret differs between the body and the Authorization header"));
        }
        (Some(both), _, _) => both,
        (None, Some(id), Some(secret)) => (id, secret),
        (None, None, _) => return Err(InvalidRequest("client_id is missing")),
        (None, _, None) => return Err(InvalidRequest("client_secret is missing")),
    };
    Ok(TokenRequest { client_id, client_secret: Plain::new(client_secret) })
}

/// Returns the credentials after `scheme` in an Authorization header. The scheme may be in upper or lower case.
pub fn strip_scheme<'a>(header: &'a str, scheme: &str) -> Option<&'a str> {
    let (name, rest) = header.trim().split_once(' ')?;
    name.eq_ignore_ascii_case(scheme).then(|| rest.trim())
}

/// Recognises the format by the body, because PHP clients send JSON under any media type.
async fn fields(body: Bytes, content_type: &str) -> Result<HashMap<String, String>, TokenRequestError> {
    let text = body.trim_ascii_start();
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text).trim_ascii_start();
    let text = body.slice_ref(text);
    if text.starts_with(b"{") {
        return json(&text);
    }
    if let Ok(boundary) = multer::parse_boundary(content_type) {
        return multipart(text, boundary).await;
    }
    let text = str::from_utf8(&text).map_err(|_| InvalidRequest("the body is not UTF-8"))?;
    distinct(url::form_urlencoded::parse(text.trim_end().as_bytes()).into_owned())
}

fn json(text: &[u8]) -> Result<HashMap<String, String>, TokenRequestError> {
    let object: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(text).map_err(|_| InvalidRequest("the body starts with `{` but is not valid JSON"))?;
    Ok(object
        .into_iter()
        .filter_map(|(key, value)| match value {
            serde_json::Value::String(text) => Some((key, text)),
            serde_json::Value::Number(number) => Some((key, number.to_string())),
            _ => None,
        })
        .collect())
}

async fn multipart(body: Bytes, boundary: String) -> Result<HashMap<String, String>, TokenRequestError> {
    const BAD: TokenRequestError = InvalidRequest("the multipart body cannot be read");
    let stream = futures_util::stream::once(async { Ok::<_, std::convert::Infallible>(body) });
    let mut parts = multer::Multipart::new(stream, boundary);
    let mut pairs = Vec::new();
    while let Some(part) = parts.next_field().await.map_err(|_| BAD)? {
        if let Some(name) = part.name().map(str::to_owned) {
            pairs.push((name, part.text().await.map_err(|_| BAD)?));
        }
    }
    distinct(pairs)
}

/// Refuses repeated parameters (RFC 6749 3.2).
fn distinct(pairs: impl IntoIterator<Item = (String, String)>) -> Result<HashMap<String, String>, TokenRequestError> {
    let mut fields = HashMap::new();
    for (key, value) in pairs {
        if ["client_id", "client_secret", "grant_type"].contains(&key.as_str()) && fields.insert(key, value).is_some() {
            return Err(InvalidRequest("client_id, client_secret and grant_type must each appear only once"));
        }
    }
    Ok(fields)
}

/// Parses the credentials of HTTP Basic. RFC 6749 2.3.1 form-encodes id and secret inside Basic, and many clients do not.
/// Generated ids and secrets contain no character that encoding changes.
fn basic(credentials: &str) -> Result<(String, String), TokenRequestError> {
    const BAD: TokenRequestError =
        InvalidRequest("the Authorization header is not Basic base64(client_id:client_secret)");
    let decoded = BASE64_STANDARD.decode(credentials).map_err(|_| BAD)?;
    let decoded = String::from_utf8(decoded).map_err(|_| BAD)?;
    let (id, secret) = decoded.split_once(':').ok_or(BAD)?;
    let plain = |text: &str| -> String {
        url::form_urlencoded::parse(format!("={}", text.replace('&', "%26")).as_bytes())
            .map(|(_, value)| value.into_owned())
            .collect()
    };
    Ok((plain(id), plain(secret)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tests of `/accesstoken` send every format and the common faults.
    #[tokio::test]
    async fn a_body_with_byte_order_mark_and_basic_beside_a_form_are_read() {
        let json = r#"{"client_id": "a", "client_secret": "s s", "grant_type": "client_credentials"}"#;
        let form = "client_id=a&client_secret=s+s&grant_type=client_credentials";
        let basic = |scheme: &str, credentials: &str| format!("{scheme} {}", BASE64_STANDARD.encode(credentials));
        for (body, authorization, client_id) in [
            (format!("\u{feff} {json}").as_str(), None, Some("a")),
            (form, Some(basic("bAsIc", "a:s%20s")), Some("a")),
            (form, Some(basic("Basic", "b:s s")), None),
            (form, Some(basic("Basic", "a:other")), None),
        ] {
            let read = read(Bytes::copy_from_slice(body.as_bytes()), "text/plain", authorization.as_deref()).await;
            assert_eq!(read.as_ref().ok().map(|read| read.client_id.as_str()), client_id, "{body} {authorization:?}");
            assert!(read.is_err() || read.is_ok_and(|read| read.client_secret.expose() == "s s"));
        }
    }
}

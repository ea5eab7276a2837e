//! Reading a token request as its author meant it: JSON, form or multipart, under any media type, with or without HTTP
//! Basic (SPSI.md 1 and 4, request bodies; RFC 6749 2.3.1, 4.4.2).

use crate::secret::Plain;
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use std::collections::HashMap;

/// A client that wants a token.
#[derive(Debug)]
pub struct TokenRequest {
    pub client_id: String,
    pub client_secret: Plain,
}

/// What is wrong with a token request: an error code of RFC 6749 5.2 and words.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRequestError {
    #[error("{0}")]
    InvalidRequest(&'static str),
    #[error("the only grant_type is client_credentials")]
    UnsupportedGrantType,
}

use TokenRequestError::{InvalidRequest, UnsupportedGrantType};

/// Reads the request from its body and its headers.
pub async fn read(
    body: Bytes,
    content_type: &str,
    authorization: Option<&str>,
) -> Result<TokenRequest, TokenRequestError> {
    let mut fields = fields(body, content_type).await?;
    match fields.get("grant_type").map(String::as_str) {
        Some("client_credentials") => {}
        None | Some("") => return Err(InvalidRequest("grant_type is missing; it is client_credentials")),
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

/// What follows `scheme` in an Authorization header; schemes are written in any case.
pub fn strip_scheme<'a>(header: &'a str, scheme: &str) -> Option<&'a str> {
    let (name, rest) = header.trim().split_once(' ')?;
    name.eq_ignore_ascii_case(scheme).then(|| rest.trim())
}

/// The body decides, not its media type: PHP clients send JSON under any.
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
        serde_json::from_slice(text).map_err(|_| InvalidRequest("the body begins like JSON, but is none"))?;
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

/// RFC 6749 3.2: parameters must not come more than once.
fn distinct(pairs: impl IntoIterator<Item = (String, String)>) -> Result<HashMap<String, String>, TokenRequestError> {
    let mut fields = HashMap::new();
    for (key, value) in pairs {
        if ["client_id", "client_secret", "grant_type"].contains(&key.as_str()) && fields.insert(key, value).is_some() {
            return Err(InvalidRequest("client_id, client_secret and grant_type each come once"));
        }
    }
    Ok(fields)
}

/// RFC 6749 2.3.1: id and secret are form-encoded inside Basic. Many clients do not encode them; ours hold no character
/// that would tell the difference.
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

    async fn read_text(
        body: &str,
        content_type: &str,
        authorization: Option<&str>,
    ) -> Result<(String, String), TokenRequestError> {
        let request = read(Bytes::copy_from_slice(body.as_bytes()), content_type, authorization).await?;
        Ok((request.client_id.clone(), request.client_secret.expose().to_owned()))
    }

    const JSON: &str = r#"{"client_id": "a", "client_secret": "s s", "grant_type": "client_credentials"}"#;
    const FORM: &str = "client_id=a&client_secret=s+s&grant_type=client_credentials";

    #[tokio::test]
    async fn every_way_of_asking_reads_the_same() {
        let multipart = "--X\r\nContent-Disposition: form-data; name=\"client_id\"\r\n\r\na\r\n--X\r\nContent-Disposition: form-data; \
                         name=\"client_secret\"\r\n\r\ns s\r\n--X\r\nContent-Disposition: form-data; name=\"grant_type\"\r\n\r\n\
                         client_credentials\r\n--X--\r\n";
        let basic = format!("bAsIc {}", BASE64_STANDARD.encode("a:s%20s"));
        for (body, content_type, authorization) in [
            (JSON, "application/json", None),
            (JSON, "application/json; charset=utf-8", None),
            (JSON, "application/x-www-form-urlencoded", None),
            (JSON, "", None),
            (&format!("\u{feff} {JSON}"), "text/plain", None),
            (FORM, "application/x-www-form-urlencoded", None),
            (FORM, "application/x-www-form-urlencoded; charset=UTF-8", None),
            (FORM, "", None),
            (multipart, "multipart/form-data; boundary=X", None),
            ("grant_type=client_credentials", "application/x-www-form-urlencoded", Some(basic.as_str())),
            (FORM, "", Some(basic.as_str())),
        ] {
            assert_eq!(
                read_text(body, content_type, authorization).await,
                Ok(("a".into(), "s s".into())),
                "{content_type} {body}"
            );
        }
    }

    #[tokio::test]
    async fn what_is_wrong_is_named() {
        for (body, error) in [
            ("", InvalidRequest("grant_type is missing; it is client_credentials")),
            ("{", InvalidRequest("the body begins like JSON, but is none")),
            ("grant_type=password", UnsupportedGrantType),
            ("grant_type=client_credentials", InvalidRequest("client_id is missing")),
            ("grant_type=client_credentials&client_id=a", InvalidRequest("client_secret is missing")),
            ("client_id=a&client_id=b", InvalidRequest("client_id, client_secret and grant_type each come once")),
        ] {
            assert_eq!(read_text(body, "", None).await, Err(error), "{body}");
        }
        let other = format!("Basic {}", BASE64_STANDARD.encode("b:s s"));
        assert!(read_text(FORM, "", Some(&other)).await.is_err());
        assert!(read_text(FORM, "", Some("Basic ***")).await.is_err());
    }
}

//! The base URL of a site.

use url::{Host, Url};

/// Why a base URL is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBaseUrl {
    #[error("`{0}` is not a URL; write it like https://apiv2.ezyvet.com")]
    NotAUrl(String),
    #[error(
        "`{0}` would send credentials unencrypted; use `https://`, or permit it with `--allow-http` (`allow_http` in the HTTP API)"
    )]
    Unencrypted(String),
    #[error("`{0}` has a user name, a query or a fragment; give scheme, host and path only")]
    ExtraParts(String),
}

/// Parses a base URL: scheme, host and optional path. Returns it without a trailing slash. Accepts `http://` only to this
/// machine, or with `allow_http`.
pub fn parse(text: &str, allow_http: bool) -> Result<String, BadBaseUrl> {
    let url = Url::parse(text.trim()).map_err(|_| BadBaseUrl::NotAUrl(text.to_owned()))?;
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => return Err(BadBaseUrl::NotAUrl(text.to_owned())),
    };
    match url.scheme() {
        "https" => {}
        "http" if loopback || allow_http => {}
        "http" => return Err(BadBaseUrl::Unencrypted(text.to_owned())),
        _ => return Err(BadBaseUrl::NotAUrl(text.to_owned())),
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err(BadBaseUrl::ExtraParts(text.to_owned()));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unencrypted_url_is_accepted_only_to_this_machine_or_on_request() {
        for text in ["http://127.0.0.1:8090/", "http://localhost:1", "http://[::1]:1", "https://apiv2.ezyvet.com"] {
            assert!(parse(text, false).is_ok(), "{text}");
        }
        for text in ["http://apiv2.ezyvet.com", "http://10.0.0.1", "http://localhost.example.com"] {
            assert!(matches!(parse(text, false), Err(BadBaseUrl::Unencrypted(_))), "{text}");
            assert!(parse(text, true).is_ok(), "{text}");
        }
        assert_eq!(parse("http://127.0.0.1:8090/x/", false).unwrap(), "http://127.0.0.1:8090/x");
    }

    #[test]
    fn a_text_that_is_no_base_url_is_refused() {
        for text in ["", "apiv2.ezyvet.com", "ftp://h", "https://u:p@h", "https://h?x=1", "https://h#x"] {
            assert!(parse(text, true).is_err(), "{text}");
        }
    }
}

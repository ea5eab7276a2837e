//! Which addresses a webhook may reach. Pure.
//!
//! A webhook's URL is chosen by a user of the API and called from inside the supplier's network: without this check it would
//! reach the supplier's own servers, the database, or a cloud's metadata service. Only addresses of the public internet are
//! permitted. IPv6 forms that carry an IPv4 address are judged by that address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use url::{Host, Url};

const MAX_URL_BYTES: usize = 2_000;

/// Why a URL is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUrl {
    #[error("is not a URL such as https://erp.example.com/hooks")]
    NotAUrl,
    #[error("must be at most {MAX_URL_BYTES} bytes long")]
    TooLong,
    #[error("must begin with https://")]
    NotHttps,
    #[error("must not contain a user name or password; verify the signature instead")]
    HasCredentials,
    #[error("must not have a fragment (`#...`)")]
    HasFragment,
    #[error("must not lead to {0}, which is not an address of the public internet")]
    Private(String),
}

/// Parses the URL of a webhook. Checks literal addresses; names are checked when they are resolved ([`super::client`]).
/// `allow_private` also permits `http://`.
pub fn check_url(text: &str, allow_private: bool) -> Result<Url, BadUrl> {
    if text.len() > MAX_URL_BYTES {
        return Err(BadUrl::TooLong);
    }
    let url = Url::parse(text.trim()).map_err(|_| BadUrl::NotAUrl)?;
    match url.scheme() {
        "https" => {}
        "http" if allow_private => {}
        _ => return Err(BadUrl::NotHttps),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(BadUrl::HasCredentials);
    }
    if url.fragment().is_some() {
        return Err(BadUrl::HasFragment);
    }
    let address = match url.host().ok_or(BadUrl::NotAUrl)? {
        Host::Ipv4(address) => Some(IpAddr::V4(address)),
        Host::Ipv6(address) => Some(IpAddr::V6(address)),
        Host::Domain(name) if !allow_private && is_local_name(name) => return Err(BadUrl::Private(name.to_owned())),
        Host::Domain(_) => None,
    };
    match address {
        Some(address) if !allow_private && !is_public(address) => Err(BadUrl::Private(address.to_string())),
        _ => Ok(url),
    }
}

/// Names that never lead to the public internet (RFC 6761, RFC 6762).
fn is_local_name(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let last = name.rsplit('.').next().unwrap_or_default();
    ["localhost", "local", "internal"].contains(&last)
}

/// Returns whether an address belongs to the public internet.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// The special-purpose addresses of RFC 6890 and its successors are not public.
fn is_public_v4(address: Ipv4Addr) -> bool {
    !matches!(
        address.octets(),
        [0 | 10 | 127, ..]
            | [100, 64..=127, ..]
            | [169, 254, ..]
            | [172, 16..=31, ..]
            | [192, 0, 0 | 2, _]
            | [192, 88, 99, _]
            | [192, 168, ..]
            | [198, 18 | 19, ..]
            | [198, 51, 100, _]
            | [203, 0, 113, _]
            | [224..=255, ..]
    )
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        // IPv4-mapped, and NAT64 (RFC 6052), which DNS64 answers where a network has no IPv4.
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        // 6to4.
        [0x2002, high, low, ..] => embedded(high, low),
        // Protocol assignments, among them Teredo, and documentation.
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => false,
        [first, ..] => (0x2000..=0x3fff).contains(&first),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_public_internet_are_permitted() {
        let private = "0.0.0.0 10.1.2.3 100.64.0.1 100.127.255.255 127.0.0.1 127.9.9.9 169.254.169.254 172.16.0.1 \
             172.31.255.255 192.0.0.8 192.0.2.1 192.88.99.1 192.168.0.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 \
             240.0.0.1 255.255.255.255 :: ::1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 \
             64:ff9b::10.0.0.1 64:ff9b::7f00:1 64:ff9b:1::1 fc00::1 fd12:3456::1 fe80::1 fec0::1 ff02::1 2001:db8::1 \
             2001::1 2002:7f00:1:: 2002:a00:1:: 3fff::1 100::1 5f00::1";
        for text in private.split_whitespace() {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
        let public = "1.1.1.1 8.8.8.8 100.63.255.255 100.128.0.1 172.15.0.1 172.32.0.1 192.0.1.1 198.20.0.1 223.255.255.255 \
             2606:4700:4700::1111 2a00:1450::1 ::ffff:8.8.8.8 64:ff9b::8.8.8.8 2002:808:808::1";
        for text in public.split_whitespace() {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn a_url_is_https_and_leads_out_of_the_network() {
        for good in ["https://erp.example.com/hooks?x=1", "https://8.8.8.8:8443/", "https://[2606:4700::1]/"] {
            assert!(check_url(good, false).is_ok(), "{good}");
        }
        let is = |text: &str, expected: BadUrl| assert_eq!(check_url(text, false).map(String::from), Err(expected));
        is("erp.example.com", BadUrl::NotAUrl);
        is("http://erp.example.com/", BadUrl::NotHttps);
        is("ftp://erp.example.com/", BadUrl::NotHttps);
        is("https://user:secret@erp.example.com/", BadUrl::HasCredentials);
        is("https://erp.example.com/#x", BadUrl::HasFragment);
        is(&format!("https://erp.example.com/{}", "x".repeat(2_000)), BadUrl::TooLong);
        for local in ["https://localhost/", "https://db.internal./", "https://printer.local/", "https://a.LOCALHOST/"] {
            assert!(matches!(check_url(local, false), Err(BadUrl::Private(_))), "{local}");
        }
        // The forms in which IPv4 addresses hide.
        for hidden in ["https://127.1/", "https://0x7f000001/", "https://2130706433/", "https://017700000001/"] {
            assert_eq!(
                check_url(hidden, false).map(String::from),
                Err(BadUrl::Private("127.0.0.1".into())),
                "{hidden}"
            );
        }
        assert!(check_url("https://[::ffff:10.0.0.1]/", false).is_err());
        assert!(check_url("http://127.0.0.1:9/", true).is_ok());
    }
}

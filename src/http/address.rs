//! The address of the client of a request, also behind trusted proxies.

use actix_web::HttpRequest;
use std::net::{IpAddr, Ipv4Addr};

/// Returns the address of the client: the last address that is not a trusted proxy, going through `X-Forwarded-For` from
/// right to left. Entries to the left of that address are ignored, because any client can send them.
pub fn client_address(request: &HttpRequest, trusted: &[IpAddr]) -> IpAddr {
    let peer = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.ip().to_canonical());
    let forwarded: Vec<&str> = request
        .headers()
        .get_all("x-forwarded-for")
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    first_untrusted(peer, &forwarded, trusted)
}

fn first_untrusted(peer: IpAddr, forwarded: &[&str], trusted: &[IpAddr]) -> IpAddr {
    let mut address = peer;
    for hop in forwarded.iter().rev() {
        if !trusted.contains(&address) {
            break;
        }
        match hop.parse::<IpAddr>() {
            Ok(next) => address = next.to_canonical(),
            Err(_) => break,
        }
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forwarded_addresses_count_only_from_trusted_proxies() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let trusted = [ip("10.0.0.1"), ip("10.0.0.2")];
        assert_eq!(first_untrusted(ip("9.9.9.9"), &["1.1.1.1"], &trusted), ip("9.9.9.9"));
        assert_eq!(first_untrusted(ip("10.0.0.1"), &["6.6.6.6", "1.1.1.1"], &trusted), ip("1.1.1.1"));
        assert_eq!(first_untrusted(ip("10.0.0.1"), &["1.1.1.1", "10.0.0.2"], &trusted), ip("1.1.1.1"));
        assert_eq!(first_untrusted(ip("10.0.0.1"), &["nonsense"], &trusted), ip("10.0.0.1"));
        assert_eq!(first_untrusted(ip("10.0.0.1"), &[], &[]), ip("10.0.0.1"));
    }
}

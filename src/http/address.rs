//! Where a request comes from: the peer, or what trusted proxies say of it.

use actix_web::HttpRequest;
use std::net::{IpAddr, Ipv4Addr};

/// The address of the client. `X-Forwarded-For` is read from the right, for as long as the hops are trusted proxies;
/// without trusted proxies it is ignored, because anybody can send it.
pub fn client_address(request: &HttpRequest, trusted: &[IpAddr]) -> IpAddr {
    let peer = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.ip().to_canonical());
    let forwarded: Vec<&str> = request
        .headers()
        .get_all("x-forwarded-for")
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    behind_proxies(peer, &forwarded, trusted)
}

fn behind_proxies(peer: IpAddr, forwarded: &[&str], trusted: &[IpAddr]) -> IpAddr {
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
    fn only_trusted_proxies_are_believed() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let trusted = [ip("10.0.0.1"), ip("10.0.0.2")];
        assert_eq!(behind_proxies(ip("9.9.9.9"), &["1.1.1.1"], &trusted), ip("9.9.9.9"));
        assert_eq!(behind_proxies(ip("10.0.0.1"), &["6.6.6.6", "1.1.1.1"], &trusted), ip("1.1.1.1"));
        assert_eq!(behind_proxies(ip("10.0.0.1"), &["1.1.1.1", "10.0.0.2"], &trusted), ip("1.1.1.1"));
        assert_eq!(behind_proxies(ip("10.0.0.1"), &["nonsense"], &trusted), ip("10.0.0.1"));
        assert_eq!(behind_proxies(ip("10.0.0.1"), &[], &[]), ip("10.0.0.1"));
    }
}

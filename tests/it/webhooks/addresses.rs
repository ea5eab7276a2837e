//! Where webhooks may lead, and how much of an answer is read.

use super::receiver::{Answer, Receiver};
use super::{FAST, add, supplier};
use crate::support::supplier::Supplier;
use spsi_partner::webhooks::client::{Client, Failure};
use std::net::IpAddr;
use std::time::Duration;

#[test]
fn a_webhook_to_a_private_address_or_without_https_is_refused() {
    let supplier = Supplier::start(&[]);
    for (url, word) in [
        ("http://erp.example.com/", "https://"),
        ("https://127.0.0.1/", "127.0.0.1"),
        ("https://0x7f.1/", "127.0.0.1"),
        ("https://169.254.169.254/latest/meta-data", "169.254.169.254"),
        ("https://[::ffff:10.0.0.1]/", "public internet"),
        ("https://localhost:8443/", "SPSI_WEBHOOK_ALLOW_PRIVATE"),
        ("https://user:pass@erp.example.com/", "signature"),
    ] {
        let refused = supplier.spsi(["webhook", "add", "--url", url]).run();
        assert_eq!(refused.code, Some(1), "{url}: {}", refused.stdout);
        assert!(refused.stderr.contains(word), "{url}: {}", refused.stderr);
    }
}

/// A name that this machine resolves to an address of its own, and that does not say so.
fn private_name() -> Option<String> {
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    let names = hosts.lines().filter_map(|line| {
        let mut words = line.split('#').next()?.split_whitespace();
        let address: IpAddr = words.next()?.parse().ok()?;
        (!spsi_partner::webhooks::address::is_public(address)).then_some(words)
    });
    let mut names = names.flatten();
    names.find(|name| !name.ends_with("localhost") || name.starts_with("ip6-")).map(str::to_owned)
}

#[tokio::test]
async fn a_name_that_resolves_to_a_private_address_is_not_called() {
    let Some(name) = private_name() else {
        println!("skipped: /etc/hosts names no private address");
        return;
    };
    let client = Client::new(false).expect("a client");
    let called = client.post(&format!("https://{name}/"), &[], "{}".into(), Duration::from_secs(5)).await;
    assert!(matches!(called, Err(Failure::PrivateAddress(ref private, _)) if *private == name), "{called:?}");
    let literal = client.post("https://10.0.0.1/", &[], "{}".into(), Duration::from_secs(5)).await;
    assert!(matches!(literal, Err(Failure::Url(_))), "{literal:?}");
}

#[test]
fn a_redirect_is_not_followed_and_an_endless_answer_is_read_to_64_kb() {
    let (supplier, receiver, elsewhere) = (supplier(), Receiver::start(), Receiver::start());
    let (id, _) = add(&supplier, &receiver, &[]);
    let location = format!("location: {}", elsewhere.url);
    receiver.answer(move |_| Answer::With(307, location.clone()));
    let sent = supplier.spsi(["webhook", "test", &id, "--output", "json"]).run();
    assert_eq!(sent.code, Some(1));
    assert!(sent.stdout.contains("\"status\": 307") && sent.stderr.contains("answered 307"), "{}", sent.stdout);
    assert!(elsewhere.received().is_empty());
    receiver.answer(|_| Answer::Endless);
    let sent = supplier.run(["webhook", "test", &id]);
    assert_eq!((sent["status"].as_i64(), sent["outcome"].as_str()), (Some(200), Some("delivered")));
    assert_eq!(sent["response"].as_str().expect("a response").len(), 2_000);
    // The rest is what the buffers of both sides hold.
    assert!(receiver.sent() < 16 * 1024 * 1024, "{}", receiver.sent());
}

#[test]
fn a_proxy_of_the_environment_is_not_used() {
    let (supplier, receiver, proxy) = (Supplier::start(&[FAST[0]]), Receiver::start(), Receiver::start());
    let (id, _) = add(&supplier, &receiver, &[]);
    let sent =
        supplier.spsi(["webhook", "test", &id]).env("http_proxy", &proxy.url).env("HTTP_PROXY", &proxy.url).run();
    assert_eq!((sent.code, receiver.received().len()), (Some(0), 1), "{}", sent.stderr);
    assert!(proxy.received().is_empty());
}

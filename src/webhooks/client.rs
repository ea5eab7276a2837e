//! The HTTP client of webhooks: one POST to a URL that a user of the API chose.
//!
//! Guarantees: unless private addresses are allowed, the connection goes to an address of the public internet. Names are
//! resolved once, by [`PublicResolver`], and the connection is made to the addresses that it returned: a name that changes its
//! address between check and connection gains nothing. Follows no redirect, uses no proxy of the environment, repeats nothing,
//! reads at most 64 KB of an answer.

use super::address::{BadUrl, check_url, is_public};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use std::error::Error;
use std::net::IpAddr;
use std::time::Duration;

/// Why a client could not be created.
pub use reqwest::Error as ClientError;

/// The part of an answer's body that is read.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
const MAX_CONNECT_TIME: Duration = Duration::from_secs(10);
/// How long an idle connection stays open for the next message: thousands of endpoints must not hold thousands of connections.
const IDLE_CONNECTION: Duration = Duration::from_secs(5);
const IDLE_CONNECTIONS_PER_HOST: usize = 2;

/// An answer, whatever its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// The first 64 KB.
    pub body: String,
    /// `Retry-After` in seconds.
    pub retry_after: Option<Duration>,
}

/// Why no answer came.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("the URL {0}")]
    Url(#[from] BadUrl),
    #[error("`{0}` resolves to {1}, which is not an address of the public internet")]
    PrivateAddress(String, IpAddr),
    #[error("cannot connect: {0}")]
    NotConnected(String),
    #[error("no answer within {} s", .0.as_secs_f64())]
    Timeout(Duration),
    #[error("the connection broke: {0}")]
    Broken(String),
}

/// Makes calls to webhooks. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    allow_private: bool,
}

impl Client {
    /// `allow_private` permits private addresses and `http://`.
    pub fn new(allow_private: bool) -> Result<Self, ClientError> {
        let builder = reqwest::Client::builder()
            .user_agent(concat!("spsi-partner/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .no_gzip()
            .connect_timeout(MAX_CONNECT_TIME)
            .pool_idle_timeout(IDLE_CONNECTION)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_PER_HOST)
            .dns_resolver(PublicResolver { allow_private });
        Ok(Self { http: builder.build()?, allow_private })
    }

    /// Posts a JSON body. `deadline` covers the whole call, including the part of the answer's body that is read.
    pub async fn post(
        &self,
        url: &str,
        headers: &[(&'static str, String)],
        body: String,
        deadline: Duration,
    ) -> Result<Answer, Failure> {
        let url = check_url(url, self.allow_private)?;
        let mut call = self.http.post(url).header(CONTENT_TYPE, "application/json").timeout(deadline).body(body);
        for (name, value) in headers {
            call = call.header(*name, value);
        }
        let mut response = call.send().await.map_err(|error| failure(&error, deadline))?;
        let status = response.status().as_u16();
        let retry_after = response.headers().get(RETRY_AFTER);
        let retry_after =
            retry_after.and_then(|value| value.to_str().ok()?.trim().parse().ok()).map(Duration::from_secs);
        let mut bytes = Vec::new();
        while bytes.len() < MAX_ANSWER_BYTES {
            // The status decides; a body that breaks off is kept as far as it came.
            let Ok(Some(chunk)) = response.chunk().await else { break };
            bytes.extend_from_slice(&chunk);
        }
        bytes.truncate(MAX_ANSWER_BYTES);
        Ok(Answer { status, body: String::from_utf8_lossy(&bytes).into_owned(), retry_after })
    }
}

fn failure(error: &reqwest::Error, deadline: Duration) -> Failure {
    let mut cause: &(dyn Error + 'static) = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    if let Some(private) = cause.downcast_ref::<Failure>() {
        return private.clone();
    }
    let root = cause.to_string();
    match error {
        error if error.is_connect() => Failure::NotConnected(root),
        error if error.is_timeout() => Failure::Timeout(deadline),
        _ => Failure::Broken(root),
    }
}

/// Resolves names with the system's resolver, and leaves out private addresses. A name that has no others is a
/// [`Failure::PrivateAddress`].
struct PublicResolver {
    allow_private: bool,
}

impl Resolve for PublicResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_private = self.allow_private;
        Box::pin(async move {
            let name = name.as_str().to_owned();
            let found: Vec<_> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let permitted: Vec<_> =
                found.iter().copied().filter(|address| allow_private || is_public(address.ip())).collect();
            match (permitted.is_empty(), found.first()) {
                (true, Some(private)) => Err(Failure::PrivateAddress(name, private.ip()).into()),
                _ => Ok(Box::new(permitted.into_iter()) as Addrs),
            }
        })
    }
}

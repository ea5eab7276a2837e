//! The client of ezyVet's half of the protocol (SPSI.md 2): the only place of the product with an HTTP client.
//!
//! It makes one call at a time and says truthfully how it ended: whether ezyVet did it, did not do it, or nobody can
//! know. It refuses redirects and answers larger than a limit, repeats nothing by itself, and knows neither leases nor
//! budgets: `delivery` does.

pub mod answers;
mod body_value;
mod endpoint;
mod outcome;
mod request;
mod token;
mod wire;

pub use answers::InventoryProduct;
pub use body_value::BodyValue;
pub use endpoint::{Endpoint, Preset};
pub use outcome::Outcome;
pub use request::{Body, JobNames, Request};
/// Why a client could not be made.
pub use reqwest::Error as ClientError;
pub use token::{Credentials, Granted};
pub use wire::Page;

use crate::config::ScopeSeparator;
use crate::secret::Plain;
use outcome::{Arrived, classify};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, LOCATION};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use time::OffsetDateTime;

/// Bounds of a call.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For the whole call, the answer's body included.
    pub timeout: Duration,
    /// Largest body that is read, after decompression.
    pub body_bytes: usize,
}

/// What the `x-ratelimit-*` headers of an answer say.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RateHeaders {
    pub limit: Option<u32>,
    pub remaining: Option<u32>,
    /// Until the count is reset.
    pub reset: Option<Duration>,
}

/// A call and how it ended.
#[derive(Debug)]
pub struct Exchange {
    pub outcome: Outcome,
    /// None: no answer came.
    pub status: Option<u16>,
    /// As much of the body as was read.
    pub body: String,
    pub rate: RateHeaders,
}

impl Exchange {
    /// A call of which no answer came, or that was not made at all.
    pub fn without_answer(outcome: Outcome) -> Self {
        Self { outcome, status: None, body: String::new(), rate: RateHeaders::default() }
    }
}

/// How a token request ended.
#[derive(Debug)]
pub struct TokenExchange {
    pub granted: Result<Granted, Outcome>,
    pub rate: RateHeaders,
}

/// Makes calls. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    longest_connect: Duration,
    idle_connection: Duration,
    /// By the time that connecting may take, which is fixed when a connector is made; a site may have a call timeout of
    /// its own, so there are as many as there are such settings.
    connectors: Arc<Mutex<BTreeMap<Duration, Connectors>>>,
}

#[derive(Clone, Debug)]
struct Connectors {
    reads: reqwest::Client,
    writes: reqwest::Client,
}

impl Client {
    /// A client that follows no redirects. Name lookup, connection and TLS together take `longest_connect` at the most,
    /// and half of a call's own timeout at the most: a call that fails within them was certainly never sent.
    /// An idle connection is kept for reading calls for `idle_connection`.
    pub fn new(longest_connect: Duration, idle_connection: Duration) -> Result<Self, ClientError> {
        let first = BTreeMap::from([(longest_connect, Connectors::new(longest_connect, idle_connection)?)]);
        Ok(Self { longest_connect, idle_connection, connectors: Arc::new(Mutex::new(first)) })
    }

    fn connectors(&self, limits: Limits) -> Result<Connectors, ClientError> {
        let connect_timeout = self.longest_connect.min(limits.timeout / 2);
        let mut connectors = self.connectors.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = connectors.get(&connect_timeout) {
            return Ok(known.clone());
        }
        let new = Connectors::new(connect_timeout, self.idle_connection)?;
        connectors.insert(connect_timeout, new.clone());
        Ok(new)
    }
}

impl Connectors {
    fn new(connect_timeout: Duration, idle_connection: Duration) -> Result<Self, ClientError> {
        let builder = || {
            reqwest::Client::builder()
                .user_agent(concat!("spsi-partner/", env!("CARGO_PKG_VERSION")))
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
                .connect_timeout(connect_timeout)
        };
        Ok(Self {
            reads: builder().pool_idle_timeout(idle_connection).build()?,
            // A kept connection that the other side closes just as we write is the commonest reason for an unclear
            // outcome; a new connection per write costs one handshake and avoids it.
            writes: builder().pool_max_idle_per_host(0).build()?,
        })
    }
}

impl Client {
    /// Makes a call with a token.
    pub async fn call(&self, base_url: &str, token: &Plain, request: &Request, limits: Limits) -> Exchange {
        let url = format!("{}{}", base_url.trim_end_matches('/'), request.target);
        let Connectors { reads, writes } = match self.connectors(limits) {
            Ok(connectors) => connectors,
            Err(error) => return Exchange::without_answer(Outcome::NeverSent { why: innermost(&error) }),
        };
        let call = match &request.body {
            Body::None => reads.get(url),
            Body::Form(text) => {
                writes.post(url).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(text.clone())
            }
            Body::Json(text) => writes.post(url).header(CONTENT_TYPE, "application/json").body(text.clone()),
        };
        run(call.bearer_auth(token.expose()), limits).await
    }

    /// Asks for a token, which kills the one before it: only the holder of the site's lease may. `longest_life`: of a
    /// token whose own end cannot be read.
    pub async fn ask_for_token(
        &self,
        base_url: &str,
        token_path: &str,
        credentials: &Credentials,
        scopes: (ScopeSeparator, bool),
        limits: Limits,
        (now, longest_life): (OffsetDateTime, Duration),
    ) -> TokenExchange {
        let form = credentials.form(scopes.0, scopes.1);
        let url = format!("{}/{}", base_url.trim_end_matches('/'), token_path.trim_start_matches('/'));
        let writes = match self.connectors(limits) {
            Ok(connectors) => connectors.writes,
            Err(error) => {
                let granted = Err(Outcome::NeverSent { why: innermost(&error) });
                return TokenExchange { granted, rate: RateHeaders::default() };
            }
        };
        let call = writes.post(url).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let exchange = run(call.body(form.expose().to_owned()), limits).await;
        let granted = match exchange.outcome {
            Outcome::Done => token::read(&exchange.body, scopes.1, now, longest_life).ok_or_else(|| Outcome::Failed {
                status: exchange.status.unwrap_or_default(),
                text: "the answer to our token request holds no access_token".into(),
                own_words: true,
            }),
            other => Err(other),
        };
        TokenExchange { granted, rate: exchange.rate }
    }
}

async fn run(call: reqwest::RequestBuilder, limits: Limits) -> Exchange {
    let call = call.header(ACCEPT, "application/json").timeout(limits.timeout);
    let nothing = Exchange::without_answer;
    let response = match call.send().await {
        Ok(response) => response,
        Err(error) if error.is_connect() || error.is_builder() => {
            return nothing(Outcome::NeverSent { why: innermost(&error) });
        }
        Err(error) if error.is_timeout() => {
            let why = format!("no answer within {} s", limits.timeout.as_secs_f64());
            return nothing(Outcome::Unclear { why });
        }
        Err(error) => return nothing(Outcome::Unclear { why: innermost(&error) }),
    };
    let status = response.status().as_u16();
    let rate = rate_headers(response.headers());
    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (body, flaw) = read_body(response, limits.body_bytes).await;
    let arrived = Arrived {
        status,
        location: location.as_deref(),
        reset: rate.reset,
        body: flaw.as_deref().map_or(Ok(body.as_str()), Err),
    };
    Exchange { outcome: classify(&arrived), status: Some(status), body, rate }
}

async fn read_body(mut response: reqwest::Response, limit: usize) -> (String, Option<String>) {
    let mut bytes = Vec::new();
    let flaw = loop {
        match response.chunk().await {
            Ok(Some(chunk)) if bytes.len() + chunk.len() > limit => {
                break Some(format!("is larger than {limit} bytes"));
            }
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => break None,
            Err(error) => break Some(format!("was cut off: {}", innermost(&error))),
        }
    };
    (String::from_utf8_lossy(&bytes).into_owned(), flaw)
}

/// The deepest cause: `Connection refused`, not `error sending request`. URLs hold no secrets of ours.
fn innermost(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(deeper) => innermost(deeper),
        None => error.to_string(),
    }
}

fn rate_headers(headers: &HeaderMap) -> RateHeaders {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<f64>().ok().filter(|n| n.is_finite());
    let count = |name: &str| number(name).map(|n| n.clamp(0.0, f64::from(u32::MAX)) as u32);
    let reset = number("x-ratelimit-reset").or_else(|| number("retry-after"));
    RateHeaders {
        limit: count("x-ratelimit-limit"),
        remaining: count("x-ratelimit-remaining"),
        reset: reset.map(|seconds| Duration::from_secs_f64(seconds.clamp(0.0, 86_400.0))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[tokio::test]
    async fn a_connection_that_does_not_come_about_is_certain_whatever_the_call_timeout() {
        let full = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = full.local_addr().unwrap();
        // Nobody accepts: when the queue is full, connecting hangs.
        let waiting: Vec<_> =
            std::iter::from_fn(|| TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok())
                .take(10_000)
                .collect();
        let client = Client::new(Duration::from_secs(10), Duration::from_secs(10)).unwrap();
        let limits = Limits { timeout: Duration::from_millis(300), body_bytes: 1000 };
        let (url, token) = (format!("http://{address}"), Plain::new("t"));
        let exchange = client.call(&url, &token, &Request::find_invoice("1"), limits).await;
        assert!(
            matches!(exchange.outcome, Outcome::NeverSent { .. }),
            "{:?} after {}",
            exchange.outcome,
            waiting.len()
        );
    }
}

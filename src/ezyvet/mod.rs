//! The client of ezyVet's half of the protocol (SPSI.md 2): the only place of the product with an HTTP client.
//!
//! Makes one call at a time and reports its [`Outcome`]: done, not done, or unclear. Follows no redirect, reads no answer
//! larger than a limit, and repeats nothing. Leases and rate budgets are in `delivery`.

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
pub use request::{Request, count_job_fields};
/// Why a client could not be created.
pub use reqwest::Error as ClientError;
pub use token::{Credentials, Granted};
pub use wire::Page;

use crate::config::SiteSettings;
use crate::secret::Plain;
use outcome::{Answer, classify};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, LOCATION};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use time::OffsetDateTime;

/// How long an idle connection to a site stays open for the next call that reads.
const IDLE_CONNECTION: Duration = Duration::from_secs(10);

/// A longer response counts as a failure.
const MAX_RESPONSE_BYTES: usize = 4 * 1024 * 1024;

/// The `x-ratelimit-*` headers of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RateHeaders {
    pub limit: Option<u32>,
    pub remaining: Option<u32>,
    /// Time until ezyVet's count starts again.
    pub reset: Option<Duration>,
}

/// The answer to a call, and its outcome.
#[derive(Debug)]
pub struct Exchange {
    pub outcome: Outcome,
    /// `None`: no answer came.
    pub status: Option<u16>,
    /// The part of the body that was read.
    pub body: String,
    pub rate: RateHeaders,
}

impl Exchange {
    /// A call that was not made, or that got no answer.
    pub fn without_answer(outcome: Outcome) -> Self {
        Self { outcome, status: None, body: String::new(), rate: RateHeaders::default() }
    }
}

/// Makes calls to ezyVet. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    max_connect_time: Duration,
    /// By connect timeout, which is fixed when a `reqwest` client is built, and which depends on a site's call timeout.
    connectors: Arc<Mutex<BTreeMap<Duration, Connectors>>>,
}

#[derive(Clone, Debug)]
struct Connectors {
    reads: reqwest::Client,
    writes: reqwest::Client,
}

impl Connectors {
    fn new(connect_timeout: Duration) -> Result<Self, ClientError> {
        let builder = || {
            reqwest::Client::builder()
                .user_agent(concat!("spsi-partner/", env!("CARGO_PKG_VERSION")))
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
                .connect_timeout(connect_timeout)
        };
        Ok(Self {
            reads: builder().pool_idle_timeout(IDLE_CONNECTION).build()?,
            // The commonest reason for an unclear outcome is a kept connection that the other side closes during a write.
            // A new connection per write avoids this, at the cost of a handshake.
            writes: builder().pool_max_idle_per_host(0).build()?,
        })
    }
}

impl Client {
    /// Creates a client. Name lookup, connection and TLS together take at most `max_connect_time`, and at most half of a
    /// call's own timeout: a call that fails within them was certainly not sent.
    pub fn new(max_connect_time: Duration) -> Result<Self, ClientError> {
        let first = BTreeMap::from([(max_connect_time, Connectors::new(max_connect_time)?)]);
        Ok(Self { max_connect_time, connectors: Arc::new(Mutex::new(first)) })
    }

    fn connectors(&self, call_timeout: Duration) -> Result<Connectors, ClientError> {
        let connect_timeout = self.max_connect_time.min(call_timeout / 2);
        let mut connectors = self.connectors.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(existing) = connectors.get(&connect_timeout) {
            return Ok(existing.clone());
        }
        let new = Connectors::new(connect_timeout)?;
        connectors.insert(connect_timeout, new.clone());
        Ok(new)
    }

    /// Makes a call with a token. The call timeout includes reading the body of the answer.
    pub async fn call(&self, base_url: &str, token: &Plain, request: &Request, settings: &SiteSettings) -> Exchange {
        let url = format!("{}{}", base_url.trim_end_matches('/'), request.target);
        self.run(settings, |connectors| {
            let call = match &request.body {
                None => connectors.reads.get(url),
                Some(body) => connectors.writes.post(url).header(CONTENT_TYPE, body.media_type).body(body.text.clone()),
            };
            call.bearer_auth(token.expose())
        })
        .await
    }

    /// Requests a token, which kills the token before it. Only the holder of the site's lease may call this.
    pub async fn request_token(
        &self,
        (base_url, token_path): (&str, &str),
        credentials: &Credentials,
        with_inventory: bool,
        settings: &SiteSettings,
        now: OffsetDateTime,
    ) -> (Result<Granted, Outcome>, RateHeaders) {
        let form = credentials.form(settings.scope_separator, with_inventory);
        let url = format!("{}/{}", base_url.trim_end_matches('/'), token_path.trim_start_matches('/'));
        let call = |connectors: Connectors| {
            connectors.writes.post(url).header(CONTENT_TYPE, request::FORM).body(form.expose().to_owned())
        };
        let exchange = self.run(settings, call).await;
        let granted = match exchange.outcome {
            Outcome::Done => token::read(&exchange.body, with_inventory, now).ok_or_else(|| Outcome::Failed {
                status: exchange.status.unwrap_or_default(),
                text: "the answer to the token request holds no access_token".into(),
                from_ezyvet: true,
            }),
            other => Err(other),
        };
        (granted, exchange.rate)
    }

    async fn run(&self, settings: &SiteSettings, call: impl FnOnce(Connectors) -> reqwest::RequestBuilder) -> Exchange {
        let without_answer = Exchange::without_answer;
        let timeout = settings.call_timeout.0;
        let call = match self.connectors(timeout) {
            Ok(connectors) => call(connectors).header(ACCEPT, "application/json").timeout(timeout),
            Err(error) => return without_answer(Outcome::NeverSent { why: root_cause(&error) }),
        };
        let response = match call.send().await {
            Ok(response) => response,
            Err(error) if error.is_connect() || error.is_builder() => {
                return without_answer(Outcome::NeverSent { why: root_cause(&error) });
            }
            Err(error) if error.is_timeout() => {
                let why = format!("no answer within {} s", timeout.as_secs_f64());
                return without_answer(Outcome::Unclear { why });
            }
            Err(error) => return without_answer(Outcome::Unclear { why: root_cause(&error) }),
        };
        let status = response.status().as_u16();
        let rate = rate_headers(response.headers());
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (body, problem) = read_body(response, MAX_RESPONSE_BYTES).await;
        let answer = Answer {
            status,
            location: location.as_deref(),
            reset: rate.reset,
            body: problem.as_deref().map_or(Ok(body.as_str()), Err),
        };
        Exchange { outcome: classify(&answer), status: Some(status), body, rate }
    }
}

/// Reads a body of at most `limit` bytes, after decompression.
async fn read_body(mut response: reqwest::Response, limit: usize) -> (String, Option<String>) {
    let mut bytes = Vec::new();
    let problem = loop {
        match response.chunk().await {
            Ok(Some(chunk)) if bytes.len() + chunk.len() > limit => {
                break Some(format!("is larger than {limit} bytes"));
            }
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => break None,
            Err(error) => break Some(format!("was cut off: {}", root_cause(&error))),
        }
    };
    (String::from_utf8_lossy(&bytes).into_owned(), problem)
}

/// Returns the deepest cause of an error: `Connection refused`, not `error sending request`.
fn root_cause(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(deeper) => root_cause(deeper),
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
    use crate::config::Settings;
    use std::net::{TcpListener, TcpStream};

    #[tokio::test]
    async fn a_call_whose_connection_fails_was_never_sent_at_any_call_timeout() {
        let full = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = full.local_addr().unwrap();
        // The listener accepts nothing: when its queue is full, connecting hangs.
        let waiting: Vec<_> =
            std::iter::from_fn(|| TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok())
                .take(10_000)
                .collect();
        let client = Client::new(Duration::from_secs(10)).unwrap();
        let mut settings = Settings::from_environment().unwrap().site;
        settings.call_timeout = "300ms".parse().unwrap();
        let (url, token) = (format!("http://{address}"), Plain::new("t"));
        let exchange = client.call(&url, &token, &Request::find_invoice("1"), &settings).await;
        assert!(
            matches!(exchange.outcome, Outcome::NeverSent { .. }),
            "{:?} after {}",
            exchange.outcome,
            waiting.len()
        );
    }
}

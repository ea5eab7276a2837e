//! The calling half: a clinic's ezyVet that calls a partner and checks every answer strictly.
//!
//! Guarantees: an answer that is not as documented is an error that names the field; a catalogue is linked only after
//! every page was read.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use reqwest::{Method, RequestBuilder, redirect};
use serde_json::{Value, json};
use url::form_urlencoded::byte_serialize;

use super::{
    SharedWorld,
    check::{self, Listed},
    clock::Clock,
    exchange::{ClinicError, Exchange, MAX_RECORDED_BODY, Reply, masked},
    lock,
    order::{OrderLine, PurchaseOrder},
    product::LinkSummary,
};

/// Time limit of a call.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// A clinic that calls a partner.
#[derive(Clone)]
pub struct Clinic {
    partner_url: String,
    client_id: String,
    client_secret: String,
    world: SharedWorld,
    clock: Clock,
    http: reqwest::Client,
    token: Arc<Mutex<Option<String>>>,
}

/// A complete pull of the catalogue.
#[derive(Clone, Debug)]
pub struct Pull {
    /// Every product, in the partner's order.
    pub products: Vec<Listed>,
    /// The effect on the clinic's product list.
    pub summary: LinkSummary,
    /// The exchange of each page.
    pub exchanges: Vec<Exchange>,
}

impl Clinic {
    /// Creates a clinic of this site that calls the endpoints under `partner_url`.
    ///
    /// # Errors
    /// The HTTP client cannot be built.
    pub(super) fn new(
        world: SharedWorld,
        clock: Clock,
        partner_url: &str,
        client_id: &str,
        client_secret: &str,
    ) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .timeout(CALL_TIMEOUT)
            .redirect(redirect::Policy::none())
            .user_agent("ezyVet-sandbox")
            .build()?;
        Ok(Self {
            partner_url: partner_url.trim_end_matches('/').to_owned(),
            client_id: client_id.to_owned(),
            client_secret: client_secret.to_owned(),
            world,
            clock,
            http,
            token: Arc::default(),
        })
    }

    /// Requests a new token and uses it from now on.
    ///
    /// # Errors
    /// The partner did not answer as documented.
    pub async fn token(&self) -> Result<Reply<String>, ClinicError> {
        let body = json!({"client_id": self.client_id, "client_secret": self.client_secret, "grant_type": "client_credentials"});
        let (exchange, answer) = self.exchange(Method::POST, "/accesstoken", None, Some(&body)).await?;
        let reply = read(exchange, &answer, check::token)?;
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(reply.value.clone());
        Ok(reply)
    }

    /// Requests the categories.
    ///
    /// # Errors
    /// The partner did not answer as documented.
    pub async fn categories(&self) -> Result<Reply<Vec<String>>, ClinicError> {
        let (exchange, answer) = self.call(Method::GET, "/categories", None).await?;
        read(exchange, &answer, check::categories)
    }

    /// Requests the products whose name contains `name`, or all. With a limit, requests one page of them, counted from zero.
    ///
    /// # Errors
    /// The partner did not answer as documented, or it answered more products than the limit.
    pub async fn products(
        &self,
        name: Option<&str>,
        limit: Option<usize>,
        page: usize,
    ) -> Result<Reply<Vec<Listed>>, ClinicError> {
        // Arrays are written as in ezyVet's reference.
        let name = name.map(|name| format!("name=[{}]", byte_serialize(name.as_bytes()).collect::<String>()));
        let limits = limit.map(|limit| format!("limit=[{limit}]&page=[{page}]"));
        let query = [name, limits].into_iter().flatten().collect::<Vec<_>>().join("&");
        let path = if query.is_empty() { "/products".to_owned() } else { format!("/products?{query}") };
        let (exchange, answer) = self.call(Method::GET, &path, None).await?;
        read(exchange, &answer, |answer| {
            let products = check::products(answer)?;
            match limit {
                Some(limit) if products.len() > limit => {
                    Err(format!("products: {} products, but the limit is {limit}", products.len()))
                }
                _ => Ok(products),
            }
        })
    }

    /// Pulls the whole catalogue and links the clinic's products to it. A `page_size` of `None` requests it in one answer.
    ///
    /// # Errors
    /// A page is not as documented, or a product is repeated or out of order. Nothing is linked then.
    pub async fn pull_catalogue(&self, page_size: Option<usize>) -> Result<Pull, ClinicError> {
        let (mut products, mut exchanges) = (Vec::<Listed>::new(), Vec::new());
        for page in 0.. {
            let Reply { value, exchange } = self.products(None, page_size, page).await?;
            let is_last = page_size.is_none_or(|size| value.len() < size);
            let last_of_previous_page = products.len().saturating_sub(1);
            products.extend(value);
            let mut pairs = products[last_of_previous_page..].windows(2);
            if let Some(pair) = pairs.find(|pair| pair[0].code >= pair[1].code) {
                let reason = format!("products: not in the order of codes: `{}`, `{}`", pair[0].code, pair[1].code);
                return Err(exchange.into_error(reason));
            }
            exchanges.push(exchange);
            if is_last {
                break;
            }
        }
        let summary = lock(&self.world).link_catalogue(&products);
        Ok(Pull { products, summary, exchanges })
    }

    /// Creates an order, switches on the faults in its comments, and sends it.
    ///
    /// # Errors
    /// The order is invalid, or the answer is neither a documented acceptance nor a documented decline.
    pub async fn send_order(&self, lines: &[OrderLine], comments: &str) -> Result<Reply<PurchaseOrder>, ClinicError> {
        let order = lock(&self.world).write_order(self.clock.now(), lines, comments);
        self.resend(&order.map_err(|reason| ClinicError { reason, exchange: None })?).await
    }

    /// Sends an order again with the same body, as ezyVet may do after a timeout. Returns the order with the answer.
    ///
    /// # Errors
    /// The answer is neither a documented acceptance nor a documented decline.
    pub async fn resend(&self, order: &PurchaseOrder) -> Result<Reply<PurchaseOrder>, ClinicError> {
        lock(&self.world).change_order(order.id, |order| order.sent += 1);
        let (exchange, answer) = self.call(Method::POST, "/purchaseorder", Some(&order.body)).await?;
        let Reply { value, exchange } = match check::decline(exchange.status, &answer) {
            Some(reasons) => Reply { value: Err(reasons), exchange },
            None => read(exchange, &answer, |answer| check::echo(&order.body, answer).map(Ok))?,
        };
        let answered = lock(&self.world).change_order(order.id, |order| order.record_answer(value));
        Ok(Reply { value: answered.unwrap_or_else(|| order.clone()), exchange })
    }

    /// Calls the partner with the current token. Requests a new one if there is none, or once after a 401.
    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(Exchange, Value), ClinicError> {
        let current = self.token.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(token) = current {
            let (exchange, answer) = self.exchange(method.clone(), path, Some(&token), body).await?;
            if exchange.status != Some(401) {
                return Ok((exchange, answer));
            }
        }
        let token = self.token().await?.value;
        self.exchange(method, path, Some(&token), body).await
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<&Value>,
    ) -> Result<(Exchange, Value), ClinicError> {
        let mut exchange = Exchange {
            method: method.to_string(),
            url: format!("{}{path}", self.partner_url),
            request_body: body.map(|body| masked(body).to_string()).unwrap_or_default(),
            ..Exchange::default()
        };
        let mut request = self.http.request(method, &exchange.url).header("accept", "application/json");
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let started = Instant::now();
        let outcome = send(request, &mut exchange).await;
        exchange.duration_ms = started.elapsed().as_millis();
        let call = format!("{} {}", exchange.method, exchange.url);
        let bytes = match outcome {
            Ok(bytes) => bytes,
            Err(error) => return Err(exchange.into_error(format!("{call}: {:#}", anyhow::Error::new(error)))),
        };
        exchange.answer_length = bytes.len();
        let answer = serde_json::from_slice::<Value>(&bytes).ok();
        // Masking walks the whole value. Large answers are catalogues, which hold no secret.
        exchange.answer_body = match &answer {
            Some(answer) if bytes.len() <= MAX_RECORDED_BODY => masked(answer).to_string(),
            _ => String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_RECORDED_BODY)]).into_owned(),
        };
        match answer {
            Some(answer) => Ok((exchange, answer)),
            None => {
                let status = exchange.status.unwrap_or_default();
                Err(exchange.into_error(format!("{call} answered {status} with a body that is not JSON")))
            }
        }
    }
}

async fn send(request: RequestBuilder, exchange: &mut Exchange) -> Result<Vec<u8>, reqwest::Error> {
    let answer = request.send().await?;
    exchange.status = Some(answer.status().as_u16());
    exchange.answer_headers = answer
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    Ok(answer.bytes().await?.to_vec())
}

/// Reads the body of an answer with status 200; any other status is an error.
fn read<T>(
    exchange: Exchange,
    answer: &Value,
    read: impl FnOnce(&Value) -> Result<T, String>,
) -> Result<Reply<T>, ClinicError> {
    if exchange.status != Some(200) {
        let status = exchange.status.unwrap_or_default();
        let body: String = exchange.answer_body.chars().take(500).collect();
        let reason = format!("{} {} answered {status} instead of 200: {body}", exchange.method, exchange.url);
        return Err(exchange.into_error(reason));
    }
    match read(answer) {
        Ok(value) => Ok(Reply { value, exchange }),
        Err(reason) => Err(exchange.into_error(reason)),
    }
}

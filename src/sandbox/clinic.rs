//! The calling half: plays a clinic's ezyVet against a partner, and checks every answer strictly.
//!
//! Guarantees: what a partner answers is taken as documented or refused with the name of the field; a catalogue is
//! linked only when every page of it was read.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use reqwest::{Method, RequestBuilder, Url, redirect};
use serde_json::{Value, json};

use super::{
    SharedWorld, check,
    clock::Clock,
    exchange::{BODY_KEPT, ClinicError, Exchange, Reply, masked},
    lock,
    order::{OrderLine, PurchaseOrder},
    product::{LinkSummary, Listed},
    query::ProductQuery,
};

/// How long a clinic's ezyVet waits for an answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// More pages than any catalogue has.
const MOST_PAGES: usize = 100_000;

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

/// A complete pull.
#[derive(Clone, Debug)]
pub struct Pull {
    /// Every product, in the partner's order.
    pub products: Vec<Listed>,
    /// What it did to the clinic's list.
    pub summary: LinkSummary,
    /// The exchange of each page.
    pub exchanges: Vec<Exchange>,
}

/// What a partner answered to an order.
#[derive(Clone, Debug)]
pub struct OrderReply {
    /// The order as the clinic keeps it.
    pub order: PurchaseOrder,
    /// The supplier's number; none if it declined.
    pub supplier_order_number: Option<String>,
    /// Why it declined.
    pub reasons: Vec<String>,
}

impl Clinic {
    /// A clinic of this world at the partner whose endpoints lie under `partner_url`.
    pub fn new(
        world: SharedWorld,
        clock: Clock,
        partner_url: &str,
        client_id: &str,
        client_secret: &str,
    ) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .timeout(PATIENCE)
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

    /// The partner's address.
    pub fn partner_url(&self) -> &str {
        &self.partner_url
    }

    /// Asks for a new token and keeps it.
    ///
    /// # Errors
    /// The partner did not answer as documented.
    pub async fn token(&self) -> Result<Reply<String>, ClinicError> {
        let body = json!({"client_id": self.client_id, "client_secret": self.client_secret, "grant_type": "client_credentials"});
        let (exchange, answer) = self.exchange(Method::POST, "/accesstoken", None, Some(&body)).await?;
        expect_status(&exchange, 200)?;
        let token = answer["access_token"].as_str().filter(|token| !token.is_empty()).map(str::to_owned);
        let token = token.ok_or_else(|| ClinicError::new("access_token: must be a string", Some(&exchange)))?;
        if answer["token_type"] != "Bearer" {
            return Err(ClinicError::new("token_type: must be Bearer", Some(&exchange)));
        }
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
        Ok(Reply { value: token, exchange })
    }

    /// The categories.
    ///
    /// # Errors
    /// The partner did not answer as documented.
    pub async fn categories(&self) -> Result<Reply<Vec<String>>, ClinicError> {
        let (exchange, answer) = self.call(Method::GET, "/categories", None).await?;
        expect_status(&exchange, 200)?;
        let value = check::categories(&answer).map_err(|why| ClinicError::new(why, Some(&exchange)))?;
        Ok(Reply { value, exchange })
    }

    /// One search or one page.
    ///
    /// # Errors
    /// The partner did not answer as documented, or with more products than the limit.
    pub async fn products(
        &self,
        query: &ProductQuery,
        limit: Option<usize>,
        page: Option<usize>,
    ) -> Result<Reply<Vec<Listed>>, ClinicError> {
        let query = query.write(limit, page);
        let path = if query.is_empty() { "/products".to_owned() } else { format!("/products?{query}") };
        let (exchange, answer) = self.call(Method::GET, &path, None).await?;
        expect_status(&exchange, 200)?;
        let value = check::products(&answer).map_err(|why| ClinicError::new(why, Some(&exchange)))?;
        if let Some(limit) = limit.filter(|limit| value.len() > *limit) {
            return Err(ClinicError::new(
                format!("products: {} where the limit is {limit}", value.len()),
                Some(&exchange),
            ));
        }
        Ok(Reply { value, exchange })
    }

    /// Pulls the whole catalogue, page by page or at once (`page_size` none), and links the clinic's products to it.
    ///
    /// # Errors
    /// A page was not as documented, or a product came twice or out of order; nothing is linked then.
    pub async fn pull_catalogue(&self, page_size: Option<usize>) -> Result<Pull, ClinicError> {
        let (mut products, mut exchanges) = (Vec::<Listed>::new(), Vec::new());
        let mut page_of = HashMap::new();
        for page in 0..MOST_PAGES {
            let reply = self.products(&ProductQuery::default(), page_size, page_size.map(|_| page)).await?;
            for product in &reply.value {
                if let Some(earlier) = page_of.insert(product.code.clone(), page) {
                    return Err(ClinicError::new(
                        format!("products: {} came on page {earlier} and again on page {page}", product.code),
                        Some(&reply.exchange),
                    ));
                }
            }
            let last = page_size.is_none_or(|size| reply.value.len() < size);
            products.extend(reply.value);
            exchanges.push(reply.exchange);
            if last {
                break;
            }
        }
        if let Some(pair) = products.windows(2).find(|pair| pair[0].code >= pair[1].code) {
            return Err(ClinicError::new(
                format!("products: `{}` before `{}` is not ordered by code", pair[0].code, pair[1].code),
                exchanges.last(),
            ));
        }
        let summary = lock(&self.world).link_catalogue(&products);
        Ok(Pull { products, summary, exchanges })
    }

    /// Writes an order and sends it.
    ///
    /// # Errors
    /// The order cannot be written, or the answer is neither an acceptance nor a decline as documented.
    pub async fn send_order(&self, lines: &[OrderLine]) -> Result<Reply<OrderReply>, ClinicError> {
        self.send_order_with(lines, "").await
    }

    /// [`Self::send_order`], with comments; magic values in them switch faults on.
    ///
    /// # Errors
    /// As there.
    pub async fn send_order_with(&self, lines: &[OrderLine], comments: &str) -> Result<Reply<OrderReply>, ClinicError> {
        let written = lock(&self.world).write_order_with(self.clock.now(), lines, comments);
        self.resend(&written.map_err(|why| ClinicError::new(why, None))?).await
    }

    /// Sends an order again, word for word, as ezyVet does after a timeout.
    ///
    /// # Errors
    /// The answer is neither an acceptance nor a decline as documented.
    pub async fn resend(&self, order: &PurchaseOrder) -> Result<Reply<OrderReply>, ClinicError> {
        lock(&self.world).note_sent(order.id);
        let (exchange, answer) = self.call(Method::POST, "/purchaseorder", Some(&order.body)).await?;
        let (supplier_order_number, reasons) = match check::decline(exchange.status.unwrap_or_default(), &answer) {
            Some(reasons) => (None, reasons),
            None => {
                expect_status(&exchange, 200)?;
                let number = check::echo(&order.body, &answer).map_err(|why| ClinicError::new(why, Some(&exchange)))?;
                (Some(number), Vec::new())
            }
        };
        let mut world = lock(&self.world);
        world.note_answer(order.id, supplier_order_number.clone(), &reasons);
        let order = world.orders.iter().find(|kept| kept.id == order.id).unwrap_or(order).clone();
        Ok(Reply { value: OrderReply { order, supplier_order_number, reasons }, exchange })
    }

    /// A call with the kept token; a 401 refreshes it once.
    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(Exchange, Value), ClinicError> {
        let kept = self.token.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let fresh = kept.is_none();
        let token = match kept {
            Some(token) => token,
            None => self.token().await?.value,
        };
        let (exchange, answer) = self.exchange(method.clone(), path, Some(&token), body).await?;
        if exchange.status != Some(401) || fresh {
            return Ok((exchange, answer));
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
        let url = Url::parse(&format!("{}{path}", self.partner_url))
            .map_err(|why| ClinicError::new(format!("{}{path}: {why}", self.partner_url), None))?;
        let mut exchange = Exchange { method: method.to_string(), url: url.to_string(), ..Exchange::default() };
        let mut request = self.http.request(method, url).header("accept", "application/json");
        exchange.request_headers.push(("accept".into(), "application/json".into()));
        if let Some(token) = token {
            request = request.bearer_auth(token);
            exchange.request_headers.push(("authorization".into(), "Bearer ***".into()));
        }
        if let Some(body) = body {
            exchange.request_headers.push(("content-type".into(), "application/json".into()));
            exchange.request_body = masked(body).to_string();
            request = request.json(body);
        }
        let begun = Instant::now();
        let outcome = send(request, &mut exchange).await;
        exchange.duration = begun.elapsed();
        let bytes = outcome.map_err(|error| {
            exchange.failure = Some(chain(&error));
            ClinicError::new(format!("{} {}: {}", exchange.method, exchange.url, chain(&error)), Some(&exchange))
        })?;
        exchange.answer_length = bytes.len();
        let answer = serde_json::from_slice::<Value>(&bytes).ok();
        // Masking walks the whole value; only answers that can hold a secret are small.
        let shown = match &answer {
            Some(answer) if bytes.len() <= BODY_KEPT => masked(answer).to_string(),
            _ => String::from_utf8_lossy(&bytes[..bytes.len().min(BODY_KEPT)]).into_owned(),
        };
        exchange.answer_body = shown;
        match answer {
            Some(answer) => Ok((exchange, answer)),
            None => Err(ClinicError::new(
                format!(
                    "{} {}: status {:?} with a body that is not JSON",
                    exchange.method, exchange.url, exchange.status
                ),
                Some(&exchange),
            )),
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

fn expect_status(exchange: &Exchange, wanted: u16) -> Result<(), ClinicError> {
    if exchange.status == Some(wanted) {
        return Ok(());
    }
    let shown: String = exchange.answer_body.chars().take(500).collect();
    Err(ClinicError::new(
        format!(
            "{} {} answered {} instead of {wanted}: {shown}",
            exchange.method,
            exchange.url,
            exchange.status.unwrap_or_default()
        ),
        Some(exchange),
    ))
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        words.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    words
}

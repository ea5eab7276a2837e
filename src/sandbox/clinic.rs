//! The calling half: a clinic's ezyVet that calls a partner and checks every answer strictly.
//!
//! Guarantees: an answer that is not as documented is an error that names the field; a catalogue is linked only after
//! every page was read.

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
    exchange::{ClinicError, Exchange, MAX_RECORDED_BODY, Reply, masked},
    form, lock,
    order::{OrderLine, PurchaseOrder},
    product::{LinkSummary, Listed},
};

/// Time limit of a call.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// Stops a pull from a partner that never sends a last page.
const MAX_PAGES: usize = 100_000;

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

/// A search in a partner's catalogue; an empty list filters nothing.
#[derive(Clone, Debug, Default)]
pub struct ProductQuery {
    /// Texts of which the name contains one.
    pub name: Vec<String>,
    /// Texts of which the supplier code contains one.
    pub code: Vec<String>,
    /// Texts of which the category contains one.
    pub category: Vec<String>,
}

impl ProductQuery {
    /// Returns the raw query, with arrays as in ezyVet's reference: `name=[a,b]`.
    fn write(&self, limit: Option<usize>, page: Option<usize>) -> String {
        let [limit, page] = [limit, page].map(|number| number.iter().map(usize::to_string).collect());
        let parameters = [
            ("name", &self.name),
            ("code", &self.code),
            ("category", &self.category),
            ("limit", &limit),
            ("page", &page),
        ];
        let given = parameters.into_iter().filter(|(_, values)| !values.is_empty());
        let encode = |values: &[String]| values.iter().map(|value| form::encode(value)).collect::<Vec<_>>().join(",");
        given.map(|(name, values)| format!("{name}=[{}]", encode(values))).collect::<Vec<_>>().join("&")
    }
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

/// The answer of a partner to an order.
#[derive(Clone, Debug)]
pub struct OrderReply {
    /// The clinic's record of the order.
    pub order: PurchaseOrder,
    /// The supplier's number; `None` if the supplier declined.
    pub supplier_order_number: Option<String>,
    /// The supplier's reasons for declining.
    pub reasons: Vec<String>,
}

impl Clinic {
    /// Creates a clinic of this site that calls the endpoints under `partner_url`.
    ///
    /// # Errors
    /// The HTTP client cannot be built.
    pub fn new(
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
        expect_status(&exchange, 200)?;
        let token = answer["access_token"].as_str().filter(|token| !token.is_empty()).map(str::to_owned);
        let token = token.ok_or_else(|| ClinicError::new("access_token: must be a string", Some(&exchange)))?;
        if answer["token_type"] != "Bearer" {
            return Err(ClinicError::new("token_type: must be Bearer", Some(&exchange)));
        }
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
        Ok(Reply { value: token, exchange })
    }

    /// Requests the categories.
    ///
    /// # Errors
    /// The partner did not answer as documented.
    pub async fn categories(&self) -> Result<Reply<Vec<String>>, ClinicError> {
        let (exchange, answer) = self.call(Method::GET, "/categories", None).await?;
        expect_status(&exchange, 200)?;
        let value = check::categories(&answer).map_err(|reason| ClinicError::new(reason, Some(&exchange)))?;
        Ok(Reply { value, exchange })
    }

    /// Requests the products of a search, or one page of them.
    ///
    /// # Errors
    /// The partner did not answer as documented, or it answered more products than the limit.
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
        let value = check::products(&answer).map_err(|reason| ClinicError::new(reason, Some(&exchange)))?;
        if let Some(limit) = limit.filter(|limit| value.len() > *limit) {
            return Err(ClinicError::new(
                format!("products: {} products, but the limit is {limit}", value.len()),
                Some(&exchange),
            ));
        }
        Ok(Reply { value, exchange })
    }

    /// Pulls the whole catalogue and links the clinic's products to it. A `page_size` of `None` requests it in one answer.
    ///
    /// # Errors
    /// A page is not as documented, or a product is repeated or out of order. Nothing is linked then.
    pub async fn pull_catalogue(&self, page_size: Option<usize>) -> Result<Pull, ClinicError> {
        let (mut products, mut exchanges) = (Vec::<Listed>::new(), Vec::new());
        let mut page_of = HashMap::new();
        for page in 0..MAX_PAGES {
            let reply = self.products(&ProductQuery::default(), page_size, page_size.map(|_| page)).await?;
            for product in &reply.value {
                if let Some(earlier) = page_of.insert(product.code.clone(), page) {
                    return Err(ClinicError::new(
                        format!("products: `{}` is on page {earlier} and again on page {page}", product.code),
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
                format!("products: not ordered by code: `{}` comes before `{}`", pair[0].code, pair[1].code),
                exchanges.last(),
            ));
        }
        let summary = lock(&self.world).link_catalogue(&products);
        Ok(Pull { products, summary, exchanges })
    }

    /// Creates an order, switches on the faults in its comments, and sends it.
    ///
    /// # Errors
    /// The order is invalid, or the answer is neither a documented acceptance nor a documented decline.
    pub async fn send_order(&self, lines: &[OrderLine], comments: &str) -> Result<Reply<OrderReply>, ClinicError> {
        let order = lock(&self.world).write_order(self.clock.now(), lines, comments);
        self.resend(&order.map_err(|reason| ClinicError::new(reason, None))?).await
    }

    /// Sends an order again with the same body, as ezyVet may do after a timeout.
    ///
    /// # Errors
    /// The answer is neither a documented acceptance nor a documented decline.
    pub async fn resend(&self, order: &PurchaseOrder) -> Result<Reply<OrderReply>, ClinicError> {
        lock(&self.world).record_sending(order.id);
        let (exchange, answer) = self.call(Method::POST, "/purchaseorder", Some(&order.body)).await?;
        let (supplier_order_number, reasons) = match check::decline(exchange.status.unwrap_or_default(), &answer) {
            Some(reasons) => (None, reasons),
            None => {
                expect_status(&exchange, 200)?;
                let number =
                    check::echo(&order.body, &answer).map_err(|reason| ClinicError::new(reason, Some(&exchange)))?;
                (Some(number), Vec::new())
            }
        };
        let mut world = lock(&self.world);
        world.record_answer(order.id, supplier_order_number.clone(), &reasons);
        let order = world.orders.iter().find(|other| other.id == order.id).unwrap_or(order).clone();
        Ok(Reply { value: OrderReply { order, supplier_order_number, reasons }, exchange })
    }

    /// Calls the partner with the current token; a 401 refreshes an old token once.
    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(Exchange, Value), ClinicError> {
        let current = self.token.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let is_fresh = current.is_none();
        let token = match current {
            Some(token) => token,
            None => self.token().await?.value,
        };
        let (exchange, answer) = self.exchange(method.clone(), path, Some(&token), body).await?;
        if exchange.status != Some(401) || is_fresh {
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
            .map_err(|error| ClinicError::new(format!("{}{path}: {error}", self.partner_url), None))?;
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
        let started = Instant::now();
        let outcome = send(request, &mut exchange).await;
        exchange.duration = started.elapsed();
        let bytes = outcome.map_err(|error| {
            exchange.failure = Some(chain(&error));
            ClinicError::new(format!("{} {}: {}", exchange.method, exchange.url, chain(&error)), Some(&exchange))
        })?;
        exchange.answer_length = bytes.len();
        let answer = serde_json::from_slice::<Value>(&bytes).ok();
        // Masking walks the whole value. Large answers are catalogues, which hold no secret.
        exchange.answer_body = match &answer {
            Some(answer) if bytes.len() <= MAX_RECORDED_BODY => masked(answer).to_string(),
            _ => String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_RECORDED_BODY)]).into_owned(),
        };
        match answer {
            Some(answer) => Ok((exchange, answer)),
            None => Err(ClinicError::new(
                format!(
                    "{} {} answered {} with a body that is not JSON",
                    exchange.method,
                    exchange.url,
                    exchange.status.unwrap_or_default()
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

fn expect_status(exchange: &Exchange, expected: u16) -> Result<(), ClinicError> {
    if exchange.status == Some(expected) {
        return Ok(());
    }
    let body: String = exchange.answer_body.chars().take(500).collect();
    Err(ClinicError::new(
        format!(
            "{} {} answered {} instead of {expected}: {body}",
            exchange.method,
            exchange.url,
            exchange.status.unwrap_or_default()
        ),
        Some(exchange),
    ))
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_encodes_its_values_and_omits_empty_parameters() {
        let query = ProductQuery { code: vec!["2m bandage".into(), "a&b".into()], ..ProductQuery::default() };
        assert_eq!(query.write(Some(5), Some(0)), "code=[2m%20bandage,a%26b]&limit=[5]&page=[0]");
        assert_eq!(ProductQuery::default().write(None, None), "");
    }
}

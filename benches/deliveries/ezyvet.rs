//! Many simulated ezyVet sites at one address, each under a path of its own (`/s7/v2/jobqueue`). They answer at once and
//! apply ezyVet's rate limits: per endpoint and per site, in fixed windows that begin with a site's first call.

use actix_web::web::{self, Data};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use spsi_partner::sandbox::faults::Endpoint;
use spsi_partner::sandbox::rate::{Limits, Rates};
use std::collections::HashMap;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// The calls that the sites received.
pub struct Counts {
    limits: Limits,
    began: Instant,
    sites: HashMap<u64, (Rates, Instant)>,
    pub calls: u64,
    pub refused: u64,
}

/// The simulated sites. They answer as long as the process runs.
#[derive(Clone)]
pub struct Ezyvet {
    pub url: String,
    counts: Arc<Mutex<Counts>>,
}

impl Ezyvet {
    pub fn start() -> Self {
        let generous = Limits { per_endpoint: u32::MAX, per_site: u32::MAX, window: 60_000 };
        let counts = Counts { limits: generous, began: Instant::now(), sites: HashMap::new(), calls: 0, refused: 0 };
        let counts = Arc::new(Mutex::new(counts));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let shared = Data::from(counts.clone());
        std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let app = move || App::new().app_data(shared.clone()).default_service(web::to(answer));
                let server = HttpServer::new(app).workers(1).backlog(4096).disable_signals();
                server.listen(listener).expect("listen").run().await.expect("served");
            });
        });
        Self { url, counts }
    }

    /// Resets the counts and sets the limits.
    pub fn reset(&self, limits: Limits) {
        let mut counts = self.lock();
        counts.limits = limits;
        (counts.calls, counts.refused) = (0, 0);
        counts.sites.clear();
    }

    /// Returns the calls accepted and refused since the last reset.
    pub fn calls(&self) -> (u64, u64) {
        let counts = self.lock();
        (counts.calls, counts.refused)
    }

    /// Returns when the first call to a site arrived.
    pub fn first_call(&self, site: u64) -> Option<Instant> {
        self.lock().sites.get(&site).map(|(_, at)| *at)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn answer(request: HttpRequest, _body: web::Bytes, counts: Data<Mutex<Counts>>) -> HttpResponse {
    let (site, path) = request.path()[1..].split_once('/').unwrap_or_default();
    let site = site.trim_start_matches('s').parse().unwrap_or(0);
    let endpoint = match path {
        "v2/jobqueue" => Endpoint::JobQueue,
        "v2/receiveinvoice" => Endpoint::ReceiveInvoice,
        _ => Endpoint::Unknown,
    };
    let verdict = {
        let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, limits) = (Instant::now(), counts.limits);
        let at = now.duration_since(counts.began).as_millis() as i64;
        let rates = &mut counts.sites.entry(site).or_insert_with(|| (Rates::default(), now)).0;
        let verdict = rates.count(limits, endpoint, at);
        counts.calls += u64::from(verdict.allowed);
        counts.refused += u64::from(!verdict.allowed);
        verdict
    };
    let mut response = if verdict.allowed { HttpResponse::Ok() } else { HttpResponse::TooManyRequests() };
    response
        .insert_header(("x-ratelimit-limit", verdict.limit.to_string()))
        .insert_header(("x-ratelimit-remaining", verdict.remaining.to_string()))
        .insert_header(("x-ratelimit-reset", verdict.reset.to_string()))
        .content_type("application/json")
        .body(r#"{"items":[],"messages":[]}"#)
}

//! The HTTP API for the supplier's own systems, `/staff/v1` (DESIGN.md 3).
//!
//! One table lists the operations with the role that each needs ([`operations`]). A request passes [`access`] (API key, rate
//! limit, role), then a handler, which parses it with [`query`] or [`write`] and calls the same use case as the command
//! line. A write, its audit entry, its events and the answer stored for its `Idempotency-Key` are one transaction.
//!
//! To add an operation, write a handler in the file of its noun and add its line to the table. A handler that reads takes
//! [`query::Read`], with [`page::PageParams`] for a list. One that writes takes [`write::Write`] and calls
//! [`write::Write::run`]; its body is a type with a schema ([`body`]). The table adds the role, the errors and the
//! `Idempotency-Key` to the OpenAPI document.

mod access;
mod answer;
mod audit;
mod body;
mod clinics;
mod deliveries;
mod events;
mod exports;
mod imports;
mod invoices;
mod keys;
mod limit;
mod mappings;
pub mod openapi;
mod operations;
mod orders;
mod page;
mod patch;
mod price_lists;
pub mod problem;
mod products;
mod query;
mod shipment_files;
mod shipments;
mod sites;
mod store;
mod webhooks;
mod write;

pub use operations::{OPERATIONS, Operation};

use crate::auth::throttle::Throttle;
use crate::clock::Clock;
use crate::config::Settings;
use crate::db::Pool;
use crate::secret::KeyRing;
use actix_web::middleware::from_fn;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use limit::Limiter;
use problem::{Kind, Problem, Result};
use std::sync::Arc;
use std::time::Duration;

/// Adds the operations, their OpenAPI document and the explorer to the routes of the server.
pub fn configure(config: &mut ServiceConfig, staff: &Staff) {
    openapi::configure(config, staff);
    let scope = web::scope(ROOT).app_data(web::Data::new(staff.clone()));
    let scope = operations::resources().into_iter().fold(scope, actix_web::Scope::service);
    config.service(scope.default_service(web::to(no_route)).wrap(from_fn(access::check)));
}

async fn no_route(request: HttpRequest) -> HttpResponse {
    let path: String = request.path().chars().take(200).collect();
    let text = format!("No such route: {path}. See /staff/docs/ for the available routes.");
    Problem::new(Kind::NotFound, text).error_response()
}

/// The path below which the operations are.
pub const ROOT: &str = "/staff/v1";

/// Failed tries per address and [`THROTTLE_WINDOW`] before further ones are answered with 429: a key has 160 random bits,
/// so this limits load, not guesses.
const MAX_FAILED_KEYS: u32 = 300;
const THROTTLE_WINDOW: Duration = Duration::from_secs(60);

/// Everything that the handlers share. Cheap to clone.
#[derive(Clone)]
pub struct Staff {
    pub pool: Pool,
    pub clock: Clock,
    pub settings: Arc<Settings>,
    keys: Option<Arc<KeyRing>>,
    limiter: Arc<Limiter>,
    throttle: Arc<Throttle>,
}

impl Staff {
    /// `keys`: the keys that encrypt stored credentials, if they are set.
    pub fn new(pool: Pool, clock: Clock, settings: Settings, keys: Option<KeyRing>) -> Self {
        let limiter = Arc::new(Limiter::new(settings.staff.staff_rate));
        let throttle = Arc::new(Throttle::new(u32::MAX, MAX_FAILED_KEYS, THROTTLE_WINDOW));
        Self { pool, clock, settings: Arc::new(settings), keys: keys.map(Arc::new), limiter, throttle }
    }

    /// Returns the keys that encrypt stored credentials. Fails with 503 if they are not set.
    pub fn encryption_keys(&self) -> Result<&KeyRing> {
        let text = "SPSI_ENCRYPTION_KEYS is not set on the server, and this operation stores a secret.";
        self.keys.as_deref().ok_or_else(|| Problem::new(Kind::Unavailable, text))
    }
}

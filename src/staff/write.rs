//! Operations that change something: reads and checks the body, and runs the work in one transaction with the answer for
//! its `Idempotency-Key`.
//!
//! Guarantees: of several requests with one key, one does the work and every other gets its answer again. A request that
//! fails leaves nothing behind, not even its key, so it can be corrected and sent again under the same key.

use super::Staff;
use super::body::{self, Body, Nothing};
use super::problem::{Kind, Problem, Result};
use super::store::{self, Idempotency};
use crate::auth::api_keys::Caller;
use crate::clinics::Target;
use crate::db;
use crate::http;
use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderName};
use actix_web::{FromRequest, Handler, HttpMessage, HttpRequest, web};
use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use sqlx::PgConnection;
use std::time::Duration;
use time::OffsetDateTime;

pub use super::answer::{Answer, version_of};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const MAX_IDEMPOTENCY_KEY: usize = 255;

/// A body that [`Write`] can read.
pub trait Content: Sized {
    /// The media types that the operation accepts, the first one by default.
    const MEDIA_TYPES: &'static [&'static str];

    /// Returns the maximum size in bytes.
    fn limit(staff: &Staff) -> usize;

    /// Returns the time in which the body must arrive.
    fn timeout(staff: &Staff) -> Duration {
        staff.settings.server.read_timeout.0
    }

    /// Parses the body.
    fn parse(media_type: &str, bytes: Bytes) -> Result<Self>;
}

/// A JSON body.
impl<B: Body> Content for B {
    const MEDIA_TYPES: &'static [&'static str] = &["application/json"];

    fn limit(staff: &Staff) -> usize {
        staff.settings.staff.staff_max_body_bytes
    }

    fn parse(_: &str, bytes: Bytes) -> Result<Self> {
        body::parse(&bytes)
    }
}

/// The header that [`Write`] reads as `if_match`, for the document of operations that compare versions.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "only documents the header")]
pub struct IfMatch {
    /// The `ETag` of the version that the change is based on. Absent or `*`: any version.
    #[param(rename = "If-Match")]
    if_match: Option<String>,
}

/// A request that changes something.
pub struct Write<C = Nothing> {
    pub content: C,
    pub staff: web::Data<Staff>,
    /// The actor in audit entries.
    pub actor: String,
    pub now: OffsetDateTime,
    /// The version that the caller has read, without quotes; `None` without `If-Match` or for `*`.
    pub if_match: Option<String>,
    idempotency: Option<Idempotency>,
}

impl<C: Content + 'static> FromRequest for Write<C> {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, mut payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let caller = caller(&request)?;
            let staff = request.app_data::<web::Data<Staff>>().cloned().ok_or_else(Problem::internal)?;
            let if_match = if_match(request.headers())?;
            let key = idempotency_key(request.headers())?;
            let media_type = media_type::<C>(request.headers())?;
            let timeout = C::timeout(&staff);
            let payload = web::Payload::from_request(&request, &mut payload).await.map_err(|_| Problem::internal())?;
            let bytes = http::body::read(payload, C::limit(&staff), timeout).await?;
            let idempotency = key.map(|key| {
                let fingerprint = fingerprint(&request, if_match.as_deref(), &bytes);
                Idempotency { api_key: caller.key_id, key, fingerprint }
            });
            let content = C::parse(&media_type, bytes)?;
            let now = staff.clock.now();
            Ok(Self { content, staff, actor: caller.actor(), now, if_match, idempotency })
        })
    }
}

impl<C> Write<C> {
    /// Runs `work` in a transaction and commits if it succeeds. If the request has an `Idempotency-Key`, stores the answer
    /// in the same transaction, or returns the stored answer without running `work`.
    pub async fn run(mut self, work: impl AsyncFnOnce(&mut PgConnection, Self) -> Result<Answer>) -> Result<Answer> {
        let (staff, now) = (self.staff.clone(), self.now);
        let Some(idempotency) = self.idempotency.take() else {
            return db::in_transaction(&staff.pool, async |connection| work(connection, self).await).await;
        };
        let keys = staff.encryption_keys()?;
        let owner = format!("idempotent_answer:{}:{}", idempotency.api_key, idempotency.key);
        let oldest = now - staff.settings.staff.idempotency_kept_for.0;
        let mut transaction = staff.pool.begin().await?;
        if !store::claim(&mut transaction, &idempotency, now, oldest).await? {
            let stored = store::find(&mut transaction, &idempotency).await?;
            if stored.fingerprint != idempotency.fingerprint {
                let text = "This Idempotency-Key was used before with another request. Use a new key.";
                return Err(Problem::new(Kind::IdempotencyKeyReused, text));
            }
            let body = stored.body.map(|sealed| keys.open(&sealed, &owner)).transpose()?;
            let mut answer = Answer {
                status: StatusCode::from_u16(stored.status as u16).map_err(|_| Problem::internal())?,
                headers: stored.headers.0,
                body: body.map(|body| body.expose().to_owned()),
            };
            answer.headers.push(("idempotent-replayed".to_owned(), "true".to_owned()));
            return Ok(answer);
        }
        let answer = work(&mut transaction, self).await?;
        let body = answer.body.as_deref().map(|body| keys.seal(body.as_bytes(), &owner)).transpose()?;
        store::keep(&mut transaction, &idempotency, &answer, body.as_deref()).await?;
        store::purge(&mut transaction, oldest).await?;
        transaction.commit().await?;
        Ok(answer)
    }

    /// Returns the row that the request changes.
    pub fn target<'a>(&'a self, which: &'a str) -> Target<'a> {
        Target { which, expected_version: self.if_match.as_deref() }
    }

    /// Refuses a change of a resource whose version is not the one that the caller has read. Lock the resource first.
    pub fn check_version(&self, version: &str) -> Result<()> {
        match &self.if_match {
            Some(expected) if expected != version => Err(Problem::stale()),
            _ => Ok(()),
        }
    }
}

/// A handler that runs in the transaction of a write. `A`: what it takes besides, such as the path.
pub trait Work<C, A>: Copy + 'static {
    async fn run(self, connection: &mut PgConnection, write: Write<C>, input: A) -> Result<Answer>;
}

impl<C, F> Work<C, ()> for F
where
    F: AsyncFn(&mut PgConnection, Write<C>) -> Result<Answer> + Copy + 'static,
{
    async fn run(self, connection: &mut PgConnection, write: Write<C>, (): ()) -> Result<Answer> {
        self(connection, write).await
    }
}

impl<C, A, F> Work<C, (A,)> for F
where
    F: AsyncFn(&mut PgConnection, Write<C>, A) -> Result<Answer> + Copy + 'static,
{
    async fn run(self, connection: &mut PgConnection, write: Write<C>, (input,): (A,)) -> Result<Answer> {
        self(connection, write, input).await
    }
}

/// Runs the handler of each request with [`Write::run`].
pub fn in_transaction<C: Content + 'static, A: FromRequest + 'static>(
    work: impl Work<C, A>,
) -> impl Handler<(Write<C>, A), Output = Result<Answer>> {
    move |write: Write<C>, input: A| async move {
        write.run(async |connection, write| work.run(connection, write, input).await).await
    }
}

/// Returns the key behind the request, which `access` has checked.
pub(super) fn caller(request: &HttpRequest) -> Result<Caller> {
    request.extensions().get::<Caller>().cloned().ok_or_else(Problem::internal)
}

fn media_type<C: Content>(headers: &HeaderMap) -> Result<String> {
    let text = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence.is_empty() || C::MEDIA_TYPES.contains(&essence.as_str()) {
        return Ok(if essence.is_empty() { C::MEDIA_TYPES[0].to_owned() } else { text.to_owned() });
    }
    let text = format!("`{essence}` is not supported; send {}.", C::MEDIA_TYPES.join(" or "));
    Err(Problem::new(Kind::UnsupportedMediaType, text))
}

fn if_match(headers: &HeaderMap) -> Result<Option<String>> {
    let Some(value) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let refused = || Problem::field(Kind::BadRequest, "If-Match", "must be the ETag of one version in quotes, or *");
    match value.to_str().map_err(|_| refused())?.trim() {
        "*" => Ok(None),
        text => match text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
            Some(version) if !version.contains('"') => Ok(Some(version.to_owned())),
            _ => Err(refused()),
        },
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let key = value.to_str().unwrap_or_default().trim();
    let is_valid = (1..=MAX_IDEMPOTENCY_KEY).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    let text = "must have 1 to 255 visible ASCII characters";
    is_valid.then(|| Some(key.to_owned())).ok_or_else(|| Problem::field(Kind::BadRequest, "Idempotency-Key", text))
}

fn fingerprint(request: &HttpRequest, if_match: Option<&str>, body: &[u8]) -> Vec<u8> {
    let mut context = Context::new(&SHA256);
    for part in [request.method().as_str(), &request.uri().to_string(), if_match.unwrap_or_default()] {
        context.update(part.as_bytes());
        context.update(b"\n");
    }
    context.update(body);
    context.finish().as_ref().to_vec()
}

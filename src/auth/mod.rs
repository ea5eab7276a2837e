//! Tokens for ezyVet: who may ask for one, what is in it, how long it is good (SPSI.md 1, /accesstoken).
//!
//! The client id in the token is the only thing that tells which clinic is calling. A token dies with its expiry, with
//! the suspension of its clinic and with the rotation of its clinic's secret; it is checked against the clinic_cache in
//! memory, so a check costs microseconds and a revocation arrives within seconds.

pub mod http;
mod request;
mod throttle;
mod token;
mod verified_tokens;
mod verifier;

use crate::clinics::cache::{CachedClinic, ClinicCache};
use crate::clock::Clock;
use crate::config::TokenSettings;
use crate::secret::{KeyRing, Plain, SecretError};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use throttle::Throttle;
use verified_tokens::VerifiedTokens;
use verifier::{Verdict, Verifier};

/// How long a verified client secret is accepted by its keyed digest in memory. ezyVet may request a token before every
/// call; without the digest each request would cost an argon2id hash. A rotation ends the time at once.
const VERIFIED_SECRET_TTL: Duration = Duration::from_secs(600);
/// Maximum number of argon2id hashes at the same time, 19 MiB of memory each: a burst of token requests cannot exhaust the
/// memory or take every core.
const MAX_CONCURRENT_HASHES: usize = 2;
/// Maximum number of tokens whose verified signature is cached, 100 bytes each. Expiry and revocation are checked on every
/// request regardless.
const MAX_VERIFIED_TOKENS: usize = 10_000;

pub use request::{TokenRequest, TokenRequestError};

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// Unknown client id, wrong secret or suspended clinic: not told apart, by words or by time.
    #[error("the client id or the client secret is wrong, or the clinic is suspended")]
    InvalidClient,
    #[error("too many failed tries; try again in {0} seconds")]
    TooManyTries(u64),
    #[error("the clinics cannot be read")]
    Unavailable(#[from] sqlx::Error),
    #[error(transparent)]
    Token(#[from] token::TokenError),
}

/// Issues and checks tokens. Cheap to clone.
#[derive(Clone)]
pub struct Auth {
    clinic_cache: ClinicCache,
    keys: Arc<KeyRing>,
    settings: Arc<TokenSettings>,
    verifier: Arc<Verifier>,
    verified: Arc<VerifiedTokens>,
    throttle: Arc<Throttle>,
    clock: Clock,
}

/// A token with its life in seconds.
pub struct IssuedToken {
    pub token: String,
    pub expires_in: u64,
}

impl Auth {
    pub fn new(
        clinic_cache: ClinicCache,
        keys: KeyRing,
        settings: TokenSettings,
        clock: Clock,
    ) -> Result<Self, SecretError> {
        let verifier = Verifier::new(VERIFIED_SECRET_TTL, MAX_CONCURRENT_HASHES)?;
        let throttle = Throttle::new(
            settings.token_tries_per_client,
            settings.token_tries_per_address,
            settings.token_tries_window.0,
        );
        let verified = VerifiedTokens::new(MAX_VERIFIED_TOKENS);
        Ok(Self {
            clinic_cache,
            keys: Arc::new(keys),
            settings: Arc::new(settings),
            verifier: Arc::new(verifier),
            verified: Arc::new(verified),
            throttle: Arc::new(throttle),
            clock,
        })
    }

    /// A token for a clinic that proves its secret. Any number of tokens of one clinic may live at a time.
    pub async fn issue(&self, client_id: &str, secret: &Plain, address: IpAddr) -> Result<IssuedToken, AuthError> {
        let now = self.clock.now();
        let member = self.proven(client_id, secret, address).await?;
        self.throttle.succeeded(client_id);
        let life = self.settings.token_ttl.0;
        let token = token::issue(&self.keys, &member.row.client_id, member.row.token_generation, now, life)?;
        Ok(IssuedToken { token, expires_in: life.as_secs() })
    }

    async fn proven(&self, client_id: &str, secret: &Plain, address: IpAddr) -> Result<Arc<CachedClinic>, AuthError> {
        let now = self.clock.now();
        if let Some(member) = self.active(client_id)
            && self.verifier.remembers(&member, secret, now)
        {
            return Ok(member);
        }
        if let Some(seconds) = self.throttle.wait(client_id, address, now) {
            return Err(AuthError::TooManyTries(seconds));
        }
        // Counted before the costly check, so that a burst of guesses in parallel does not slip through.
        self.throttle.failed(client_id, address, now);
        for _ in 0..2 {
            let version = self.clinic_cache.version();
            let member = self.active(client_id);
            if self.verifier.verify(member.clone(), secret.clone(), now).await == Verdict::Right
                && let Some(member) = member
            {
                self.throttle.forgive(client_id, address, now);
                return Ok(member);
            }
            // Before we say no: a clinic may have been added, or its secret rotated, a moment ago elsewhere.
            // Compared with what was looked at, for the background refresh may have come first.
            self.clinic_cache.refresh().await?;
            if self.clinic_cache.version() == version {
                break;
            }
        }
        Err(AuthError::InvalidClient)
    }

    /// The clinic that a token speaks for.
    pub fn check(&self, token: &str) -> Result<Arc<CachedClinic>, AuthError> {
        let now = self.clock.now();
        let claims = self.verified.claims(token, now, || token::check(&self.keys, token))?;
        if !claims.ends_after(now) {
            return Err(token::TokenError::Expired.into());
        }
        let member = self.active(&claims.sub).ok_or(AuthError::InvalidClient)?;
        if claims.generation == member.row.token_generation {
            Ok(member)
        } else {
            Err(token::TokenError::Revoked.into())
        }
    }

    /// Whether the clinics have been read.
    pub fn is_ready(&self) -> bool {
        self.clinic_cache.is_loaded()
    }

    fn active(&self, client_id: &str) -> Option<Arc<CachedClinic>> {
        self.clinic_cache.find(client_id).filter(|member| member.row.active)
    }
}

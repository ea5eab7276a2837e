//! Issues and checks the access tokens of clinics (SPSI.md 1, /accesstoken).
//!
//! The client id in the token identifies the calling clinic. A token ends at its expiry, when its clinic is suspended, or
//! when its clinic's secret is rotated. Checks use the clinic cache in memory: a check costs microseconds, and a revocation
//! takes effect within seconds.

pub mod api_keys;
pub mod http;
mod request;
pub(crate) mod throttle;
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
use verifier::Verifier;

/// How long a verified client secret is accepted by its keyed digest in memory. ezyVet may request a token before every
/// call; without the digest each request would cost an argon2id hash. A rotation ends the time at once.
const VERIFIED_SECRET_TTL: Duration = Duration::from_secs(600);
/// Maximum number of argon2id hashes at the same time, 19 MiB of memory each: a burst of token requests cannot exhaust the
/// memory or take every core.
const MAX_CONCURRENT_HASHES: usize = 2;
/// Maximum number of tokens whose verified signature is cached, 100 bytes each. Expiry and revocation are checked on every
/// request regardless.
const MAX_VERIFIED_TOKENS: usize = 10_000;
/// Window in which failed token requests are counted. A blocked client waits until the window ends.
const TRIES_WINDOW: Duration = Duration::from_secs(60);

/// Why a token request or a token is refused.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// Unknown client id, wrong secret or suspended clinic. Neither text nor timing reveals which.
    #[error("the client id or the client secret is wrong, or the clinic is suspended")]
    InvalidClient,
    /// The seconds until the next try is allowed.
    #[error("too many failed tries; try again in {0} seconds")]
    TooManyTries(u64),
    #[error("clinics cannot be read from the database")]
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

/// A signed token.
pub struct IssuedToken {
    pub token: String,
    /// Lifetime in seconds.
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
        let throttle = Throttle::new(settings.token_tries_per_client, settings.token_tries_per_address, TRIES_WINDOW);
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

    /// Issues a token to a clinic that sends its secret. A clinic may hold any number of valid tokens.
    pub async fn issue(&self, client_id: &str, secret: &Plain, address: IpAddr) -> Result<IssuedToken, AuthError> {
        let now = self.clock.now();
        let clinic = self.authenticate(client_id, secret, address).await?;
        self.throttle.succeeded(client_id);
        let life = self.settings.token_ttl.0;
        let token = token::issue(&self.keys, &clinic.row.client_id, clinic.row.token_generation, now, life)?;
        Ok(IssuedToken { token, expires_in: life.as_secs() })
    }

    async fn authenticate(
        &self,
        client_id: &str,
        secret: &Plain,
        address: IpAddr,
    ) -> Result<Arc<CachedClinic>, AuthError> {
        let now = self.clock.now();
        if let Some(clinic) = self.find_active(client_id)
            && self.verifier.remembers(&clinic, secret, now)
        {
            return Ok(clinic);
        }
        if let Some(seconds) = self.throttle.wait(client_id, address, now) {
            return Err(AuthError::TooManyTries(seconds));
        }
        // Counts a failure before the slow check, so that parallel guesses cannot exceed the limit.
        self.throttle.failed(client_id, address, now);
        for _ in 0..2 {
            let version = self.clinic_cache.version();
            let clinic = self.find_active(client_id);
            if self.verifier.verify(clinic.as_deref(), secret, now).await
                && let Some(clinic) = clinic
            {
                self.throttle.forgive(client_id, address, now);
                return Ok(clinic);
            }
            // Another process may just have added the clinic or rotated its secret: refresh, and check again if the clinics
            // are newer than those of this check. The background task may have refreshed them first.
            self.clinic_cache.refresh().await?;
            if self.clinic_cache.version() == version {
                break;
            }
        }
        Err(AuthError::InvalidClient)
    }

    /// Verifies a token and returns its clinic.
    pub fn check(&self, token: &str) -> Result<Arc<CachedClinic>, AuthError> {
        let now = self.clock.now();
        let claims = self.verified.claims(token, || token::check(&self.keys, token))?;
        if claims.is_expired(now) {
            return Err(token::TokenError::Expired.into());
        }
        let clinic = self.find_active(&claims.sub).ok_or(AuthError::InvalidClient)?;
        if claims.generation != clinic.row.token_generation {
            return Err(token::TokenError::Revoked.into());
        }
        Ok(clinic)
    }

    /// Returns true once the clinics have been read from the database.
    pub fn is_ready(&self) -> bool {
        self.clinic_cache.is_loaded()
    }

    fn find_active(&self, client_id: &str) -> Option<Arc<CachedClinic>> {
        self.clinic_cache.find(client_id).filter(|clinic| clinic.row.is_active)
    }
}

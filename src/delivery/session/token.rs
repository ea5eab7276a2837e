//! The token of a leased site (DESIGN.md 2.6). One token lives per credential set: a new one kills the old one. So the token
//! is stored, sealed, and only the holder of the lease requests a new one: if there is none, if it is about to expire, or
//! if ezyVet refused it.

use super::{Session, StopReason};
use crate::config::Deliver;
use crate::delivery::lease::{Lease, store as lease_store};
use crate::ezyvet::{Endpoint, Granted, Outcome};
use crate::secret::Plain;
use std::sync::atomic::Ordering;
use std::time::Duration;
use time::OffsetDateTime;

/// How long before its expiry a token is replaced; at most a tenth of its life.
const TOKEN_MARGIN: Duration = Duration::from_secs(60);

struct Token {
    token: Plain,
    expires_at: OffsetDateTime,
    generation: u64,
}

#[derive(Default)]
pub(super) struct Tokens {
    current: Option<Token>,
    generations: u64,
    is_loaded: bool,
    /// How the last request failed. Callers that wait for a token get this error instead of requesting again.
    failure: Option<Outcome>,
}

impl Session {
    /// Returns the token and its generation. Requests a new token if there is none, if it is about to expire, or if its
    /// generation is `refused`.
    pub async fn token(&self, refused: Option<u64>) -> Result<(Plain, u64), StopReason> {
        let mut tokens = self.tokens.lock().await;
        if !tokens.is_loaded {
            self.load_token(&mut tokens).await?;
        }
        let usable =
            tokens.current.as_ref().filter(|token| Some(token.generation) != refused && self.now() < token.expires_at);
        if let Some(token) = usable {
            return Ok((token.token.clone(), token.generation));
        }
        if let Some(failure) = &tokens.failure {
            return Err(StopReason::NoToken(failure.clone()));
        }
        self.replace_token(&mut tokens).await
    }

    async fn load_token(&self, tokens: &mut Tokens) -> Result<(), StopReason> {
        if let Some((sealed, expires_at)) = lease_store::find_token(&self.context.pool, self.lease.site).await? {
            match self.context.keys.open(&sealed, &token_owner(self.lease)) {
                Ok(token) => {
                    tokens.generations += 1;
                    tokens.current = Some(Token { token, expires_at, generation: tokens.generations });
                }
                // The key was removed: a new token is requested.
                Err(error) => tracing::warn!(site = %self.site.name, %error, "cannot decrypt the stored token"),
            }
        }
        tokens.is_loaded = true;
        Ok(())
    }

    async fn replace_token(&self, tokens: &mut Tokens) -> Result<(Plain, u64), StopReason> {
        tokens.current = None;
        let wants_inventory = self.site.settings.deliver != Deliver::Invoice;
        let mut granted = self.request_token(wants_inventory).await?;
        let scope_refused = |outcome: &Outcome| match outcome {
            Outcome::Refused { text, .. } | Outcome::Forbidden { text } | Outcome::Unauthorised { text } => {
                text.to_ascii_lowercase().contains("scope")
            }
            _ => false,
        };
        if wants_inventory && granted.as_ref().err().is_some_and(scope_refused) {
            granted = self.request_token(false).await?;
        }
        match granted {
            Ok(granted) => {
                if wants_inventory && !granted.has_inventory {
                    self.record_inventory_grant(false).await;
                }
                let now = self.now();
                // A token must not expire during a call. At least nine tenths of a short life are used.
                let margin = TOKEN_MARGIN.min((granted.expires_at - now).unsigned_abs() / 10);
                let expires_at = granted.expires_at - margin;
                let sealed = self.context.keys.seal(granted.token.expose().as_bytes(), &token_owner(self.lease))?;
                // If the token cannot be stored, it serves for as long as this session lasts.
                if let Err(error) =
                    lease_store::store_token(&self.context.pool, self.lease, &sealed, expires_at, now).await
                {
                    tracing::warn!(site = %self.site.name, %error, "cannot store the new token");
                }
                tokens.generations += 1;
                let generation = tokens.generations;
                tokens.current = Some(Token { token: granted.token.clone(), expires_at, generation });
                Ok((granted.token, generation))
            }
            Err(outcome) => {
                // Every call needs a token: open the circuit.
                let mut state = self.state.lock().await;
                state.failures = state.failures.max(self.site.settings.breaker_failures);
                self.circuit_open.store(true, Ordering::Relaxed);
                tokens.failure = Some(outcome.clone());
                tracing::warn!(site = %self.site.name, %outcome, "no token");
                Err(StopReason::NoToken(outcome))
            }
        }
    }

    /// Returns the newest token: the one that a call was begun with may have been replaced while the call waited. Returns
    /// `None` if the newest was lost or refused.
    pub(super) async fn newest_token(&self) -> Option<(Plain, u64)> {
        let tokens = self.tokens.lock().await;
        tokens.current.as_ref().map(|token| (token.token.clone(), token.generation))
    }

    async fn request_token(&self, with_inventory: bool) -> Result<Result<Granted, Outcome>, StopReason> {
        let reservation = self.reserve(Endpoint::Token).await?;
        // The request kills the stored token, whether or not its answer arrives: delete it first.
        if let Err(reason) = self.delete_token().await {
            self.cancel_reservation(reservation).await;
            return Err(reason);
        }
        let site = &self.site;
        let address = (site.base_url.as_str(), site.token_path.as_str());
        let client = &self.context.client;
        let (granted, rate) =
            client.request_token(address, &site.credentials, with_inventory, &site.settings, self.now()).await;
        let outcome = granted.as_ref().err().cloned().unwrap_or(Outcome::Done);
        self.end_reservation(reservation, &outcome, rate).await;
        Ok(granted)
    }

    async fn delete_token(&self) -> Result<(), StopReason> {
        let mut fenced = self.begin_fenced().await?;
        lease_store::delete_token(&mut fenced.transaction, self.lease.site).await?;
        Ok(fenced.commit().await?)
    }
}

fn token_owner(lease: Lease) -> String {
    format!("site:{}:token", lease.site)
}

//! The token of a held site (DESIGN.md 2.6): one lives per credential set, so it is stored, sealed, and asked for only by
//! the holder of the lease, only when there is none, it is about to end, or ezyVet refused it.

use super::{Session, Stop};
use crate::config::Deliver;
use crate::delivery::lease::{Lease, store as lease_store};
use crate::ezyvet::{Endpoint, Granted, Outcome};
use crate::secret::Plain;
use std::sync::atomic::Ordering;
use std::time::Duration;
use time::OffsetDateTime;

/// How long before its expiry a token is replaced; at most a tenth of its life.
const TOKEN_MARGIN: Duration = Duration::from_secs(60);
/// Life of a token whose response has no readable expiry. A token that expires earlier is replaced after the first 401.
const ASSUMED_TOKEN_LIFE: Duration = Duration::from_secs(8 * 3600);

struct Token {
    token: Plain,
    expires_at: OffsetDateTime,
    generation: u64,
}

#[derive(Default)]
pub(super) struct Tokens {
    current: Option<Token>,
    generations: u64,
    loaded: bool,
    /// The last try failed: whoever waits for a token gets this too, rather than ask again.
    trouble: Option<Outcome>,
}

impl Session {
    /// The token, asked for only where there is none, or where it is about to end, or where it is the one of generation
    /// `refused`.
    pub async fn token(&self, refused: Option<u64>) -> Result<(Plain, u64), Stop> {
        let mut tokens = self.tokens.lock().await;
        if !tokens.loaded {
            self.load_token(&mut tokens).await?;
        }
        let usable =
            tokens.current.as_ref().filter(|token| Some(token.generation) != refused && self.now() < token.expires_at);
        if let Some(token) = usable {
            return Ok((token.token.clone(), token.generation));
        }
        if let Some(trouble) = &tokens.trouble {
            return Err(Stop::NoToken(trouble.clone()));
        }
        self.ask_for_token(&mut tokens).await
    }

    async fn load_token(&self, tokens: &mut Tokens) -> Result<(), Stop> {
        if let Some((sealed, expires_at)) = lease_store::find_token(&self.parts.pool, self.lease.site).await? {
            match self.parts.keys.open(&sealed, &token_owner(self.lease)) {
                Ok(token) => {
                    tokens.generations += 1;
                    tokens.current = Some(Token { token, expires_at, generation: tokens.generations });
                }
                // A key was removed: another token is asked for.
                Err(error) => tracing::warn!(site = %self.site.name, %error, "a stored token cannot be read"),
            }
        }
        tokens.loaded = true;
        Ok(())
    }

    async fn ask_for_token(&self, tokens: &mut Tokens) -> Result<(Plain, u64), Stop> {
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
                if wants_inventory && !granted.inventory {
                    self.note_inventory(false).await;
                }
                let now = self.now();
                // A token that ends within the next call is no use; of a short-lived one at least nine tenths are used.
                let margin = TOKEN_MARGIN.min((granted.expires_at - now).unsigned_abs() / 10);
                let expires_at = granted.expires_at - margin;
                let sealed = self.parts.keys.seal(granted.token.expose().as_bytes(), &token_owner(self.lease))?;
                // We hold the only live token; without the database it serves as long as we hold the site.
                if let Err(error) =
                    lease_store::store_token(&self.parts.pool, self.lease, &sealed, expires_at, now).await
                {
                    tracing::warn!(site = %self.site.name, %error, "a new token could not be stored");
                }
                tokens.generations += 1;
                let generation = tokens.generations;
                tokens.current = Some(Token { token: granted.token.clone(), expires_at, generation });
                Ok((granted.token, generation))
            }
            Err(outcome) => {
                // Every call needs a token: the site is left alone for a time.
                let mut state = self.state.lock().await;
                state.failures = state.failures.max(self.site.settings.breaker_failures);
                self.tripped.store(true, Ordering::Relaxed);
                tokens.trouble = Some(outcome.clone());
                tracing::warn!(site = %self.site.name, %outcome, "no token");
                Err(Stop::NoToken(outcome))
            }
        }
    }

    /// The token that a call is sent with: the newest, for the one that the call was begun with may have been replaced
    /// while it waited for its turn. None: the newest was lost, or refused.
    pub(super) async fn newest_token(&self) -> Option<(Plain, u64)> {
        let tokens = self.tokens.lock().await;
        tokens.current.as_ref().map(|token| (token.token.clone(), token.generation))
    }

    async fn request_token(&self, inventory: bool) -> Result<Result<Granted, Outcome>, Stop> {
        let ticket = self.reserve(Endpoint::Token).await?;
        // Stores the budget with this call in it, makes sure that we still hold the site, and forgets the token that this
        // call kills: whatever becomes of the answer, nobody calls with that one again.
        if let Err(stop) = self.forget_token().await {
            self.state.lock().await.budget.never_sent(ticket);
            return Err(stop);
        }
        let (site, settings) = (&self.site, &self.site.settings);
        let scopes = (settings.scope_separator, inventory);
        let exchange = self
            .parts
            .client
            .ask_for_token(
                &site.base_url,
                &site.token_path,
                &site.credentials,
                scopes,
                self.limits(),
                (self.now(), ASSUMED_TOKEN_LIFE),
            )
            .await;
        let outcome = exchange.granted.as_ref().err().cloned().unwrap_or(Outcome::Done);
        self.landed(ticket, &outcome, exchange.rate).await;
        Ok(exchange.granted)
    }
}

fn token_owner(lease: Lease) -> String {
    format!("site:{}:token", lease.site)
}

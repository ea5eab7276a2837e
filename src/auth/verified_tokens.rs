//! A cache of tokens whose signature has been verified, so that the signature is not verified again at every request.
//!
//! The cache skips only the signature. The caller checks expiry and revocation at every request.

use super::token::Claims;
use aws_lc_rs::digest::{SHA256, digest};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

type Digest = [u8; 32];

/// The claims of verified tokens, keyed by the token's digest: a memory dump reveals no token.
pub struct VerifiedTokens {
    capacity: usize,
    claims: RwLock<HashMap<Digest, Arc<Claims>>>,
}

impl VerifiedTokens {
    /// Creates a cache of up to `capacity` tokens.
    pub fn new(capacity: usize) -> Self {
        Self { capacity, claims: RwLock::default() }
    }

    /// Returns the claims of a token from the cache, or else from `check`. Errors of `check` are not cached.
    pub fn claims<E>(&self, token: &str, check: impl FnOnce() -> Result<Claims, E>) -> Result<Arc<Claims>, E> {
        let mut key = Digest::default();
        key.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        if let Some(cached) = self.claims.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(Arc::clone(cached));
        }
        let fresh = Arc::new(check()?);
        let mut claims = self.claims.write().unwrap_or_else(PoisonError::into_inner);
        // A full cache is cleared: each valid token in it costs one more check, and memory stays bounded.
        if claims.len() >= self.capacity {
            claims.clear();
        }
        claims.insert(key, Arc::clone(&fresh));
        Ok(fresh)
    }
}

#[cfg(test)]
mod tests {
    use super::super::token::{self, TokenError};
    use super::*;
    use crate::secret::KeyRing;
    use std::time::Duration;
    use time::OffsetDateTime;

    fn signed(keys: &KeyRing, client_id: &str) -> String {
        token::issue(keys, client_id, 1, OffsetDateTime::UNIX_EPOCH, Duration::from_secs(60)).unwrap()
    }

    #[test]
    fn a_valid_token_is_checked_once_and_an_invalid_one_every_time() {
        let (keys, cache, mut checks) = (KeyRing::generate().unwrap(), VerifiedTokens::new(10), 0);
        let (valid, invalid) = (signed(&keys, "clinic-a"), signed(&KeyRing::generate().unwrap(), "clinic-a"));
        for token in [&valid, &valid, &invalid, &invalid] {
            let claims = cache.claims(token, || {
                checks += 1;
                token::check(&keys, token)
            });
            assert_eq!(claims.is_ok(), token == &valid);
        }
        assert_eq!(checks, 3);
    }

    #[test]
    fn memory_is_bounded() {
        let (keys, cache) = (KeyRing::generate().unwrap(), VerifiedTokens::new(3));
        for number in 0..50 {
            let token = signed(&keys, &format!("clinic-{number}"));
            cache.claims::<TokenError>(&token, || token::check(&keys, &token)).unwrap();
            assert!(cache.claims::<()>(&token, || Err(())).is_ok());
        }
        assert!(cache.claims.read().unwrap().len() <= 3);
    }
}

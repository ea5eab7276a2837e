//! A cache of tokens whose signature has been verified, so that the signature is not verified again at every request.
//!
//! The cache skips only the signature. The caller checks expiry and revocation at every request.

use super::token::Claims;
use aws_lc_rs::digest::{SHA256, digest};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use time::OffsetDateTime;

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
    pub fn claims<E>(
        &self,
        token: &str,
        now: OffsetDateTime,
        check: impl FnOnce() -> Result<Claims, E>,
    ) -> Result<Arc<Claims>, E> {
        let mut key = Digest::default();
        key.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        if let Some(cached) = self.claims.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(Arc::clone(cached));
        }
        let fresh = Arc::new(check()?);
        let mut claims = self.claims.write().unwrap_or_else(PoisonError::into_inner);
        if claims.len() >= self.capacity {
            claims.retain(|_, claims| !claims.is_expired(now));
        }
        // Valid tokens alone fill the cache: clear it. Each of them costs one more check, and memory stays bounded.
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
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-21 10:00 UTC);

    fn signed(keys: &KeyRing, client_id: &str, seconds: u64) -> String {
        token::issue(keys, client_id, 1, NOW, Duration::from_secs(seconds)).unwrap()
    }

    #[test]
    fn a_valid_token_is_checked_once_and_an_invalid_one_every_time() {
        let (keys, cache, mut checks) = (KeyRing::generate().unwrap(), VerifiedTokens::new(10), 0);
        let (valid, invalid) = (signed(&keys, "clinic-a", 60), signed(&KeyRing::generate().unwrap(), "clinic-a", 60));
        for token in [&valid, &valid, &invalid, &invalid] {
            let claims = cache.claims(token, NOW, || {
                checks += 1;
                token::check(&keys, token)
            });
            assert_eq!(claims.is_ok(), token == &valid);
        }
        assert_eq!(checks, 3);
    }

    #[test]
    fn memory_is_bounded_and_expired_tokens_are_evicted_first() {
        let (keys, cache) = (KeyRing::generate().unwrap(), VerifiedTokens::new(3));
        let look_up = |token: &str, now| cache.claims::<TokenError>(token, now, || token::check(&keys, token)).unwrap();
        let (short, long) = (signed(&keys, "clinic-a", 1), signed(&keys, "clinic-b", 60));
        look_up(&short, NOW);
        look_up(&long, NOW);
        look_up(&signed(&keys, "clinic-c", 60), NOW);
        look_up(&signed(&keys, "clinic-d", 60), NOW + Duration::from_secs(2));
        assert_eq!(cache.claims.read().unwrap().len(), 3);
        assert!(cache.claims::<()>(&long, NOW, || Err(())).is_ok());
        assert!(cache.claims::<()>(&short, NOW, || Err(())).is_err());
        (0..50).for_each(|n| drop(look_up(&signed(&keys, &format!("clinic-{n}"), 60), NOW)));
        assert!(cache.claims.read().unwrap().len() <= 3);
    }
}

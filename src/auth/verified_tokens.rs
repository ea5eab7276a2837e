//! Tokens whose signature was found good, so that it need not be checked again at every call.
//!
//! Only the signature is taken as seen. When a token ends, and what its clinic has revoked, is looked at every time.

use super::token::Claims;
use aws_lc_rs::digest::{SHA256, digest};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use time::OffsetDateTime;

type Digest = [u8; 32];

/// What good tokens say, by their digest: a memory dump gives no token.
pub struct VerifiedTokens {
    most: usize,
    claims: RwLock<HashMap<Digest, Arc<Claims>>>,
}

impl VerifiedTokens {
    /// Remembers so many at a time.
    pub fn new(most: usize) -> Self {
        Self { most, claims: RwLock::default() }
    }

    /// What the token says: from memory, or from `check`, whose refusals are not remembered.
    pub fn claims<E>(
        &self,
        token: &str,
        now: OffsetDateTime,
        check: impl FnOnce() -> Result<Claims, E>,
    ) -> Result<Arc<Claims>, E> {
        let mut key = Digest::default();
        key.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        if let Some(seen) = self.claims.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(Arc::clone(seen));
        }
        let fresh = Arc::new(check()?);
        let mut claims = self.claims.write().unwrap_or_else(PoisonError::into_inner);
        if claims.len() >= self.most {
            claims.retain(|_, claims| claims.ends_after(now));
        }
        // A flood of good tokens is forgotten whole: each costs one more check, and memory stays bounded.
        if claims.len() >= self.most {
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
    fn a_token_is_checked_once_and_a_bad_one_every_time() {
        let (keys, seen, mut checks) = (KeyRing::generate().unwrap(), VerifiedTokens::new(10), 0);
        let (good, bad) = (signed(&keys, "clinic-a", 60), signed(&KeyRing::generate().unwrap(), "clinic-a", 60));
        for token in [&good, &good, &bad, &bad] {
            let claims = seen.claims(token, NOW, || {
                checks += 1;
                token::check(&keys, token)
            });
            assert_eq!(claims.is_ok(), token == &good);
        }
        assert_eq!(checks, 3);
    }

    #[test]
    fn memory_is_bounded_and_those_that_have_ended_go_first() {
        let (keys, seen) = (KeyRing::generate().unwrap(), VerifiedTokens::new(3));
        let ask = |token: &str, now| seen.claims::<TokenError>(token, now, || token::check(&keys, token)).unwrap();
        let (short, long) = (signed(&keys, "clinic-a", 1), signed(&keys, "clinic-b", 60));
        ask(&short, NOW);
        ask(&long, NOW);
        ask(&signed(&keys, "clinic-c", 60), NOW);
        ask(&signed(&keys, "clinic-d", 60), NOW + Duration::from_secs(2));
        assert_eq!(seen.claims.read().unwrap().len(), 3);
        assert!(seen.claims::<()>(&long, NOW, || Err(())).is_ok());
        assert!(seen.claims::<()>(&short, NOW, || Err(())).is_err());
        (0..50).for_each(|n| drop(ask(&signed(&keys, &format!("clinic-{n}"), 60), NOW)));
        assert!(seen.claims.read().unwrap().len() <= 3);
    }
}

//! Whether a secret is the clinic's. argon2id the first time, on a bounded number of threads; for some minutes after a
//! success a keyed digest in memory answers in microseconds, because ezyVet may ask for a token before every call.
//!
//! The digest's key is made at start and never leaves the process: a memory dump of the digests alone is worth nothing.

use crate::clinics::cache::CachedClinic;
use crate::secret::{Hashed, Plain, SecretError, random_bytes};
use aws_lc_rs::{constant_time, hmac};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use time::OffsetDateTime;
use tokio::sync::Semaphore;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Right,
    Wrong,
}

pub struct Verifier {
    digest_key: hmac::Key,
    memory: Duration,
    /// By client id: digest of the secret that was right, and until when to believe it.
    remembered: Mutex<HashMap<String, (hmac::Tag, OffsetDateTime)>>,
    hashing: Arc<Semaphore>,
    /// Verified in place of an unknown client's hash, so that it takes as long.
    decoy: Hashed,
}

impl Verifier {
    pub fn new(memory: Duration, hashing_threads: usize) -> Result<Self, SecretError> {
        Ok(Self {
            digest_key: hmac::Key::new(hmac::HMAC_SHA256, &random_bytes::<32>()?),
            memory,
            remembered: Mutex::default(),
            hashing: Arc::new(Semaphore::new(hashing_threads.max(1))),
            decoy: Hashed::of(&Plain::generate()?)?,
        })
    }

    /// Whether this secret was right a few minutes ago, and the clinic's secrets have not changed since.
    pub fn remembers(&self, member: &CachedClinic, secret: &Plain, now: OffsetDateTime) -> bool {
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.get(&member.row.client_id).is_some_and(|(tag, until)| {
            now < *until
                && constant_time::verify_slices_are_equal(tag.as_ref(), self.digest(member, secret).as_ref()).is_ok()
        })
    }

    /// Checks by argon2id; an unknown clinic costs as much as a wrong secret.
    pub async fn verify(&self, member: Option<Arc<CachedClinic>>, secret: Plain, now: OffsetDateTime) -> Verdict {
        let Ok(permit) = Arc::clone(&self.hashing).acquire_owned().await else { return Verdict::Wrong };
        // Two hashes are tried whoever asks, so that a refusal takes as long for a client id that does not exist, or that
        // is in the middle of a rotation, as for any other.
        let decoy = || self.decoy.clone();
        let (hash, other) = match &member {
            Some(member) => {
                let overlap = member.row.previous_secret_until.is_some_and(|until| now < until);
                let previous = member.row.previous_secret_hash.as_ref().filter(|_| overlap).map(Hashed::from_stored);
                (Hashed::from_stored(&member.row.secret_hash), previous.unwrap_or_else(decoy))
            }
            None => (decoy(), decoy()),
        };
        let candidate = secret.clone();
        let right = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            hash.verify(&candidate) || other.verify(&candidate)
        })
        .await
        .unwrap_or(false);
        match member {
            Some(member) if right => {
                self.remember(&member, &secret, now);
                Verdict::Right
            }
            _ => Verdict::Wrong,
        }
    }

    fn remember(&self, member: &CachedClinic, secret: &Plain, now: OffsetDateTime) {
        // The old secret of an overlap is not to be believed beyond it.
        let until = now + self.memory;
        let until = member.row.previous_secret_until.filter(|end| now < *end).map_or(until, |end| until.min(end));
        let digest = self.digest(member, secret);
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.retain(|_, (_, until)| now < *until);
        remembered.insert(member.row.client_id.clone(), (digest, until));
    }

    /// Bound to the clinic's present hash: a rotation forgets what was remembered.
    fn digest(&self, member: &CachedClinic, secret: &Plain) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.digest_key);
        for part in [&member.row.client_id, &member.row.secret_hash, secret.expose()] {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part.as_bytes());
        }
        context.sign()
    }
}

//! Verifies client secrets with argon2id on a bounded number of threads. After a success, a keyed digest in memory verifies
//! the same secret in microseconds for some minutes, because ezyVet may request a token before every call.
//!
//! The key of the digests is random for each process and never stored: the digests alone reveal nothing.

use crate::clinics::cache::CachedClinic;
use crate::secret::{Hashed, Plain, SecretError, random_bytes};
use aws_lc_rs::{constant_time, hmac};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use time::OffsetDateTime;
use tokio::sync::Semaphore;

/// Verifies client secrets.
pub struct Verifier {
    digest_key: hmac::Key,
    memory: Duration,
    /// By client id: the digest of the verified secret, and when the entry expires.
    remembered: Mutex<HashMap<String, (hmac::Tag, OffsetDateTime)>>,
    hashing: Arc<Semaphore>,
    /// Verified in place of a missing hash, so that every check takes the same time.
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

    /// Returns true if this secret was verified a few minutes ago and the clinic's secrets have not changed since.
    pub fn remembers(&self, clinic: &CachedClinic, secret: &Plain, now: OffsetDateTime) -> bool {
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.get(&clinic.row.client_id).is_some_and(|(tag, until)| {
            now < *until
                && constant_time::verify_slices_are_equal(tag.as_ref(), self.digest(clinic, secret).as_ref()).is_ok()
        })
    }

    /// Returns true if the secret is the clinic's current secret, or its previous secret during the overlap of a rotation.
    /// A missing clinic costs as much time as a wrong secret.
    pub async fn verify(&self, clinic: Option<&CachedClinic>, secret: &Plain, now: OffsetDateTime) -> bool {
        let Ok(permit) = Arc::clone(&self.hashing).acquire_owned().await else { return false };
        // A refusal always tries two hashes, so that its duration does not reveal whether the client id exists or a
        // rotation is under way.
        let decoy = || self.decoy.clone();
        let (hash, other) = match clinic {
            Some(clinic) => {
                let overlap = clinic.row.previous_secret_until.is_some_and(|until| now < until);
                let previous = clinic.row.previous_secret_hash.as_ref().filter(|_| overlap).map(Hashed::from_stored);
                (Hashed::from_stored(&clinic.row.secret_hash), previous.unwrap_or_else(decoy))
            }
            None => (decoy(), decoy()),
        };
        let candidate = secret.clone();
        let is_right = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            hash.verify(&candidate) || other.verify(&candidate)
        })
        .await
        .unwrap_or(false);
        if let Some(clinic) = clinic.filter(|_| is_right) {
            self.remember(clinic, secret, now);
            return true;
        }
        false
    }

    fn remember(&self, clinic: &CachedClinic, secret: &Plain, now: OffsetDateTime) {
        // The secret may be the previous one, which ends with the overlap.
        let until = now + self.memory;
        let until = clinic.row.previous_secret_until.filter(|end| now < *end).map_or(until, |end| until.min(end));
        let digest = self.digest(clinic, secret);
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.retain(|_, (_, until)| now < *until);
        remembered.insert(clinic.row.client_id.clone(), (digest, until));
    }

    /// Includes the clinic's current hash, so that a rotation invalidates remembered digests.
    fn digest(&self, clinic: &CachedClinic, secret: &Plain) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.digest_key);
        for part in [&clinic.row.client_id, &clinic.row.secret_hash, secret.expose()] {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part.as_bytes());
        }
        context.sign()
    }
}

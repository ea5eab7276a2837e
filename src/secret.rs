//! Secrets as three types: [`Plain`] (in the clear), [`Hashed`] (secrets that spsi issues and only compares) and bytes
//! sealed by a [`KeyRing`] (ezyVet's credentials, which spsi must read again).
//!
//! None of them appears in a log, an error or a `Debug` output.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::{Engine, prelude::BASE64_STANDARD};
use chacha20poly1305::{
    Key, XChaCha20Poly1305, XNonce,
    aead::{Aead, KeyInit, Payload},
};
use std::fmt;
use std::str::FromStr;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Lower-case letters and digits without those that look alike (`l`, `o`, `0`, `1`).
const READABLE: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;
const SEAL_VERSION: u8 = 1;

/// Reasons why a secret could not be read or created.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("the operating system returned no random numbers")]
    Entropy,
    #[error("invalid key ring: {0}; write `id:base64[,id:base64...]` with 32-byte keys, the active key first")]
    KeyRing(&'static str),
    #[error("the key ring has no key `{0}`, under which the value was sealed; add the key again")]
    UnknownKey(String),
    #[error("the sealed value was altered, or it belongs to another row")]
    Forged,
}

/// Returns random bytes from the operating system, the only source of randomness for secrets.
pub fn random_bytes<const N: usize>() -> Result<[u8; N], SecretError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| SecretError::Entropy)?;
    Ok(bytes)
}

/// A secret in the clear. `Debug` hides it, dropping wipes it, and only [`Plain::expose`] returns it.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop, serde::Deserialize)]
#[serde(transparent)]
pub struct Plain(String);

impl Plain {
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// Creates a secret of 160 random bits, written as 32 letters and digits.
    pub fn generate() -> Result<Self, SecretError> {
        Ok(Self(random_text::<32>()?))
    }

    /// Returns the secret. Reviewers check each call: the secret must not reach a log or an error.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Serialises the secret, for the person who requested it.
    pub fn serialize_exposed<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl fmt::Debug for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

impl FromStr for Plain {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self::new(text))
    }
}

/// Returns `N` random letters and digits of 5 bits each, without those that look alike.
pub fn random_text<const N: usize>() -> Result<String, SecretError> {
    Ok(random_bytes::<N>()?.iter().map(|byte| READABLE[usize::from(byte % 32)] as char).collect())
}

/// An argon2id hash in PHC form with the parameters that OWASP recommends (19 MiB, 2 passes, 1 lane).
#[derive(Clone, PartialEq, Eq)]
pub struct Hashed(String);

impl Hashed {
    /// Hashes a secret. Blocks for about 20 ms, so call it on a blocking thread.
    pub fn of(secret: &Plain) -> Result<Self, SecretError> {
        use argon2::password_hash::PasswordHasher;
        let salt = random_bytes::<16>()?;
        let hash: argon2::password_hash::phc::PasswordHash = argon2::Argon2::default()
            .hash_password_with_salt(secret.expose().as_bytes(), &salt)
            .map_err(|_| SecretError::Entropy)?;
        Ok(Self(hash.to_string()))
    }

    /// Wraps a hash that was read from the database.
    pub fn from_stored(phc: impl Into<String>) -> Self {
        Self(phc.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether `candidate` is the secret. Blocks for about 20 ms in either case.
    pub fn verify(&self, candidate: &Plain) -> bool {
        use argon2::password_hash::{PasswordVerifier, phc::PasswordHash};
        PasswordHash::new(&self.0)
            .is_ok_and(|hash| argon2::Argon2::default().verify_password(candidate.expose().as_bytes(), &hash).is_ok())
    }
}

impl fmt::Debug for Hashed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hash]")
    }
}

/// Named 32-byte keys. The first one is active: it seals and signs new values. Old values are read with the key that
/// made them. To rotate: put a new key first, restart, seal the old values again, remove the old key.
#[derive(Clone)]
pub struct KeyRing(Vec<(String, [u8; KEY_BYTES])>);

impl KeyRing {
    /// Creates a ring of one new key.
    pub fn generate() -> Result<Self, SecretError> {
        Ok(Self(vec![(random_text::<8>()?, random_bytes()?)]))
    }

    /// Returns this ring with a new active key.
    pub fn rotated(&self) -> Result<Self, SecretError> {
        let mut keys = Self::generate()?.0;
        keys.extend(self.0.iter().cloned());
        Ok(Self(keys))
    }

    /// Returns the text form with the keys in the clear, for the operator and the environment only.
    pub fn expose(&self) -> Plain {
        let entries: Vec<_> = self.0.iter().map(|(id, key)| format!("{id}:{}", BASE64_STANDARD.encode(key))).collect();
        Plain::new(entries.join(","))
    }

    /// Returns the id and the bytes of the active key.
    pub fn active(&self) -> (&str, &[u8]) {
        let (id, key) = &self.0[0];
        (id, key)
    }

    /// Returns the key with this id.
    pub fn find(&self, id: &str) -> Option<&[u8]> {
        self.0.iter().find(|(other, _)| other == id).map(|(_, key)| key.as_slice())
    }

    /// Encrypts a secret with the active key (XChaCha20-Poly1305). `owner` names the row of the value and is authenticated
    /// with it: a value that was copied to another row does not open.
    pub fn seal(&self, secret: &[u8], owner: &str) -> Result<Vec<u8>, SecretError> {
        let (id, key) = &self.0[0];
        let nonce = random_bytes::<NONCE_BYTES>()?;
        let cipher = XChaCha20Poly1305::new(&Key::from(*key));
        let body = cipher
            .encrypt(&XNonce::from(nonce), Payload { msg: secret, aad: owner.as_bytes() })
            .map_err(|_| SecretError::Forged)?;
        let mut sealed = vec![SEAL_VERSION, id.len() as u8];
        sealed.extend_from_slice(id.as_bytes());
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&body);
        Ok(sealed)
    }

    /// Decrypts a value that [`KeyRing::seal`] encrypted for the same `owner`.
    pub fn open(&self, sealed: &[u8], owner: &str) -> Result<Plain, SecretError> {
        let (id, rest) = sealed_key_id(sealed).ok_or(SecretError::Forged)?;
        let key: [u8; KEY_BYTES] =
            self.find(id).and_then(|key| key.try_into().ok()).ok_or_else(|| SecretError::UnknownKey(id.to_owned()))?;
        let (nonce, body) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(SecretError::Forged)?;
        let secret = XChaCha20Poly1305::new(&Key::from(key))
            .decrypt(&XNonce::from(*nonce), Payload { msg: body, aad: owner.as_bytes() })
            .map_err(|_| SecretError::Forged)?;
        String::from_utf8(secret).map(Plain::new).map_err(|_| SecretError::Forged)
    }

    /// Returns whether `sealed` was encrypted with another key than the active one.
    pub fn is_stale(&self, sealed: &[u8]) -> bool {
        sealed_key_id(sealed).is_none_or(|(id, _)| id != self.0[0].0)
    }
}

fn sealed_key_id(sealed: &[u8]) -> Option<(&str, &[u8])> {
    let (&[version, length], rest) = sealed.split_first_chunk::<2>()?;
    let (id, rest) = rest.split_at_checked(length.into())?;
    (version == SEAL_VERSION).then_some((str::from_utf8(id).ok()?, rest))
}

impl FromStr for KeyRing {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut keys: Vec<(String, [u8; KEY_BYTES])> = Vec::new();
        for entry in text.split(',').map(str::trim) {
            let (id, key) = entry.split_once(':').ok_or(SecretError::KeyRing("an entry has no colon"))?;
            if id.is_empty() || id.len() > 64 || !id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
            {
                return Err(SecretError::KeyRing(
                    "an id is empty, longer than 64 characters, or has characters other than letters, digits, `-` and `_`",
                ));
            }
            if keys.iter().any(|(other, _)| other == id) {
                return Err(SecretError::KeyRing("an id is repeated"));
            }
            let key = BASE64_STANDARD.decode(key).map_err(|_| SecretError::KeyRing("a key is not base64"))?;
            let key = key.try_into().map_err(|_| SecretError::KeyRing("a key is not 32 bytes long"))?;
            keys.push((id.to_owned(), key));
        }
        Ok(Self(keys))
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(id, _)| id)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_secret_opens_only_for_its_owner_and_unchanged() {
        let ring = KeyRing::generate().unwrap();
        let mut sealed = ring.seal(b"open sesame", "site:1").unwrap();
        assert_eq!(ring.open(&sealed, "site:1").unwrap().expose(), "open sesame");
        assert!(matches!(ring.open(&sealed, "site:2"), Err(SecretError::Forged)));
        *sealed.last_mut().unwrap() ^= 1;
        assert!(matches!(ring.open(&sealed, "site:1"), Err(SecretError::Forged)));
        assert!(matches!(ring.open(&[], "site:1"), Err(SecretError::Forged)));
    }

    #[test]
    fn a_rotated_ring_reads_old_values_and_writes_new_ones() {
        let old = KeyRing::generate().unwrap();
        let sealed = old.seal(b"s", "x").unwrap();
        let new = old.rotated().unwrap();
        assert_eq!(new.open(&sealed, "x").unwrap().expose(), "s");
        assert!(new.is_stale(&sealed));
        assert!(!new.is_stale(&new.seal(b"s", "x").unwrap()));
        assert!(matches!(old.open(&new.seal(b"s", "x").unwrap(), "x"), Err(SecretError::UnknownKey(_))));
    }

    #[test]
    fn a_key_ring_parses_its_own_text_and_refuses_invalid_text() {
        let ring = KeyRing::generate().unwrap().rotated().unwrap();
        let again: KeyRing = ring.expose().expose().parse().unwrap();
        assert_eq!(again.0, ring.0);
        for bad in ["", "x", "a:AAAA", "a b:AAAA", ":AAAA", "a:%%%"] {
            assert!(bad.parse::<KeyRing>().is_err(), "{bad}");
        }
    }

    #[test]
    fn debug_output_hides_secrets() {
        let ring = KeyRing::generate().unwrap();
        assert_eq!(format!("{:?}", Plain::new("x")), "[hidden]");
        assert!(!format!("{ring:?}").contains(ring.expose().expose()));
    }

    #[test]
    fn a_hash_verifies_its_secret_and_no_other() {
        let secret = Plain::generate().unwrap();
        let hash = Hashed::of(&secret).unwrap();
        assert!(hash.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(hash.verify(&secret));
        assert!(!hash.verify(&Plain::new("other")));
        assert!(!Hashed::from_stored("nonsense").verify(&secret));
    }
}

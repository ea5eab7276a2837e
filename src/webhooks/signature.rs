//! Signatures of the Standard Webhooks convention. Pure.
//!
//! The signed text is `ID.TIMESTAMP.BODY`, the signature `v1,` and the HMAC-SHA256 of that text in base64. A secret is written
//! `whsec_` and its bytes in base64. While a secret is rotated, a message carries a signature for each live secret.

use crate::secret::{Plain, SecretError, random_bytes};
use aws_lc_rs::hmac;
use base64::{Engine, prelude::BASE64_STANDARD};
use std::str::FromStr;

const PREFIX: &str = "whsec_";
/// New secrets have as many bytes as the digest.
const NEW_BYTES: usize = 32;
/// The convention asks for 24 to 64 bytes.
const VALID_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// The header that carries the id of a message. Receivers recognise a repeated message by it.
pub const ID: &str = "webhook-id";
/// The header that carries the time of an attempt, in Unix seconds.
pub const TIMESTAMP: &str = "webhook-timestamp";
/// The header that carries the signatures, separated by spaces.
pub const SIGNATURE: &str = "webhook-signature";

/// A text that is no secret for signatures.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a signing secret is `whsec_` and the base64 of 24 to 64 bytes")]
pub struct BadSecret;

/// A secret that signs messages. `Debug` hides it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningSecret(Plain);

impl SigningSecret {
    pub fn generate() -> Result<Self, SecretError> {
        let bytes = random_bytes::<NEW_BYTES>()?;
        Ok(Self(Plain::new(format!("{PREFIX}{}", BASE64_STANDARD.encode(bytes)))))
    }

    /// Returns the text, `whsec_...`. Reviewers check each call.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// Returns the signature of a message, `v1,...`.
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &decode(self.expose()).unwrap_or_default());
        let mut context = hmac::Context::with_key(&key);
        context.update(format!("{id}.{timestamp}.").as_bytes());
        context.update(body);
        format!("v1,{}", BASE64_STANDARD.encode(context.sign()))
    }
}

impl FromStr for SigningSecret {
    type Err = BadSecret;

    fn from_str(text: &str) -> Result<Self, BadSecret> {
        let bytes = decode(text).ok_or(BadSecret)?;
        if VALID_BYTES.contains(&bytes.len()) { Ok(Self(Plain::new(text))) } else { Err(BadSecret) }
    }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    BASE64_STANDARD.decode(text.strip_prefix(PREFIX)?).ok()
}

/// Returns the headers that sign a message, with a signature for each secret.
pub fn headers<'a>(
    secrets: impl IntoIterator<Item = &'a SigningSecret>,
    id: &str,
    timestamp: i64,
    body: &[u8],
) -> [(&'static str, String); 3] {
    let signatures: Vec<_> = secrets.into_iter().map(|secret| secret.sign(id, timestamp, body)).collect();
    [(ID, id.to_owned()), (TIMESTAMP, timestamp.to_string()), (SIGNATURE, signatures.join(" "))]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification (github.com/standard-webhooks/standard-webhooks).
    #[test]
    fn a_signature_is_that_of_the_specification() {
        let secret: SigningSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap();
        let (id, timestamp, body) =
            ("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#.as_slice());
        let signature = secret.sign(id, timestamp, body);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn during_a_rotation_either_secret_signs() {
        let (old, new) = (SigningSecret::generate().unwrap(), SigningSecret::generate().unwrap());
        let [id, timestamp, (_, signatures)] = headers([&new, &old], "evt_1", 5, b"{}");
        assert_eq!([id, timestamp], [(ID, "evt_1".to_owned()), (TIMESTAMP, "5".to_owned())]);
        assert_eq!(signatures, format!("{} {}", new.sign("evt_1", 5, b"{}"), old.sign("evt_1", 5, b"{}")));
    }

    #[test]
    fn a_secret_parses_from_its_own_text_and_hides_itself() {
        let secret = SigningSecret::generate().unwrap();
        assert_eq!(secret.expose().parse(), Ok(secret.clone()));
        assert!(!format!("{secret:?}").contains(secret.expose()));
        for bad in ["", "whsec_", "whsec_AAAA", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_%%%"] {
            assert_eq!(bad.parse::<SigningSecret>(), Err(BadSecret), "{bad}");
        }
    }
}

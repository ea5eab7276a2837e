//! The access token: a JWT signed with HS256, with the id of its key in the header.
//!
//! A shared key suffices because only this program checks its tokens, and a check costs 1 us instead of 40 us for EdDSA
//! (DESIGN.md 7). Keys rotate without downtime: the active key signs new tokens, and older tokens stay valid while their key
//! is in the key ring.

use crate::secret::KeyRing;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use time::OffsetDateTime;

const ISSUER: &str = "spsi-partner";

/// Why a token is invalid or cannot be issued.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("the token is malformed or was not issued by this supplier")]
    Malformed,
    #[error("the token has expired")]
    Expired,
    #[error("the token has been revoked")]
    Revoked,
    #[error("the token could not be signed")]
    Signing,
}

/// The claims of a token.
#[derive(Debug, Serialize, Deserialize)]
pub struct Claims {
    iss: String,
    /// The client id of the clinic.
    pub sub: String,
    /// The token generation of the clinic when the token was issued.
    #[serde(rename = "gen")]
    pub generation: i64,
    iat: i64,
    exp: i64,
}

/// Signs a token with the active key. `life` counts in whole seconds.
pub fn issue(
    keys: &KeyRing,
    client_id: &str,
    generation: i64,
    now: OffsetDateTime,
    life: Duration,
) -> Result<String, TokenError> {
    let (id, key) = keys.active();
    let iat = now.unix_timestamp();
    let exp = iat.saturating_add_unsigned(life.as_secs());
    let claims = Claims { iss: ISSUER.into(), sub: client_id.into(), generation, iat, exp };
    let header = Header { kid: Some(id.to_owned()), ..Header::new(Algorithm::HS256) };
    jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(key)).map_err(|_| TokenError::Signing)
}

impl Claims {
    /// Returns true from the second of expiry on.
    pub fn is_expired(&self, now: OffsetDateTime) -> bool {
        now.unix_timestamp() >= self.exp
    }
}

/// Verifies the signature and the issuer of a token. Does not check its expiry.
pub fn check(keys: &KeyRing, token: &str) -> Result<Claims, TokenError> {
    let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Malformed)?;
    let key = header.kid.as_deref().and_then(|id| keys.find(id)).ok_or(TokenError::Malformed)?;
    let mut validation = Validation::new(Algorithm::HS256);
    validation.set_issuer(&[ISSUER]);
    // The caller checks the expiry with its own clock; the library would read the clock of the machine.
    validation.validate_exp = false;
    let token = jsonwebtoken::decode::<Claims>(token, &DecodingKey::from_secret(key), &validation);
    Ok(token.map_err(|_| TokenError::Malformed)?.claims)
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-21 10:00 UTC);
    const LIFE: Duration = Duration::from_secs(60);

    #[test]
    fn a_token_is_valid_until_it_expires() {
        let keys = KeyRing::generate().unwrap();
        let token = issue(&keys, "clinic-a", 3, NOW, LIFE).unwrap();
        let claims = check(&keys, &token).unwrap();
        assert_eq!((claims.sub.as_str(), claims.generation), ("clinic-a", 3));
        assert!(!claims.is_expired(NOW + LIFE - Duration::from_secs(1)) && claims.is_expired(NOW + LIFE));
    }
}

//! The token request, its answer, and the life of a token (SPSI.md 2).

use super::{request::encode_form, wire};
use crate::config::ScopeSeparator;
use crate::secret::Plain;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::Value;
use std::time::Duration;
use time::OffsetDateTime;

/// Life of a token whose answer has no readable expiry. A token that expires earlier is replaced after the first 401.
const ASSUMED_LIFE: Duration = Duration::from_secs(8 * 3600);
const SCOPES: [&str; 4] = ["read-receiveinvoice", "read-separation", "write-jobqueue", "write-receiveinvoice"];
const INVENTORY_SCOPES: [&str; 2] = ["inventory-management", "read-productsupplier"];

/// The credentials of a site.
#[derive(Clone, Debug)]
pub struct Credentials {
    pub partner_id: String,
    pub client_id: String,
    pub client_secret: Plain,
    pub site_uid: String,
}

/// A token that ezyVet granted.
#[derive(Clone, Debug)]
pub struct Granted {
    pub token: Plain,
    pub expires_at: OffsetDateTime,
    /// The token has the inventory scope. An answer that names no scopes grants all that were requested.
    pub has_inventory: bool,
}

impl Credentials {
    /// Returns the form of a token request. `with_inventory`: request the inventory scopes, too.
    pub(super) fn form(&self, separator: ScopeSeparator, with_inventory: bool) -> Plain {
        let scopes: Vec<&str> =
            SCOPES.iter().chain(INVENTORY_SCOPES.iter().filter(|_| with_inventory)).copied().collect();
        let scope = scopes.join(match separator {
            ScopeSeparator::Space => " ",
            ScopeSeparator::Comma => ",",
        });
        Plain::new(encode_form(&[
            ("partner_id", self.partner_id.as_str()),
            ("client_id", &self.client_id),
            ("client_secret", self.client_secret.expose()),
            ("grant_type", "client_credentials"),
            ("scope", &scope),
            ("site_uid", &self.site_uid),
        ]))
    }
}

/// Reads the answer to a token request. The expiry is the JWT's own `exp`; otherwise the smaller of `expires_in`, whose
/// published examples contradict the stated life, and [`ASSUMED_LIFE`]. An `exp` in the past is ignored, because one of the
/// clocks is wrong: a 401 ends such a token.
pub(super) fn read(body: &str, requested_inventory: bool, now: OffsetDateTime) -> Option<Granted> {
    let value: Value = serde_json::from_str(body).ok()?;
    let token = value.get("access_token")?.as_str().filter(|token| !token.is_empty() && token.is_ascii())?;
    let expires_in = wire::text(&value, "expires_in").and_then(|text| text.parse::<f64>().ok());
    let life = expires_in.filter(|seconds| *seconds > 0.0 && *seconds < 1e9);
    let life = life.map_or(ASSUMED_LIFE, Duration::from_secs_f64).min(ASSUMED_LIFE);
    let expires_at = jwt_expiry(token).filter(|at| *at > now).unwrap_or(now + life);
    let has_inventory = requested_inventory
        && match wire::text(&value, "scope").filter(|scope| !scope.is_empty()) {
            Some(scopes) => scopes.split([' ', ',']).any(|scope| scope == INVENTORY_SCOPES[0]),
            None => true,
        };
    Some(Granted { token: Plain::new(token), expires_at, has_inventory })
}

fn jwt_expiry(token: &str) -> Option<OffsetDateTime> {
    let payload = token.split('.').nth(1)?;
    let claims = BASE64_URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    let exp = wire::text(&serde_json::from_slice(&claims).ok()?, "exp")?.parse::<f64>().ok()?;
    OffsetDateTime::from_unix_timestamp(exp as i64).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-21 12:00 UTC);

    fn jwt(exp: i64) -> String {
        let part = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.sig", part(r#"{"alg":"none"}"#), part(&format!(r#"{{"exp":{exp}}}"#)))
    }

    fn expiry(token: &str, expires_in: &str) -> OffsetDateTime {
        let body = format!(r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":{expires_in}}}"#);
        read(&body, true, NOW).unwrap().expires_at
    }

    #[test]
    fn the_jwts_own_expiry_goes_before_expires_in() {
        let end = NOW + Duration::from_secs(600);
        assert_eq!(expiry(&jwt(end.unix_timestamp()), "86400"), end);
        assert_eq!(expiry("opaque", "3600"), NOW + Duration::from_secs(3600));
        assert_eq!(expiry("opaque", "\"3600\""), NOW + Duration::from_secs(3600));
        assert_eq!(expiry("opaque", "1558559681"), NOW + ASSUMED_LIFE);
        assert_eq!(expiry("opaque", "null"), NOW + ASSUMED_LIFE);
        assert_eq!(expiry(&jwt(5), "60"), NOW + Duration::from_secs(60));
    }

    #[test]
    fn the_inventory_scope_is_granted_unless_the_answer_names_other_scopes() {
        let granted =
            |scope: &str| read(&format!(r#"{{"access_token":"t"{scope}}}"#), true, NOW).unwrap().has_inventory;
        assert!(granted(""));
        assert!(granted(r#","scope":"write-jobqueue inventory-management""#));
        assert!(granted(r#","scope":"write-jobqueue,inventory-management""#));
        assert!(!granted(r#","scope":"write-jobqueue read-separation""#));
    }

    #[test]
    fn an_answer_without_a_token_is_rejected() {
        for body in ["", "{}", r#"{"access_token":""}"#, r#"{"access_token":null}"#] {
            assert!(read(body, true, NOW).is_none(), "{body}");
        }
    }

    #[test]
    fn the_form_joins_the_scopes_with_the_separator_of_the_setting() {
        let credentials = Credentials {
            partner_id: "p".into(),
            client_id: "c".into(),
            client_secret: Plain::new("s&s"),
            site_uid: "u".into(),
        };
        let form = credentials.form(ScopeSeparator::Comma, false);
        assert!(form.expose().contains("client_secret=s%26s"));
        assert!(form.expose().contains("scope=read-receiveinvoice%2Cread-separation%2Cwrite-jobqueue%2C"));
        assert!(!form.expose().contains("inventory"));
    }
}

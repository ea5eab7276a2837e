//! Asking for a token, and how long it is good for (SPSI.md 2).

use super::{request::encode_form, wire};
use crate::config::ScopeSeparator;
use crate::secret::Plain;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::Value;
use std::time::Duration;
use time::OffsetDateTime;

const SCOPES: [&str; 4] = ["read-receiveinvoice", "read-separation", "write-jobqueue", "write-receiveinvoice"];
const INVENTORY_SCOPES: [&str; 2] = ["inventory-management", "read-productsupplier"];

/// By what a site knows us.
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
    /// Whether the inventory scope came with it. An answer that names no scopes grants what was asked for.
    pub inventory: bool,
}

impl Credentials {
    /// The form that asks for a token. `inventory`: ask for those scopes too.
    pub(super) fn form(&self, separator: ScopeSeparator, inventory: bool) -> Plain {
        let scopes: Vec<&str> = SCOPES.iter().chain(INVENTORY_SCOPES.iter().filter(|_| inventory)).copied().collect();
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

/// Reads a token answer. The JWT's own `exp` is believed first, then the smaller of `expires_in`, whose published examples
/// contradict the stated life, and `longest_life`.
/// An `exp` that has passed already (their clock or ours is wrong) is not believed: a 401 will tell.
pub(super) fn read(
    body: &str,
    asked_for_inventory: bool,
    now: OffsetDateTime,
    longest_life: Duration,
) -> Option<Granted> {
    let value: Value = serde_json::from_str(body).ok()?;
    let token = value.get("access_token")?.as_str().filter(|token| !token.is_empty() && token.is_ascii())?;
    let told = wire::text(&value, "expires_in").and_then(|text| text.parse::<f64>().ok());
    let told = told.filter(|seconds| *seconds > 0.0 && *seconds < 1e9).map_or(longest_life, Duration::from_secs_f64);
    let expires_at = jwt_expiry(token).filter(|at| *at > now).unwrap_or_else(|| now + told.min(longest_life));
    let inventory = asked_for_inventory
        && match wire::text(&value, "scope").filter(|scope| !scope.is_empty()) {
            Some(scope) => scope.split([' ', ',']).any(|word| word == INVENTORY_SCOPES[0]),
            None => true,
        };
    Some(Granted { token: Plain::new(token), expires_at, inventory })
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
    const LONGEST_LIFE: Duration = Duration::from_secs(8 * 3600);

    fn jwt(exp: i64) -> String {
        let part = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.sig", part(r#"{"alg":"none"}"#), part(&format!(r#"{{"exp":{exp}}}"#)))
    }

    fn expiry(token: &str, expires_in: &str) -> OffsetDateTime {
        let body = format!(r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":{expires_in}}}"#);
        read(&body, true, NOW, LONGEST_LIFE).unwrap().expires_at
    }

    #[test]
    fn the_jwts_own_end_is_believed_before_expires_in() {
        let end = NOW + Duration::from_secs(600);
        assert_eq!(expiry(&jwt(end.unix_timestamp()), "86400"), end);
        assert_eq!(expiry("opaque", "3600"), NOW + Duration::from_secs(3600));
        assert_eq!(expiry("opaque", "\"3600\""), NOW + Duration::from_secs(3600));
        assert_eq!(expiry("opaque", "1558559681"), NOW + LONGEST_LIFE);
        assert_eq!(expiry("opaque", "null"), NOW + LONGEST_LIFE);
        assert_eq!(expiry(&jwt(5), "60"), NOW + Duration::from_secs(60));
    }

    #[test]
    fn inventory_counts_as_granted_unless_the_scopes_say_otherwise() {
        let granted = |scope: &str| {
            read(&format!(r#"{{"access_token":"t"{scope}}}"#), true, NOW, LONGEST_LIFE).unwrap().inventory
        };
        assert!(granted(""));
        assert!(granted(r#","scope":"write-jobqueue inventory-management""#));
        assert!(granted(r#","scope":"write-jobqueue,inventory-management""#));
        assert!(!granted(r#","scope":"write-jobqueue read-separation""#));
    }

    #[test]
    fn what_holds_no_token_is_not_read() {
        for body in ["", "{}", r#"{"access_token":""}"#, r#"{"access_token":null}"#] {
            assert!(read(body, true, NOW, LONGEST_LIFE).is_none(), "{body}");
        }
    }

    #[test]
    fn the_form_asks_for_what_is_needed_in_the_separator_that_is_set() {
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

//! Access tokens of the ezyVet half (SPSI.md 2): one live token per credential set; a new one kills the old.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    clock::Millis,
    event::EventKind,
    form,
    options::{InventoryGrant, ScopeSeparator},
    settings::Credential,
    wire::{Answer, Request, text_of},
    world::World,
};

/// Scopes that only a site with the inventory system grants.
const INVENTORY_SCOPES: [&str; 2] = ["inventory-management", "read-productsupplier"];
/// Scopes that every site grants.
const PLAIN_SCOPES: [&str; 6] = [
    "read-receiveinvoice",
    "read-separation",
    "write-jobqueue",
    "read-jobqueue",
    "write-receiveinvoice",
    "read-product",
];

/// A token that was issued, alive or not.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Token {
    /// What is sent as bearer.
    pub value: String,
    /// Whose it is.
    pub client_id: String,
    /// What it allows.
    pub scopes: Vec<String>,
    /// When it expires by itself.
    pub expires: Millis,
    /// Why it is no longer good, if it is not.
    pub dead: Option<Death>,
}

/// Why a token is no longer good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Death {
    /// A fault or a control call killed it.
    Injected,
    /// A newer token of the same credential set took its place.
    Replaced,
}

impl World {
    /// `POST /oauth/token` and `POST /v1/oauth/access_token`.
    pub(super) fn issue_token(&mut self, now: Millis, request: &Request) -> Answer {
        let body = match token_body(request) {
            Ok(body) => body,
            Err(why) => {
                self.event(now, EventKind::MalformedBody, format!("token request: {why}"));
                return Answer::error(400, "BadRequest", why);
            }
        };
        let field = |name: &str| body.get(name).and_then(text_of).filter(|text| !text.is_empty());
        let names = ["partner_id", "client_id", "client_secret", "grant_type", "scope", "site_uid"];
        if let Some(missing) = names.into_iter().find(|name| field(name).is_none()) {
            self.event(now, EventKind::MalformedBody, format!("token request without {missing}"));
            return Answer::error(400, "BadRequest", format!("{missing} is required"));
        }
        if field("grant_type").as_deref() != Some("client_credentials") {
            self.event(now, EventKind::MalformedBody, "token request with another grant_type");
            return Answer::error(400, "BadRequest", "grant_type must be client_credentials");
        }
        let claimed = Credential {
            partner_id: field("partner_id").unwrap_or_default(),
            client_id: field("client_id").unwrap_or_default(),
            client_secret: field("client_secret").unwrap_or_default(),
            site_uid: field("site_uid").unwrap_or_default(),
        };
        if !self.settings.credentials.contains(&claimed) {
            self.event(
                now,
                EventKind::BadCredentials,
                format!("token request with wrong credentials for client {}", claimed.client_id),
            );
            return Answer::error(401, "AuthenticationException", "The client credentials are invalid");
        }
        let scopes = match self.granted(&field("scope").unwrap_or_default()) {
            Ok(scopes) => scopes,
            Err(why) => {
                self.event(now, EventKind::BadCredentials, format!("token request: {why}"));
                return Answer::error(400, "invalid_scope", why);
            }
        };
        let life =
            if request.path.starts_with("/v1/") { self.settings.token_life / 2 * 3 } else { self.settings.token_life };
        for token in self.tokens.iter_mut().filter(|token| token.client_id == claimed.client_id && token.dead.is_none())
        {
            token.dead = Some(Death::Replaced);
        }
        let expires = now + life;
        let value = self.jwt(&claimed.client_id, &scopes, now, expires);
        self.tokens.push(Token {
            value: value.clone(),
            client_id: claimed.client_id,
            scopes: scopes.clone(),
            expires,
            dead: None,
        });
        let says = self.settings.expires_in_says.unwrap_or(life / 1000);
        Answer::json(
            200,
            json!({"access_token": value, "token_type": "Bearer", "expires_in": self.settings.scalars.whole(says), "scope": scopes.join(" ")}),
        )
    }

    fn granted(&self, asked: &str) -> Result<Vec<String>, String> {
        let separators: &[char] = match self.settings.scope_separator {
            ScopeSeparator::Space => &[' '],
            ScopeSeparator::Comma => &[','],
            ScopeSeparator::Either => &[' ', ','],
        };
        let mut granted = Vec::new();
        for scope in asked.split(separators).filter(|scope| !scope.is_empty()) {
            let inventory = INVENTORY_SCOPES.contains(&scope);
            if !inventory && !PLAIN_SCOPES.contains(&scope) {
                return Err(format!("The scope {scope} does not exist"));
            }
            match self.settings.inventory {
                InventoryGrant::Refuse if inventory => {
                    return Err(format!("The scope {scope} is not granted by this site"));
                }
                InventoryGrant::Withhold if inventory => {}
                _ => granted.push(scope.to_owned()),
            }
        }
        Ok(granted)
    }

    /// A token in the shape of a JWT; the signature is random, for nobody but the sandbox checks it.
    fn jwt(&mut self, client_id: &str, scopes: &[String], now: Millis, expires: Millis) -> String {
        let header = json!({"typ": "JWT", "alg": "RS256"});
        let payload = json!({"aud": client_id, "jti": self.chance.letters(16), "iat": now / 1000, "nbf": now / 1000, "exp": expires / 1000, "scopes": scopes});
        let signature = self.chance.letters(43);
        format!(
            "{}.{}.{signature}",
            base64url(header.to_string().as_bytes()),
            base64url(payload.to_string().as_bytes())
        )
    }

    /// The bearer's client id, if the token is alive and has one of the scopes.
    pub(super) fn authorise(&mut self, now: Millis, request: &Request, scopes: &[&str]) -> Result<(), Answer> {
        let refused = || {
            Answer::error(401, "AuthenticationException", "The access token is invalid or has expired")
                .with("www-authenticate", "Bearer")
        };
        let Some(bearer) = &request.bearer else {
            self.event(now, EventKind::BadToken, format!("{} {} without a token", request.method, request.path));
            return Err(refused());
        };
        let Some(at) = self.tokens.iter().rposition(|token| token.value == *bearer) else {
            self.event(
                now,
                EventKind::BadToken,
                format!("{} {} with a token that was never issued", request.method, request.path),
            );
            return Err(refused());
        };
        let token = self.tokens[at].clone();
        if token.dead.is_some() || token.expires <= now {
            let newer = self.tokens[at + 1..].iter().any(|other| other.client_id == token.client_id);
            if newer {
                self.event(
                    now,
                    EventKind::BadToken,
                    format!("{} {} with an old token, though a newer one was issued", request.method, request.path),
                );
            }
            return Err(refused());
        }
        if scopes.is_empty() || scopes.iter().any(|scope| token.scopes.iter().any(|held| held == scope)) {
            return Ok(());
        }
        Err(Answer::error(403, "AuthorizationException", format!("The access token lacks the scope {}", scopes[0])))
    }

    /// Kills every live token, as ezyVet may at any time.
    pub fn kill_tokens(&mut self) -> usize {
        let alive = self.tokens.iter_mut().filter(|token| token.dead.is_none());
        alive.map(|token| token.dead = Some(Death::Injected)).count()
    }
}

fn token_body(request: &Request) -> Result<Value, &'static str> {
    if request.content_type.contains("json") {
        let body: Value = serde_json::from_slice(&request.body).map_err(|_| "the body is not JSON")?;
        return if body.is_object() { Ok(body) } else { Err("the body is not an object") };
    }
    if request.content_type.starts_with("application/x-www-form-urlencoded") {
        return Ok(form::read(&request.body, form::MAX_INPUT_VARS).value);
    }
    Err("the body must be JSON or a form")
}

/// Base64 with the alphabet of URLs and without padding.
pub(super) fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = u32::from(chunk[0]) << 16
            | u32::from(*chunk.get(1).unwrap_or(&0)) << 8
            | u32::from(*chunk.get(2).unwrap_or(&0));
        for position in 0..=chunk.len() {
            text.push(char::from(ALPHABET[(group >> (18 - 6 * position) & 63) as usize]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::base64url;

    #[test]
    fn base64_has_the_alphabet_of_urls_and_no_padding() {
        let pairs = [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foob", "Zm9vYg"), ("foobar", "Zm9vYmFy")];
        for (plain, encoded) in pairs {
            assert_eq!(base64url(plain.as_bytes()), encoded);
        }
        assert_eq!(base64url(&[0xfb, 0xff]), "-_8");
    }
}

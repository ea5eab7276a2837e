//! Access tokens of the ezyVet half (SPSI.md 2): one live token per credential set; a new token replaces the old one.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    clock::{Chance, Millis},
    event::{EventKind, Refusal},
    form,
    options::{InventoryGrant, Options, ScopeSeparator},
    wire::{Answer, Request, text_of},
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

/// A token that was issued, live or dead.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Token {
    /// The bearer token.
    pub value: String,
    /// Granted scopes.
    pub scopes: Vec<String>,
    /// Time of expiry.
    pub expires: Millis,
    /// Why it died before its expiry; `None` while it is live.
    pub dead: Option<Death>,
}

/// Why a token died before its expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Death {
    /// A fault or a control call killed it.
    Injected,
    /// A newer token replaced it.
    Replaced,
}

/// Serves `POST /oauth/token` and `POST /v1/oauth/access_token`.
///
/// # Errors
/// 400 for a malformed request or a scope that is not granted; 401 for wrong credentials.
pub(super) fn issue(
    tokens: &mut Vec<Token>,
    options: &Options,
    chance: &mut Chance,
    now: Millis,
    request: &Request,
) -> Result<Answer, Refusal> {
    let malformed = |text: &str| {
        let answer = Answer::error(400, "BadRequest", text);
        Refusal::mistake(EventKind::MalformedBody, format!("token request: {text}"), answer)
    };
    let body = form::read_body(request, form::MAX_INPUT_VARS).value;
    if !body.is_object() {
        return Err(malformed("the body must be a JSON object or a form"));
    }
    let field = |name: &str| body.get(name).and_then(text_of).unwrap_or_default();
    let names = ["partner_id", "client_id", "client_secret", "grant_type", "scope", "site_uid"];
    if let Some(missing) = names.into_iter().find(|name| field(name).is_empty()) {
        return Err(malformed(&format!("{missing} is required")));
    }
    if field("grant_type") != "client_credentials" {
        return Err(malformed("grant_type must be client_credentials"));
    }
    let client_id = field("client_id");
    let credentials = [field("partner_id"), client_id.clone(), field("client_secret"), field("site_uid")];
    if credentials.each_ref() != [&options.partner_id, &options.client_id, &options.client_secret, &options.site_uid] {
        return Err(Refusal::mistake(
            EventKind::BadCredentials,
            format!("token request with wrong credentials for client {client_id}"),
            Answer::error(401, "AuthenticationException", "The client credentials are invalid"),
        ));
    }
    let scopes = grant(&field("scope"), options).map_err(|text| {
        let answer = Answer::error(400, "invalid_scope", &text);
        Refusal::mistake(EventKind::BadCredentials, format!("token request: {text}"), answer)
    })?;
    let life = if request.path.starts_with("/v1/") { options.token_life / 2 * 3 } else { options.token_life };
    let replaced = tokens.iter_mut().filter(|token| token.dead.is_none());
    replaced.for_each(|token| token.dead = Some(Death::Replaced));
    let expires = now + life;
    let value = jwt(chance, &client_id, &scopes, now, expires);
    let expires_in = options.expires_in_says.unwrap_or(life / 1000);
    let answer =
        json!({"access_token": value, "token_type": "Bearer", "expires_in": expires_in, "scope": scopes.join(" ")});
    tokens.push(Token { value, scopes, expires, dead: None });
    Ok(Answer::json(200, answer))
}

/// Returns the granted ones of the requested scopes.
fn grant(requested: &str, options: &Options) -> Result<Vec<String>, String> {
    let separator = if options.scope_separator == ScopeSeparator::Comma { ',' } else { ' ' };
    let mut granted = Vec::new();
    for scope in requested.split(separator).filter(|scope| !scope.is_empty()) {
        let is_inventory = INVENTORY_SCOPES.contains(&scope);
        if !is_inventory && !PLAIN_SCOPES.contains(&scope) {
            return Err(format!("The scope {scope} does not exist"));
        }
        match options.inventory {
            InventoryGrant::Refuse if is_inventory => {
                return Err(format!("The scope {scope} is not granted by this site"));
            }
            InventoryGrant::Withhold if is_inventory => {}
            _ => granted.push(scope.to_owned()),
        }
    }
    Ok(granted)
}

/// Creates a token in the shape of a JWT. The signature is random: only the sandbox checks the token, by its whole text.
fn jwt(chance: &mut Chance, client_id: &str, scopes: &[String], now: Millis, expires: Millis) -> String {
    let header = json!({"typ": "JWT", "alg": "RS256"});
    let payload = json!({"aud": client_id, "jti": chance.letters(16), "iat": now / 1000, "nbf": now / 1000, "exp": expires / 1000, "scopes": scopes});
    let [header, payload] = [header, payload].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part.to_string()));
    format!("{header}.{payload}.{}", chance.letters(43))
}

/// Checks that the bearer token is live and has at least one of the scopes.
///
/// # Errors
/// 401 for a missing, unknown, dead or expired token; 403 for a missing scope.
pub(super) fn authorise(tokens: &[Token], now: Millis, request: &Request, scopes: &[&str]) -> Result<(), Refusal> {
    let unauthorised = || {
        Answer::error(401, "AuthenticationException", "The access token is invalid or has expired")
            .with("www-authenticate", "Bearer")
    };
    let mistake = |reason: &str| {
        let text = format!("{} {} {reason}", request.method, request.path);
        Refusal::mistake(EventKind::BadToken, text, unauthorised())
    };
    let bearer = request.bearer.as_ref().ok_or_else(|| mistake("without a token"))?;
    let index = tokens.iter().rposition(|token| token.value == *bearer);
    let index = index.ok_or_else(|| mistake("with a token that was never issued"))?;
    let token = &tokens[index];
    if token.dead.is_some() || token.expires <= now {
        // The partner cannot know of an early death until it gets this 401; with a newer token in hand, it can.
        let newer = || mistake("with an old token, although a newer one was issued");
        return Err(if index + 1 < tokens.len() { newer() } else { unauthorised().into() });
    }
    if scopes.iter().any(|scope| token.scopes.iter().any(|granted| granted == scope)) {
        return Ok(());
    }
    let text = format!("The access token lacks the scope {}", scopes[0]);
    Err(Answer::error(403, "AuthorizationException", text).into())
}

/// Kills every live token, as ezyVet may at any time; returns how many.
pub(super) fn kill_all(tokens: &mut [Token]) -> usize {
    let live = tokens.iter_mut().filter(|token| token.dead.is_none());
    live.map(|token| token.dead = Some(Death::Injected)).count()
}

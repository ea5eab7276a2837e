//! What a call came to. *Certain* outcomes say whether ezyVet did it; an unclear one says that nobody here can know
//! (DESIGN.md 2.4).

use super::wire;
use std::fmt;
use std::time::Duration;

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Certain: 2xx, a body that reads, no error-level message.
    Done,
    /// Certain: not done, and the same call would be refused again.
    Refused { status: u16, text: String },
    /// Certain: the request never left (no address, no connection, no TLS).
    NeverSent { why: String },
    /// Certain: not done. `reset`: how long until the count starts anew, if ezyVet said so.
    RateLimited { reset: Option<Duration> },
    /// Certain: not done; the token is no longer good.
    Unauthorised { text: String },
    /// Certain: not done; the site does not grant this (403).
    Forbidden { text: String },
    /// A 5xx answer. `own_words`: it carries ezyVet's own messages or is a 503; otherwise something in between may have
    /// answered, or died half-way. A 502 or 504 never counts as ezyVet's own, whatever it carries: its meaning is that
    /// whoever speaks does not know what became of the call. What the others say of it is a setting (`server_error`).
    Failed { status: u16, text: String, own_words: bool },
    /// It may have been done: the request left, and no answer that can be read came back.
    Unclear { why: String },
}

impl Outcome {
    /// A stable word for attempts and metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused { .. } => "refused",
            Self::NeverSent { .. } => "never_sent",
            Self::RateLimited { .. } => "rate_limited",
            Self::Unauthorised { .. } => "unauthorised",
            Self::Forbidden { .. } => "forbidden",
            Self::Failed { .. } => "failed",
            Self::Unclear { .. } => "unclear",
        }
    }

    /// Whether the whole site, rather than this one call, seems to be in trouble.
    pub const fn is_outage(&self) -> bool {
        matches!(self, Self::NeverSent { .. } | Self::Unauthorised { .. } | Self::Failed { .. } | Self::Unclear { .. })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Refused { status, text } => write!(f, "ezyVet refused it ({status}): {text}"),
            Self::NeverSent { why } => write!(f, "ezyVet was not reached: {why}"),
            Self::RateLimited { reset: Some(reset) } => {
                write!(f, "ezyVet's rate limit was met (429); it is reset after {} s", reset.as_secs_f64())
            }
            Self::RateLimited { reset: None } => f.write_str("ezyVet's rate limit was met (429)"),
            Self::Unauthorised { text } => write!(f, "ezyVet did not take our token (401): {text}"),
            Self::Forbidden { text } => write!(f, "the site does not grant this (403): {text}"),
            Self::Failed { status, text, .. } => write!(f, "ezyVet failed ({status}): {text}"),
            Self::Unclear { why } => write!(f, "it is unclear whether ezyVet got it: {why}"),
        }
    }
}

/// What arrived of an answer.
#[derive(Debug)]
pub(super) struct Arrived<'a> {
    pub status: u16,
    pub location: Option<&'a str>,
    pub reset: Option<Duration>,
    /// `Err`: the body was cut off, or is larger than we read.
    pub body: Result<&'a str, &'a str>,
}

/// Reads an answer.
pub(super) fn classify(arrived: &Arrived<'_>) -> Outcome {
    let status = arrived.status;
    let messages = arrived.body.map(wire::messages).unwrap_or_default();
    let text = || if messages.all.is_empty() { excerpt(arrived.body) } else { messages.all.join(" ") };
    match status {
        200..=299 => match arrived.body {
            Err(why) => Outcome::Unclear { why: format!("the answer {status} {why}") },
            // 204 and 205 have no body by their definition.
            Ok("") if matches!(status, 204 | 205) => Outcome::Done,
            Ok(_) if !messages.errors.is_empty() => Outcome::Refused { status, text: messages.errors.join(" ") },
            Ok(_) if messages.readable => Outcome::Done,
            Ok(body) => Outcome::Unclear { why: format!("the answer {status} is not JSON: {}", excerpt(Ok(body))) },
        },
        300..=399 => Outcome::Refused {
            status,
            text: format!("a redirect to {}, which is not followed", arrived.location.unwrap_or("nowhere")),
        },
        401 => Outcome::Unauthorised { text: text() },
        403 => Outcome::Forbidden { text: text() },
        // Both say "later"; a proxy may have sent them with the request half read.
        408 | 425 => Outcome::Failed { status, text: text(), own_words: false },
        429 => Outcome::RateLimited { reset: arrived.reset },
        400..=499 => Outcome::Refused { status, text: text() },
        500..=599 => Outcome::Failed { status, text: text(), own_words: own_words(status, messages.enveloped) },
        _ => Outcome::Unclear { why: format!("the answer has status {status}") },
    }
}

fn own_words(status: u16, enveloped: bool) -> bool {
    status == 503 || enveloped && !matches!(status, 502 | 504)
}

fn excerpt(body: Result<&str, &str>) -> String {
    match body {
        Ok(body) if body.trim().is_empty() => "no text was given".to_owned(),
        Ok(body) => {
            let body = body.trim();
            let short: String = body.chars().take(200).collect();
            if short.len() < body.len() { format!("{short}...") } else { short }
        }
        Err(why) => format!("the answer {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, body: &str) -> Outcome {
        classify(&Arrived { status, location: None, reset: None, body: Ok(body) })
    }

    #[test]
    fn a_two_hundred_counts_only_if_it_reads_and_holds_no_error() {
        assert_eq!(of(200, r#"{"items":[],"messages":[]}"#), Outcome::Done);
        assert_eq!(of(201, r#"{"messages":[{"level":"info","text":"Queued"}]}"#), Outcome::Done);
        assert_eq!(of(204, ""), Outcome::Done);
        let error = r#"{"messages":[{"level":"error","type":"x","text":"No such product","fields":[]}]}"#;
        assert_eq!(of(200, error), Outcome::Refused { status: 200, text: "No such product".into() });
        for body in ["", "<html>Bad gateway</html>", "{\"items\": [", "ok"] {
            assert!(matches!(of(200, body), Outcome::Unclear { .. }), "{body}");
        }
        let cut = Arrived { status: 200, location: None, reset: None, body: Err("was cut off") };
        assert!(matches!(classify(&cut), Outcome::Unclear { .. }));
    }

    #[test]
    fn messages_may_be_objects_or_plain_strings() {
        let refused = |text: &str| Outcome::Refused { status: 422, text: text.into() };
        assert_eq!(of(422, r#"{"messages":["One.","Two."]}"#), refused("One. Two."));
        assert_eq!(of(422, r#"{"messages":[{"level":"error","text":"Three."}]}"#), refused("Three."));
        assert_eq!(of(422, r#"{"messages":"Four."}"#), refused("Four."));
        assert_eq!(of(422, ""), refused("no text was given"));
    }

    #[test]
    fn a_server_error_in_ezyvets_own_words_is_told_from_a_gateways() {
        let own = |status, body| matches!(of(status, body), Outcome::Failed { own_words: true, .. });
        assert!(own(503, "busy"));
        assert!(own(500, r#"{"messages":["Deadlock."]}"#));
        assert!(!own(500, "<h1>Oops</h1>"));
        assert!(!own(502, ""));
        assert!(!own(504, r#"{"error":"x"}"#));
        assert!(!own(502, r#"{"messages":["Bad gateway."]}"#));
    }

    #[test]
    fn every_other_status_has_its_meaning() {
        assert!(matches!(of(302, ""), Outcome::Refused { status: 302, .. }));
        assert!(matches!(of(401, ""), Outcome::Unauthorised { .. }));
        assert!(matches!(of(403, ""), Outcome::Forbidden { .. }));
        assert!(matches!(of(404, ""), Outcome::Refused { status: 404, .. }));
        assert!(matches!(of(429, ""), Outcome::RateLimited { reset: None }));
    }
}

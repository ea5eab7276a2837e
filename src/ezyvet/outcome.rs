//! The outcome of a call. A *certain* outcome says whether ezyVet did what was asked; after an *unclear* one this cannot be
//! known here (DESIGN.md 2.4).

use super::wire;
use std::time::Duration;

/// How a call ended, also as a sentence for staff.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Outcome {
    /// Certain: done. 2xx with a readable body and no message of level error.
    #[error("done")]
    Done,
    /// Certain: not done, and the same call would be refused again.
    #[error("ezyVet refused the call ({status}): {text}")]
    Refused { status: u16, text: String },
    /// Certain: the request never left (no address, no connection, no TLS).
    #[error("ezyVet was not reached: {why}")]
    NeverSent { why: String },
    /// Certain: not done (429). `reset`: time until ezyVet's count starts again, if ezyVet named it.
    #[error("ezyVet's rate limit was reached (429){}", describe_reset(*reset))]
    RateLimited { reset: Option<Duration> },
    /// Certain: not done; the token is not valid (401).
    #[error("ezyVet did not accept the token (401): {text}")]
    Unauthorised { text: String },
    /// Certain: not done; the site does not grant the call (403).
    #[error("the site does not grant this call (403): {text}")]
    Forbidden { text: String },
    /// A 5xx answer; whether the call was done is decided by the setting `server_error`. `from_ezyvet`: the answer carries
    /// ezyVet's envelope, or is a 503. Otherwise a gateway may have answered. A 502 or 504 never counts as ezyVet's own,
    /// because it says that a gateway does not know what became of the call.
    #[error("ezyVet failed ({status}): {text}")]
    Failed { status: u16, text: String, from_ezyvet: bool },
    /// Unclear: the request left, and no readable answer came back.
    #[error("it is unclear whether ezyVet received the call: {why}")]
    Unclear { why: String },
}

impl Outcome {
    /// Returns a stable name for attempts and metrics.
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

    /// Returns whether the outcome suggests trouble of the whole site, not of this call alone.
    pub const fn is_outage(&self) -> bool {
        matches!(self, Self::NeverSent { .. } | Self::Unauthorised { .. } | Self::Failed { .. } | Self::Unclear { .. })
    }
}

fn describe_reset(reset: Option<Duration>) -> String {
    reset.map_or_else(String::new, |reset| format!("; it is reset after {} s", reset.as_secs_f64()))
}

/// The parts of an answer that its outcome depends on.
#[derive(Debug)]
pub(super) struct Answer<'a> {
    pub status: u16,
    pub location: Option<&'a str>,
    pub reset: Option<Duration>,
    /// `Err`: the body was cut off, or is larger than the limit.
    pub body: Result<&'a str, &'a str>,
}

/// Returns the outcome that an answer stands for.
pub(super) fn classify(answer: &Answer<'_>) -> Outcome {
    let status = answer.status;
    let messages = answer.body.map(wire::messages).unwrap_or_default();
    let text = || if messages.all.is_empty() { excerpt(answer.body) } else { messages.all.join(" ") };
    match status {
        200..=299 => match answer.body {
            Err(why) => Outcome::Unclear { why: format!("the answer with status {status} {why}") },
            // 204 and 205 have no body by their definition.
            Ok("") if matches!(status, 204 | 205) => Outcome::Done,
            Ok(_) if !messages.errors.is_empty() => Outcome::Refused { status, text: messages.errors.join(" ") },
            Ok(_) if messages.is_readable => Outcome::Done,
            Ok(body) => {
                Outcome::Unclear { why: format!("the answer with status {status} is not JSON: {}", excerpt(Ok(body))) }
            }
        },
        300..=399 => Outcome::Refused {
            status,
            text: format!("a redirect to {}, which is not followed", answer.location.unwrap_or("an unnamed place")),
        },
        401 => Outcome::Unauthorised { text: text() },
        403 => Outcome::Forbidden { text: text() },
        // Both mean "later"; a proxy may send them after it forwarded part of the request.
        408 | 425 => Outcome::Failed { status, text: text(), from_ezyvet: false },
        429 => Outcome::RateLimited { reset: answer.reset },
        400..=499 => Outcome::Refused { status, text: text() },
        500..=599 => {
            Outcome::Failed { status, text: text(), from_ezyvet: is_from_ezyvet(status, messages.has_envelope) }
        }
        _ => Outcome::Unclear { why: format!("the answer has status {status}") },
    }
}

fn is_from_ezyvet(status: u16, enveloped: bool) -> bool {
    status == 503 || enveloped && !matches!(status, 502 | 504)
}

fn excerpt(body: Result<&str, &str>) -> String {
    match body {
        Ok(body) if body.trim().is_empty() => "the answer has no text".to_owned(),
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
        classify(&Answer { status, location: None, reset: None, body: Ok(body) })
    }

    #[test]
    fn a_2xx_counts_only_if_its_body_is_readable_and_holds_no_error() {
        assert_eq!(of(200, r#"{"items":[],"messages":[]}"#), Outcome::Done);
        assert_eq!(of(201, r#"{"messages":[{"level":"info","text":"Queued"}]}"#), Outcome::Done);
        assert_eq!(of(204, ""), Outcome::Done);
        let error = r#"{"messages":[{"level":"error","type":"x","text":"No such product","fields":[]}]}"#;
        assert_eq!(of(200, error), Outcome::Refused { status: 200, text: "No such product".into() });
        for body in ["", "<html>Bad gateway</html>", "{\"items\": [", "ok"] {
            assert!(matches!(of(200, body), Outcome::Unclear { .. }), "{body}");
        }
        let cut = Answer { status: 200, location: None, reset: None, body: Err("was cut off") };
        assert!(matches!(classify(&cut), Outcome::Unclear { .. }));
    }

    #[test]
    fn messages_may_be_objects_or_plain_strings() {
        let refused = |text: &str| Outcome::Refused { status: 422, text: text.into() };
        assert_eq!(of(422, r#"{"messages":["One.","Two."]}"#), refused("One. Two."));
        assert_eq!(of(422, r#"{"messages":[{"level":"error","text":"Three."}]}"#), refused("Three."));
        assert_eq!(of(422, r#"{"messages":"Four."}"#), refused("Four."));
        assert_eq!(of(422, ""), refused("the answer has no text"));
    }

    #[test]
    fn a_server_error_of_ezyvet_is_distinguished_from_a_gateways() {
        let is_own = |status, body| matches!(of(status, body), Outcome::Failed { from_ezyvet: true, .. });
        assert!(is_own(503, "busy"));
        assert!(is_own(500, r#"{"messages":["Deadlock."]}"#));
        assert!(!is_own(500, "<h1>Oops</h1>"));
        assert!(!is_own(502, ""));
        assert!(!is_own(504, r#"{"error":"x"}"#));
        assert!(!is_own(502, r#"{"messages":["Bad gateway."]}"#));
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

//! The words that settings are written in: choices, durations, lists.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A setting's text that does not say anything.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadSetting(pub String);

/// Declares an enum whose values are written as fixed words.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$value_doc:meta])* $value:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$value_doc])* $value,)+
        }

        impl FromStr for $name {
            type Err = BadSetting;

            fn from_str(text: &str) -> Result<Self, BadSetting> {
                match text {
                    $($word => Ok(Self::$value),)+
                    _ => Err(BadSetting(format!("`{text}` is none of {}", [$($word),+].join(", ")))),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$value => $word,)+ })
            }
        }
    };
}

choice!(
    /// How a declined order is answered (SPSI.md 5.1).
    DeclineAnswer {
        Status422 = "422",
        Status400 = "400",
        Status409 = "409",
        /// 200, with `status` = `Cancelled` and the reasons in `comments`.
        Cancelled = "200",
    }
);
choice!(
    /// Done, or not.
    Switch {
        On = "on",
        Off = "off",
    }
);
choice!(
    /// One inner unit, or one outer: the pack that is sold (SPSI.md 5.2, 5.5, 5.9).
    Basis {
        Unit = "unit",
        Outer = "outer",
    }
);
choice!(
    /// `contract_price` where the clinic has none (SPSI.md 5.3).
    MissingContractPrice {
        ListPrice = "list",
        Null = "null",
        LeftOut = "omit",
    }
);
choice!(
    /// How a barcode is typed (SPSI.md 5.4).
    BarcodeType {
        /// A number where that loses nothing, otherwise a string.
        Auto = "auto",
        String = "string",
    }
);
choice!(
    /// The same order id with changed content (SPSI.md 5.11).
    ChangedOrder {
        /// A new revision while nothing has shipped, else 409.
        Revise = "revise",
        /// Always 409.
        Refuse = "refuse",
    }
);
choice!(
    /// What follows when a rule of the order decision is broken.
    RuleAction {
        Off = "off",
        /// Accepted, with a note to staff.
        Note = "note",
        /// Answered like an accepted order, and kept for staff to decide.
        Hold = "hold",
        Decline = "decline",
    }
);
choice!(
    /// What `freight_tax` on an invoice means (SPSI.md 5.6).
    FreightTax {
        Percent = "percent",
        Amount = "amount",
    }
);
choice!(
    /// How a job is encoded (SPSI.md 5.7).
    JobEncoding {
        /// PHP form brackets.
        Form = "form",
        Json = "json",
    }
);
choice!(
    /// What a shipment is turned into (SPSI.md 5.8).
    Deliver {
        Both = "both",
        Invoice = "invoice",
        Supplied = "supplied",
    }
);
choice!(
    /// Between scopes in a token request (SPSI.md 5.10).
    ScopeSeparator {
        Space = "space",
        Comma = "comma",
    }
);
choice!(
    /// After an unclear outcome of an invoice (SPSI.md 5.14).
    Unclear {
        /// Look, wait, look again, resend once under the same number.
        Resend = "resend",
        /// Leave it to staff.
        Hold = "hold",
    }
);

choice!(
    /// What an answer of 500 to 599 (503 apart) says of a call that sends (SPSI.md 5.14).
    ServerError {
        /// It may have been done: treated as if no answer had come.
        Unclear = "unclear",
        /// It was not done: sent again, an invoice after a look.
        NotDone = "not-done",
    }
);

/// A length of time, written `500ms`, `30s`, `15m`, `8h`, `90d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl Span {
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

impl FromStr for Span {
    type Err = BadSetting;

    fn from_str(text: &str) -> Result<Self, BadSetting> {
        let bad = || BadSetting(format!("`{text}` is not a duration; write it like 500ms, 30s, 15m, 8h or 90d"));
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| bad())?;
        if number == 0 && unit.is_empty() {
            return Ok(Self(Duration::ZERO));
        }
        let (_, milliseconds) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(bad)?;
        number.checked_mul(*milliseconds).map(|total| Self(Duration::from_millis(total))).ok_or_else(bad)
    }
}

/// As it is written: a refused value is shown so.
impl serde::Serialize for Span {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.0.as_millis() as u64;
        let (name, unit) = UNITS.iter().rev().find(|(_, unit)| total.is_multiple_of(*unit)).unwrap_or(&UNITS[0]);
        if total == 0 { f.write_str("0s") } else { write!(f, "{}{name}", total / unit) }
    }
}

/// How long a withdrawn product stays listed with `active` 0 (SPSI.md 5.12).
pub type WithdrawnFor = KeptFor;

/// How long something is kept: a duration, `0s` or `forever`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptFor {
    Forever,
    Time(Span),
}

impl FromStr for KeptFor {
    type Err = BadSetting;

    fn from_str(text: &str) -> Result<Self, BadSetting> {
        if text == "forever" { Ok(Self::Forever) } else { text.parse().map(Self::Time) }
    }
}

impl fmt::Display for KeptFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forever => f.write_str("forever"),
            Self::Time(span) => span.fmt(f),
        }
    }
}

/// An address of its own for the metrics, or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricsBind(pub Option<std::net::SocketAddr>);

impl FromStr for MetricsBind {
    type Err = BadSetting;

    fn from_str(text: &str) -> Result<Self, BadSetting> {
        match text {
            "off" | "" => Ok(Self(None)),
            address => {
                let bad = |_| BadSetting(format!("`{text}` is neither an address like 127.0.0.1:9090 nor off"));
                address.parse().map(|address| Self(Some(address))).map_err(bad)
            }
        }
    }
}

impl fmt::Display for MetricsBind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("off"),
        }
    }
}

/// An exact decimal, not negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amount(pub rust_decimal::Decimal);

impl FromStr for Amount {
    type Err = BadSetting;

    fn from_str(text: &str) -> Result<Self, BadSetting> {
        match crate::values::parse_decimal(text) {
            Ok(value) if !value.is_sign_negative() => Ok(Self(value)),
            Ok(_) => Err(BadSetting(format!("`{text}` is negative"))),
            Err(error) => Err(BadSetting(format!("`{text}` {error}"))),
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::values::plain(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_what_they_write() {
        for text in ["500ms", "30s", "15m", "8h", "90d", "1500ms"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        assert_eq!("60s".parse::<Span>().unwrap().to_string(), "1m");
        assert_eq!("0".parse::<Span>().unwrap().to_string(), "0s");
        for bad in ["", "5", "s", "-1s", "1.5h", "1w", "99999999999999999999s", "99999999999999999d"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_wrong_choice_is_told_the_right_ones() {
        assert_eq!("outers".parse::<Basis>().unwrap_err().0, "`outers` is none of unit, outer");
    }
}

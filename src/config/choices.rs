//! The types of setting values: choices, durations, amounts.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A setting whose text is invalid. The message names the text and the valid forms.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadSetting(pub String);

/// Declares an enum and the word for each of its values.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$value_doc:meta])* $value:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$value_doc])* $value,)+
        }

        impl $name {
            /// Returns the word for the value.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$value => $word,)+ }
            }
        }

        impl FromStr for $name {
            type Err = BadSetting;

            fn from_str(text: &str) -> Result<Self, BadSetting> {
                match text {
                    $($word => Ok(Self::$value),)+
                    _ => Err(BadSetting(format!("`{text}` is not valid; use one of: {}", [$($word),+].join(", ")))),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        /// Lets the help list the words.
        impl clap::ValueEnum for $name {
            fn value_variants<'a>() -> &'a [Self] {
                &[$(Self::$value),+]
            }

            fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
                Some(clap::builder::PossibleValue::new(self.as_str()))
            }
        }
    };
}
pub(crate) use choice;

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
    /// How a connection pooler before Postgres hands out its server connections.
    Pooling {
        /// One for the whole session. Also right without a pooler.
        Session = "session",
        /// Any for each transaction: no session settings, no notifications.
        Transaction = "transaction",
    }
);
choice!(
    /// A feature that is on or off.
    Switch {
        On = "on",
        Off = "off",
    }
);
choice!(
    /// One inner unit, or one outer (the pack that is sold) (SPSI.md 5.2, 5.5, 5.9).
    Basis {
        Unit = "unit",
        Outer = "outer",
    }
);
choice!(
    /// `contract_price` of a product for which the clinic has none (SPSI.md 5.3).
    MissingContractPrice {
        ListPrice = "list",
        Null = "null",
        LeftOut = "omit",
    }
);
choice!(
    /// The JSON type of barcodes (SPSI.md 5.4).
    BarcodeType {
        /// A number if no digit is lost, otherwise a string.
        Auto = "auto",
        String = "string",
    }
);
choice!(
    /// The response to a known order id with changed content (SPSI.md 5.11).
    ChangedOrder {
        /// A new revision while nothing has shipped, else 409.
        Revise = "revise",
        /// Always 409.
        Refuse = "refuse",
    }
);
choice!(
    /// What happens to an order that breaks a rule.
    RuleAction {
        Off = "off",
        /// The order is accepted, with a note to staff.
        Note = "note",
        /// The response is that of an accepted order; staff then accept or decline it.
        Hold = "hold",
        Decline = "decline",
    }
);
choice!(
    /// Who decides about an order that the other rules accept.
    AskRule {
        /// Nobody else: it is accepted.
        Off = "off",
        /// The supplier's system, by the staff API, within `ask_within`.
        Ask = "ask",
        /// The supplier's system, at once: the order hook is called while ezyVet waits.
        Hook = "hook",
    }
);
choice!(
    /// What becomes of an order about which nobody decided in time.
    AskDefault {
        /// It stays held, for staff.
        Hold = "hold",
        Accept = "accept",
        Decline = "decline",
    }
);
choice!(
    /// What becomes of an order: the answer of the order hook, or the default if there is no valid answer.
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "lowercase")]
    HookDecision {
        /// As with the rule `ask`.
        Ask = "ask",
        Accept = "accept",
        /// It is held for staff.
        Hold = "hold",
        Decline = "decline",
    }
);
choice!(
    /// The meaning of `freight_tax` on an invoice (SPSI.md 5.6).
    FreightTax {
        Percent = "percent",
        Amount = "amount",
    }
);
choice!(
    /// The encoding of a job (SPSI.md 5.7).
    JobEncoding {
        /// PHP form brackets.
        Form = "form",
        Json = "json",
    }
);
choice!(
    /// The deliveries of a shipment (SPSI.md 5.8).
    Deliver {
        Both = "both",
        Invoice = "invoice",
        Supplied = "supplied",
    }
);
choice!(
    /// The separator of scopes in a token request (SPSI.md 5.10).
    ScopeSeparator {
        Space = "space",
        Comma = "comma",
    }
);
choice!(
    /// The handling of an invoice whose outcome is unclear (SPSI.md 5.14).
    Unclear {
        /// Look for the invoice, wait, look again, then resend it once under the same number.
        Resend = "resend",
        /// Leave the invoice to staff.
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

/// A duration, written `500ms`, `30s`, `15m`, `8h`, `90d`.
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

/// Serialises a duration as it is written, because validation errors show the refused value.
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

/// A retention time: a duration, `0s` or `forever`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    Forever,
    Time(Span),
}

impl FromStr for Retention {
    type Err = BadSetting;

    fn from_str(text: &str) -> Result<Self, BadSetting> {
        if text == "forever" { Ok(Self::Forever) } else { text.parse().map(Self::Time) }
    }
}

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forever => f.write_str("forever"),
            Self::Time(span) => span.fmt(f),
        }
    }
}

/// A separate address for `/metrics`, or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricsBind(pub Option<std::net::SocketAddr>);

impl FromStr for MetricsBind {
    type Err = BadSetting;

    fn from_str(text: &str) -> Result<Self, BadSetting> {
        match text {
            "off" | "" => Ok(Self(None)),
            address => {
                let bad =
                    |_| BadSetting(format!("`{text}` is not valid; write an address such as 127.0.0.1:9090, or off"));
                address.parse().map(|address| Self(Some(address))).map_err(bad)
            }
        }
    }
}

/// An exact decimal, 0 or more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amount(pub rust_decimal::Decimal);

impl FromStr for Amount {
    type Err = BadSetting;

    fn from_str(text: &str) -> Result<Self, BadSetting> {
        match crate::values::parse_decimal(text) {
            Ok(value) if !value.is_sign_negative() => Ok(Self(value)),
            Ok(_) => Err(BadSetting(format!("`{text}` is negative; write 0 or more"))),
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
    fn a_duration_parses_from_its_own_text() {
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
    fn an_invalid_choice_names_the_valid_ones() {
        assert_eq!("outers".parse::<Basis>().unwrap_err().0, "`outers` is not valid; use one of: unit, outer");
    }
}

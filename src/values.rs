//! Exact decimals: parsing, printing, rounding. Money and quantities are never binary floats.

use rust_decimal::{Decimal, RoundingStrategy, dec};
use serde_json::value::RawValue;

/// Decimal places of the database columns, `numeric(18, 6)`.
pub const DECIMAL_PLACES: u32 = 6;

/// The absolute value of every number in `numeric(18, 6)` is smaller: 10^12.
pub const LARGEST: Decimal = dec!(1_000_000_000_000);

/// Reasons why a text is not a valid decimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecimalError {
    #[error("is not a number")]
    NotANumber,
    #[error("is too large (at most 12 digits before the decimal point)")]
    TooLarge,
}

/// Parses a decimal, with or without an exponent, and rounds it half away from zero to six places. PHP may write 0.3 as
/// `0.30000000000000004`, which becomes 0.3 (SPSI.md 4).
pub fn parse_decimal(text: &str) -> Result<Decimal, DecimalError> {
    let text = text.trim();
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        || !digits.contains(|c: char| c.is_ascii_digit())
        || text.contains('_')
    {
        return Err(DecimalError::NotANumber);
    }
    let has_exponent = digits.contains(['e', 'E']);
    let value = if has_exponent { Decimal::from_scientific(text) } else { text.parse() };
    let value = value.map_err(|_| {
        let is_plain = digits.chars().all(|c| c.is_ascii_digit() || c == '.') && digits.matches('.').count() <= 1;
        if is_plain || has_exponent && digits.parse::<f64>().is_ok() {
            DecimalError::TooLarge
        } else {
            DecimalError::NotANumber
        }
    })?;
    if value.abs() >= LARGEST {
        return Err(DecimalError::TooLarge);
    }
    Ok(round(value, DECIMAL_PLACES))
}

/// Rounds half away from zero, as on invoices.
pub fn round(value: Decimal, places: u32) -> Decimal {
    value.round_dp_with_strategy(places, RoundingStrategy::MidpointAwayFromZero).normalize()
}

/// Formats a decimal without trailing zeros, exponent or negative zero: `1.5`, `2`, `0` (SPSI.md 1, /products).
pub fn plain(value: Decimal) -> String {
    value.normalize().to_string()
}

/// Serde functions for decimals as exact JSON numbers.
pub mod number {
    use super::*;
    use serde::{Serialize, Serializer, ser::Error};

    /// Writes the exact digits; no binary float is involved.
    pub fn serialize<S: Serializer>(value: &Decimal, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(plain(*value)).map_err(S::Error::custom)?.serialize(serializer)
    }
}

/// Serde functions for decimals as JSON strings, as in staff output: many clients read JSON numbers as binary floats.
pub mod text {
    use super::*;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Writes the decimal as [`plain`] formats it.
    pub fn serialize<S: Serializer>(value: &Decimal, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&plain(*value))
    }

    /// Parses a JSON string with [`parse_decimal`].
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Decimal, D::Error> {
        parse_decimal(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// Serde functions for optional decimals as JSON strings.
pub mod optional_text {
    use super::*;
    use serde::Serializer;

    /// Writes the decimal as [`plain`] formats it, or null.
    pub fn serialize<S: Serializer>(value: &Option<Decimal>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => text::serialize(value, serializer),
            None => serializer.serialize_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_print_without_trailing_zeros() {
        for (from, to) in
            [("1.50", "1.5"), ("2.0", "2"), ("100", "100"), ("2E0", "2"), ("-0.0", "0"), ("0.000001", "0.000001")]
        {
            assert_eq!(plain(parse_decimal(from).unwrap()), to, "{from}");
        }
    }

    #[test]
    fn php_float_noise_is_rounded_away() {
        assert_eq!(plain(parse_decimal("0.30000000000000004").unwrap()), "0.3");
        assert_eq!(plain(parse_decimal("1.0E-5").unwrap()), "0.00001");
    }

    #[test]
    fn text_that_is_not_a_number_and_too_large_numbers_are_refused() {
        for text in ["", " ", "-", ".", "1_000", "1,5", "NaN", "inf", "0x10", "1.2.3", "abc", "--1", "e5"] {
            assert_eq!(parse_decimal(text), Err(DecimalError::NotANumber), "{text}");
        }
        assert_eq!(parse_decimal("1000000000000"), Err(DecimalError::TooLarge));
        assert_eq!(parse_decimal("9999999999999999999999999999999999"), Err(DecimalError::TooLarge));
    }
}

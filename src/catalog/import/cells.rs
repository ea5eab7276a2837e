//! Parses one cell of a file: text, number, boolean, date, list of URLs. Pure functions. Error texts complete a sentence
//! that begins with column and value, for the person who wrote the file.

use super::format::DecimalMark;
use crate::values::{DecimalError, parse_decimal};
use rust_decimal::Decimal;
use std::str::FromStr;
use time::Date;

/// Maximum length of a code, in characters.
pub const CODE_CHARACTERS: usize = 100;
/// Maximum length of other texts, in characters.
pub const TEXT_CHARACTERS: usize = 1_000;

/// The reason why a cell is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CellError {
    #[error("is empty")]
    Empty,
    #[error("is longer than {0} characters")]
    TooLong(usize),
    #[error("contains a line break or another control character; check for an open quote and for the right encoding")]
    Control,
    #[error("is not UTF-8, but the rest of the file is; save the file as UTF-8, or set `--encoding`")]
    NotUtf8,
    #[error(transparent)]
    Number(#[from] DecimalError),
    #[error("has a comma and a point; remove the thousands separators")]
    Thousands,
    #[error("may have a thousands separator or a decimal comma; set `--decimal comma` or `--decimal point`")]
    Ambiguous,
    #[error("has a decimal comma, but the file uses the point{}", first_line(.0))]
    Comma(Option<u64>),
    #[error("has a decimal point, but the file uses the comma{}", first_line(.0))]
    Point(Option<u64>),
    #[error("must not be negative")]
    Negative,
    #[error("must be more than zero")]
    NotPositive,
    #[error("must be from 0 to 100")]
    NotAPercentage,
    #[error("must be 1 or 0 (or true, false, yes, no)")]
    NotABoolean,
    #[error("must be a date like 2026-07-31")]
    NotADate,
    #[error("must be http:// or https:// addresses, separated by spaces or |")]
    NotAnAddress,
    #[error("was shortened by a spreadsheet; format the column as text and export it again")]
    Shortened,
}

/// Names the line that settled the decimal mark.
fn first_line(line: &Option<u64>) -> String {
    line.map(|line| format!(" (first on line {line})")).unwrap_or_default()
}

/// Accepts a text without control characters. A line break would mean that an unbalanced quote swallowed rows.
pub(crate) fn text(value: &str, max: usize) -> Result<&str, CellError> {
    if value.len() > max && value.chars().count() > max {
        Err(CellError::TooLong(max))
    } else if value.chars().any(char::is_control) {
        Err(CellError::Control)
    } else {
        Ok(value)
    }
}

/// Accepts a [`text`] that is not empty.
pub(crate) fn required_text(value: &str, max: usize) -> Result<&str, CellError> {
    if value.is_empty() { Err(CellError::Empty) } else { text(value, max) }
}

/// Accepts a barcode as text, because leading zeros matter. Refuses `8.71E+12`, the form of a barcode that a spreadsheet
/// has shortened.
pub(in crate::catalog) fn barcode(value: &str) -> Result<&str, CellError> {
    let upper = value.to_ascii_uppercase();
    if let Some((mantissa, exponent)) = upper.split_once("E+")
        && mantissa.chars().all(|c| c.is_ascii_digit() || ".,".contains(c))
        && exponent.chars().all(|c| c.is_ascii_digit())
    {
        return Err(CellError::Shortened);
    }
    text(value, 100)
}

/// Parses `1`, `true`, `yes`, `0`, `false`, `no`, in any case.
pub(super) fn boolean(value: &str) -> Result<bool, CellError> {
    match value.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" => Ok(true),
        "0" | "false" | "no" => Ok(false),
        _ => Err(CellError::NotABoolean),
    }
}

/// Parses an ISO 8601 date; an empty cell is `None`.
pub(crate) fn optional_date(value: &str) -> Result<Option<Date>, CellError> {
    if value.is_empty() { Ok(None) } else { parse_day(value).map(Some).ok_or(CellError::NotADate) }
}

/// Parses `YYYY-MM-DD`.
pub(crate) fn parse_day(text: &str) -> Option<Date> {
    Date::parse(text, time::macros::format_description!("[year]-[month]-[day]")).ok()
}

pub(in crate::catalog) fn not_negative(value: Decimal) -> Result<Decimal, CellError> {
    if value.is_sign_negative() && !value.is_zero() { Err(CellError::Negative) } else { Ok(value) }
}

pub(in crate::catalog) fn positive(value: Decimal) -> Result<Decimal, CellError> {
    if value > Decimal::ZERO { Ok(value) } else { Err(CellError::NotPositive) }
}

pub(in crate::catalog) fn percentage(value: Decimal) -> Result<Decimal, CellError> {
    if (Decimal::ZERO..=Decimal::ONE_HUNDRED).contains(&value) { Ok(value) } else { Err(CellError::NotAPercentage) }
}

/// Parses http and https URLs, separated by white space or `|`.
pub(in crate::catalog) fn addresses(value: &str) -> Result<Vec<&str>, CellError> {
    let addresses: Vec<_> = value.split(|c: char| c.is_whitespace() || c == '|').filter(|a| !a.is_empty()).collect();
    for address in &addresses {
        text(address, 2000)?;
        let parsed = url::Url::parse(address).map_err(|_| CellError::NotAnAddress)?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(CellError::NotAnAddress);
        }
    }
    Ok(addresses)
}

/// Parses the numbers of one file, all with the same decimal mark. Without a given mark, the first number with a mark
/// settles it; `1,500` is ambiguous and cannot settle it.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    mark: Option<DecimalMark>,
    /// The line that settled the mark; `None` if the mark was given.
    settled_on: Option<u64>,
}

impl Numbers {
    pub(super) fn new(mark: Option<DecimalMark>) -> Self {
        Self { mark, settled_on: None }
    }

    /// Returns the mark if the file settled it.
    pub(super) fn detected(&self) -> Option<DecimalMark> {
        self.settled_on.and(self.mark)
    }

    pub(super) fn parse(&mut self, value: &str, line: u64) -> Result<Decimal, CellError> {
        let (number, mark) = match (value.contains('.'), value.split_once(',')) {
            (false, None) => return Ok(parse_decimal(value)?),
            (true, Some(_)) => return Err(CellError::Thousands),
            (true, None) => {
                if self.mark == Some(DecimalMark::Comma) {
                    return Err(CellError::Point(self.settled_on));
                }
                (parse_decimal(value)?, DecimalMark::Point)
            }
            (false, Some((whole, rest))) => {
                match self.mark {
                    Some(DecimalMark::Point) => return Err(CellError::Comma(self.settled_on)),
                    None if rest.len() == 3 && looks_grouped(whole) => return Err(CellError::Ambiguous),
                    _ => {}
                }
                (parse_decimal(&value.replacen(',', ".", 1))?, DecimalMark::Comma)
            }
        };
        if self.mark.is_none() {
            (self.mark, self.settled_on) = (Some(mark), Some(line));
        }
        Ok(number)
    }
}

/// Returns true if these digits before a comma may be thousands: `1` in `1,500`, but not `0` in `0,500`.
fn looks_grouped(whole: &str) -> bool {
    let digits = whole.trim_start_matches(['+', '-']);
    (1..=3).contains(&digits.len()) && !digits.starts_with('0') && u32::from_str(digits).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::plain;

    fn read(mark: Option<DecimalMark>, values: &[&str]) -> Vec<Result<String, CellError>> {
        let mut numbers = Numbers::new(mark);
        values.iter().zip(2..).map(|(value, line)| numbers.parse(value, line).map(plain)).collect()
    }

    #[test]
    fn a_decimal_comma_is_detected_and_an_ambiguous_one_refused_until_the_mark_is_known() {
        assert_eq!(read(None, &["7", "12,5", "1,500"]), [Ok("7".into()), Ok("12.5".into()), Ok("1.5".into())]);
        assert_eq!(read(None, &["1,500", "0,500"]), [Err(CellError::Ambiguous), Ok("0.5".into())]);
        assert_eq!(read(Some(DecimalMark::Comma), &["1,500"]), [Ok("1.5".into())]);
        assert_eq!(read(None, &["1,234.50"]), [Err(CellError::Thousands)]);
    }

    #[test]
    fn two_marks_in_one_file_are_refused() {
        assert_eq!(read(None, &["1.5", "2,5"])[1], Err(CellError::Comma(Some(2))));
        assert_eq!(read(None, &["1,5", "2.5"])[1], Err(CellError::Point(Some(2))));
        assert_eq!(read(Some(DecimalMark::Point), &["2,5"]), [Err(CellError::Comma(None))]);
    }

    #[test]
    fn addresses_are_split_and_checked() {
        assert_eq!(addresses("https://a.example/x | http://b.example").unwrap().len(), 2);
        assert_eq!(addresses("ftp://a.example"), Err(CellError::NotAnAddress));
        assert_eq!(addresses("a.example"), Err(CellError::NotAnAddress));
    }

    #[test]
    fn control_characters_are_refused() {
        assert_eq!(text("a\nb", 10), Err(CellError::Control));
        assert_eq!(text("a\0b", 10), Err(CellError::Control));
        assert_eq!(text("ééééé", 5), Ok("ééééé"));
        assert_eq!(text("éééééé", 5), Err(CellError::TooLong(5)));
    }
}

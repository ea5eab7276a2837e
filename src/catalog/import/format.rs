//! The format of a supplier's file: delimiter, encoding, decimal mark, header names. Formats that are not given are
//! detected; an ambiguous format is refused.

use std::collections::BTreeMap;
use std::str::FromStr;

/// The format of a file. `None`: detect it.
#[derive(Clone, Debug, Default)]
pub struct FormatOptions {
    pub delimiter: Option<Delimiter>,
    pub encoding: Option<Encoding>,
    pub decimal: Option<DecimalMark>,
    /// Foreign header names, for the products file and the prices file.
    pub mapping: Mapping,
}

/// The byte between cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delimiter(pub u8);

/// The character encoding. UTF-8 may start with a byte order mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Utf8,
    Windows1252,
}

/// The decimal separator. Thousands separators are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecimalMark {
    Point,
    Comma,
}

/// An invalid flag or mapping.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    #[error("{0:?} is not a delimiter: give comma, semicolon, tab, pipe, or the character itself")]
    Delimiter(String),
    #[error("{0:?} is not a supported encoding: give utf-8 or windows-1252")]
    Encoding(String),
    #[error("{0:?} is not a decimal mark: give point or comma")]
    DecimalMark(String),
    #[error("mapping line {line}: {text:?} is neither `column = Header in the file` nor `column := fixed value`")]
    MappingLine { line: usize, text: String },
    #[error("mapping line {line}: {column} is mapped twice")]
    MappedTwice { line: usize, column: String },
}

impl FromStr for Delimiter {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        match text.to_ascii_lowercase().as_str() {
            "comma" => Ok(Self(b',')),
            "semicolon" => Ok(Self(b';')),
            "tab" | "\\t" => Ok(Self(b'\t')),
            "pipe" => Ok(Self(b'|')),
            _ => match text.as_bytes() {
                [byte] if byte.is_ascii() && !byte.is_ascii_alphanumeric() && !b"\"\r\n".contains(byte) => {
                    Ok(Self(*byte))
                }
                _ => Err(FormatError::Delimiter(text.to_owned())),
            },
        }
    }
}

impl FromStr for Encoding {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        match text.to_ascii_lowercase().as_str() {
            "utf-8" | "utf8" => Ok(Self::Utf8),
            "windows-1252" | "cp1252" | "latin1" | "iso-8859-1" => Ok(Self::Windows1252),
            _ => Err(FormatError::Encoding(text.to_owned())),
        }
    }
}

impl FromStr for DecimalMark {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        match text.to_ascii_lowercase().as_str() {
            "point" | "." => Ok(Self::Point),
            "comma" | "," => Ok(Self::Comma),
            _ => Err(FormatError::DecimalMark(text.to_owned())),
        }
    }
}

/// Maps our columns to the headers of a foreign file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapping(BTreeMap<String, Mapped>);

/// One entry of a [`Mapping`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mapped {
    Header(String),
    Constant(String),
}

impl Mapping {
    /// Parses a mapping file. A line is `column = Header in the file`, or `column := value` to give every row the same
    /// value. Empty lines and lines that start with `#` are skipped.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        let mut entries = BTreeMap::new();
        for (index, text) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let (line, text) = (index + 1, text.trim());
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let invalid = || FormatError::MappingLine { line, text: text.to_owned() };
            let (column, value) = text.split_once('=').ok_or_else(invalid)?;
            let (column, constant) = match column.trim_end().strip_suffix(':') {
                Some(column) => (column, true),
                None => (column, false),
            };
            let (column, value) = (column.trim().to_ascii_lowercase(), value.trim().to_owned());
            if column.is_empty() || value.is_empty() && !constant {
                return Err(invalid());
            }
            let mapped = if constant { Mapped::Constant(value) } else { Mapped::Header(value) };
            if entries.insert(column.clone(), mapped).is_some() {
                return Err(FormatError::MappedTwice { line, column });
            }
        }
        Ok(Self(entries))
    }

    pub(super) fn find(&self, column: &str) -> Option<&Mapped> {
        self.0.get(column)
    }

    pub(super) fn columns(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// Returns the most frequent delimiter outside quotes in the header line; a comma if there is none.
pub(super) fn detect_delimiter(header: &[u8]) -> u8 {
    let mut is_quoted = false;
    let mut counts = [(b',', 0), (b';', 0), (b'\t', 0), (b'|', 0)];
    for byte in header {
        is_quoted ^= *byte == b'"';
        if let Some(entry) = counts.iter_mut().find(|entry| entry.0 == *byte && !is_quoted) {
            entry.1 += 1;
        }
    }
    // Reversed, because `max_by_key` returns the last of equal counts.
    counts.iter().rev().max_by_key(|entry| entry.1).map_or(b',', |entry| entry.0)
}

/// Decodes Windows-1252, which differs from Latin-1 in the bytes 0x80 to 0x9f. The five undefined bytes become control
/// characters, which the row checks refuse.
pub(super) fn decode_windows_1252(bytes: &[u8]) -> String {
    const HIGH: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}', '‘',
        '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
    ];
    bytes
        .iter()
        .map(|byte| match byte {
            0x80..=0x9f => HIGH[usize::from(byte - 0x80)],
            _ => char::from(*byte),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delimiter_of_the_header_is_detected() {
        for (header, delimiter) in [
            ("code,name", b','),
            ("code;name;price", b';'),
            ("code\tname", b'\t'),
            ("code|name", b'|'),
            ("\"price, net\";\"name, long, longer\"", b';'),
            ("code", b','),
        ] {
            assert_eq!(detect_delimiter(header.as_bytes()), delimiter, "{header}");
        }
    }

    #[test]
    fn an_invalid_mapping_line_is_named() {
        assert!(matches!(Mapping::parse("code = A\nname"), Err(FormatError::MappingLine { line: 2, .. })));
        assert!(matches!(Mapping::parse("code = A\ncode = B"), Err(FormatError::MappedTwice { line: 2, .. })));
    }

    #[test]
    fn flags_are_parsed_by_name_and_by_character() {
        assert_eq!("tab".parse(), Ok(Delimiter(b'\t')));
        assert_eq!(";".parse(), Ok(Delimiter(b';')));
        assert!("ab".parse::<Delimiter>().is_err());
        assert_eq!("CP1252".parse(), Ok(Encoding::Windows1252));
        assert_eq!("comma".parse(), Ok(DecimalMark::Comma));
    }
}

//! The options of an upload, as they are sent and stored.

use crate::catalog::import::{FormatError, FormatOptions, ImportKind, ImportOptions, Mapping};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// How the files of an upload are read. Formats that are not given are detected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UploadOptions {
    pub kind: ImportKind,
    /// `comma`, `semicolon`, `tab`, `pipe`, or a character.
    pub delimiter: Option<String>,
    /// `utf-8` or `windows-1252`.
    pub encoding: Option<String>,
    /// `point` or `comma`.
    pub decimal: Option<String>,
    /// Lines such as `code = Article number` ([`Mapping::parse`]).
    pub mapping: Option<String>,
    /// Permit more withdrawals than the limit.
    pub allow_withdrawals: bool,
}

/// An option with an invalid value.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{option}: {reason}")]
pub struct InvalidOption {
    pub option: &'static str,
    pub reason: FormatError,
}

impl UploadOptions {
    /// Returns the options of the import, or every invalid one.
    pub(super) fn parse(&self, withdrawal_limit_percent: Decimal) -> Result<ImportOptions, Vec<InvalidOption>> {
        let mut invalid = Vec::new();
        let format = FormatOptions {
            delimiter: value(&mut invalid, "delimiter", self.delimiter.as_deref()),
            encoding: value(&mut invalid, "encoding", self.encoding.as_deref()),
            decimal: value(&mut invalid, "decimal", self.decimal.as_deref()),
            mapping: match Mapping::parse(self.mapping.as_deref().unwrap_or_default()) {
                Ok(mapping) => mapping,
                Err(reason) => {
                    invalid.push(InvalidOption { option: "mapping", reason });
                    Mapping::default()
                }
            },
        };
        if !invalid.is_empty() {
            return Err(invalid);
        }
        let (kind, allow_withdrawals) = (self.kind, self.allow_withdrawals);
        Ok(ImportOptions { kind, allow_withdrawals, withdrawal_limit_percent, dry_run: false, format })
    }
}

fn value<T: FromStr<Err = FormatError>>(
    invalid: &mut Vec<InvalidOption>,
    option: &'static str,
    text: Option<&str>,
) -> Option<T> {
    match text?.parse() {
        Ok(value) => Some(value),
        Err(reason) => {
            invalid.push(InvalidOption { option, reason });
            None
        }
    }
}

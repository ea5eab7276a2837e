//! The errors of an import. With any of them, the import has changed nothing.

use super::problems::Refusal;

/// The reason why an import was not applied.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("neither a products file nor a prices file was given")]
    NoFile,
    #[error("the mapping names unknown columns: {}", .0.join(", "))]
    Mapping(Vec<String>),
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// More products would go off sale than the limit allows.
    #[error(
        "would take {lost} of {listed} products off sale, more than {limit_percent} %: {}{}; nothing was applied",
        codes.join(", "), if *lost > codes.len() as u64 { ", ..." } else { "" }
    )]
    TooManyWithdrawals {
        /// Products for sale that would be withdrawn or lose their price.
        lost: u64,
        /// Products that are for sale now.
        listed: u64,
        limit_percent: String,
        /// The first few, in byte order.
        codes: Vec<String>,
    },
    #[error("cannot read {file}")]
    Read { file: String, source: csv::Error },
    #[error("the thread that read {file} panicked")]
    Stopped { file: String },
    #[error("a database statement failed; nothing was applied")]
    Store(#[from] sqlx::Error),
}

impl ImportError {
    /// Returns what the user can do, if the error text does not say it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoFile => Some("give a products file, a prices file, or both"),
            Self::TooManyWithdrawals { .. } => Some(
                "check that the file is complete; `--dry-run` shows what would change; to apply it, repeat with `--allow-withdrawals`",
            ),
            Self::Refused(refusal) if refusal.has_invalid_header() => {
                Some("the first line must name the columns; `--mapping FILE` translates foreign names")
            }
            _ => None,
        }
    }
}

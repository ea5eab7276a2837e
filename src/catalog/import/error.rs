//! Why an import changed nothing.

use super::problems::Refusal;

/// Why nothing was applied.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("neither a products file nor a prices file was given")]
    NoFile,
    #[error("the mapping names columns that we do not know: {}", .0.join(", "))]
    Mapping(Vec<String>),
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// The guard against mass withdrawal.
    #[error(
        "would take {lost} of {listed} products off sale, more than {limit_percent} %: {}{}; nothing was applied",
        codes.join(", "), if *lost > codes.len() as u64 { ", ..." } else { "" }
    )]
    TooManyWithdrawals {
        /// Products that are for sale and would not be any more: withdrawn, or without a price.
        lost: u64,
        /// Products that are for sale now.
        listed: u64,
        limit_percent: String,
        /// The first few, in byte order.
        codes: Vec<String>,
    },
    #[error("cannot read {file}")]
    Read { file: String, source: csv::Error },
    #[error("the thread that read {file} was stopped")]
    Stopped { file: String },
    #[error("the database failed; nothing was applied")]
    Store(#[from] sqlx::Error),
}

impl ImportError {
    /// What the person at the command line can do about it, where that is more than reading the error.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoFile => Some("give a products file, a prices file, or both"),
            Self::TooManyWithdrawals { .. } => Some(
                "check that the file is complete; `--dry-run` shows what would change; if this is meant, repeat with --allow-withdrawals",
            ),
            Self::Refused(refusal) if !refusal.headers.is_empty() => {
                Some("the first line must name the columns; `--mapping FILE` translates foreign names")
            }
            _ => None,
        }
    }
}

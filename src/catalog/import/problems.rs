//! The errors in the files of an import, collected so that the supplier can correct all of them at once.

use serde::Serialize;
use std::fmt;

/// Maximum number of errors that are listed. All errors are counted.
pub const LISTED_ERRORS: usize = 1_000;

/// Maximum characters of an invalid value that are shown.
const SHOWN_CHARACTERS: usize = 80;

/// An error in a row, or in the header.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct RowError {
    #[serde(skip)]
    pub file: String,
    /// The line on which the row begins; the header is line 1.
    pub line: u64,
    /// Empty if the error concerns the whole row or the header.
    pub column: String,
    pub value: String,
    pub reason: String,
}

impl fmt::Display for RowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} line {}", self.file, self.line)?;
        match (self.column.as_str(), self.value.as_str()) {
            ("", _) => write!(f, ": {}", self.reason),
            (column, "") => write!(f, ", {column}: {}", self.reason),
            (column, value) => write!(f, ", {column} {value:?}: {}", self.reason),
        }
    }
}

/// All errors of both files. Nothing was applied.
#[derive(Debug, Default)]
pub struct Refusal {
    /// Sorted by file and line; at most [`LISTED_ERRORS`] a file.
    pub errors: Vec<RowError>,
    /// Number of row errors, including those that are not listed.
    pub count: u64,
}

impl Refusal {
    /// Returns true if a header is invalid. The rows of its file were not checked.
    pub(super) fn has_invalid_header(&self) -> bool {
        self.errors.iter().any(|error| error.line == 1)
    }

    pub(super) fn add(&mut self, problems: Problems) {
        self.count += problems.count;
        self.errors.extend(problems.errors);
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} error{}, nothing was applied", self.count, if self.count == 1 { "" } else { "s" })?;
        for error in &self.errors {
            write!(f, "\n  {error}")?;
        }
        match self.count.saturating_sub(self.errors.len() as u64) {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}

/// An invalid field of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidField {
    /// For instance `products[3].list_price`.
    pub field: String,
    pub message: String,
}

/// Writes fields and messages as one text, for errors.
pub(in crate::catalog) fn join(fields: &[InvalidField]) -> String {
    fields.iter().map(|invalid| format!("{}: {}", invalid.field, invalid.message)).collect::<Vec<_>>().join("; ")
}

/// An invalid row, found by comparing it with other rows or with the catalogue.
pub(in crate::catalog) struct Finding {
    pub line: i64,
    pub value: String,
    /// For a repeated row: the line of the first row with the same key.
    pub first_line: i64,
}

/// Collects the errors of the rows of one file, or of the entries of one list of a request.
#[derive(Debug)]
pub(crate) struct Problems {
    file: String,
    errors: Vec<RowError>,
    pub(crate) count: u64,
}

impl Problems {
    pub(crate) fn new(file: &str) -> Self {
        Self { file: file.to_owned(), errors: Vec::new(), count: 0 }
    }

    /// Returns the listed errors, sorted by line.
    pub(crate) fn into_errors(mut self) -> Vec<RowError> {
        self.errors.sort();
        self.errors
    }

    /// Returns the errors of the entries of a list, whose lines are positions. A list without a name has one entry.
    pub(in crate::catalog) fn into_fields(self) -> Vec<InvalidField> {
        let fields = self.into_errors().into_iter().map(|RowError { file, line, column, reason, .. }| InvalidField {
            field: if file.is_empty() { column } else { format!("{file}[{line}].{column}") },
            message: reason,
        });
        fields.collect()
    }

    /// Returns true if the field has an error already.
    pub(in crate::catalog) fn contains(&self, line: u64, column: &str) -> bool {
        self.errors.iter().any(|error| error.line == line && error.column == column)
    }

    pub(crate) fn add(&mut self, line: u64, column: &str, value: &str, reason: impl fmt::Display) {
        self.count += 1;
        if self.errors.len() < LISTED_ERRORS {
            let value = value.chars().take(SHOWN_CHARACTERS).collect();
            let (file, column, reason) = (self.file.clone(), column.to_owned(), reason.to_string());
            self.errors.push(RowError { file, line, column, value, reason });
        }
    }

    /// Adds an error of this column for each row.
    pub(in crate::catalog) fn add_found<R: fmt::Display>(
        &mut self,
        column: &str,
        found: Vec<Finding>,
        reason: impl Fn(&Finding) -> R,
    ) {
        for row in found {
            self.add(row.line.unsigned_abs(), column, &row.value, reason(&row));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_its_line_and_all_are_counted() {
        let mut problems = Problems::new("a.csv");
        for line in 2..2_002 {
            problems.add(line, "list_price", "abc", "is not a number");
        }
        let mut refusal = Refusal::default();
        refusal.add(problems);
        let text = refusal.to_string();
        assert!(
            text.starts_with("2000 errors, nothing was applied\n  a.csv line 2, list_price \"abc\": is not a number\n")
        );
        assert!(text.ends_with("\n  and 1000 more"));
    }
}

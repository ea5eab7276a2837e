//! The errors in the files of an import, collected so that the supplier can correct all of them at once.

use serde::Serialize;
use std::fmt;

/// Maximum number of errors that are listed. All errors are counted.
pub const LISTED_ERRORS: usize = 1_000;

/// Maximum characters of an invalid value that are shown.
const SHOWN_CHARACTERS: usize = 80;

/// An error in a row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct RowError {
    pub file: String,
    /// The line on which the row begins; the header is line 1.
    pub line: u64,
    /// Empty if the error concerns the whole row.
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

/// An invalid header row. The rows of the file were not checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HeaderError {
    pub file: String,
    /// Required columns that the file lacks.
    pub missing: Vec<String>,
    /// Columns that occur more than once.
    pub repeated: Vec<String>,
    /// Other errors, as texts.
    pub other: Vec<String>,
    /// The header as read.
    pub found: Vec<String>,
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} line 1", self.file)?;
        let mut separator = ": ";
        for (label, columns) in [("missing columns", &self.missing), ("repeated columns", &self.repeated)] {
            if !columns.is_empty() {
                write!(f, "{separator}{label}: {}", columns.join(", "))?;
                separator = "; ";
            }
        }
        for other in &self.other {
            write!(f, "{separator}{other}")?;
            separator = "; ";
        }
        if self.found.is_empty() { Ok(()) } else { write!(f, " (the header has: {})", self.found.join(", ")) }
    }
}

/// All errors of both files. Nothing was applied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Refusal {
    pub headers: Vec<HeaderError>,
    /// Sorted by file and line; at most [`LISTED_ERRORS`] a file.
    pub errors: Vec<RowError>,
    /// Number of row errors, including those that are not listed.
    pub count: u64,
}

impl Refusal {
    pub(super) fn is_empty(&self) -> bool {
        self.headers.is_empty() && self.count == 0
    }

    pub(super) fn add(&mut self, problems: Problems) {
        self.count += problems.count;
        self.errors.extend(problems.errors);
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.count + self.headers.len() as u64;
        write!(f, "{count} error{}, nothing was applied", if count == 1 { "" } else { "s" })?;
        for header in &self.headers {
            write!(f, "\n  {header}")?;
        }
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InvalidField {
    /// For instance `products[3].list_price`.
    pub field: String,
    pub message: String,
}

/// Writes fields and messages as one text, for errors.
pub(in crate::catalog) fn join(fields: &[InvalidField]) -> String {
    fields.iter().map(|invalid| format!("{}: {}", invalid.field, invalid.message)).collect::<Vec<_>>().join("; ")
}

/// Collects the errors of the rows of one file, or of the entries of one list of a request.
#[derive(Debug)]
pub(in crate::catalog) struct Problems {
    file: String,
    errors: Vec<RowError>,
    pub(in crate::catalog) count: u64,
}

impl Problems {
    pub(in crate::catalog) fn new(file: &str) -> Self {
        Self { file: file.to_owned(), errors: Vec::new(), count: 0 }
    }

    /// Returns the errors of the entries of a list, whose lines are positions. A list without a name has one entry.
    pub(in crate::catalog) fn into_fields(mut self) -> Vec<InvalidField> {
        self.errors.sort();
        let fields = self.errors.into_iter().map(|RowError { file, line, column, reason, .. }| InvalidField {
            field: if file.is_empty() { column } else { format!("{file}[{line}].{column}") },
            message: reason,
        });
        fields.collect()
    }

    /// Returns true if the field has an error already.
    pub(in crate::catalog) fn contains(&self, line: u64, column: &str) -> bool {
        self.errors.iter().any(|error| error.line == line && error.column == column)
    }

    pub(in crate::catalog) fn add(&mut self, line: u64, column: &str, value: &str, reason: impl fmt::Display) {
        self.count += 1;
        if self.errors.len() < LISTED_ERRORS {
            let value = value.chars().take(SHOWN_CHARACTERS).collect();
            let (file, column, reason) = (self.file.clone(), column.to_owned(), reason.to_string());
            self.errors.push(RowError { file, line, column, value, reason });
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

    #[test]
    fn a_header_error_names_all_missing_columns() {
        let error = HeaderError {
            file: "a.csv".into(),
            missing: vec!["code".into(), "list_price".into()],
            repeated: vec!["name".into()],
            other: vec![],
            found: vec!["name".into(), "name".into()],
        };
        assert_eq!(
            error.to_string(),
            "a.csv line 1: missing columns: code, list_price; repeated columns: name (the header has: name, name)"
        );
    }
}

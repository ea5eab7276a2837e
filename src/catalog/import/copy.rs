//! Writes rows in the text format of `copy .. from stdin`.

use rust_decimal::Decimal;
use std::fmt::{Display, Write};

/// Builds lines for COPY, cell by cell.
#[derive(Debug, Default)]
pub(in crate::catalog) struct CopyLines {
    text: String,
    /// The current line has at least one cell.
    has_cells: bool,
}

impl CopyLines {
    pub(in crate::catalog) fn len(&self) -> usize {
        self.text.len()
    }

    /// Returns the lines so far and starts again with none.
    pub(in crate::catalog) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.text).into_bytes()
    }

    pub(in crate::catalog) fn text(&mut self, value: Option<&str>) -> &mut Self {
        self.separate();
        match value {
            None => self.text.push_str("\\N"),
            Some(value) => escape(&mut self.text, value),
        }
        self
    }

    pub(in crate::catalog) fn number(&mut self, value: Option<Decimal>) -> &mut Self {
        self.plain(value)
    }

    pub(in crate::catalog) fn boolean(&mut self, value: Option<bool>) -> &mut Self {
        self.plain(value.map(|value| if value { 't' } else { 'f' }))
    }

    /// Appends a value whose text needs no escaping.
    pub(in crate::catalog) fn plain(&mut self, value: Option<impl Display>) -> &mut Self {
        self.separate();
        match value {
            None => self.text.push_str("\\N"),
            Some(value) => {
                // Writing to a String cannot fail.
                let _ = write!(self.text, "{value}");
            }
        }
        self
    }

    pub(in crate::catalog) fn texts(&mut self, values: Option<&[&str]>) -> &mut Self {
        let array = values.map(|values| {
            let quoted: Vec<_> =
                values.iter().map(|v| format!("\"{}\"", v.replace('\\', "\\\\").replace('"', "\\\""))).collect();
            format!("{{{}}}", quoted.join(","))
        });
        self.text(array.as_deref())
    }

    pub(in crate::catalog) fn end(&mut self) {
        self.text.push('\n');
        self.has_cells = false;
    }

    fn separate(&mut self) {
        if self.has_cells {
            self.text.push('\t');
        }
        self.has_cells = true;
    }
}

fn escape(into: &mut String, value: &str) {
    if !value.contains(['\\', '\t', '\n', '\r']) {
        return into.push_str(value);
    }
    for character in value.chars() {
        match character {
            '\\' => into.push_str("\\\\"),
            '\t' => into.push_str("\\t"),
            '\n' => into.push_str("\\n"),
            '\r' => into.push_str("\\r"),
            other => into.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_escaped_and_separated() {
        let mut lines = CopyLines::default();
        lines.text(Some("a\\b\tc")).text(None).boolean(Some(true)).number(Some(Decimal::new(150, 2))).end();
        lines.texts(Some(&["x\"y", "z\\"])).texts(None).texts(Some(&[])).end();
        let expected = "a\\\\b\\tc\t\\N\tt\t1.50\n{\"x\\\\\"y\",\"z\\\\\\\\\"}\t\\N\t{}\n";
        assert_eq!(String::from_utf8(lines.take()).unwrap(), expected);
    }
}

//! Rows as `copy .. from stdin` takes them in its text format.

use rust_decimal::Decimal;
use std::fmt::{Display, Write};

/// Lines for COPY, one cell after the other.
#[derive(Debug, Default)]
pub(super) struct CopyLines {
    text: String,
    begun: bool,
}

impl CopyLines {
    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    /// The lines gathered so far; starts anew.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.text).into_bytes()
    }

    pub(super) fn text(&mut self, value: Option<&str>) -> &mut Self {
        self.separate();
        match value {
            None => self.text.push_str("\\N"),
            Some(value) => escape(&mut self.text, value),
        }
        self
    }

    pub(super) fn number(&mut self, value: Option<Decimal>) -> &mut Self {
        self.plain(value)
    }

    pub(super) fn boolean(&mut self, value: Option<bool>) -> &mut Self {
        self.plain(value.map(|value| if value { 't' } else { 'f' }))
    }

    /// A value whose text holds nothing to escape.
    pub(super) fn plain(&mut self, value: Option<impl Display>) -> &mut Self {
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

    pub(super) fn texts(&mut self, values: Option<&[&str]>) -> &mut Self {
        let array = values.map(|values| {
            let quoted: Vec<_> =
                values.iter().map(|v| format!("\"{}\"", v.replace('\\', "\\\\").replace('"', "\\\""))).collect();
            format!("{{{}}}", quoted.join(","))
        });
        self.text(array.as_deref())
    }

    pub(super) fn end(&mut self) {
        self.text.push('\n');
        self.begun = false;
    }

    fn separate(&mut self) {
        if self.begun {
            self.text.push('\t');
        }
        self.begun = true;
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

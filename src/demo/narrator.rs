//! The voice of the demo: plain words, and the real requests beneath them.

use crate::sandbox::Exchange;
use std::io::{IsTerminal, stdout};

/// Longest part of a body that is shown.
const SHOWN: usize = 600;

/// Prints the story.
pub struct Narrator {
    colour: bool,
}

impl Narrator {
    pub fn new() -> Self {
        Self { colour: stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() }
    }

    fn painted(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub fn title(&self, text: &str) {
        println!("\n{}", self.painted("1;36", &format!("=== {text} ===")));
    }

    /// A step, numbered.
    pub fn step(&self, number: usize, text: &str) {
        println!("\n{}", self.painted("1", &format!("{number}. {text}")));
    }

    pub fn say(&self, text: &str) {
        println!("{text}");
    }

    /// A request with its answer, secrets masked.
    pub fn show(&self, exchange: &Exchange) {
        let line = |text: String| println!("   {}", self.painted("2", &text));
        line(format!("> {} {}", exchange.method, exchange.url));
        if !exchange.request_body.is_empty() {
            line(format!("> {}", cut(&exchange.request_body)));
        }
        let status = exchange.status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
        line(format!(
            "< {status}, {} bytes, {} ms: {}",
            exchange.answer_length,
            exchange.duration.as_millis(),
            cut(&exchange.answer_body)
        ));
    }

    /// One call of ours, as the sandbox saw it.
    pub fn call(&self, method: &str, target: &str, body: &str, status: u16, answer: &str) {
        let line = |text: String| println!("   {}", self.painted("2", &text));
        line(format!("> {method} {target}"));
        if !body.is_empty() {
            line(format!("> {}", cut(body)));
        }
        line(format!("< {status}: {}", cut(answer)));
    }
}

fn cut(text: &str) -> String {
    let text = text.replace(['\n', '\r'], " ");
    if text.chars().count() <= SHOWN { text } else { text.chars().take(SHOWN).chain(" ...".chars()).collect() }
}

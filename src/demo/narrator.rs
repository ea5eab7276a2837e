//! Prints the demo: sentences, with the real requests beneath them.

use crate::sandbox::Exchange;
use std::io::{IsTerminal, Write, stdout};
use tokio::sync::Notify;

/// Maximum number of characters of a body that are shown.
const MAX_BODY: usize = 600;

/// Prints on standard output until the reader closes the pipe.
pub struct Narrator {
    colour: bool,
    pipe_closed: Notify,
}

impl Narrator {
    pub fn new() -> Self {
        let colour = stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { colour, pipe_closed: Notify::new() }
    }

    /// Waits until a write has failed because the reader (`spsi demo | head`) closed the pipe.
    pub async fn pipe_closed(&self) {
        self.pipe_closed.notified().await;
    }

    /// Prints a line of text.
    pub fn say(&self, text: &str) {
        if writeln!(stdout(), "{text}").is_err() {
            self.pipe_closed.notify_one();
        }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub fn title(&self, text: &str) {
        self.say(&format!("\n{}", self.paint("1;36", &format!("=== {text} ==="))));
    }

    /// Prints the heading of a numbered step.
    pub fn step(&self, number: usize, text: &str) {
        self.say(&format!("\n{}", self.paint("1", &format!("{number}. {text}"))));
    }

    fn trace(&self, text: &str) {
        self.say(&format!("   {}", self.paint("2", text)));
    }

    /// Prints a request to the supplier with its response. Secrets are masked.
    pub fn show(&self, exchange: &Exchange) {
        let status = exchange.status.map_or_else(|| "no response".to_owned(), |status| status.to_string());
        let (bytes, milliseconds) = (exchange.answer_length, exchange.duration_ms);
        let response = format!("{status}, {bytes} bytes, {milliseconds} ms");
        self.call(&exchange.method, &exchange.url, &exchange.request_body, &response, &exchange.answer_body);
    }

    /// Prints a call with its response.
    pub fn call(&self, method: &str, target: &str, body: &str, status: &str, answer: &str) {
        self.trace(&format!("> {method} {target}"));
        if !body.is_empty() {
            self.trace(&format!("> {}", cut(body)));
        }
        self.trace(&format!("< {status}: {}", cut(answer)));
    }
}

fn cut(text: &str) -> String {
    let text = text.replace(['\n', '\r'], " ");
    if text.chars().count() <= MAX_BODY { text } else { text.chars().take(MAX_BODY).chain(" ...".chars()).collect() }
}

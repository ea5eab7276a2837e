//! The sandbox's own clock and random numbers. The product's are not used: its mistakes must not cancel out here.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

/// Milliseconds since 1970.
pub type Millis = i64;

/// The source of the current time.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The machine's clock.
    Real,
    /// A clock for tests: it moves only by [`Clock::advance`].
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// Creates a manual clock that shows `start`.
    pub fn manual(start: Millis) -> Self {
        Self::Manual(Arc::new(AtomicI64::new(start)))
    }

    /// Returns the current time.
    pub fn now(&self) -> Millis {
        match self {
            Self::Real => Timestamp::now().as_millisecond(),
            Self::Manual(at) => at.load(Ordering::SeqCst),
        }
    }

    /// Moves a manual clock forward; does nothing to the machine's clock.
    pub fn advance(&self, by: Duration) {
        if let Self::Manual(at) = self {
            at.fetch_add(by.as_millis() as Millis, Ordering::SeqCst);
        }
    }
}

/// Formats a time as `2026-11-21T03:52:08.123Z`.
pub fn readable(at: Millis) -> String {
    Timestamp::from_millisecond(at).map(|at| at.to_string()).unwrap_or_default()
}

/// Parses a span such as `500ms`, `2s`, `15m` or `8h`.
///
/// # Errors
/// The text has another form.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    let span = text.parse::<SignedDuration>().ok().and_then(|span| span.try_into().ok());
    span.ok_or_else(|| format!("`{text}` is not a duration; write 500ms, 2s, 15m or 8h"))
}

/// Parses a span as [`parse_span`] does, into milliseconds.
///
/// # Errors
/// The text has another form.
pub fn parse_millis(text: &str) -> Result<Millis, String> {
    parse_span(text).map(|span| span.as_millis() as Millis)
}

/// Random numbers under a seed (splitmix64): the same seed gives the same sequence.
#[derive(Clone, Debug, Default)]
pub struct Chance(u64);

impl Chance {
    /// Creates the sequence of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns the next 64 random bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Returns true with a probability of `percent` percent.
    pub fn happens(&mut self, percent: u8) -> bool {
        self.draw() % 100 < u64::from(percent)
    }

    /// Returns `length` random letters and digits.
    pub fn letters(&mut self, length: usize) -> String {
        const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        (0..length).map(|_| char::from(ALPHABET[(self.draw() % ALPHABET.len() as u64) as usize])).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_in_four_units() {
        assert_eq!(["500ms", "2s", "15m", "8h"].map(parse_millis), [500, 2000, 900_000, 28_800_000].map(Ok));
        assert!(parse_span("2").is_err() && parse_span("s").is_err() && parse_span("-1s").is_err());
    }
}

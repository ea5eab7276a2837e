//! The sandbox's own clock and random numbers. The product's are not used: its mistakes must not cancel out here.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

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
            Self::Real => real_now(),
            Self::Manual(at) => at.load(Ordering::SeqCst),
        }
    }

    /// Moves a manual clock forward; does nothing to the machine's clock.
    pub fn advance(&self, by: Duration) {
        if let Self::Manual(at) = self {
            at.fetch_add(millis(by), Ordering::SeqCst);
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the sandbox shares nothing with the product, so it reads the machine's clock itself"
)]
fn real_now() -> Millis {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map(millis).unwrap_or_default()
}

/// Converts a span to milliseconds.
pub fn millis(span: Duration) -> Millis {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// Formats a time as `2026-11-21T03:52:08.123Z`.
pub fn readable(at: Millis) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(at) * 1_000_000)
        .ok()
        .and_then(|at| at.format(&Rfc3339).ok())
        .unwrap_or_default()
}

/// Parses a span such as `500ms`, `2s`, `15m` or `8h`.
///
/// # Errors
/// The text has another form.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    let unit_start = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_start);
    let refused = || format!("`{text}` is not a duration; write 500ms, 2s, 15m or 8h");
    let number: u64 = number.parse().map_err(|_| refused())?;
    let factor = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(refused()),
    };
    number.checked_mul(factor).map(Duration::from_millis).ok_or_else(refused)
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
        let spans = ["500ms", "2s", "15m", "8h"].map(|text| parse_span(text).unwrap_or_default().as_millis());
        assert_eq!(spans, [500, 2000, 900_000, 28_800_000]);
        assert!(parse_span("2").is_err() && parse_span("s").is_err() && parse_span("-1s").is_err());
    }

    #[test]
    fn the_same_seed_gives_the_same_letters() {
        assert_eq!(Chance::new(7).letters(22), Chance::new(7).letters(22));
        assert_ne!(Chance::new(7).letters(22), Chance::new(8).letters(22));
    }
}

//! The sandbox's own time and chance; nothing of the product is used, so that its mistakes cannot cancel out here.

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

/// Where the sandbox's `now` comes from.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The machine's clock.
    Real,
    /// A clock that stands still until it is moved; for tests.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// A clock that stands at `start`.
    pub fn manual(start: Millis) -> Self {
        Self::Manual(Arc::new(AtomicI64::new(start)))
    }

    /// Now, in milliseconds since 1970.
    pub fn now(&self) -> Millis {
        match self {
            Self::Real => real_now(),
            Self::Manual(at) => at.load(Ordering::SeqCst),
        }
    }

    /// Moves a manual clock; a real one cannot be moved.
    pub fn advance(&self, by: Duration) {
        if let Self::Manual(at) = self {
            at.fetch_add(millis(by), Ordering::SeqCst);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the sandbox stands apart from the product and has its own clock")]
fn real_now() -> Millis {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map(millis).unwrap_or_default()
}

/// A span in milliseconds.
pub fn millis(span: Duration) -> Millis {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// `2026-11-21T03:52:08.123Z`, for people.
pub fn readable(at: Millis) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(at) * 1_000_000)
        .ok()
        .and_then(|at| at.format(&Rfc3339).ok())
        .unwrap_or_default()
}

/// Reads `500ms`, `2s`, `15m`, `8h`.
///
/// # Errors
/// Anything else, with the forms that are allowed.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    let at = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
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

/// Chance under a seed (splitmix64): the same seed gives the same run.
#[derive(Clone, Debug, Default)]
pub struct Chance(u64);

impl Chance {
    /// Chance that begins at `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// True in `percent` of 100 draws.
    pub fn happens(&mut self, percent: u8) -> bool {
        self.draw() % 100 < u64::from(percent)
    }

    /// `length` letters and digits.
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

//! `supplier_order_number`: short, unique, readable over the phone.
//!
//! A sequence number in 23 signs without look-alikes (no 0/O, 1/I/L, 2/Z, 5/S, 8/B, U/V), then a check sign: because 23 is
//! prime, every single wrong sign and every swap of two neighbours is noticed.

const SIGNS: &[u8; 23] = b"34679ACDEFHJKMNPQRTVWXY";
const BASE: u64 = SIGNS.len() as u64;
const SHORTEST: usize = 4;
/// In front of every number, so that it is never taken for an id.
pub const PREFIX: &str = "SO-";

/// The number for the `sequence`-th order: `SO-3334A`.
pub fn format(sequence: u64) -> String {
    let mut digits = Vec::new();
    let mut rest = sequence;
    while rest > 0 || digits.len() < SHORTEST {
        digits.push(rest % BASE);
        rest /= BASE;
    }
    digits.reverse();
    let check = check_sign(&digits);
    digits.push(check);
    let signs = digits.iter().map(|digit| SIGNS[*digit as usize] as char);
    PREFIX.chars().chain(signs).collect()
}

/// Whether a text is a number of ours, without typing mistakes. Small letters and missing prefixes are forgiven.
pub fn is_valid(text: &str) -> bool {
    let text = text.trim().to_ascii_uppercase();
    let digits: Option<Vec<u64>> = text
        .strip_prefix(PREFIX)
        .unwrap_or(&text)
        .bytes()
        .map(|sign| SIGNS.iter().position(|known| *known == sign).map(|at| at as u64))
        .collect();
    match digits.as_deref().and_then(<[u64]>::split_last) {
        Some((check, digits)) if digits.len() >= SHORTEST => check_sign(digits) == *check,
        _ => false,
    }
}

/// Weights differ by one from place to place and are counted from the right, so that leading zeros do not matter.
fn check_sign(digits: &[u64]) -> u64 {
    let sum: u64 = digits.iter().rev().enumerate().map(|(place, digit)| digit * (2 + place as u64 % (BASE - 2))).sum();
    sum % BASE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_unique_and_valid() {
        let numbers: std::collections::HashSet<String> = (1..50_000).map(format).collect();
        assert_eq!(numbers.len(), 49_999);
        assert!(numbers.iter().all(|number| is_valid(number) && number.len() == 8));
        assert!(is_valid(&format(1).to_lowercase()));
    }

    #[test]
    fn one_wrong_sign_or_two_swapped_are_noticed() {
        for sequence in [1, 2, 23, 12_345, 279_840, 99_999_999] {
            let number = format(sequence).strip_prefix(PREFIX).unwrap().to_owned();
            let signs: Vec<char> = number.chars().collect();
            for at in 0..signs.len() {
                for other in SIGNS.iter().map(|sign| *sign as char).filter(|other| *other != signs[at]) {
                    let mut wrong = signs.clone();
                    wrong[at] = other;
                    assert!(!is_valid(&wrong.iter().collect::<String>()), "{number} {wrong:?}");
                }
                if at + 1 < signs.len() && signs[at] != signs[at + 1] {
                    let mut wrong = signs.clone();
                    wrong.swap(at, at + 1);
                    assert!(!is_valid(&wrong.iter().collect::<String>()), "{number} {wrong:?}");
                }
            }
        }
    }
}

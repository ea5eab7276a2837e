//! `supplier_order_number`: short, unique, readable over the phone.
//!
//! A sequence number in an alphabet of 23 characters without look-alikes (no 0/O, 1/I/L, 2/Z, 5/S, 8/B, U/V), followed by a
//! check character. Because 23 is prime, it detects every single wrong character and every swap of two neighbours.

const ALPHABET: &[u8; 23] = b"34679ACDEFHJKMNPQRTVWXY";
const BASE: u64 = ALPHABET.len() as u64;
const MIN_DIGITS: usize = 4;
/// Prefix of every number, which keeps a number from being taken for an id.
pub const PREFIX: &str = "SO-";

/// Formats the number of the `sequence`-th order: `SO-3334A`.
pub fn format(sequence: u64) -> String {
    let mut digits = Vec::new();
    let mut rest = sequence;
    while rest > 0 || digits.len() < MIN_DIGITS {
        digits.push(rest % BASE);
        rest /= BASE;
    }
    digits.reverse();
    let check = check_digit(&digits);
    digits.push(check);
    let characters = digits.iter().map(|digit| ALPHABET[*digit as usize] as char);
    PREFIX.chars().chain(characters).collect()
}

/// Whether a text is an order number without typing mistakes. Lower case and a missing prefix are accepted.
pub fn is_valid(text: &str) -> bool {
    let text = text.trim().to_ascii_uppercase();
    let digits: Option<Vec<u64>> = text
        .strip_prefix(PREFIX)
        .unwrap_or(&text)
        .bytes()
        .map(|character| ALPHABET.iter().position(|known| *known == character).map(|at| at as u64))
        .collect();
    match digits.as_deref().and_then(<[u64]>::split_last) {
        Some((check, digits)) if digits.len() >= MIN_DIGITS => check_digit(digits) == *check,
        _ => false,
    }
}

/// Weighted sum. The weights differ by one between neighbours and count from the right, so leading zeros do not matter.
fn check_digit(digits: &[u64]) -> u64 {
    let sum: u64 = digits.iter().rev().enumerate().map(|(index, digit)| digit * (2 + index as u64 % (BASE - 2))).sum();
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
    fn one_wrong_character_or_a_swap_is_detected() {
        for sequence in [1, 2, 23, 12_345, 279_840, 99_999_999] {
            let number = format(sequence).strip_prefix(PREFIX).unwrap().to_owned();
            let characters: Vec<char> = number.chars().collect();
            for at in 0..characters.len() {
                for other in
                    ALPHABET.iter().map(|character| *character as char).filter(|other| *other != characters[at])
                {
                    let mut wrong = characters.clone();
                    wrong[at] = other;
                    assert!(!is_valid(&wrong.iter().collect::<String>()), "{number} {wrong:?}");
                }
                if at + 1 < characters.len() && characters[at] != characters[at + 1] {
                    let mut wrong = characters.clone();
                    wrong.swap(at, at + 1);
                    assert!(!is_valid(&wrong.iter().collect::<String>()), "{number} {wrong:?}");
                }
            }
        }
    }
}

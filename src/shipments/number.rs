//! How the invoice numbers that we give are spelt. Pure.

/// Digits of a number, so that numbers sort as text.
const DIGITS: usize = 6;

/// `INV-000017`, or with a check digit (Luhn, over the digits that we count) `INV-0000174`.
pub(super) fn spell(prefix: &str, count: i64, check_digit: bool) -> String {
    let digits = format!("{count:0DIGITS$}");
    if check_digit { format!("{prefix}{digits}{}", luhn(&digits)) } else { format!("{prefix}{digits}") }
}

/// The digit that makes the whole pass the Luhn check: one wrong digit, or two that changed places, are noticed.
fn luhn(digits: &str) -> u32 {
    let sum: u32 = digits
        .chars()
        .rev()
        .filter_map(|digit| digit.to_digit(10))
        .enumerate()
        .map(|(place, digit)| if place % 2 == 0 { digit * 2 / 10 + digit * 2 % 10 } else { digit })
        .sum();
    (10 - sum % 10) % 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_six_digits_and_if_wanted_a_check_digit() {
        assert_eq!(spell("INV-", 17, false), "INV-000017");
        assert_eq!(spell("INV-", 1_234_567, false), "INV-1234567");
        // The textbook example.
        assert_eq!(spell("", 7_992_739_871, true), "79927398713");
        assert_eq!(spell("INV-", 17, true), "INV-0000174");
    }
}

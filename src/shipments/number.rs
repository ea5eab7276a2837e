//! Formats generated invoice numbers, and checks given ones. Pure.

/// Minimum digits, so that numbers sort as text.
const MIN_DIGITS: usize = 6;

/// Returns whether an invoice can have this number: 1 to 100 visible characters.
pub(super) fn is_valid(number: &str) -> bool {
    (1..=100).contains(&number.chars().count()) && !number.chars().any(|c| c.is_control() || c == ' ')
}

/// Returns `INV-000017`, or with a Luhn check digit over the counter's digits `INV-0000174`.
pub(super) fn format(prefix: &str, count: i64, check_digit: bool) -> String {
    let digits = format!("{count:0MIN_DIGITS$}");
    if check_digit { format!("{prefix}{digits}{}", luhn(&digits)) } else { format!("{prefix}{digits}") }
}

/// Returns the digit that makes the number pass the Luhn check, which detects one wrong digit or two swapped neighbours.
fn luhn(digits: &str) -> u32 {
    let sum: u32 = digits
        .chars()
        .rev()
        .filter_map(|digit| digit.to_digit(10))
        .enumerate()
        .map(|(index, digit)| if index % 2 == 0 { digit * 2 / 10 + digit * 2 % 10 } else { digit })
        .sum();
    (10 - sum % 10) % 10
}

#[cfg(test)]
mod tests {
    use super::format;

    #[test]
    fn numbers_have_six_digits_and_optionally_a_check_digit() {
        assert_eq!(format("INV-", 17, false), "INV-000017");
        assert_eq!(format("INV-", 1_234_567, false), "INV-1234567");
        // The textbook example of the Luhn algorithm.
        assert_eq!(format("", 7_992_739_871, true), "79927398713");
        assert_eq!(format("INV-", 17, true), "INV-0000174");
    }
}

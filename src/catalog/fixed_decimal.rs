//! Amounts as whole millionths in an `i64`: the values of `numeric(18, 6)` in eight bytes, with fast printing.

use rust_decimal::Decimal;

const PLACES: u32 = 6;
const ONE: u64 = 1_000_000;

/// Converts to millionths. `None` if the amount has more than six decimal places or is out of range.
pub(super) fn from_decimal(value: Decimal) -> Option<i64> {
    let value = value.normalize();
    let factor = 10_i128.pow(PLACES.checked_sub(value.scale())?);
    i64::try_from(value.mantissa().checked_mul(factor)?).ok()
}

/// Appends the amount in the format of `values::plain`: no trailing zeros, no exponent.
pub(super) fn write(out: &mut Vec<u8>, micros: i64) {
    let mut digits = [0_u8; 27];
    let start = print(micros, &mut digits);
    out.extend_from_slice(&digits[start..]);
}

/// Returns how many bytes [`write`] appends.
pub(super) fn length(micros: i64) -> usize {
    let mut digits = [0_u8; 27];
    digits.len() - print(micros, &mut digits)
}

/// Fills `digits` from its end and returns where the text begins.
fn print(micros: i64, digits: &mut [u8; 27]) -> usize {
    let absolute = micros.unsigned_abs();
    let mut start = digits.len();
    let mut put = |byte: u8| {
        start -= 1;
        digits[start] = byte;
        start
    };
    let digit = |number: u64| b'0' + u8::try_from(number % 10).unwrap_or(0);
    let mut rest = absolute % ONE;
    let mut places = PLACES;
    while places > 0 && rest.is_multiple_of(10) {
        rest /= 10;
        places -= 1;
    }
    if places > 0 {
        for _ in 0..places {
            put(digit(rest));
            rest /= 10;
        }
        put(b'.');
    }
    let mut whole = absolute / ONE;
    let mut start = put(digit(whole));
    while whole > 9 {
        whole /= 10;
        start = put(digit(whole));
    }
    if micros < 0 { put(b'-') } else { start }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::plain;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn millionths_print_as_decimals_do(micros in prop_oneof![any::<i64>(), -20_000_000..20_000_000_i64, (-99..99_i64).prop_map(|n| n * 1_000_000)]) {
            let value = Decimal::from_i128_with_scale(micros.into(), PLACES);
            let mut out = Vec::new();
            write(&mut out, micros);
            prop_assert_eq!(String::from_utf8_lossy(&out), plain(value));
            prop_assert_eq!(length(micros), out.len());
            prop_assert_eq!(from_decimal(value), Some(micros));
        }
    }

    #[test]
    fn an_amount_out_of_range_is_refused() {
        assert_eq!(from_decimal(Decimal::new(1, 7)), None);
        assert_eq!(from_decimal(Decimal::MAX), None);
        assert_eq!(from_decimal(Decimal::new(10, 7)), Some(1));
    }
}

//! Encodes rows of a composite type in Postgres's binary format, for statements with thousands of rows. Faster than the
//! encoder of sqlx, which looks up each column's type again and splits decimals by 128-bit division.

use rust_decimal::Decimal;
use sqlx::Encode;
use sqlx::error::BoxDynError;
use sqlx::postgres::PgArgumentBuffer;

const INT4: u32 = 23;
const TEXT: u32 = 25;
const NUMERIC: u32 = 1700;

/// A numeric consists of groups of four decimal digits.
const GROUP: u64 = 10_000;

/// Encodes the columns of one row, in order.
pub struct Row<'a>(&'a mut PgArgumentBuffer);

impl<'a> Row<'a> {
    /// Starts a row with exactly this number of columns.
    pub fn of(columns: i32, buffer: &'a mut PgArgumentBuffer) -> Self {
        buffer.extend_from_slice(&columns.to_be_bytes());
        Self(buffer)
    }

    fn column(&mut self, of_type: u32, value: &[u8]) -> Result<&mut Self, BoxDynError> {
        let length = i32::try_from(value.len())?;
        self.0.extend_from_slice(&of_type.to_be_bytes());
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend_from_slice(value);
        Ok(self)
    }

    /// Appends an `integer` column.
    pub fn integer(&mut self, value: i32) -> Result<&mut Self, BoxDynError> {
        self.column(INT4, &value.to_be_bytes())
    }

    /// Appends a `text` column.
    pub fn text(&mut self, value: &str) -> Result<&mut Self, BoxDynError> {
        self.column(TEXT, value.as_bytes())
    }

    /// Appends a `numeric` column.
    pub fn number(&mut self, value: Decimal) -> Result<&mut Self, BoxDynError> {
        if let Some((bytes, length)) = encode_short(value) {
            return self.column(NUMERIC, &bytes[..length]);
        }
        // sqlx encodes the rare long values. Their length is written afterwards, in place of 0.
        self.column(NUMERIC, &[])?;
        let begin = self.0.len();
        let _ = value.encode(self.0)?;
        let length = i32::try_from(self.0.len() - begin)?;
        self.0[begin - 4..begin].copy_from_slice(&length.to_be_bytes());
        Ok(self)
    }
}

/// Encodes a number whose digit groups fit into 64 bits. Returns the bytes and how many of them count, or `None` for a
/// longer number.
fn encode_short(value: Decimal) -> Option<([u8; 24], usize)> {
    let scale = value.scale();
    let groups_after = scale.div_ceil(4);
    let padding = 10_u64.pow(groups_after * 4 - scale);
    let mut digits = u64::try_from(value.mantissa().unsigned_abs()).ok()?.checked_mul(padding)?;
    let mut groups = [0_u16; 5];
    let mut count = 0;
    while digits > 0 {
        groups[count] = (digits % GROUP) as u16;
        digits /= GROUP;
        count += 1;
    }
    let weight = count as i16 - groups_after as i16 - 1;
    // `groups` starts with the least significant group. Trailing zero groups are not written.
    let first = groups[..count].iter().position(|group| *group > 0);
    let (groups, weight) = first.map_or((&groups[..0], 0), |first| (&groups[first..count], weight));
    let sign = if value.is_sign_negative() && !groups.is_empty() { 0x4000 } else { 0 };
    let mut bytes = [0; 24];
    let head = [groups.len() as u16, weight as u16, sign, if groups.is_empty() { 0 } else { scale as u16 }];
    let all = head.iter().chain(groups.iter().rev());
    bytes.chunks_exact_mut(2).zip(all).for_each(|(slot, value)| slot.copy_from_slice(&value.to_be_bytes()));
    Some((bytes, 2 * (head.len() + groups.len())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn by_sqlx(value: Decimal) -> Vec<u8> {
        let mut buffer = PgArgumentBuffer::default();
        let _ = value.encode(&mut buffer).unwrap();
        buffer.to_vec()
    }

    proptest! {
        #[test]
        fn numbers_are_encoded_as_by_sqlx(digits in any::<i64>(), shorter in 0_u32..19, scale in 0_u32..=28) {
            let value = Decimal::new(digits / 10_i64.pow(shorter), scale);
            if let Some((bytes, length)) = encode_short(value) {
                prop_assert_eq!(&bytes[..length], by_sqlx(value), "{}", value);
            }
            // Sixteen digits always fit.
            prop_assert!(value.mantissa().abs() > 10_i128.pow(16) || encode_short(value).is_some());
        }
    }

    #[test]
    fn zero_and_the_largest_numbers_are_encoded_as_by_sqlx() {
        let negative_zero = Decimal::from_parts(0, 0, 0, true, 2);
        for value in [Decimal::ZERO, negative_zero, Decimal::new(0, 6), crate::values::LARGEST, -crate::values::LARGEST]
        {
            let (bytes, length) = encode_short(value).unwrap();
            assert_eq!(bytes[..length], by_sqlx(value), "{value}");
        }
        assert!(encode_short(Decimal::MAX).is_none());
    }
}

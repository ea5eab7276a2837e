//! Combines the CRC-32 checksums (RFC 1952, 8) of two adjacent texts without reading them.

use std::sync::LazyLock;

/// The polynomial, with the lowest power in the highest bit.
const POLYNOMIAL: u32 = 0xedb8_8320;
/// A length is split into a multiple of this and a remainder.
const STRIDE: usize = 16;
/// Maximum length of the second text.
pub(in crate::catalog) const MAX_CRC_PART: usize = STRIDE * STRIDES - 1;
const STRIDES: usize = 64;

/// The effect of a number of zero bytes on a checksum: the sum (xor) of the entries of its four bytes.
type Shift = [[u32; 256]; 4];

struct Shifts {
    strides: Vec<Shift>,
    bytes: Vec<Shift>,
}

static SHIFTS: LazyLock<Shifts> = LazyLock::new(|| {
    let mut bits: [u32; 32] = std::array::from_fn(|bit| 1 << bit);
    let (mut strides, mut bytes) = (Vec::with_capacity(STRIDES), Vec::with_capacity(STRIDE));
    for length in 0..STRIDE * STRIDES {
        if length < STRIDE {
            bytes.push(shift_table(&bits));
        }
        if length % STRIDE == 0 {
            strides.push(shift_table(&bits));
        }
        bits = bits.map(|crc| (0..8).fold(crc, |crc, _| crc >> 1 ^ if crc & 1 == 1 { POLYNOMIAL } else { 0 }));
    }
    Shifts { strides, bytes }
});

/// Builds the table from the effect on single bits.
fn shift_table(bits: &[u32; 32]) -> Shift {
    std::array::from_fn(|byte| {
        std::array::from_fn(|value| {
            (0..8).filter(|bit| value >> bit & 1 == 1).fold(0, |sum, bit| sum ^ bits[byte * 8 + bit])
        })
    })
}

/// Returns the checksum of a text with checksum `crc` followed by a part with this checksum and length, at most
/// [`MAX_CRC_PART`].
pub(super) fn combine(crc: u32, part: u32, length: usize) -> u32 {
    let apply = |crc: u32, [lowest, low, high, highest]: &Shift| {
        let [a, b, c, d] = crc.to_le_bytes().map(usize::from);
        lowest[a] ^ low[b] ^ high[c] ^ highest[d]
    };
    let shifts = &*SHIFTS;
    part ^ apply(apply(crc, &shifts.strides[length / STRIDE]), &shifts.bytes[length % STRIDE])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_combined_checksum_is_that_of_the_concatenated_text(
            one in proptest::collection::vec(any::<u8>(), 0..300),
            other in proptest::collection::vec(any::<u8>(), 0..=MAX_CRC_PART),
        ) {
            let whole = [one.as_slice(), other.as_slice()].concat();
            prop_assert_eq!(combine(crc32fast::hash(&one), crc32fast::hash(&other), other.len()), crc32fast::hash(&whole));
        }
    }
}

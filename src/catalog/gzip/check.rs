//! Checksums (CRC-32, RFC 1952, 8) of texts that are put together from parts whose checksums are known.

use std::sync::LazyLock;

/// The polynomial, lowest power in the highest bit.
const POLYNOMIAL: u32 = 0xedb8_8320;
/// A length is taken apart into this many bytes, some times over, and what is left.
const STRIDE: usize = 16;
/// Longer parts cannot be put to others.
pub(in crate::catalog) const LONGEST_PART: usize = STRIDE * STRIDES - 1;
const STRIDES: usize = 64;

/// What becomes of a checksum when so many zero bytes follow: the sum of what becomes of its four bytes.
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
            bytes.push(shift(&bits));
        }
        if length % STRIDE == 0 {
            strides.push(shift(&bits));
        }
        bits =
            bits.map(|check| (0..8).fold(check, |check, _| check >> 1 ^ if check & 1 == 1 { POLYNOMIAL } else { 0 }));
    }
    Shifts { strides, bytes }
});

/// From what becomes of single bits.
fn shift(bits: &[u32; 32]) -> Shift {
    std::array::from_fn(|byte| {
        std::array::from_fn(|value| {
            (0..8).filter(|bit| value >> bit & 1 == 1).fold(0, |sum, bit| sum ^ bits[byte * 8 + bit])
        })
    })
}

/// The checksum of a text to which a part of this checksum and length, at most [`LONGEST_PART`], is added.
pub(super) fn joined(check: u32, part: u32, length: usize) -> u32 {
    let after = |check: u32, [lowest, low, high, highest]: &Shift| {
        let [a, b, c, d] = check.to_le_bytes().map(usize::from);
        lowest[a] ^ low[b] ^ high[c] ^ highest[d]
    };
    let shifts = &*SHIFTS;
    part ^ after(after(check, &shifts.strides[length / STRIDE]), &shifts.bytes[length % STRIDE])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_joined_checksum_is_that_of_the_joined_text(
            one in proptest::collection::vec(any::<u8>(), 0..300),
            other in proptest::collection::vec(any::<u8>(), 0..=LONGEST_PART),
        ) {
            let whole = [one.as_slice(), other.as_slice()].concat();
            prop_assert_eq!(joined(crc32fast::hash(&one), crc32fast::hash(&other), other.len()), crc32fast::hash(&whole));
        }
    }
}

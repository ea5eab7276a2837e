//! Huffman codes for deflate (RFC 1951, 3.2): canonical, limited in length, written with the first bit lowest.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The code of a symbol: its bits in output order, lowest first, and their number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Code {
    pub(super) bits: u32,
    pub(super) length: u8,
}

/// Returns codes of at most `max_bits` bits for symbols of these frequencies. A symbol with count 0 also gets a code,
/// because the counts come from a sample. Requires at least two symbols and at most `2^max_bits`.
pub(super) fn assign_codes(counts: &[u32], max_bits: u8) -> Vec<Code> {
    let mut counts: Vec<u64> = counts.iter().map(|count| u64::from(*count).max(1)).collect();
    let mut lengths = depths(&counts);
    // Halving the counts makes them more equal, which shortens the codes of the rarest symbols.
    while lengths.iter().any(|length| *length > max_bits) {
        counts.iter_mut().for_each(|count| *count = (*count / 2).max(1));
        lengths = depths(&counts);
    }
    canonical_codes(&lengths)
}

/// Returns the depth of each symbol in a Huffman tree.
fn depths(counts: &[u64]) -> Vec<u8> {
    let mut roots: BinaryHeap<Reverse<(u64, usize)>> =
        counts.iter().enumerate().map(|(node, count)| Reverse((*count, node))).collect();
    let mut parents = vec![0; counts.len()];
    while let (Some(Reverse(one)), Some(Reverse(other))) = (roots.pop(), roots.pop()) {
        let parent = parents.len();
        parents.push(0);
        (parents[one.1], parents[other.1]) = (parent, parent);
        if roots.is_empty() {
            break;
        }
        roots.push(Reverse((one.0 + other.0, parent)));
    }
    // Every parent has a higher index than its children; the root is last.
    let mut depths = vec![0_u8; parents.len()];
    for node in (0..parents.len().saturating_sub(1)).rev() {
        depths[node] = depths[parents[node]].saturating_add(1);
    }
    depths.truncate(counts.len());
    depths
}

/// Returns the canonical codes of these lengths (RFC 1951, 3.2.2).
fn canonical_codes(lengths: &[u8]) -> Vec<Code> {
    let mut next = [0_u32; 17];
    for length in lengths {
        next[usize::from(*length) + 1] += 1;
    }
    next[1] = 0;
    for length in 1..17 {
        next[length] = (next[length] + next[length - 1]) << 1;
    }
    let mut code = |length: u8| {
        let value = next[usize::from(length)];
        next[usize::from(length)] += 1;
        Code { bits: value.reverse_bits() >> (32 - u32::from(length)), length }
    };
    lengths.iter().map(|length| if *length == 0 { Code::default() } else { code(*length) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn codes_are_complete_and_within_the_limit(counts in proptest::collection::vec(0..u32::MAX, 2..286), steep: bool) {
            let counts: Vec<u32> = if steep {
                (0..counts.len()).map(|symbol| 1_u32 << (symbol % 32)).collect()
            } else {
                counts
            };
            let codes = assign_codes(&counts, 15);
            let used: u32 = codes.iter().map(|code| 1 << (15 - code.length)).sum();
            prop_assert!(codes.iter().all(|code| (1..=15).contains(&code.length)));
            prop_assert_eq!(used, 1 << 15, "a decoder refuses incomplete and oversubscribed codes");
        }
    }
}

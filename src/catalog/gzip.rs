//! A gzip encoder for product lists (RFC 1951, RFC 1952), at little more than the cost of the plain body.
//!
//! The bodies of two clinics differ in prices, stock and products, so compressed bodies cannot be shared. Two properties
//! of a catalogue make compressing cheap: consecutive products look alike field by field, so the encoder compares field
//! with field instead of searching for matches; and one set of Huffman codes suits a whole catalogue version.

mod crc;
mod huffman;
mod member;

pub(super) use crc::MAX_CRC_PART;
use huffman::{Code, assign_codes};
pub(super) use member::{BitWriter, GzipMember, TokenWriter};
use std::ops::Range;

/// A shorter back-reference costs more bits than its literals.
const MIN_LENGTH: usize = 4;
/// The limits of a back-reference (RFC 1951, 3.2.5).
const MAX_LENGTH: usize = 258;
const MAX_DISTANCE: usize = 32 * 1024;
/// Deflate allows 15 bits; with 14, four codes fit into one write.
const MAX_CODE_BITS: u8 = 14;
const LITERALS: usize = 256;
const END: usize = 256;
const LENGTH_SYMBOLS: usize = 29;
const DISTANCE_SYMBOLS: usize = 30;
/// The order of the code length codes in a block header (RFC 1951, 3.2.7).
const CODE_LENGTH_ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// Receives the tokens of a deflate stream, in order.
pub(super) trait TokenSink {
    fn literals(&mut self, text: &[u8]);
    /// `length` is from 3 to [`MAX_LENGTH`], `distance` at most [`MAX_DISTANCE`].
    fn back_reference(&mut self, length: usize, distance: usize);
}

/// Splits `text[product]` into literals and back-references into `text[reference]`, which lies before it.
///
/// Compares the fields of the two in pairs: first their common prefix, then, behind the difference, their common suffix.
/// Any two texts are valid input; similar ones compress well.
pub(super) fn tokenize(text: &[u8], reference: Range<usize>, product: Range<usize>, sink: &mut impl TokenSink) {
    let (mut source, mut index) = (reference.start, product.start);
    let mut literals_start = index;
    while index < product.end {
        let common = common_prefix(&text[source..reference.end], &text[index..product.end]);
        if common >= MIN_LENGTH && index - source <= MAX_DISTANCE {
            sink.literals(&text[literals_start..index]);
            write_back_references(common, index - source, sink);
            literals_start = index + common;
        }
        (source, index) = (source + common, index + common);
        let (source_end, end) = (field_end(text, source..reference.end), field_end(text, index..product.end));
        if index == end && source == source_end {
            break;
        }
        let common = common_suffix(&text[source..source_end], &text[index..end]);
        (source, index) = (source_end - common, end - common);
    }
    sink.literals(&text[literals_start..product.end]);
}

/// Writes a match of any length as back-references of valid lengths.
fn write_back_references(mut length: usize, distance: usize, sink: &mut impl TokenSink) {
    while length > 0 {
        // The remainder must not be shorter than the minimum of 3.
        let part = if (MAX_LENGTH + 1..MAX_LENGTH + 3).contains(&length) { length - 3 } else { length.min(MAX_LENGTH) };
        sink.back_reference(part, distance);
        length -= part;
    }
}

/// Returns where the next field begins, or the end of the range. `,"` occurs only between fields and between the texts of
/// a list.
fn field_end(text: &[u8], mut range: Range<usize>) -> usize {
    while let Some(comma) = find_comma(&text[range.clone()]) {
        let comma = range.start + comma;
        if text.get(comma + 1) == Some(&b'"') {
            return comma;
        }
        range.start = comma + 1;
    }
    range.end
}

/// Finds the first comma, eight bytes at a time. Fields are short, so a call of `memchr` would cost more.
fn find_comma(text: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::MAX / 255;
    let mut words = text.chunks_exact(8);
    for (index, eight) in words.by_ref().enumerate() {
        // A comma becomes a zero byte, and the lowest zero byte gets its highest bit set.
        let zeroed = word(eight) ^ (ONES * b',' as u64);
        let found = zeroed.wrapping_sub(ONES) & !zeroed & (ONES << 7);
        if found != 0 {
            return Some(index * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    let rest = words.remainder();
    rest.iter().position(|byte| *byte == b',').map(|index| text.len() - rest.len() + index)
}

fn common_prefix(one: &[u8], other: &[u8]) -> usize {
    let mut same = 0;
    for (one, other) in one.chunks_exact(8).zip(other.chunks_exact(8)) {
        let difference = word(one) ^ word(other);
        if difference != 0 {
            return same + difference.trailing_zeros() as usize / 8;
        }
        same += 8;
    }
    same + one[same..].iter().zip(&other[same..]).take_while(|(one, other)| one == other).count()
}

fn common_suffix(one: &[u8], other: &[u8]) -> usize {
    let mut same = 0;
    for (one, other) in one.rchunks_exact(8).zip(other.rchunks_exact(8)) {
        let difference = word(one) ^ word(other);
        if difference != 0 {
            return same + difference.leading_zeros() as usize / 8;
        }
        same += 8;
    }
    let (one, other) = (one[..one.len() - same].iter().rev(), other[..other.len() - same].iter().rev());
    same + one.zip(other).take_while(|(one, other)| one == other).count()
}

fn word(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_le_bytes)
}

/// Returns the symbol of a length, its extra bits and their number (RFC 1951, 3.2.5).
fn length_symbol(length: usize) -> (usize, u32, u8) {
    match length {
        MAX_LENGTH => (28, 0, 0),
        3..11 => (length - 3, 0, 0),
        _ => split_extra_bits(length - 3, 2),
    }
}

/// Returns the symbol of a distance, its extra bits and their number (RFC 1951, 3.2.5).
fn distance_symbol(distance: usize) -> (usize, u32, u8) {
    match distance {
        1..3 => (distance - 1, 0, 0),
        _ => split_extra_bits(distance - 1, 1),
    }
}

/// Splits a value: the symbol holds `symbol_bits` bits after the highest one, the extra bits are the rest.
fn split_extra_bits(value: usize, symbol_bits: u32) -> (usize, u32, u8) {
    let extra = value.ilog2() - symbol_bits;
    let symbol = ((extra as usize) << symbol_bits) + (value >> extra);
    (symbol, (value & ((1 << extra) - 1)) as u32, extra as u8)
}

/// The frequency of each symbol in a sample.
pub(super) struct SymbolCounts {
    literals: Vec<u32>,
    distances: Vec<u32>,
}

impl Default for SymbolCounts {
    fn default() -> Self {
        Self { literals: vec![0; LITERALS + 1 + LENGTH_SYMBOLS], distances: vec![0; DISTANCE_SYMBOLS] }
    }
}

impl TokenSink for SymbolCounts {
    fn literals(&mut self, text: &[u8]) {
        text.iter().for_each(|byte| self.literals[usize::from(*byte)] += 1);
    }

    fn back_reference(&mut self, length: usize, distance: usize) {
        self.literals[END + 1 + length_symbol(length).0] += 1;
        self.distances[distance_symbol(distance).0] += 1;
    }
}

/// The Huffman codes of one catalogue version, for all its answers.
#[derive(Debug)]
pub(super) struct Encoder {
    literals: Box<[Code; LITERALS]>,
    end: Code,
    /// By length, with the extra bits.
    lengths: Box<[Code; MAX_LENGTH + 1]>,
    distances: [Code; DISTANCE_SYMBOLS],
    block_header: Vec<Code>,
}

impl Encoder {
    /// Builds codes for texts with about the symbol frequencies of the sample.
    pub(super) fn new(sample: &SymbolCounts) -> Self {
        let symbols = assign_codes(&sample.literals, MAX_CODE_BITS);
        let distances = assign_codes(&sample.distances, MAX_CODE_BITS);
        let mut encoder = Self {
            literals: Box::new([Code::default(); LITERALS]),
            end: symbols[END],
            lengths: Box::new([Code::default(); MAX_LENGTH + 1]),
            distances: [Code::default(); DISTANCE_SYMBOLS],
            block_header: block_header(&symbols, &distances),
        };
        encoder.literals.copy_from_slice(&symbols[..LITERALS]);
        encoder.distances.copy_from_slice(&distances);
        for length in 3..=MAX_LENGTH {
            let (symbol, extra, extra_length) = length_symbol(length);
            let Code { bits, length: symbol_length } = symbols[END + 1 + symbol];
            encoder.lengths[length] =
                Code { bits: bits | extra << symbol_length, length: symbol_length + extra_length };
        }
        encoder
    }
}

/// Returns the header of the only block (RFC 1951, 3.2.7). Code lengths are written one by one without run lengths,
/// because every symbol has a code and equal neighbours are rare.
fn block_header(symbols: &[Code], distances: &[Code]) -> Vec<Code> {
    let lengths = || symbols.iter().chain(distances).map(|code| usize::from(code.length));
    let mut counts = [0; 16];
    lengths().for_each(|length| counts[length] += 1);
    let length_codes = assign_codes(&counts, 7);
    let bits = |bits: usize, length| Code { bits: bits as u32, length };
    let mut header = vec![
        // The last block, with dynamic Huffman codes.
        bits(1, 1),
        bits(2, 2),
        bits(symbols.len() - 257, 5),
        bits(distances.len() - 1, 5),
        bits(CODE_LENGTH_ORDER.len() - 4, 4),
    ];
    header
        .extend(CODE_LENGTH_ORDER.map(|length| bits(length_codes.get(length).map_or(0, |code| code.length.into()), 3)));
    header.extend(lengths().map(|length| length_codes[length]));
    header
}

#[cfg(test)]
mod tests;

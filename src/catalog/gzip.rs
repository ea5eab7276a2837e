//! Catalogue answers as gzip (RFC 1951, RFC 1952), at little more than the cost of the plain answer.
//!
//! Two clinics' bodies differ in prices, in stock and in which products they hold, so packed bodies cannot be shared. What
//! can be is the work: products look alike, field by field, so each is written as repeats of the one before it, found by
//! comparing field with field instead of searching; the codes are worked out once per version of the catalogue; and so
//! are the packed text and the checksum of every product after its neighbours, which are copied wherever a clinic sees both
//! as most clinics do.

mod check;
mod codes;
mod output;

pub(super) use check::LONGEST_PART;
use codes::{Code, codes};
pub(super) use output::{Bits, Output, Writer};
use std::ops::Range;

/// Shorter repeats cost more than their letters.
const SHORTEST: usize = 4;
/// What deflate can say (RFC 1951, 3.2.5).
const LONGEST: usize = 258;
const FARTHEST: usize = 32 * 1024;
/// Deflate has codes of up to 15 bits; four of these can be put at once.
const LONGEST_CODE: u8 = 14;
const LETTERS: usize = 256;
const END: usize = 256;
const LENGTH_SYMBOLS: usize = 29;
const DISTANCE_SYMBOLS: usize = 30;
/// The order in which lengths of the codes for code lengths are sent (RFC 1951, 3.2.7).
const LENGTHS_ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// Takes a text as letters and repeats, in order.
pub(super) trait Sink {
    fn letters(&mut self, text: &[u8]);
    /// `length` is between 3 and [`LONGEST`], `distance` at most [`FARTHEST`].
    fn repeat(&mut self, length: usize, distance: usize);
}

/// Tells `text[product]` as letters and as repeats of `text[before]`, which lies before it. Fields are compared with their
/// like: their beginnings, and after what differs, their ends. Any two texts will do; alike ones come out short.
pub(super) fn tell(text: &[u8], before: Range<usize>, product: Range<usize>, sink: &mut impl Sink) {
    let (mut from, mut at) = (before.start, product.start);
    // Letters that are not told yet begin here.
    let mut untold = at;
    while at < product.end {
        let same = common_start(&text[from..before.end], &text[at..product.end]);
        if same >= SHORTEST && at - from <= FARTHEST {
            sink.letters(&text[untold..at]);
            repeats(same, at - from, sink);
            untold = at + same;
        }
        (from, at) = (from + same, at + same);
        let (end, like) = (field_end(text, at..product.end), field_end(text, from..before.end));
        if at == end && from == like {
            break;
        }
        let same = common_end(&text[from..like], &text[at..end]);
        (from, at) = (like - same, end - same);
    }
    sink.letters(&text[untold..product.end]);
}

fn repeats(mut length: usize, distance: usize, sink: &mut impl Sink) {
    while length > 0 {
        // What is left over must not be too short for a repeat of its own.
        let now = if (LONGEST + 1..LONGEST + 3).contains(&length) { length - 3 } else { length.min(LONGEST) };
        sink.repeat(now, distance);
        length -= now;
    }
}

/// Where the next field begins (`,"` stands nowhere else but between texts of a list), or the end. Fields are short: eight
/// bytes are looked at inline before a search would have got under way.
fn field_end(text: &[u8], mut range: Range<usize>) -> usize {
    while let Some(comma) = comma(&text[range.clone()]) {
        let comma = range.start + comma;
        if text.get(comma + 1) == Some(&b'"') {
            return comma;
        }
        range.start = comma + 1;
    }
    range.end
}

fn comma(text: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::MAX / 255;
    let mut words = text.chunks_exact(8);
    for (at, eight) in words.by_ref().enumerate() {
        // Bytes that are commas become zero, and the lowest zero sets its highest bit.
        let zeroed = word(eight) ^ (ONES * b',' as u64);
        let found = zeroed.wrapping_sub(ONES) & !zeroed & (ONES << 7);
        if found != 0 {
            return Some(at * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    let rest = words.remainder();
    rest.iter().position(|byte| *byte == b',').map(|at| text.len() - rest.len() + at)
}

fn common_start(one: &[u8], other: &[u8]) -> usize {
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

fn common_end(one: &[u8], other: &[u8]) -> usize {
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

/// The symbol of a repeat's length, with the bits that follow it and their number (RFC 1951, 3.2.5).
fn length_symbol(length: usize) -> (usize, u32, u8) {
    match length {
        LONGEST => (28, 0, 0),
        3..11 => (length - 3, 0, 0),
        _ => stepped(length - 3, 2),
    }
}

/// The same for a distance.
fn distance_symbol(distance: usize) -> (usize, u32, u8) {
    match distance {
        1..3 => (distance - 1, 0, 0),
        _ => stepped(distance - 1, 1),
    }
}

/// Both are stepped alike: after the highest bit, so many bits go into the symbol and the rest follows it.
fn stepped(value: usize, kept: u32) -> (usize, u32, u8) {
    let rest = value.ilog2() - kept;
    let symbol = ((rest as usize) << kept) + (value >> rest);
    (symbol, (value & ((1 << rest) - 1)) as u32, rest as u8)
}

/// How often each symbol comes.
pub(super) struct Counts {
    letters: Vec<u32>,
    distances: Vec<u32>,
}

impl Default for Counts {
    fn default() -> Self {
        Self { letters: vec![0; LETTERS + 1 + LENGTH_SYMBOLS], distances: vec![0; DISTANCE_SYMBOLS] }
    }
}

impl Sink for Counts {
    fn letters(&mut self, text: &[u8]) {
        text.iter().for_each(|letter| self.letters[usize::from(*letter)] += 1);
    }

    fn repeat(&mut self, length: usize, distance: usize) {
        self.letters[END + 1 + length_symbol(length).0] += 1;
        self.distances[distance_symbol(distance).0] += 1;
    }
}

/// The codes of one version of the catalogue, for all its answers.
#[derive(Debug)]
pub(super) struct Encoder {
    letters: Box<[Code; LETTERS]>,
    end: Code,
    /// By length, with the bits that follow the symbol.
    lengths: Box<[Code; LONGEST + 1]>,
    distances: [Code; DISTANCE_SYMBOLS],
    /// The block's head: how it is coded.
    head: Vec<Code>,
}

impl Encoder {
    /// Codes for texts in which symbols come about as often as in the sample.
    pub(super) fn new(sample: &Counts) -> Self {
        let symbols = codes(&sample.letters, LONGEST_CODE);
        let distances = codes(&sample.distances, LONGEST_CODE);
        let mut encoder = Self {
            letters: Box::new([Code::default(); LETTERS]),
            end: symbols[END],
            lengths: Box::new([Code::default(); LONGEST + 1]),
            distances: [Code::default(); DISTANCE_SYMBOLS],
            head: head(&symbols, &distances),
        };
        encoder.letters.copy_from_slice(&symbols[..LETTERS]);
        encoder.distances.copy_from_slice(&distances);
        for length in 3..=LONGEST {
            let (symbol, following, more) = length_symbol(length);
            let Code { bits, length: own } = symbols[END + 1 + symbol];
            encoder.lengths[length] = Code { bits: bits | following << own, length: own + more };
        }
        encoder
    }
}

/// One block to the end of the answer, and how it is coded. The lengths of the codes are written one by one: runs of the
/// same are rare, because every symbol has a code.
fn head(symbols: &[Code], distances: &[Code]) -> Vec<Code> {
    let lengths = || symbols.iter().chain(distances).map(|code| usize::from(code.length));
    let mut counts = [0; 16];
    lengths().for_each(|length| counts[length] += 1);
    let own = codes(&counts, 7);
    let bits = |bits: usize, length| Code { bits: bits as u32, length };
    let mut head = vec![
        // The last block, with codes of its own.
        bits(1, 1),
        bits(2, 2),
        bits(symbols.len() - 257, 5),
        bits(distances.len() - 1, 5),
        bits(LENGTHS_ORDER.len() - 4, 4),
    ];
    head.extend(LENGTHS_ORDER.map(|length| bits(own.get(length).map_or(0, |code| code.length.into()), 3)));
    head.extend(lengths().map(|length| own[length]));
    head
}

#[cfg(test)]
mod tests;
